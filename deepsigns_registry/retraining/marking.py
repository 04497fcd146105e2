"""From an unmarked version to a registered, marked and signed one.

The parent process holds the signing key and never runs the model itself: the training child
returns files, and the mark is read again from those files before anything is signed.
"""

import hashlib
import itertools
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
from deepsigns_registry.attestation.statement import (
    Fidelity,
    Parent,
    WatermarkPredicate,
    watermark_statement,
)
from deepsigns_registry.config import Settings
from deepsigns_registry.engine.local import LocalEngine
from deepsigns_registry.errors import NotFoundError, RefusedError, TamperedError
from deepsigns_registry.registry.assemble import assemble, onnx_file
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.registry.versions import VersionRef, download_version, register_marked
from deepsigns_registry.retraining.checkpoints import discard, discarded_when_done
from deepsigns_registry.retraining.stage import (
    MARKED_ONNX,
    MARKED_PROGRAM,
    StageResult,
    mark_model,
    prepare_mark,
    run_program,
)
from deepsigns_registry.retraining.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.tracking import MlflowClient

    from deepsigns_registry.attestation.signing import FileSigner
    from deepsigns_registry.engine.jobs import JobProgress
    from deepsigns_registry.watermark.record import WatermarkRecord

__all__ = ["Marked", "mark_size", "mark_version"]

_ROOT_BYTES = 32


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
    progress: "JobProgress",
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
        parent = Parent(
            name=source.name,
            version=source.version,
            digest=combined_digest(digest_folder(folder)),
        )
        marking, earlier = _find_marking(settings, client, keystore, owner, parent)
        if earlier is not None:
            discard(settings.checkpoints, marking)
            return Marked(earlier, marking)
        still_ours()
        with discarded_when_done(settings.checkpoints, marking):
            vault = Vault(settings, keystore, marking, owner)
            job = {"source": folder, "config": settings.path, "model": source.name}
            record, index = _prepared(vault, job, work, still_ours, progress)
            (work / "stage").mkdir()
            (result,) = LocalEngine().run(
                mark_model,
                [
                    {
                        **job,
                        "record": record.to_bytes(),
                        "checkpoints": settings.checkpoints,
                        "marking": marking,
                        "out": work / "stage",
                    }
                ],
                on_progress=lambda _index, fraction, message, figures=None: progress(
                    0.2 + 0.6 * fraction, message, figures
                ),
            )
            fidelity = _checked_fidelity(settings, source, result)
            progress(0.82, "reading the mark from the exported files")
            marked = work / "marked"
            assemble(folder, work / "stage" / MARKED_PROGRAM, work / "stage" / MARKED_ONNX, marked)
            _check_mark(settings, source.name, marked, record, index)
            bits, queries = mark_size(record)
            created = datetime.now(UTC).replace(microsecond=0)
            predicate = WatermarkPredicate(
                owner=owner.hex(),
                marking=marking,
                request_id=request,
                commitments=record.commitments(),
                commitment_index=index,
                manifest_root=record.manifest.root,
                parent=parent,
                bits=bits,
                queries=queries,
                fidelity=fidelity,
                tool=f"deepsigns-registry/{__version__}",
                created_at=created,
            )
            progress(0.9, "signing")
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
    score = _score_name(settings, source.name)
    return Marked(version, marking, fidelity, result.device, score)


def _find_marking(
    settings: Settings,
    client: "MlflowClient",
    keystore: FileKeystore,
    owner: bytes,
    parent: Parent,
) -> tuple[str, str | None]:
    """The marking to work on, and the version that it gave already, when that still stands.

    One marking exists per owner, source, recipe and policy. A finished one whose version is gone,
    or is not what was signed then, is left alone; the work gets the next number.
    """
    recipe = settings.model(parent.name).model_dump_json()
    policy = settings.policy.model_dump_json()
    described = json.dumps([owner.hex(), parent.name, parent.digest, recipe, policy])
    base = hashlib.sha256(described.encode()).hexdigest()[:32]
    finished = {entry.marking: entry for entry in keystore.list_markings()}
    for number in itertools.count(1):
        name = f"{base}-{number}"
        if name not in finished:
            return name, None
        version = finished[name].marked_version
        try:
            signed = gate(settings, f"{parent.name}/{version}", client=client).attestation
        except (NotFoundError, RefusedError, TamperedError):
            continue
        said = signed.predicate
        if (said.marking, said.owner, said.parent.digest) == (name, owner.hex(), parent.digest):
            return name, version
    raise AssertionError  # pragma: no cover - the numbers do not end


