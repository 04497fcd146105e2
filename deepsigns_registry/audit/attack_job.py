"""One attack on one ONNX file, as a job whose work is done in a room.

The room gets the deployed file and the owner's training data, but no secret: neither key nor
tap. The parent verifies what comes back.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepsigns_registry.attacks import builtin_attacks, known_attacks, parse_attack
from deepsigns_registry.audit import attack_child
from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.plugins import plugin_folders
from deepsigns_registry.sandbox.room import Bounds, Room, RoomError
from deepsigns_registry.watermark.data import LabelledData

__all__ = ["Attacked", "attack_onnx", "strength_of"]

_CHILD = Path(attack_child.__file__)
_GROUP = "deepsigns_registry.attacks"
_MOST_FILE = 2**31
# Of the machine's memory; what trains needs more than what answers.
_MOST_MEMORY = 0.75


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


def strength_of(text: str) -> float:
    """How strong an attack is, such as `prune:0.5`; a third party's says so in a room.

    Raises:
        ConfigurationError: There is no such attack, it has no such strength, or its plugin is
            broken.

    Examples:
        >>> strength_of("prune:0.5")
        0.5
    """
    name, colon, _ = text.partition(":")
    if name in builtin_attacks() or name not in known_attacks() or not colon:
        return parse_attack(text).strength
    bounds = Bounds(limits={"core": 0})
    try:
        with Room(_CHILD, bounds=bounds, modules=plugin_folders(_GROUP)) as room:
            answer = room.ask({"parse": text})
    except RoomError as error:
        answer = {"failed": f"the process of the attack {error}"}
    strength = answer.get("strength")
    if isinstance(strength, int | float) and math.isfinite(strength):
        return float(strength)
    what = answer.get("failed", "it gave no number as its strength")
    advice = str(answer.get("advice") or "upgrade or uninstall the plugin that brings it")
    raise ConfigurationError(f"attack '{text}': {what}"[:1000], advice=advice[:1000])


def attack_onnx(
    *,
    progress: Callable[[float, str], None],
    model: bytes,
    attack: str,
    train: LabelledData,
    seed: int,
    seconds: float,
    memory_bytes: int | None = None,
) -> Attacked:
    """Attacks a copy of an ONNX file; a failing attack is an answer, not a crash.

    Args:
        progress: Told the fraction in [0, 1] and a message.
        model: The deployed file's bytes.
        attack: As in the settings, `prune:0.5`.
        train: The owner's training data, the strongest that an attacker could have.
        seed: Of the attack's randomness.
        seconds: After so many it is stopped: the file is a stranger's, and may be made to never
            end.
        memory_bytes: What it may hold; None for most of the machine's memory.
    """
    started = time.monotonic()

    def told(message: dict[str, Any]) -> None:
        share, words = message.get("share"), message.get("words")
        if isinstance(share, int | float) and 0 <= share <= 1:
            progress(float(share), str(words)[:200])

    try:
        with _room(train, seconds, memory_bytes) as room:
            (room.folder / "model.onnx").write_bytes(model)
            np.save(room.folder / "inputs.npy", train.inputs, allow_pickle=False)
            np.save(room.folder / "labels.npy", train.labels, allow_pickle=False)
            answer = room.ask({"attack": attack, "seed": seed}, on_message=told)
            if not {"failed", "error"} & answer.keys():
                attacked = read_regular(
                    room.folder / "attacked.onnx", most_bytes=_MOST_FILE, follow=False
                )
                return Attacked(attacked, time.monotonic() - started)
    except RoomError as error:
        answer = {"error": f"the process of the attack {error}"}
    except (OSError, ValueError):
        answer = {"error": "the attack left no file that could be read"}
    advice = f"; {answer['advice']}" if answer.get("advice") else ""
    what = (str(answer.get("failed", answer.get("error", ""))) + advice)[:1000]
    code = str(answer.get("code", CouldNotCheckError.code))
    return Attacked(b"", time.monotonic() - started, what, code)


def _room(train: LabelledData, seconds: float, memory_bytes: int | None) -> Room:
    handed_over = train.inputs.nbytes + train.labels.nbytes
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bounds = Bounds(
        seconds=seconds,
        memory_bytes=memory_bytes or int(_MOST_MEMORY * physical),
        folder_bytes=2 * _MOST_FILE + 2 * handed_over,
        limits={"core": 0, "fsize": _MOST_FILE},
    )
    threads = os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))
    return Room(
        _CHILD,
        bounds=bounds,
        modules=plugin_folders(_GROUP),
        environment={"OMP_NUM_THREADS": threads},
    )
