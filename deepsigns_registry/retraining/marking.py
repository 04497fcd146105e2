"""From an unmarked version to a registered, marked and signed one.

The parent process holds the signing key and never runs the model itself: the training child
returns files, and the mark is read again from those files before anything is signed.
"""

import hashlib
import json
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deepsigns_registry import __version__
from deepsigns_registry.attestation.bundle import write_bundles
from deepsigns_registry.attestation.digests import combined_digest, digest_folder, sha256_file
from deepsigns_registry.attestation.keys import owner_identity
from deepsigns_registry.attestation.keystore import FileKeystore, Marking, open_keystore
from deepsigns_registry.attestation.sealing import load_identity, load_recipient
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)
from deepsigns_registry.config import Settings
from deepsigns_registry.engine import open_engine
from deepsigns_registry.errors import CouldNotCheckError, RefusedError
from deepsigns_registry.registry.assemble import assemble, onnx_file
from deepsigns_registry.registry.versions import VersionRef, download_version, register_marked
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    StageResult,
    mark_model,
    run_program,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.tracking import MlflowClient

    from deepsigns_registry.attestation.signing import FileSigner
    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = ["Marked", "mark_version"]

_ROOT_BYTES = 32


@dataclass(frozen=True)
class Marked:
    """A marked version.

    Attributes:
        version: Its number.
        marking: Name of the marking in the key store.
        fidelity: What the mark costs; None when the version had been marked before.
    """

    version: str
    marking: str
    fidelity: Fidelity | None


def mark_version(
    settings: Settings,
    client: "MlflowClient",
    source: VersionRef,
    *,
    request: str,
    signer: "FileSigner",
    still_ours: "Callable[[], None]",
    progress: "Callable[[float, str], None]",
) -> Marked:
    """Marks one version and registers the result; the same version again costs nothing.

    Args:
        settings: The settings.
        client: Of the registry.
        source: The unmarked version.
        request: Id of the promotion request, for the attestation.
        signer: A key that may sign watermarks.
        still_ours: Raises when the lease on the version is lost; called before publishing.
        progress: Told how far it is.

    Raises:
        DataError: The owner's data cannot be used.
        UnmarkableError: The model cannot carry the mark.
        RefusedError: The mark costs too much accuracy, or is not there.
        CouldNotCheckError: A server or a process failed; the same call may succeed later.
    """
    settings.model(source.name)
    owner = owner_identity(settings.file(settings.owner.public_key))
    keystore = open_keystore(settings)
    with tempfile.TemporaryDirectory(prefix="deepsigns-worker-") as scratch:
        work = Path(scratch)
        progress(0.0, f"downloading {source}")
        folder = download_version(client, source, work / "source")
        parent_digest = combined_digest(digest_folder(folder))
        marking = _marking_name(settings, source, parent_digest)
        finished = {entry.marking: entry for entry in keystore.list_markings()}
        if marking in finished:
            return Marked(finished[marking].marked_version, marking, None)
        root = _sealed_root(settings, keystore, marking, owner, request)
        earlier = _sealed_record(settings, keystore, marking)
        (work / "stage").mkdir()
        (result,) = open_engine(settings.engine).run(
            mark_model,
            [
                {
                    "source": folder,
                    "config": settings.path,
                    "model": source.name,
                    "root": root,
                    "owner": owner,
                    "record": earlier,
                    "out": work / "stage",
                }
            ],
            on_progress=lambda _index, fraction, message: progress(0.05 + 0.75 * fraction, message),
        )
        fidelity = _checked_fidelity(settings, source, result)
        progress(0.82, "reading the mark from the exported files")
        marked = work / "marked"
        assemble(folder, work / "stage" / MARKED_PROGRAM, work / "stage" / MARKED_ONNX, marked)
        record = _checked_record(result.record, root, owner)
        # Committed before anything is published; the index counts this commitment too.
        index = keystore.commitments.append(owner, record.commitments())
        _check_mark(settings, source.name, marked, record, index)
        created = datetime.now(UTC).replace(microsecond=0)
        predicate = WatermarkPredicate(
            owner=owner.hex(),
            marking=marking,
            request_id=request,
            commitments=record.commitments(),
            commitment_index=index,
            manifest_root=record.manifest.root,
            parent=Parent(name=source.name, version=source.version, digest=parent_digest),
            bits=settings.model(source.name).bits,
            queries=settings.model(source.name).queries,
            fidelity=fidelity,
            tool=f"deepsigns-registry/{__version__}",
            created_at=created,
        )
        progress(0.9, "sealing and signing")
        if earlier is None:
            _seal_record(settings, keystore, marking, record.to_bytes())
        write_bundles(marked, watermark_statement(digest_folder(marked), predicate), signer)
        still_ours()
        progress(0.95, "registering the marked version")
        version = register_marked(client, source, marked).version
        keystore.finish(
            Marking(
                marking=marking,
                owner=owner.hex(),
                model=source.name,
                source_version=source.version,
                marked_version=version,
                onnx_digest=sha256_file(onnx_file(marked)),
                commitments=record.commitments(),
                index=index,
                created_at=created,
            )
        )
    return Marked(version, marking, fidelity)


