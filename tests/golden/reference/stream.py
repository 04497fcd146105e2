"""Section 4: what is drawn from a key, bit by bit and number by number."""

import hashlib
from bisect import bisect_right
from decimal import Decimal, localcontext
from functools import cache

from tests.golden.reference.keys import DOMAIN, encoded

PI = Decimal("3.14159265358979323846264338327950288419716939937510")


class Bytes:
    def __init__(self, key: bytes, label: str) -> None:
        self.hashed = hashlib.shake_256(encoded(DOMAIN, b"stream", label.encode(), key))
        self.given = b""
        self.place = 0

    def take(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.given):
            self.given = self.hashed.digest(2 * self.place)
        return self.given[self.place - count : self.place]

    def word(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def bits(self, count: int) -> list[int]:
        taken = self.take((count + 7) // 8)
        return [taken[place // 8] >> (place % 8) & 1 for place in range(count)]

    def integers(self, count: int, below: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            word = self.word(8)
            if word < 2**64 - 2**64 % below:
                found.append(word % below)
        return found

    def uniforms(self, count: int) -> list[float]:
        return [self.word(3) / 2**24 for _ in range(count)]

    def gaussians(self, rows: int, columns: int) -> list[list[float]]:
        return [[grid(self.word(2)) / 4096 for _ in range(columns)] for _ in range(rows)]

    def permutation(self, count: int) -> list[int]:
        order = list(range(count))
        for place in range(count - 1, 0, -1):
            other = self.integers(1, place + 1)[0]
            order[place], order[other] = order[other], order[place]
        return order


def normal_share(x: Decimal) -> Decimal:
    """P(X <= x), to some 20 digits: Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...)."""
    term = total = x
    odd = 1
    while term > Decimal("1e-22"):
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") + (-x * x / 2).exp() / (2 * PI).sqrt() * total


@cache
def edges() -> list[Decimal]:
    """Where g changes: entry i is the word, not whole, whose 4096 q is i + 1/2."""
    with localcontext() as context:
        context.prec = 28
        found: list[Decimal] = []
        while not found or found[-1] < 65535:
            x = (len(found) + Decimal("0.5")) / 4096
            found.append(65536 * normal_share(x) - Decimal("0.5"))
        return found


def grid(word: int) -> int:
    if word < 32768:
        return -grid(65535 - word)
    return bisect_right(edges(), Decimal(word))
