"""MLflow: promotion requests and leases, versions, the gate, and what a deployment fetches.

`protocol` and `transitions` are pure and shared with the server's plugin; everything else speaks
to MLflow through its client. Nothing here imports torch, numpy or onnx.
"""
