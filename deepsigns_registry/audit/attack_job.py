"""One attack on one ONNX file, as a job that runs in a process of its own.

The job gets the deployed file and the owner's training data, but no secret: neither key nor
tap. The parent verifies what comes back.
"""

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.watermark.data import LabelledData

__all__ = ["CPU_SECONDS", "Attacked", "attack_onnx"]

# The deployed file comes from a stranger and may be made to never end.
CPU_SECONDS = 4 * 3600


@dataclass(frozen=True, repr=False)
class Attacked:
    """What became of an attack.

    Attributes:
        model: The attacked ONNX file; empty when the attack failed.
        seconds: Wall time.
        error: Why it failed, in one line; empty when it did not.
        error_code: Stable code of the error.
    """

    model: bytes
    seconds: float
    error: str = ""
    error_code: str = ""


def attack_onnx(
    *,
    progress: Callable[[float, str], None],
    model: bytes,
    attack: str,
    train: LabelledData,
    seed: int,
) -> Attacked:
    """Attacks a copy of an ONNX file; a failing attack is an answer, not a crash.

    Args:
        progress: Told the fraction in [0, 1] and a message.
        model: The deployed file's bytes.
        attack: As in the settings, `prune:0.5`.
        train: The owner's training data, the strongest that an attacker could have.
        seed: Of the attack's randomness.
    """
    _limit_processor_time()
    started = time.monotonic()
    try:
        attacked = _attack(progress, model, attack, train, seed)
    except DeepSignsError as error:
        return Attacked(b"", time.monotonic() - started, str(error), error.code)
    except Exception as error:  # noqa: BLE001 - whatever a third party's attack raises is its row's
        line = (str(error).strip().splitlines() or [""])[0]
        what = f"the attack failed: {type(error).__name__}: {line}"
        return Attacked(b"", time.monotonic() - started, what, CouldNotCheckError.code)
    return Attacked(attacked, time.monotonic() - started)


def _attack(
    progress: Callable[[float, str], None],
    model: bytes,
    attack: str,
    train: LabelledData,
    seed: int,
) -> bytes:
    import tempfile
    from pathlib import Path

    from deepsigns_registry.attacks import parse_attack
    from deepsigns_registry.graph.interpreter import OnnxTappedModel

    planned = parse_attack(attack)
    with tempfile.TemporaryDirectory(prefix="deepsigns-") as name:
        path = Path(name) / "deployed.onnx"
        path.write_bytes(model)
        victim = OnnxTappedModel.from_file(path)
    attacked = planned.attack.apply(victim, planned.strength, train, seed=seed, progress=progress)
    if not isinstance(attacked, OnnxTappedModel):
        raise CouldNotCheckError(f"attack '{attack}' gave no ONNX graph back")
    return attacked.to_bytes()


def _limit_processor_time() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, hard))
