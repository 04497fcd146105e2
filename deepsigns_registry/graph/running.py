"""Running the models of one file in a room: one room, one deadline, as many readings as wanted."""

import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph import sandbox_child
from deepsigns_registry.graph.arrays import read_matrix
from deepsigns_registry.graph.inside import HereInside
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.graph.runtime_words import in_short
from deepsigns_registry.graph.sizes import without_weights
from deepsigns_registry.sandbox.channel import is_inside
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.sandbox.paths import accelerator_devices, accelerator_files
from deepsigns_registry.sandbox.policy import check_doors
from deepsigns_registry.sandbox.room import Bounds, Room, RoomError

__all__ = ["Running"]

_CHILD = Path(sandbox_child.__file__)
# What a CUDA build needs to find its libraries and devices; nothing else of our environment.
_PASSED_ON = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "SYSTEMROOT")
_CUDA = "CUDAExecutionProvider"
_ADVICE = "check that it is a classifier for these inputs and that it runs elsewhere"
# A file that ends its process that often is not asked again.
_MOST_ENDS = 3
# Whatever a graph says, a number that a line can hold.
_MOST_SAID = 1 << 60


class Running:
    """Runs models; the room is opened for the first one, and ends with this object.

    What one run spends of the time is gone for the others: together they have `limits.seconds`.
    After a stop at a bound nothing of the file is run any more.

    Args:
        where: What the file is called in errors.
        providers: Names of onnxruntime's providers in order.
        limits: What everything together may cost.

    Attributes:
        providers: What the last session really used; empty before the first run.
        doors: What was closed in the room; None before the first run.
    """

    def __init__(self, where: str, providers: Sequence[str], limits: Limits) -> None:
        self._where, self._wanted, self._limits = where, list(providers), limits
        self._room: Room | HereInside | None = None
        self._spent = 0.0
        self._written: ModelProto | None = None
        self._number = self._ends = 0
        self._stopped: str | None = None
        self.providers: tuple[str, ...] = ()
        self.doors: Doors | None = None

    def run(
        self, model: ModelProto, inputs: NDArray[np.float32], taps: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32] | None]]:
        """Runs a batch.

        Args:
            model: With the taps among its outputs; it must not change while this object lives.
            inputs: float32 [batch, ...].
            taps: Names of hidden tensors.

        Returns:
            float32 [batch, outputs], and of each tap float32 [batch, neurons] or None.

        Raises:
            CouldNotCheckError: It crashed, was stopped at a bound, or does not fit the inputs.
        """
        room = self._opened()
        for old in room.folder.glob("*.npy"):
            old.unlink(missing_ok=True)
        if model is not self._written:
            self._number += 1
            (room.folder / "model.onnx").write_bytes(model.SerializeToString())
            sizes = without_weights(model).SerializeToString()
            (room.folder / "sizes.onnx").write_bytes(sizes)
            self._written = model
        np.save(room.folder / "inputs.npy", np.asarray(inputs, np.float32), allow_pickle=False)
        bound = self._limits.resident_bytes
        request = {"model": self._number, "taps": list(taps), "memory": bound}
        report = self._asked(room, request)
        self.providers = tuple(str(provider) for provider in report["providers"])
        outputs = self._result(room.folder / "outputs.npy", len(inputs))
        paths = [room.folder / f"activation-{number}.npy" for number in range(len(taps))]
        found = [self._result(path, len(inputs)) if path.exists() else None for path in paths]
        return outputs, found

    @contextmanager
    def timed(self) -> Iterator[float]:
        """Counts what is done for the file elsewhere as time of its runs.

        Yields:
            When all of it is spent, by `time.monotonic`.
        """
        started, room = time.monotonic(), self._room
        spent = self._spent + (room.spent if room is not None else 0.0)
        try:
            yield started + self._limits.seconds - spent
        finally:
            elapsed = time.monotonic() - started
            if room is not None:
                room.spent += elapsed
            else:
                self._spent += elapsed

    def close(self) -> None:
        """Ends the room; the next run opens another one, with what is left of the time."""
        if self._room is not None:
            self._spent += self._room.spent
            self._room.close()
        self._room, self._written = None, None

    def _opened(self) -> Room | HereInside:
        if self._stopped is not None:
            raise self._failure(self._stopped)
        if self._room is None:
            self._room = HereInside() if is_inside() else self._new_room()
            weakref.finalize(self, self._room.close)
            self.doors = self._room.doors
        return self._room

    def _new_room(self) -> Room:
        left = self._limits.seconds - self._spent
        if left <= 0:
            raise self._failure(f"was stopped after {self._limits.seconds:g} seconds")
        cuda = _CUDA in self._wanted and bool(accelerator_devices())
        limits = {
            "core": 0,
            "cpu": int(left) + 2,
            "fsize": self._limits.result_bytes,
            # A driver maps hundreds of GiB of addresses that it never writes to.
            ("data" if cuda else "as"): self._limits.memory_bytes,
        }
        if not cuda:
            limits["nproc"] = 0  # one thread is running; no other may start
        bounds = Bounds(left, self._limits.resident_bytes, self._limits.result_bytes, limits)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        try:
            room = Room(
                _CHILD,
                bounds=bounds,
                readable=accelerator_files() if cuda else (),
                devices=accelerator_devices() if cuda else (),
                environment=environment,
            )
        except RoomError as error:
            raise self._failure(f"the process that should run it {error}") from None
        try:
            check_doors(room.doors, self._limits.require)
        except CouldNotCheckError:
            room.close()
            raise
        return room

    def _asked(self, room: Room | HereInside, request: dict[str, object]) -> dict[str, Any]:
        try:
            report = room.ask({**request, "providers": self._wanted})
        except RoomError as error:
            self.close()
            what = f"the process that ran it {error}"
            self._ends += 1
            if error.at_bound or self._ends >= _MOST_ENDS:
                self._stopped = what
            raise self._failure(what) from None
        needed, bound = report.get("needed"), self._limits.resident_bytes
        if isinstance(needed, int):
            raise self._failure(
                f"would hold {min(needed, _MOST_SAID) >> 20:,} MiB at once, more than the "
                f"{bound >> 20:,} MiB of memory that it may",
                advice="raise memory_mib in [sandbox] if the file is meant to be that large",
            )
        if "error" in report:
            raise self._failure(f"onnxruntime: {in_short(str(report['error']))}")
        if not isinstance(report.get("providers"), list):
            self.close()
            raise self._failure("the process that ran it said nothing that could be understood")
        return report

    def _failure(self, what: str, *, advice: str = _ADVICE) -> CouldNotCheckError:
        return CouldNotCheckError(f"{self._where}: {what}", advice=advice)

    def _result(self, path: Path, batch: int) -> NDArray[np.float32]:
        try:
            values = read_matrix(path, most_bytes=self._limits.result_bytes)
        except (OSError, ValueError):
            raise self._failure("gave no readable result") from None
        if len(values) != batch:
            raise self._failure("gave a result of another shape")
        return values
