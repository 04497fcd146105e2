"""Strengths that several attacks share: a number of epochs, a share."""

from deepsigns_registry.attacks.attack import parse_number
from deepsigns_registry.errors import ConfigurationError

__all__ = ["parse_count", "parse_epochs", "parse_share"]

_MOST_EPOCHS = 1000


def parse_epochs(attack: str, strength: str) -> float:
    """Reads a number of passes over the training data.

    Args:
        attack: Name of the attack, for errors.
        strength: What stands behind the colon.

    Returns:
        A whole number from 1 to 1000.

    Raises:
        ConfigurationError: It is none.

    Examples:
        >>> parse_epochs("finetune", "3")
        3.0
    """
    return parse_count(attack, strength, "epochs", _MOST_EPOCHS)


def parse_count(attack: str, strength: str, what: str, most: int) -> float:
    """Reads a small whole number of something.

    Args:
        attack: Name of the attack, for errors.
        strength: What stands behind the colon.
        what: What is counted, for the advice.
        most: The largest number that is taken.

    Raises:
        ConfigurationError: It is none.

    Examples:
        >>> parse_count("redraw", "2", "layers", 100)
        2.0
    """
    advice = f"write a whole number of {what} from 1 to {most}, such as {attack}:1"
    count = parse_number(attack, strength, advice)
    if not 1 <= count <= most or count != int(count):
        raise ConfigurationError(
            f"attack {attack}: strength {strength} is no number of {what}", advice=advice
        )
    return count


def parse_share(attack: str, strength: str, of: str) -> float:
    """Reads a share in (0, 1).

    Args:
        attack: Name of the attack, for errors.
        strength: What stands behind the colon.
        of: What it is a share of, for the advice.

    Raises:
        ConfigurationError: It is no such number.

    Examples:
        >>> parse_share("prune", "0.5", "the weights")
        0.5
    """
    advice = f"write the share of {of} to remove, above 0 and below 1, such as {attack}:0.5"
    share = parse_number(attack, strength, advice)
    if not 0 < share < 1:
        raise ConfigurationError(
            f"attack {attack}: strength {strength} is not between 0 and 1", advice=advice
        )
    return share
