"""Signed proof beside a model, and custody of the secret behind it.

Statements and their predicate types, signing and verification (DSSE in Sigstore bundles),
digests of a model folder, the policy of trusted keys, sealing of secrets, the key store and the
hash-chained commitment counter. Needs neither torch nor onnx: an MLflow server imports this.
"""
