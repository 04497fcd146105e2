"""The score of a model's task in words: accuracy as a percentage, any other as a number."""

__all__ = ["ACCURACY", "capitalised", "shown"]

ACCURACY = "accuracy"
"""The score of a classifier."""


def shown(score: str, value: float, *, places: int = 1) -> str:
    """A score for people.

    Args:
        score: Its name.
        value: In [0, 1].
        places: Digits after the point of a percentage.

    Examples:
        >>> shown("accuracy", 0.965), shown("R2", 0.965)
        ('96.5%', '0.965')
    """
    return f"{value:.{places}%}" if score == ACCURACY else f"{value:.{places + 2}f}"


def capitalised(score: str) -> str:
    """The name at the start of a sentence; the rest of it stays as it is.

    Examples:
        >>> capitalised("cosine to the deployed file"), capitalised("R2")
        ('Cosine to the deployed file', 'R2')
    """
    return score[:1].upper() + score[1:]
