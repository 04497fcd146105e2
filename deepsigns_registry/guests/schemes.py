"""A third party's scheme as one of ours: each question goes into a room, and its answer is checked.

The plugin gets its own scheme's secret and subkey and what the suspect answered, and has no files,
no network and no other secret. Embedding is not asked here: trainings have a room of their own.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.graph.limits import Limits
from deepsigns_registry.guests import scheme_child
from deepsigns_registry.guests.values import read_value, written_value
from deepsigns_registry.plugins import plugin_folders
from deepsigns_registry.sandbox.policy import check_doors
from deepsigns_registry.sandbox.room import Bounds, Room, RoomError
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.interface import Ordinary
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    Scheme,
    SchemeSecret,
)
from deepsigns_registry.watermark.schemes import GROUP, named_schemes, own_schemes
from deepsigns_registry.watermark.tap import TapAgreement

if TYPE_CHECKING:
    from deepsigns_registry.watermark.objective import Objective

__all__ = ["reading_schemes"]

_ROWS = 2  # samples or groups, and what belongs to each
_CHILD = Path(scheme_child.__file__)
_ADVICE = "upgrade or uninstall the plugin that brings it, or read the other schemes' marks"


@contextmanager
def reading_schemes(names: Iterable[str], limits: Limits | None = None) -> Iterator[list[Scheme]]:
    """The schemes of these names, for reading marks; those of third parties run in rooms.

    Args:
        names: Such as the keys of a record's secrets.
        limits: What each of the rooms may cost.

    Yields:
        Schemes of these names, in this order. The rooms end with the context.

    Raises:
        CouldNotCheckError: There is none of that name, or its plugin is broken.

    Examples:
        >>> with reading_schemes(["blackbox", "whitebox"]) as schemes:
        ...     [scheme.name for scheme in schemes]
        ['blackbox', 'whitebox']
    """
    ours = {scheme.name for scheme in own_schemes()}
    with ExitStack() as stack:
        yield [
            named_schemes([name])[0] if name in ours else _guest(name, limits or Limits(), stack)
            for name in names
        ]


def _guest(name: str, limits: Limits, stack: ExitStack) -> Scheme:
    bounds = Bounds(
        seconds=limits.seconds,
        memory_bytes=limits.resident_bytes,
        folder_bytes=2 * limits.result_bytes,
        limits={"core": 0, "cpu": int(limits.seconds) + 2, "fsize": limits.result_bytes},
    )
    try:
        room = stack.enter_context(Room(_CHILD, bounds=bounds, modules=plugin_folders(GROUP)))
    except RoomError as error:
        raise CouldNotCheckError(
            f"scheme '{name}': the process that should read it {error}", advice=_ADVICE
        ) from None
    check_doors(room.doors, limits.require)
    guest = _Guest(name, room, limits.result_bytes)
    described = guest.ask({"load": name})
    offers = described.get("offers")
    offered = set(offers) if isinstance(offers, list) else set()
    kind = _KINDS["ordinary" in offered, "tap" in offered]
    return kind(guest, described.get("activation") is True, described.get("weight") is True)


class _Guest:
    """One plugin in its room."""

    def __init__(self, name: str, room: Room, most_bytes: int) -> None:
        self.name = name
        self._room, self._most_bytes = room, most_bytes
        self._secret: SchemeSecret | None = None
        self._secrets = self._calls = 0
        self._written: object = None

    def ask(self, request: dict[str, object]) -> dict[str, Any]:
        """Has a request answered.

        Raises:
            CouldNotCheckError: The scheme says so, or failed.
            TamperedError: The scheme says so.
        """
        try:
            answer = self._room.ask(request)
        except RoomError as error:
            raise self._failure(f"the process that read it {error}") from None
        if "failed" not in answer and "error" not in answer:
            return answer
        what = str(answer.get("failed", answer.get("error")))[:500]
        advice = str(answer.get("advice") or _ADVICE)[:500]
        if answer.get("code") == TamperedError.code:
            raise TamperedError(what, advice=advice)
        raise CouldNotCheckError(f"scheme '{self.name}': {what}", advice=advice)

    def call(self, method: str, kind: type | tuple[type, ...], *given: object) -> Any:
        """What a method of the scheme returns: of this kind; a secret comes first.

        Raises:
            CouldNotCheckError: As `ask`, or what came back is no value.
            TamperedError: As `ask`.
        """
        folder = self._room.folder
        secret, *others = given
        if secret is not self._secret:
            for old in folder.glob("*.npy"):
                old.unlink()
            assert isinstance(secret, SchemeSecret)  # noqa: S101 - all methods take it first
            self._secret, self._secrets = secret, self._secrets + 1
            self._written = written_value(secret, folder, f"secret-{self._secrets}")
        self._calls += 1
        name = f"given-{self._calls}"
        parts: list[object] = [{"secret": self._secrets, "value": self._written}]
        parts += [written_value(each, folder, f"{name}-{n}") for n, each in enumerate(others)]
        try:
            answer = self.ask({"call": method, "given": parts})
            found = read_value(answer.get("value"), folder, most_bytes=self._most_bytes)
        except (KeyError, OSError, TypeError, ValueError, AttributeError):
            raise self.broken(method) from None
        finally:
            for pattern in (f"{name}-*.npy", "result-*.npy"):
                for old in folder.glob(pattern):
                    old.unlink(missing_ok=True)
        if not isinstance(found, kind):
            raise self.broken(method)
        return found

    def broken(self, method: str) -> CouldNotCheckError:
        """That a method gave what it must not give."""
        return self._failure(f"its `{method}` gave something else than it should")

    def _failure(self, what: str) -> CouldNotCheckError:
        return CouldNotCheckError(f"scheme '{self.name}': {what}", advice=_ADVICE)


class _Reading:
    """A guest's scheme, as far as marks are read by it; see `Scheme`."""

    def __init__(self, guest: _Guest, needs_activation: bool, needs_weight: bool) -> None:
        self._guest = guest
        self.name = guest.name
        self.needs_activation, self.needs_weight = needs_activation, needs_weight

    def prepare(self, preparation: Preparation) -> SchemeSecret:  # noqa: ARG002
        """Refused; see the module."""
        raise self._not_here()

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> "Objective":  # noqa: ARG002
        """Refused; see the module."""
        raise self._not_here()

    def probes(self, secret: SchemeSecret) -> Probes:
        """See `Scheme.probes`."""
        found: Probes = self._guest.call("probes", Probes, secret)
        return found

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Evidence:
        """See `Scheme.evidence`."""
        found: Evidence = self._guest.call("evidence", Evidence, secret, answers)
        if found.scheme != self.name:
            raise self._guest.broken("evidence")
        return found

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        """See `Scheme.check`."""
        self._guest.call("check", NoneType, secret, subkey, manifest)

    def _not_here(self) -> CouldNotCheckError:
        return CouldNotCheckError(
            f"scheme '{self.name}' is read here, not embedded", advice="embed it with the worker"
        )


