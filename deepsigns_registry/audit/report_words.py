"""The report in plain words: what was found, what it means and what it does not mean."""

import math
from dataclasses import dataclass
from typing import Literal

from deepsigns_registry.audit.finding import Finding

__all__ = ["Headline", "chance", "headline", "meaning"]

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Tone = Literal["good", "bad", "unsure"]


@dataclass(frozen=True)
class Headline:
    """The first thing a reader sees.

    Attributes:
        tone: Colour and symbol.
        title: The verdict.
        sentences: What stands behind it.
    """

    tone: Tone
    title: str
    sentences: tuple[str, ...]


def chance(log10_p: float) -> str:
    """A probability in words that need no mathematics.

    Examples:
        >>> chance(-37.2)
        '1 in 10³⁷'
        >>> chance(-2.0)
        '1 in 100'
        >>> chance(-0.1)
        'about 79%'
    """
    if log10_p > -1:
        return f"about {10 ** min(log10_p, 0):.0%}"
    if log10_p > -5:
        return f"1 in {round(10**-log10_p):,}"
    # Rounded down: never more than was measured.
    return f"1 in 10{str(math.floor(-log10_p)).translate(_SUPERSCRIPT)}"


def headline(finding: Finding) -> Headline:
    """The verdict in one line, and the sentences under it."""
    owner = f"{finding.owner_name}'s" if finding.owner_name else "the owner's"
    match finding.outcome:
        case "present":
            best = min(_adjusted(finding), default=0.0)
            sentences = [
                (
                    f"The deployed file carries {owner} watermark. A model made without the secret "
                    f"key would match it this well with a chance of at most {chance(best)}, "
                    "everything that was tried included."
                )
            ]
            if not finding.passed:
                sentences.append(_not_passed(finding))
            return Headline("good", "Watermark found", tuple(sentences))
        case "absent":
            return Headline(
                "bad",
                "Watermark not found",
                (
                    (
                        f"Every step ran, and nothing in the deployed file agrees with {owner} key "
                        "more than chance does."
                    ),
                ),
            )
        case "tampered":
            return Headline("bad", "Tampered with", (finding.message,))
        case "could-not-check":
            return Headline(
                "unsure",
                "Could not check",
                (finding.message, "No verdict was reached. The audit is due again."),
            )
        case "undecided":
            return Headline("unsure", "Undecided", (_reason(finding),))


def meaning(finding: Finding) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the outcome means, and what it does not."""
    match finding.outcome:
        case "present":
            return (
                (
                    (
                        "A pattern that only the holder of a sealed secret key could have "
                        "planned was read from this very file."
                    ),
                    (
                        "The secret was committed to before this audit, and the numbers count "
                        "every attempt, so the match cannot have been searched for afterwards."
                    ),
                    "The curves above show how much damage the mark survives.",
                ),
                (
                    "It does not say who deployed the file, or whether they may.",
                    (
                        "By itself it does not settle a dispute: that also needs a trusted "
                        "timestamp of the commitment, older than the other party's model."
                    ),
                    (
                        "It says nothing about the quality of the model beyond the "
                        f"{finding.score} above."
                    ),
                ),
            )
        case "absent":
            return (
                (
                    "The mark was looked for with the keys of this model and was not found.",
                    (
                        "Either an unmarked model was deployed, or another one, or the mark was "
                        "removed by more than the attacks above do."
                    ),
                ),
                (
                    (
                        'It does not mean "this model is not ours": a mark that was removed, '
                        "or keys that were not at hand, look the same."
                    ),
                    (
                        "It does not mean that anyone did wrong: a deployment of an older, "
                        "unmarked version is the common reason."
                    ),
                ),
            )
        case "undecided":
            return (
                (
                    (
                        "The evidence lies between chance and proof, or a needed step could not be "
                        "run, so neither answer would be honest."
                    ),
                ),
                (
                    "It is not a weak yes and not a weak no.",
                    'It does not mean "this model is not ours".',
                ),
            )
        case "tampered":
            return (
                ("A signature or a digest that must agree does not: something was changed.",),
                ("It does not say who changed it, or that the model itself is a copy.",),
            )
        case "could-not-check":
            return (
                ("The question could not be put: a file, a key or a server was out of reach.",),
                ("It says nothing at all about the deployed file.",),
            )


def _adjusted(finding: Finding) -> list[float]:
    row = finding.deployed
    if row is None:
        return []
    return [reading.log10_p_adjusted for reading in row.readings]


def _reason(finding: Finding) -> str:
    best = min(_adjusted(finding), default=None)
    if finding.message:
        return finding.message[0].upper() + finding.message[1:]
    if best is None:
        return "No evidence could be read."
    return (
        f"A model made without the key would match this well with a chance of {chance(best)}: "
        "too likely for proof, too unlikely for chance."
    )


def _not_passed(finding: Finding) -> str:
    complaints = "; ".join(finding.judgement.complaints)
    return f"The audit did not pass, because this does not hold: {complaints}."
