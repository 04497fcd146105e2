"""What the schemes of a record read from a suspect, as it comes in."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.record import reads_hidden
from deepsigns_registry.watermark.scheme import Answers, Probes, Scheme, SchemeSecret
from deepsigns_registry.watermark.tap import TapAgreement
from deepsigns_registry.watermark.verdict import PRESENT_AT
from deepsigns_registry.watermark.witness import Witness

__all__ = ["Reading", "Readings"]

_SETTLED_AT = 2 * PRESENT_AT


@dataclass
class Reading:
    """One scheme's answers as they come in."""

    scheme: Scheme
    secret: SchemeSecret
    probes: Probes
    answers: Answers | None = None
    evidence: Evidence | None = None
    problem: str = ""

    @property
    def witness(self) -> Witness | None:
        """What it knows of the parent's tap."""
        return Witness.of(self.scheme, self.secret)

    @property
    def hidden(self) -> bool:
        """Whether it is read at the tap, which must be recognised."""
        return not self.probes.matrices and reads_hidden(self.scheme)

    @property
    def asks_for_answers_alone(self) -> bool:
        """Whether nothing but outputs is read."""
        return not (self.probes.matrices or self.hidden)

    @property
    def shows_mark(self) -> bool:
        """Whether what was read is verified, and would be enough if nothing else was tried."""
        found = self.evidence
        return found is not None and bool(found.level) and found.log10_p <= PRESENT_AT

    @property
    def is_settled(self) -> bool:
        """Whether the mark is shown so clearly that no other way of reading is looked for.

        Far below what is enough: whoever stops at the first p-value that is enough multiplies it
        by fewer ways than were open to him.
        """
        found = self.evidence
        return found is not None and self.shows_mark and found.log10_p <= _SETTLED_AT

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """The more, the more it says: whether it shows the mark, is verified, and how likely."""
        found = self.evidence
        if found is None:
            return False, False, 0.0
        return self.shows_mark, bool(found.level), -found.log10_p

    def read(self, answers: Answers, level: str) -> None:
        """Replaces what was read before, unless that is stronger: each reading is a try."""
        try:
            found = self.scheme.evidence(self.secret, answers)
        except CouldNotCheckError as error:
            self.problem = str(error)
            return
        self.problem = ""
        known = self.evidence
        # What says little and is not verified does not unsay what is.
        counts = level or found.log10_p <= PRESENT_AT or not (known and known.level)
        if known is None or (counts and found.log10_p < known.log10_p):
            self.evidence = replace(found, level=level)


@dataclass(frozen=True)
class Readings:
    """All schemes' readings of a suspect that is asked in one form."""

    readings: tuple[Reading, ...]
    agreement: TapAgreement | None
    alignments: int

    def joined(self, other: "Readings", names: Collection[str]) -> "Readings":
        """The stronger reading of each scheme; what was tried in either form counts.

        Args:
            other: The readings in another form, of the schemes that were read in it.
            names: Of the schemes that may be read in it.
        """
        theirs = {reading.scheme.name: reading for reading in other.readings}
        stronger = []
        for mine in self.readings:
            name = mine.scheme.name
            pair = (mine, theirs[name]) if name in names else (mine,)
            stronger.append(max(pair, key=lambda reading: reading.rank))
        taken = any(mine is not kept for mine, kept in zip(self.readings, stronger, strict=True))
        return Readings(
            tuple(stronger),
            other.agreement if taken and other.agreement else self.agreement,
            self.alignments + other.alignments,
        )
