"""What a marking is called, and which markings there are already.

One marking exists per owner, source, data, recipe and policy: mended data gives another one. The
name says none of these.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

__all__ = ["MarkingNames"]


@dataclass(frozen=True)
class MarkingNames:
    """The names of the markings of one version, whatever its data is.

    Attributes:
        described: Owner, source, recipe and policy, as one text.
        kept: First parts of the names of markings that have a record and were not given up.
        given_up: Of those that were given up, one entry each.

    Examples:
        >>> names = MarkingNames.of("owner", "digest").knowing(kept=(), given_up=())
        >>> base = names.base("data")
        >>> names.knowing(kept=(), given_up=[f"{base}-1"]).skips("data")
        1
    """

    described: str
    kept: frozenset[str] = frozenset()
    given_up: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, *described: str) -> Self:
        """The names of what these texts describe."""
        return cls(json.dumps(described))

    def knowing(self, *, kept: Iterable[str], given_up: Iterable[str]) -> "MarkingNames":
        """The same, with the markings of a key store: full names."""
        return MarkingNames(
            self.described,
            frozenset(_base_of(name) for name in kept),
            tuple(_base_of(name) for name in given_up),
        )

    def base(self, data: str) -> str:
        """What the names of all markings of this data begin with; a hyphen and a number follow.

        Args:
            data: Digest of the owner's data.
        """
        text = json.dumps([self.described, data])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def keeps(self, data: str) -> bool:
        """Whether a record is kept for this data."""
        return self.base(data) in self.kept

    def skips(self, data: str) -> int:
        """How many markings of this data were given up, each at another hidden activation."""
        return Counter(self.given_up)[self.base(data)]


def _base_of(name: str) -> str:
    return name.rpartition("-")[0]
