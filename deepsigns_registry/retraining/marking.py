"""From an unmarked version to a registered, marked and signed one.

The parent process holds the signing key and never runs the model itself: the training child
returns files, and the mark is read again from those files before anything is signed.
"""

import itertools
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepsigns_registry import __version__
from deepsigns_registry.attestation import files
from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import combined_digest, digest_folder, sha256_file
from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.keystore import Marking, open_keystore
from deepsigns_registry.attestation.leftovers import drop_leftovers
from deepsigns_registry.attestation.scratch import scratch_folder
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)
from deepsigns_registry.config import Settings
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import (
    NotConvergedError,
    NotFoundError,
    RefusedError,
    TamperedError,
)
from deepsigns_registry.registry.assemble import assemble, onnx_file
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.registry.logged import logged_metrics
from deepsigns_registry.registry.preflight import check_registrable
from deepsigns_registry.registry.versions import VersionRef, download_version, register_marked
from deepsigns_registry.retraining.checkpoints import discard, discarded_when_done
from deepsigns_registry.retraining.inspection import (
    check_mark,
    checked_fidelity,
    mark_size,
    score_name,
)
from deepsigns_registry.retraining.names import MarkingNames
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    Prepared,
    mark_model,
    prepare_mark,
)
from deepsigns_registry.retraining.vault import Vault
from deepsigns_registry.watermark.verdict import questions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlflow.tracking import MlflowClient

    from deepsigns_registry.attestation.signing import FileSigner
    from deepsigns_registry.engine.jobs import Figures, OnProgress
    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = ["MOST_LAYERS", "Marked", "MarkingProgress", "mark_version"]

_ROOT_BYTES = 32
MOST_LAYERS = 3
"""Hidden activations that are tried in one go, each with a marking of its own."""


class MarkingProgress(Protocol):
    """Who is told how a marking goes; `reporting.ProgressReporter` is one."""

    def __call__(self, fraction: float, message: str, /, figures: "Figures | None" = None) -> None:
        """Takes a fraction in [0, 1], a message, and what was measured, if anything was."""

    def judged(self, document: "Mapping[str, object]") -> None:
        """Takes the judgement of the data, as plain values."""


@dataclass(frozen=True)
class Marked:
    """A marked version.

    Attributes:
        version: Its number.
        marking: Name of the marking in the key store.
        fidelity: What the mark costs; None when the version had been marked before.
        device: What it was marked on; empty when it had been marked before.
        score: What the figures of `fidelity` are called, such as `accuracy`.
    """

    version: str
    marking: str
    fidelity: Fidelity | None = None
    device: str = ""
    score: str = ""


def mark_version(
    settings: Settings,
    client: "MlflowClient",
    source: VersionRef,
    *,
    request: str,
    signer: "FileSigner",
    still_ours: "Callable[[], None]",
    progress: "MarkingProgress",
) -> Marked:
    """Marks one version and registers the result; the same version again costs nothing.

    The secret is sealed and committed to before any training. Work that was interrupted goes on
    with what is sealed already, and after the last state of the training that was kept.

    Args:
        settings: The settings.
        client: Of the registry.
        source: The unmarked version.
        request: Id of the promotion request, for the attestation.
        signer: A key that may sign watermarks.
        still_ours: Raises when the lease on the version is lost; called before every write.
        progress: Told how far it is, what the mark is like so far, and how the data was judged.

    Raises:
        DataError: The owner's data cannot be used, or is not this model's.
        UnmarkableError: The model cannot carry the mark.
        NotConvergedError: The mark is too weak or costs too much, wherever it was tried.
        RefusedError: The registry takes no marked version, or the files do not carry the mark.
        CouldNotCheckError: A server or a process failed; the same call may succeed later.
    """
    settings.model(source.name)
    check_registrable(client, source)
    with scratch_folder("deepsigns-worker-") as work:
        progress(0.0, f"downloading {source}")
        folder = download_version(client, source, work / "source")
        drop_leftovers(folder)
        session = _Session(settings, client, source, folder=folder, request=request, signer=signer)
        return session.marked(still_ours, progress)


