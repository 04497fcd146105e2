"""What reads a third party's scheme in a room; started as a script by `sandbox.enter`.

{"load": "uchida"}                        ->  {"needs": {...}, "offers": [...]}
{"call": "probes", "given": [...]}        ->  {"value": ...}; see `values`
{"failed": "...", "code": "...", "advice": "..."} in either case
"""

from pathlib import Path
from typing import Any

from deepsigns_registry.errors import CouldNotCheckError, DeepSignsError
from deepsigns_registry.sandbox import channel

__all__: list[str] = []

_MOST_BYTES = 2**31


class _Guest:
    """The scheme, once it is loaded."""

    def __init__(self) -> None:
        self._scheme: Any = None
        self._secrets: dict[str, object] = {}

    def __call__(self, request: dict[str, Any]) -> dict[str, object]:
        """Answers a request; what the scheme raises is an answer."""
        try:
            return self._loaded(request["load"]) if "load" in request else self._called(request)
        except DeepSignsError as error:
            return {"failed": error.message, "code": error.code, "advice": error.advice}
        except Exception as error:  # noqa: BLE001 - whatever a third party's scheme raises
            line = (str(error).strip().splitlines() or [""])[0]
            what = f"{type(error).__name__}: {line}"[:300]
            return {"failed": what, "code": CouldNotCheckError.code, "advice": ""}

    def _loaded(self, name: str) -> dict[str, object]:
        from deepsigns_registry.watermark.interface import HoldsOrdinary
        from deepsigns_registry.watermark.schemes import named_schemes
        from deepsigns_registry.watermark.witness import KnowsTap

        (self._scheme,) = named_schemes([name])
        offers = {"ordinary": HoldsOrdinary, "tap": KnowsTap}
        return {
            "activation": bool(self._scheme.needs_activation),
            "weight": bool(self._scheme.needs_weight),
            "offers": [key for key, kind in offers.items() if isinstance(self._scheme, kind)],
        }

    def _called(self, request: dict[str, Any]) -> dict[str, object]:
        from deepsigns_registry.guests.values import read_value, written_value

        given = [
            self._secret(part)
            if isinstance(part, dict) and "secret" in part
            else read_value(part, Path(), most_bytes=_MOST_BYTES)
            for part in request["given"]
        ]
        result = getattr(self._scheme, request["call"])(*given)
        return {"value": written_value(result, Path(), "result")}

    def _secret(self, part: dict[str, Any]) -> object:
        from deepsigns_registry.guests.values import read_value

        name = str(part["secret"])
        if name not in self._secrets:
            read = read_value(part["value"], Path(), most_bytes=_MOST_BYTES)
            # One at a time is read; the others' files are gone.
            self._secrets = {name: read}
        return self._secrets[name]


if __name__ == "__main__":
    channel.serve(_Guest())