def mark_size(record: "WatermarkRecord") -> tuple[int, int]:
    """How many bits and how many queries a record holds; none of a scheme that is not embedded."""
    found = (
        record.secrets[scheme].arrays[array].size if scheme in record.secrets else 0
        for scheme, array in (("whitebox", "bits"), ("blackbox", "kept"))
    )
    bits, queries = found
    return bits, queries


def _prepared(
    vault: Vault,
    job: dict[str, object],
    work: Path,
    still_ours: "Callable[[], None]",
    progress: "JobProgress",
) -> "tuple[WatermarkRecord, int]":
    """The record, sealed and committed to, and the index of its commitment."""
    from deepsigns_registry.watermark.record import WatermarkRecord

    content = vault.record()
    if content is None:
        (content,) = LocalEngine().run(
            prepare_mark,
            [
                {
                    **job,
                    "root": secrets.token_bytes(_ROOT_BYTES),
                    "owner": vault.owner,
                    "scratch": work,
                }
            ],
            on_progress=lambda _index, fraction, message, figures=None: progress(
                0.02 + 0.15 * fraction, message, figures
            ),
        )
        still_ours()
        content = vault.seal_record(content)
    record = WatermarkRecord.from_bytes(content)
    if record.root.owner != vault.owner:
        raise TamperedError("the sealed record belongs to another owner")
    record.check()
    vault.seal_root(record.root.secret)
    return record, vault.commit(record.commitments())


def _checked_fidelity(settings: Settings, source: VersionRef, result: StageResult) -> Fidelity:
    limit, cost = settings.model(source.name).max_accuracy_drop, result.cost
    if cost.drop > limit:
        raise RefusedError(
            f"{source}: the mark would cost {100 * cost.drop:.2f} points of "
            f"{_score_name(settings, source.name)} "
            f"(95% interval {100 * cost.low:.2f} to {100 * cost.high:.2f}), more than "
            f"{100 * limit:.2f}",
            advice="raise max_accuracy_drop, give more data, or use fewer bits",
        )
    return Fidelity(
        # A regressor that is worse than the mean of its targets has an R2 below 0.
        parent_accuracy=max(cost.parent, 0.0),
        marked_accuracy=max(cost.marked, 0.0),
        drop=cost.drop,
        interval=(cost.low, cost.high),
    )


def _score_name(settings: Settings, model: str) -> str:
    """What the score of a model's task is called, such as `accuracy`."""
    from deepsigns_registry.watermark.task import SCORES

    return SCORES[settings.model(model).task]


def _check_mark(
    settings: Settings, model: str, marked: Path, record: "WatermarkRecord", commitments: int
) -> None:
    """Reads the mark from the files that will be signed: the ONNX file, then the program."""
    import numpy as np

    from deepsigns_registry.graph.session import OnnxSuspect
    from deepsigns_registry.watermark.extract import extract
    from deepsigns_registry.watermark.schemes import named_schemes
    from deepsigns_registry.watermark.verdict import PRESENT_AT, judge

    suspect = OnnxSuspect(onnx_file(marked))
    extraction = extract(record, suspect)
    verdict = judge(
        extraction.evidence,
        tries=commitments * len(record.secrets) * extraction.alignments,
        incomplete=extraction.incomplete,
    )
    weak = [
        evidence.scheme
        for evidence in verdict.evidence
        if verdict.log10_p_adjusted(evidence.scheme) > PRESENT_AT
    ]
    unread = sorted(set(record.secrets) - {evidence.scheme for evidence in verdict.evidence})
    if weak or unread or extraction.incomplete:
        # Scheme names only: the reasons in full would tell where the mark sits.
        named = ", ".join([*weak, *unread]) or "the tap was not verified"
        raise RefusedError(
            f"the marked model does not carry the mark well enough: {named}",
            advice="train longer (epochs), or mark a wider layer",
        )
    inputs = np.concatenate(
        [
            scheme.probes(record.secrets[scheme.name]).inputs
            for scheme in named_schemes(record.secrets)
        ]
    )
    expected, _ = suspect.run(inputs, tap=None)
    (found,) = LocalEngine().run(
        run_program,
        [{"folder": marked, "config": settings.path, "model": model, "inputs": inputs}],
    )
    if not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise RefusedError(
            "the marked PyTorch program and the ONNX file give different outputs",
            advice="report this model: its export is not faithful",
        )
