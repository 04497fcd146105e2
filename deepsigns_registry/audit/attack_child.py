"""What attacks a stranger's file in a room; started as a script by `sandbox.enter`.

The attack may be a third party's, and the file is anybody's: neither runs anywhere else. It is
asked once:

    {"parse": "prune:0.5"}               how strong that is
    {"strength": 0.5}                    (answer)

    {"attack": "prune:0.5", "seed": 0}
    model.onnx, inputs.npy, labels.npy   the file, and the owner's training data
    attacked.onnx                        (answer)
    {}                                   (answer)

    {"failed": "...", "code": "...", "advice": "..."} in either case
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.sandbox import channel

if TYPE_CHECKING:
    from deepsigns_registry.attacks import PlannedAttack

__all__: list[str] = []


def _answer(request: dict[str, Any]) -> dict[str, object]:
    try:
        if "parse" in request:
            return {"strength": float(_planned(str(request["parse"])).strength)}
        attacked = _attacked(str(request["attack"]), int(request["seed"]))
    except DeepSignsError as error:
        return {"failed": error.message, "code": error.code, "advice": error.advice}
    except Exception as error:  # noqa: BLE001 - whatever a third party's attack raises is its row's
        line = (str(error).strip().splitlines() or [""])[0]
        what = f"the attack failed: {type(error).__name__}: {line}"
        return {"failed": what, "code": CouldNotCheckError.code, "advice": ""}
    Path("attacked.onnx").write_bytes(attacked)
    return {}


def _planned(attack: str) -> "PlannedAttack":
    from deepsigns_registry.attacks import parse_attack

    return parse_attack(attack)


def _attacked(attack: str, seed: int) -> bytes:
    from deepsigns_registry.graph.interpreter import OnnxTappedModel
    from deepsigns_registry.watermark.data import LabelledData

    planned = _planned(attack)
    victim = OnnxTappedModel.from_file(Path("model.onnx"))
    inputs, labels = (np.load(f"{name}.npy", allow_pickle=False) for name in ("inputs", "labels"))
    attacked = planned.attack.apply(
        victim,
        planned.strength,
        LabelledData(inputs, labels),
        seed=seed,
        progress=lambda share, words: channel.tell({"share": share, "words": words}),
    )
    if not isinstance(attacked, OnnxTappedModel):
        raise CouldNotCheckError(f"attack '{attack}' gave no ONNX graph back")
    return attacked.to_bytes()


if __name__ == "__main__":
    channel.serve(_answer)