def _marking_name(settings: Settings, source: VersionRef, parent_digest: str) -> str:
    """One marking exists per source, recipe and policy, and serves several aliases."""
    recipe = settings.model(source.name).model_dump_json()
    policy = settings.policy.model_dump_json()
    described = json.dumps([source.name, parent_digest, recipe, policy])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _context(owner: bytes, request: str) -> dict[str, str]:
    return {"owner": owner.hex(), "request": request}


def _sealed_root(
    settings: Settings, keystore: FileKeystore, marking: str, owner: bytes, request: str
) -> bytes:
    """The root key: sealed before any training, and the same one when the work is resumed."""
    if keystore.has_key(marking):
        identity = load_identity(settings.file(settings.owner.unsealing, scheme="age"))
        return keystore.load_key(marking, identity)
    root = secrets.token_bytes(_ROOT_BYTES)
    keystore.seal_key(
        marking, root, recipients=_recipients(settings), context=_context(owner, request)
    )
    return root


def _sealed_record(settings: Settings, keystore: FileKeystore, marking: str) -> bytes | None:
    """The record of an earlier attempt that was interrupted before it published."""
    if not keystore.has_record(marking):
        return None
    identity = load_identity(settings.file(settings.owner.unsealing, scheme="age"))
    return keystore.load_record(marking, identity)


def _seal_record(settings: Settings, keystore: FileKeystore, marking: str, record: bytes) -> None:
    keystore.seal_record(
        marking, record, recipients=_recipients(settings), context=keystore.context(marking)
    )


def _recipients(settings: Settings) -> list[str]:
    return [
        load_recipient(settings.file(reference, scheme="age"))
        for reference in settings.owner.sealing
    ]


def _checked_fidelity(settings: Settings, source: VersionRef, result: StageResult) -> Fidelity:
    limit = settings.model(source.name).max_accuracy_drop
    low, high = result.interval
    if result.drop > limit:
        raise RefusedError(
            f"{source}: the mark would cost {100 * result.drop:.2f} points of accuracy "
            f"(95% interval {100 * low:.2f} to {100 * high:.2f}), more than {100 * limit:.2f}",
            advice="raise max_accuracy_drop, give more data, or use fewer bits",
        )
    return Fidelity(
        parent_accuracy=result.parent_accuracy,
        marked_accuracy=result.marked_accuracy,
        drop=result.drop,
        interval=result.interval,
    )


def _checked_record(content: bytes, root: bytes, owner: bytes) -> "WatermarkRecord":
    """The record of the training child, derived again from the root that was sealed."""
    from deepsigns_registry.watermark.record import WatermarkRecord

    record = WatermarkRecord.from_bytes(content)
    if record.root.secret != root or record.root.owner != owner:
        raise CouldNotCheckError("the training process returned a record of another key")
    record.check()
    return record


def _check_mark(
    settings: Settings, model: str, marked: Path, record: "WatermarkRecord", commitments: int
) -> None:
    """Reads the mark from the files that will be signed: the ONNX file, then the program."""
    import numpy as np

    from deepsigns_registry.graph.session import OnnxSuspect
    from deepsigns_registry.watermark.extract import extract
    from deepsigns_registry.watermark.schemes import builtin_schemes
    from deepsigns_registry.watermark.verdict import PRESENT_AT, judge

    suspect = OnnxSuspect(onnx_file(marked))
    extraction = extract(record, suspect)
    verdict = judge(
        extraction.evidence,
        tries=commitments * len(record.secrets),
        incomplete=extraction.incomplete,
    )
    weak = [
        evidence.scheme
        for evidence in verdict.evidence
        if verdict.log10_p_adjusted(evidence.scheme) > PRESENT_AT
    ]
    if weak or extraction.incomplete or len(verdict.evidence) != len(record.secrets):
        missing = ", ".join(weak) or "; ".join(extraction.incomplete)
        raise RefusedError(
            f"the marked model does not carry the mark well enough: {missing}",
            advice="train longer (epochs), or mark a wider layer",
        )
    inputs = np.concatenate(
        [scheme.probes(record.secrets[scheme.name])[0] for scheme in builtin_schemes()]
    )
    expected, _ = suspect.run(inputs, tap=None)
    (found,) = open_engine(settings.engine).run(
        run_program,
        [{"folder": marked, "config": settings.path, "model": model, "inputs": inputs}],
    )
    if not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise RefusedError(
            "the marked PyTorch program and the ONNX file give different outputs",
            advice="report this model: its export is not faithful",
        )
