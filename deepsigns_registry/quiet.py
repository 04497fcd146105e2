"""Nothing that runs here reports to anybody.

Several libraries send usage data unless the environment says otherwise, some as soon as they are
imported: onnxruntime from 1.29 on writes a device identifier and a queue of events under the
user's cache then. So the environment is set when this package is imported, before any of them.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["OPTED_OUT", "be_quiet"]

OPTED_OUT: Mapping[str, str] = MappingProxyType(
    {
        "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
"""What the libraries read, for the environment of a process that is built anew."""


def be_quiet() -> None:
    """Opts out for this process and those that inherit its environment.

    What an operator set stays as it is.
    """
    for name, value in OPTED_OUT.items():
        os.environ.setdefault(name, value)
