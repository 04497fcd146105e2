"""ONNX files: export with a recorded tap, structure checks, sandboxed runs, a trainable view.

Importing this package imports neither torch nor onnxruntime; each module brings what it needs.
"""
