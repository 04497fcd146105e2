"""Evidence version 1: every p-value in decimal arithmetic, to far more digits than a double has."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from math import comb, factorial

PI = Decimal("3.14159265358979323846264338327950288419716939937510")
TEN = Decimal(10)


def binomial(trials: int, matches: int, values: int) -> float:
    """Section 2: exactly, by whole numbers."""
    ways = sum(comb(trials, i) * (values - 1) ** (trials - i) for i in range(matches, trials + 1))
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(ways) / Decimal(values**trials)).log10())


def normal_tail(x: Decimal) -> Decimal:
    """Q(x) for x >= 0, as 1/2 - phi(x) (x + x^3/3 + x^5/(3 5) + ...), whatever cancels."""
    with localcontext() as context:
        context.prec = 60 + int(x * x / 2)
        root = (2 * _pi(context.prec)).sqrt()
        term = total = x
        odd = 1
        while term > total * TEN**-context.prec:
            odd += 2
            term = term * x * x / odd
            total += term
        return Decimal("0.5") - (-x * x / 2).exp() / root * total


def _pi(digits: int) -> Decimal:
    """By Machin's formula."""
    with localcontext() as context:
        context.prec = digits + 10

        def inverse_tangent(of: int) -> Decimal:
            term = total = Decimal(1) / of
            odd, sign = 1, 1
            while abs(term) > TEN ** -(digits + 10):
                term, odd, sign = term / (of * of), odd + 2, -sign
                total += sign * term / odd
            return total

        return 4 * (4 * inverse_tangent(5) - inverse_tangent(239))


def correlation(deviations: float, parts: int) -> float:
    """Section 3."""
    if deviations == 0:
        return 0.0
    with localcontext() as context:
        context.prec = 60
        d = Decimal(deviations)
        h = d * d / 2
        tails = {1: 2 * normal_tail(d), 2: (-h).exp()}
        for r in range(3, parts + 1):
            tails[r] = tails[r - 2] + h ** (Decimal(r) / 2 - 1) * (-h).exp() / gamma_of_half(r)
        mixed = sum((comb(parts, r) * tails[r] for r in range(1, parts + 1)), Decimal(0))
        return float((mixed / 2**parts).log10())


def gamma_of_half(r: int) -> Decimal:
    """Gamma(r / 2)."""
    if r % 2 == 0:
        return Decimal(factorial(r // 2 - 1))
    k = r // 2
    found: Decimal = Decimal(factorial(2 * k)) / (4**k * factorial(k)) * PI.sqrt()
    return found


def sign_sum(weights: Sequence[float], signs: Sequence[int]) -> float:
    """Section 4, where not all signs agree: then t has an end."""
    with localcontext() as context:
        context.prec = 50
        w = [Decimal(weight) for weight in weights]
        s = sum((a * b for a, b in zip(w, signs, strict=True)), Decimal(0))
        if s <= 0:
            return 0.0
        x = s / sum((a * a for a in w), Decimal(0)).sqrt()
        gaussian = normal_tail(x) / (4 * normal_tail(Decimal(2).sqrt()))
        return float(min(Decimal(1), gaussian, chernoff(w, s)).log10())


def chernoff(w: Sequence[Decimal], s: Decimal) -> Decimal:
    def slope(t: Decimal) -> Decimal:
        twice = [(2 * t * a).exp() for a in w]
        moved = (a * (e - 1) / (e + 1) for a, e in zip(w, twice, strict=True))
        return sum(moved, Decimal(0)) - s

    low, high = Decimal(0), Decimal(1)
    while slope(high) < 0:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    bound = (-high * s).exp()
    for a in w:
        bound *= ((high * a).exp() + (-high * a).exp()) / 2
    return bound


def together(log10_p: Sequence[float]) -> float:
    """Section 5."""
    with localcontext() as context:
        context.prec = 60
        t = -TEN.ln() * sum((Decimal(value) for value in log10_p), Decimal(0))
        terms = (t**i / factorial(i) if i else Decimal(1) for i in range(len(log10_p)))
        return float(((-t).exp() * sum(terms, Decimal(0))).log10())


def verdict(
    log10_p: Sequence[float], *, tries: int, ways: int, every_step_ran: bool
) -> tuple[str, float | None]:
    """Sections 6 and 8: the word, and the adjusted value of several schemes together."""
    more = float(Decimal(tries).log10())
    adjusted = [min(0.0, value + more) for value in log10_p]
    joint = None
    if len(log10_p) > 1:
        each = [min(0.0, value + float(Decimal(ways).log10())) for value in log10_p]
        joint = min(0.0, together(each) + float((Decimal(tries) / ways).log10()))
        adjusted.append(joint)
    smallest = min(adjusted, default=0.0)
    if smallest <= -6:
        return "present", joint
    if smallest > -2 and log10_p and every_step_ran:
        return "absent", joint
    return "undecided", joint
