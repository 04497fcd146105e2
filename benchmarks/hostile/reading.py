"""Reads one file as `deepsigns verify` or `deepsigns evidence verify` does, and says what came."""

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.hostile.case import DEADLINE, MEMORY, Case
from benchmarks.hostile.evidence import GOLDEN, altered, is_the_original
from benchmarks.hostile.graphs import seed_of, seeds
from benchmarks.hostile.mutants import mutated
from benchmarks.hostile.owner import candidates_of
from benchmarks.hostile.tricks import TRICKS
from deepsigns_registry.audit.verify import Candidates, verify_onnx
from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.limits import Limits

__all__ = ["LIMITS", "Reader"]

LIMITS = Limits(seconds=DEADLINE, resident_bytes=MEMORY)


class Reader:
    """Makes files and reads them.

    Args:
        folder: Where `owner.write_owner` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._candidates: Candidates = candidates_of(folder)

    def made(self, case: Case, folder: Path) -> Path:
        """Makes a case's file in an empty folder."""
        if case.kind == "trick":
            return TRICKS[case.name](folder)
        number = int(case.name)
        if case.kind == "evidence":
            path = folder / "evidence.zip"
            path.write_bytes(altered(number))
            return path
        path = folder / "suspect.onnx"
        path.write_bytes(mutated(seed_of(seeds(self._folder), number), number))
        return path

    def read(self, case: Case, path: Path) -> tuple[str, bool, str]:
        """Reads it.

        Returns:
            What was said, whether it was taken for what it is not, and the traceback of what was
            none of our errors; or warnings, one a line.
        """
        read: Callable[[Path], tuple[str, bool]] = (
            self._evidence if case.kind == "evidence" else self._onnx
        )
        with warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always")
            said, accepted, fault = self._answered(read, path)
        # What a library says of a stranger's numbers would stand among the command's lines.
        told = [f"{found.filename}:{found.lineno}: {found.message}" for found in noticed]
        return said, accepted, fault or "\n".join(told)

    def _answered(
        self, read: Callable[[Path], tuple[str, bool]], path: Path
    ) -> tuple[str, bool, str]:
        try:
            said, accepted = read(path)
        except DeepSignsError as error:
            return f"{type(error).__name__}: {error}"[:300], False, ""
        except (Exception, SystemExit) as error:  # noqa: BLE001 - that is what is looked for
            return type(error).__name__, False, traceback.format_exc()
        return said, accepted, ""

    def _onnx(self, path: Path) -> tuple[str, bool]:
        verdict = verify_onnx(path, self._candidates, limits=LIMITS).verdict
        said = f"{verdict.word}: {'; '.join(verdict.problems)}"[:300]
        return said, verdict.word == "present"

    def _evidence(self, path: Path) -> tuple[str, bool]:
        folder = GOLDEN
        verdict = verify_evidence(
            path,
            folder / "suspect.onnx",
            folder / "signer.pub.pem",
            known_attestation=folder / "known.sigstore.json",
        ).verdict
        # Another way to pack the same content is no other claim.
        return verdict.word, verdict.word == "present" and not is_the_original(path)