class _Session:
    """One marking, from the downloaded version to the registered one."""

    def __init__(
        self,
        settings: Settings,
        client: "MlflowClient",
        source: VersionRef,
        *,
        folder: Path,
        request: str,
        signer: "FileSigner",
    ) -> None:
        self._settings, self._client, self._source = settings, client, source
        self._folder, self._work = folder, folder.parent
        self._request, self._signer = request, signer
        self._parent = Parent(
            name=source.name,
            version=source.version,
            digest=combined_digest(digest_folder(folder)),
        )
        self._owner = owner_identity(settings.file(settings.owner.public_key))
        self._keystore = open_keystore(settings)
        # Beside what is hidden from a job nothing new can be made by it.
        files.private_folder(settings.checkpoints)
        self._engine = LocalEngine(hidden=settings.secrets)
        self._names = MarkingNames.of(
            self._owner.hex(),
            self._parent.name,
            self._parent.digest,
            settings.model(source.name).model_dump_json(),
            settings.policy.model_dump_json(exclude={"ignore"}),
        )
        self._job = {"source": folder, "config": settings, "model": source.name}

    def marked(self, still_ours: "Callable[[], None]", progress: "MarkingProgress") -> Marked:
        """Marks at one hidden activation after the other, until one carries the mark."""
        # Deriving and training load the same model, the same data and the same libraries.
        with self._engine:
            return self._somewhere(still_ours, progress)

    def _somewhere(self, still_ours: "Callable[[], None]", progress: "MarkingProgress") -> Marked:
        refused: list[NotConvergedError] = []
        while True:
            prepared = self._prepared(progress)
            marking, earlier = self._find(self._names.base(prepared.data))
            if earlier is not None:
                discard(self._settings.checkpoints, marking)
                return Marked(earlier, marking)
            still_ours()
            try:
                with discarded_when_done(self._settings.checkpoints, marking):
                    return self._marked(marking, prepared, still_ours, progress)
            except NotConvergedError as error:
                self._keystore.give_up(marking)
                refused.append(error)
            if len(refused) >= min(prepared.choices, MOST_LAYERS):
                raise _nowhere(refused)
            progress(0.02, f"trying elsewhere, {refused[-1].public}")

    def _prepared(self, progress: "MarkingProgress", *, anew: bool = False) -> Prepared:
        """The judgement of the data, and a record unless one is kept already.

        Raises:
            DataError: The data is not this model's.
        """
        stored = self._keystore
        finished = [entry.marking for entry in stored.list_markings()]
        names = self._names.knowing(
            kept=[] if anew else [*finished, *stored.unfinished()], given_up=stored.given_up()
        )
        (prepared,) = self._engine.run(
            prepare_mark,
            [
                {
                    **self._job,
                    "root": secrets.token_bytes(_ROOT_BYTES),
                    "owner": self._owner,
                    "scratch": self._work,
                    "metrics": logged_metrics(self._client, self._source),
                    "names": names,
                }
            ],
            on_progress=_part(progress, 0.02, 0.15),
        )
        progress.judged(prepared.judgement.to_json())
        prepared.judgement.require()
        return prepared

    def _find(self, base: str) -> tuple[str, str | None]:
        """The marking to work on, and the version that it gave already, when that still stands.

        A finished one whose version is gone, or is not what was signed then, is left alone, and so
        is one that was given up; the work gets the next number.
        """
        finished = {entry.marking: entry for entry in self._keystore.list_markings()}
        given_up = set(self._keystore.given_up())
        for number in itertools.count(1):
            name = f"{base}-{number}"
            if name in given_up:
                continue
            if name not in finished:
                return name, None
            version = finished[name].marked_version
            uri = f"{self._parent.name}/{version}"
            try:
                signed = gate(self._settings, uri, client=self._client).attestation
            except (NotFoundError, RefusedError, TamperedError):
                continue
            said = signed.predicate
            ours = (name, self._owner.hex(), self._parent.digest)
            if (said.marking, said.owner, said.parent.digest) == ours:
                return name, version
        raise AssertionError  # pragma: no cover - the numbers do not end

    def _marked(
        self,
        marking: str,
        prepared: Prepared,
        still_ours: "Callable[[], None]",
        progress: "MarkingProgress",
    ) -> Marked:
        """Trains, reads the mark again from the files, signs and registers."""
        settings, source = self._settings, self._source
        record, index = self._sealed(marking, prepared, still_ours, progress)
        stage, marked = (self._work / f"{part}-{marking}" for part in ("stage", "marked"))
        stage.mkdir()
        (result,) = self._engine.run(
            mark_model,
            [
                {
                    **self._job,
                    "record": record.to_bytes(),
                    "checkpoints": settings.checkpoints,
                    "marking": marking,
                    "out": stage,
                    "tries": index * questions(len(record.secrets)),
                }
            ],
            on_progress=_part(progress, 0.2, 0.6),
        )
        # What it wrote is looked at by others.
        self._engine.release()
        fidelity = checked_fidelity(settings, source, result)
        progress(0.82, "reading the mark from the exported files")
        assemble(self._folder, stage / MARKED_PROGRAM, stage / MARKED_ONNX, marked)
        check_mark(marked, record, index, result.samples, self._settings.secrets)
        created = datetime.now(UTC).replace(microsecond=0)
        predicate = self._predicate(marking, record, index, fidelity, created)
        progress(0.9, "signing")
        write_bundles(marked, watermark_statement(digest_folder(marked), predicate), self._signer)
        still_ours()
        progress(0.95, "registering the marked version")
        version = register_marked(self._client, source, marked).version
        self._keystore.finish(
            Marking(
                marking=marking,
                owner=self._owner.hex(),
                model=source.name,
                source_version=source.version,
                marked_version=version,
                onnx_digest=sha256_file(onnx_file(marked)),
                commitments=record.commitments(),
                index=index,
                created_at=created,
            )
        )
        return Marked(version, marking, fidelity, result.device, score_name(settings, source.name))

    def _predicate(
        self,
        marking: str,
        record: "WatermarkRecord",
        index: int,
        fidelity: Fidelity,
        created: datetime,
    ) -> WatermarkPredicate:
        bits, queries = mark_size(record)
        return WatermarkPredicate(
            owner=self._owner.hex(),
            marking=marking,
            request_id=self._request,
            commitments=record.commitments(),
            commitment_index=index,
            commitment_entry=self._keystore.commitments.entry(
                self._owner, record.commitments()
            ).digest,
            manifest_root=record.manifest.root,
            parent=self._parent,
            bits=bits,
            queries=queries,
            fidelity=fidelity,
            tool=f"deepsigns-registry/{__version__}",
            created_at=created,
        )

    def _sealed(
        self,
        marking: str,
        prepared: Prepared,
        still_ours: "Callable[[], None]",
        progress: "MarkingProgress",
    ) -> "tuple[WatermarkRecord, int]":
        """The record, sealed and committed to, and the index of its commitment."""
        from deepsigns_registry.guests import reading_schemes
        from deepsigns_registry.watermark.record import WatermarkRecord

        vault = Vault(self._settings, self._keystore, marking, self._owner)
        content = vault.record()
        if content is None:
            derived = prepared.record or self._prepared(progress, anew=True).record
            still_ours()
            content = vault.seal_record(derived)
        record = WatermarkRecord.from_bytes(content)
        if record.root.owner != vault.owner:
            raise TamperedError("the sealed record belongs to another owner")
        with reading_schemes(record.secrets) as schemes:
            record.check(schemes)
        vault.seal_root(record.root.secret)
        return record, vault.commit(record.commitments())


def _part(progress: "MarkingProgress", start: float, share: float) -> "OnProgress":
    """Tells a job's progress as a part of the whole."""

    def tell(
        _index: int, fraction: float, message: str, figures: "Figures | None" = None, /
    ) -> None:
        progress(start + share * fraction, message, figures)

    return tell


def _nowhere(refused: "list[NotConvergedError]") -> NotConvergedError:
    """What is said after the mark was tried in several layers."""
    last = refused[-1]
    if len(refused) == 1:
        return last
    tried = f"tried in {len(refused)} layers; in the last one"
    return NotConvergedError(
        f"{tried} {last.message}", advice=last.advice, public=f"{tried} {last.public}"
    )
