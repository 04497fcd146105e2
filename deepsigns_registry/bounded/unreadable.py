"""The one exception of the readers."""

__all__ = ["TooLargeError", "UnreadableError"]


class UnreadableError(ValueError):
    """The content is not of the format, or beyond what is read of it; says what in a few words."""


class TooLargeError(UnreadableError):
    """The content may be good, and is larger than what is read here."""
