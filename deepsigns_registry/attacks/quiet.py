"""Keeping a chatty library's notes out of our log."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the quantisers: warnings, log records, and what they leave in `sys.path`.

    They log through the root logger, which would also configure it on the first record.
    """
    root = logging.getLogger()
    silent = logging.NullHandler()
    path = list(sys.path)

    def ours(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root.addHandler(silent)
    root.addFilter(ours)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(ours)
        root.removeHandler(silent)
        sys.path[:] = path
