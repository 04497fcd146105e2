"""Evidence of our own schemes, which count matches."""

from deepsigns_registry.watermark.evidence import Evidence, Matches

__all__ = ["matched"]


def matched(found: Evidence) -> Matches:
    """The evidence, which must be a count of matches."""
    assert isinstance(found, Matches), found
    return found
