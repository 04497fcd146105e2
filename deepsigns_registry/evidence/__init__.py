"""Evidence files for a dispute: what a third party checks offline, trusting nobody.

`export` opens the commitments of the schemes that the owner chooses to reveal; the root key
stays secret. `verify` checks signature, commitments and derivation, and reads the mark again
from the suspect. It believes in a mark only when the verifier knew the commitments before.
"""
