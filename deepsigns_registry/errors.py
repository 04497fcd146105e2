"""The errors a person sees: one root, and one subclass per kind of answer.

*No*, *could not check* and *tampered* are different answers and never share a class.
The command line turns `exit_code` into its own exit code; see `docs/exit-codes.md`.
"""

from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "CouldNotCheckError",
    "DataError",
    "DeepSignsError",
    "InapplicableError",
    "LeftoverError",
    "NotConvergedError",
    "NotFoundError",
    "QueuedError",
    "RefusedError",
    "TamperedError",
    "UnmarkableError",
    "UntrustedSignerError",
    "in_a_line",
    "worst_exit_code",
]


class DeepSignsError(Exception):
    """Root of every error this package raises on purpose.

    Attributes:
        code: Stable identifier of the kind of error, for machines.
        exit_code: Exit code of a command that ends with this error.
        message: What is wrong and where, in one line.
        advice: What to do about it, in one line; may be empty.
        public: The same for everybody who can read the registry; never names the tap.

    Examples:
        >>> str(ConfigurationError("deepsigns.toml: no such file", advice="run: deepsigns init"))
        'deepsigns.toml: no such file; run: deepsigns init'
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, advice: str = "", public: str = "") -> None:
        self.message, self.advice, self._public = map(in_a_line, (message, advice, public))
        super().__init__(self.message, self.advice)

    @property
    def public(self) -> str:
        """What everybody may read of it: `public` as it was given, else the whole text."""
        return self._public or str(self)

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore, (type(self), self.message, self.advice, self._public))


def in_a_line(text: str) -> str:
    r"""Without line breaks, and without what would steer a terminal.

    Examples:
        >>> in_a_line("two\nlines,  and \x1b[31mred")
        'two lines, and [31mred'
    """
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _restore(kind: type[DeepSignsError], message: str, advice: str, public: str) -> DeepSignsError:
    return kind(message, advice=advice, public=public)


class ConfigurationError(DeepSignsError):
    """Usage or configuration is wrong; nothing was checked."""

    code = "configuration"
    exit_code = 2


class NotFoundError(ConfigurationError):
    """A model, version, alias, deployment or file that was named does not exist."""

    code = "not-found"


class DataError(ConfigurationError):
    """The owner's data cannot be used: NaN, labels outside the classes, too few samples."""

    code = "data"


class UnmarkableError(ConfigurationError):
    """This model cannot carry the watermark; says which layer and the remedy.

    The message may name the tap, which is secret: `public` does only where it is given.
    """

    code = "unmarkable"

    @property
    def public(self) -> str:
        """What everybody may read: the text given for that, else no more than the kind."""
        return self._public or (
            "this model cannot be marked as configured; the worker's own output says why"
        )


class InapplicableError(UnmarkableError):
    """This scheme is not for this kind of model; another scheme may be."""

    code = "inapplicable"


class RefusedError(DeepSignsError):
    """The answer is no: not marked, not attested, refused by policy."""

    code = "refused"
    exit_code = 1


class QueuedError(RefusedError):
    """Not yet: the version is queued for marking, and is promoted by itself when that is done."""

    code = "queued"


class NotConvergedError(RefusedError):
    """A marking went through all its rounds, and the mark is too weak or costs too much."""

    code = "not-converged"


class CouldNotCheckError(DeepSignsError):
    """The question could not be answered: a server is down, a file cannot be read."""

    code = "could-not-check"
    exit_code = 3


class CheckpointError(CouldNotCheckError):
    """A checkpoint cannot be gone on from: it is damaged, or of another fine-tuning."""

    code = "checkpoint"


class TamperedError(DeepSignsError):
    """A signature or a digest does not match: somebody changed something."""

    code = "tampered"
    exit_code = 4


class UntrustedSignerError(TamperedError):
    """Signed with another key than those that are trusted: a wrong key was named, or forged."""

    code = "untrusted-signer"


class LeftoverError(TamperedError):
    """An unsigned file that a loader or a file manager may have left; says how to be rid of it."""

    code = "leftover"


def worst_exit_code(codes: Iterable[int]) -> int:
    """Exit code of several answers together: 4 over 1 over 3 over 2 over 0.

    Examples:
        >>> worst_exit_code([0, 3, 1]), worst_exit_code([])
        (1, 0)
    """
    found = set(codes)
    return next((code for code in (4, 1, 3, 2) if code in found), 0)