class _WithOrdinary(_Reading):
    """One that holds ordinary samples; see `HoldsOrdinary`."""

    def ordinary(self, secret: SchemeSecret) -> Ordinary | None:
        """See `HoldsOrdinary.ordinary`."""
        found: Ordinary | None = self._guest.call("ordinary", (Ordinary, NoneType), secret)
        if found is not None and (
            min(found.inputs.ndim, found.outputs.ndim) < _ROWS
            or len(found.inputs) != len(found.outputs)
        ):
            raise self._guest.broken("ordinary")
        return found


class _WithTap(_Reading):
    """One that knows the parent's tap; see `KnowsTap`."""

    def parent_means(self, secret: SchemeSecret) -> NDArray[np.float32]:
        """See `KnowsTap.parent_means`."""
        found: NDArray[np.float32] = self._guest.call("parent_means", np.ndarray, secret)
        if found.ndim != _ROWS or found.dtype != np.float32:
            raise self._guest.broken("parent_means")
        return found

    def tap_agreement(
        self, secret: SchemeSecret, activation: NDArray[np.float32]
    ) -> TapAgreement | None:
        """See `KnowsTap.tap_agreement`."""
        kinds = (TapAgreement, NoneType)
        found: TapAgreement | None = self._guest.call("tap_agreement", kinds, secret, activation)
        return found


class _WithBoth(_WithOrdinary, _WithTap):
    """One that does both."""


_KINDS: dict[tuple[bool, bool], type[_Reading]] = {
    (False, False): _Reading,
    (True, False): _WithOrdinary,
    (False, True): _WithTap,
    (True, True): _WithBoth,
}
