"""What a scheme read from a file, and how tables show it: one place for any number of schemes.

A table has columns for the schemes that the sealed record names. Our own come first and
have words of their own; a third party's scheme is shown under its name, as a score: matches of
trials, or standard deviations over values.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ALWAYS_WRITTEN", "Column", "Reading", "columns"]


@dataclass(frozen=True)
class Reading:
    """What one scheme read from one file.

    Attributes:
        scheme: Name of the scheme.
        trials: Committed bits, queries or values, all of them.
        score: How many the file answers as the key says, or how many standard deviations it
            correlates with the key.
        log10_p: log10 of the exact chance of as much without the key.
        log10_p_adjusted: The same, adjusted for everything that was tried.
        measured: Whether the score is in standard deviations, and no count of the trials.
    """

    scheme: str
    trials: int
    score: float
    log10_p: float
    log10_p_adjusted: float
    measured: bool = False


@dataclass(frozen=True)
class Column:
    """How tables show a scheme.

    Attributes:
        scheme: Its name.
        title: For people, as the title of a column: `White box`.
        label: The same within a line: `white box`.
        heading: What the numbers are, `Bit errors`.
        unit: What stands after "3 of 128", `bits wrong`.
        total_name: Field of the number of trials in `results.json`, `whitebox_bits`.
        count_name: Field of the count, `whitebox_bit_errors`.
        counts_errors: Whether trials that do not match are counted, or those that do.
    """

    scheme: str
    title: str
    label: str
    heading: str
    unit: str
    total_name: str
    count_name: str
    counts_errors: bool = False

    def count(self, reading: Reading) -> int | float:
        """The number that stands under `heading`."""
        score = round(reading.score, 1)
        counted = reading.trials - score if self.counts_errors else score
        return int(counted) if counted == int(counted) else counted

    def beside(self, reading: Reading) -> str:
        """What the number is, in words that stand behind it.

        Examples:
            >>> (shown,) = columns(["spread"])
            >>> found = Reading("spread", 535_040, 62.5, -840.0, -839.0, measured=True)
            >>> shown.count(found), shown.beside(found)
            (62.5, 'standard deviations, a correlation over 535,040 values')
            >>> (shown,) = columns(["whitebox"])
            >>> shown.beside(Reading("whitebox", 128, 126, -34.6, -34.0))
            'of 128 bits wrong'
        """
        if reading.measured:
            return f"standard deviations, a correlation over {reading.trials:,} values"
        return f"of {reading.trials} {self.unit}"

    def fields(self, reading: Reading | None) -> dict[str, int | float | None]:
        """The reading as fields of `results.json`; all are None where nothing was read.

        Examples:
            >>> (shown,) = columns(["whitebox"])
            >>> fields = shown.fields(Reading("whitebox", 128, 126, -34.6, -34.0))
            >>> fields["whitebox_bits"], fields["whitebox_bit_errors"]
            (128, 2)
        """
        names = (
            self.total_name,
            self.count_name,
            f"{self.scheme}_log10_p",
            f"{self.scheme}_log10_p_adjusted",
        )
        if reading is None:
            return dict.fromkeys(names)
        values = (
            reading.trials,
            self.count(reading),
            reading.log10_p,
            reading.log10_p_adjusted,
        )
        return dict(zip(names, values, strict=True))


_OURS = (
    Column(
        scheme="whitebox",
        title="White box",
        label="white box",
        heading="Bit errors",
        unit="bits wrong",
        total_name="whitebox_bits",
        count_name="whitebox_bit_errors",
        counts_errors=True,
    ),
    Column(
        scheme="blackbox",
        title="Black box",
        label="black box",
        heading="Matches",
        unit="answers",
        total_name="blackbox_queries",
        count_name="blackbox_matches",
    ),
    Column(
        scheme="spread",
        title="Weights",
        label="weights",
        heading="Deviations",
        unit="values",
        total_name="spread_values",
        count_name="spread_deviations",
    ),
    Column(
        scheme="cells",
        title="Natural inputs",
        label="natural inputs",
        heading="Signs",
        unit="signs",
        total_name="cells_signs",
        count_name="cells_matches",
    ),
)

ALWAYS_WRITTEN = tuple(column.scheme for column in _OURS)
"""Schemes whose fields are in every row of `results.json`: readers may count on them."""


def columns(schemes: Iterable[str]) -> tuple[Column, ...]:
    """The columns of these schemes: our own in the order of marks, then the others by name.

    Examples:
        >>> [column.title for column in columns(["uchida", "blackbox"])]
        ['Black box', 'uchida']
    """
    asked = set(schemes)
    others = sorted(asked.difference(ALWAYS_WRITTEN))
    return (*(column for column in _OURS if column.scheme in asked), *map(_other, others))


def _other(scheme: str) -> Column:
    return Column(
        scheme=scheme,
        title=scheme,
        label=scheme,
        heading="Score",
        unit="match",
        total_name=f"{scheme}_trials",
        count_name=f"{scheme}_matches",
    )
