"""Watermarked model versions for the MLflow model registry.

The rooms, from the method up to the command line; an arrow points down only:

    cli -> demo -> evidence, audit -> retraining -> registry -> attestation -> engine
        -> attacks -> graph -> watermark

`watermark` is the method (DeepSigns), `graph` is ONNX, `attacks` are what a thief does,
`engine` runs jobs, `attestation` signs and seals, `registry` is MLflow, `retraining` embeds
the mark into a promoted version, `audit` re-verifies deployed files and `evidence` writes
what a third party can check.

A verdict is a probability, never a bare yes:

    >>> from deepsigns_registry.watermark.evidence import Matches

    >>> from deepsigns_registry.watermark.verdict import judge
    >>> evidence = Matches(scheme="whitebox", trials=128, matches=128, chance=0.5, level="a")
    >>> judge([evidence], tries=10).word
    'present'
"""

from deepsigns_registry.quiet import be_quiet

__version__ = "0.1.0"
__all__ = ["__version__"]

be_quiet()
