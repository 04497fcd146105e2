"""What is fuzzed: each target gives bytes to one parser, the way a command would.

The property of all: nothing but errors of this project, each one line of plain text.
"""

import base64
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_deepsigns.preflight import find_obstacle

from deepsigns_registry.attestation.bundle import MODEL_BUNDLE, WATERMARK_BUNDLE, verify_folder
from deepsigns_registry.attestation.chain import read_chain
from deepsigns_registry.attestation.keys import generate_signing_key, load_public_key
from deepsigns_registry.attestation.keystore import FileKeystore, open_keystore
from deepsigns_registry.attestation.policy import Policy, Purpose
from deepsigns_registry.attestation.sealing import load_identity, unseal
from deepsigns_registry.attestation.signing import STATEMENT_PAYLOAD, FileSigner
from deepsigns_registry.attestation.statement import parse_audit, parse_claim, parse_watermark
from deepsigns_registry.attestation.verification import verify_command, verify_statement
from deepsigns_registry.audit.targets import check_target
from deepsigns_registry.bounded.arrays import read_array
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.cli.printing import shown
from deepsigns_registry.cli.status import _in_a_line, _lines
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import DeepSignsError, TamperedError
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.forms import read_forms
from deepsigns_registry.graph.order import possible_taps
from deepsigns_registry.graph.structure import read_model
from deepsigns_registry.registry.assemble import onnx_file, pytorch_file
from deepsigns_registry.registry.protocol import LEASE_TAG, request_tag
from deepsigns_registry.registry.transitions import PromotionState
from deepsigns_registry.retraining.fitness.described import Described
from deepsigns_registry.watermark.record import WatermarkRecord
from tests.fuzz.mutation import Mutate, mutate_array, mutate_bytes, mutate_json, mutate_zip
from tests.fuzz.onnx_mutation import mutate_onnx
from tests.fuzz.seeds import ARRAYS, CONFIGURATION, MARKING, MLMODEL, TAGS, record

GOLDEN = Path(__file__).parents[1] / "golden"
PURPOSES: tuple[Purpose, ...] = ("watermark", "audit", "claim", "command")


@dataclass(frozen=True)
class Target:
    """One parser of untrusted bytes.

    Attributes:
        seeds: Good files.
        run: Gives it the bytes; raises nothing but errors of this project.
        mutate: Makes another file of one.
    """

    seeds: tuple[bytes, ...]
    run: Callable[[bytes], None]
    mutate: Mutate


def make_targets(folder: Path) -> dict[str, Target]:
    """All targets by name.

    Args:
        folder: An empty folder of their own, for the files that they read.
    """
    generate_signing_key(folder / "key.pem", folder / "key.pub.pem")
    signer = FileSigner(folder / "key.pem")
    own = Policy.trusting([folder / "key.pub.pem"], *PURPOSES)
    bundles = [
        *sorted(GOLDEN.rglob("*.sigstore.json")),
        GOLDEN / "attestation" / "command.dsse.json",
    ]
    texts = tuple(path.read_bytes() for path in bundles)
    payloads = tuple(_payload(text) for text in texts)
    evidence = GOLDEN / "evidence"
    return {
        "bundle": Target(texts, _Bundle(folder / "bundle"), mutate_json),
        "statement": Target(payloads, _Statement(signer, own), mutate_json),
        "chain": Target(
            ((GOLDEN / "attestation" / "commitments.jsonl").read_bytes(),), _chain, mutate_json
        ),
        "key": Target(
            tuple(path.read_bytes() for path in sorted(GOLDEN.rglob("*.pem"))),
            _InFile(folder / "key", load_public_key),
            mutate_bytes,
        ),
        "sealed": Target(
            ((GOLDEN / "attestation" / "secret.age").read_bytes(),),
            _Sealed(GOLDEN / "attestation" / "sealing.key"),
            mutate_bytes,
        ),
        "keystore": Target(
            (MARKING, b'{"owner":"a","request":"r"}'), _Keystore(folder / "keystore"), mutate_json
        ),
        "onnx": Target(
            tuple(path.read_bytes() for path in sorted(evidence.rglob("*.onnx"))),
            _InFile(folder / "model.onnx", _read_onnx),
            mutate_onnx,
        ),
        "evidence": Target(
            tuple(path.read_bytes() for path in sorted(evidence.rglob("*.zip"))),
            _InFile(folder / "evidence.zip", _verify_evidence),
            mutate_zip("evidence.json"),
        ),
        "record": Target((record(),), _record, mutate_zip("record.json")),
        "array": Target(ARRAYS, _array, mutate_array),
        "configuration": Target(
            CONFIGURATION, _InFile(folder / "deepsigns.toml", _configure), mutate_bytes
        ),
        "tags": Target(TAGS, _tags, mutate_json),
        "mlmodel": Target(MLMODEL, _Described(folder / "version"), mutate_bytes),
    }


def _payload(text: bytes) -> bytes:
    document = json.loads(text)
    return base64.b64decode(document.get("dsseEnvelope", document)["payload"])


class _InFile:
    """Writes the bytes where a command would find them."""

    def __init__(self, path: Path, read: Callable[[Path], object]) -> None:
        self._path, self._read = path, read

    def __call__(self, content: bytes) -> None:
        self._path.write_bytes(content)
        self._read(self._path)


class _Bundle:
    """A signed folder, one of whose bundles is the mutant."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(GOLDEN / "attestation" / "model", folder)
        self._folder = folder / "deepsigns"
        self._policy = Policy.trusting([GOLDEN / "attestation" / "signer.pub.pem"], *PURPOSES)
        self._good = {
            name: (self._folder / name).read_bytes() for name in (WATERMARK_BUNDLE, MODEL_BUNDLE)
        }

    def __call__(self, content: bytes) -> None:
        name = MODEL_BUNDLE if len(content) % 2 else WATERMARK_BUNDLE
        for each, good in self._good.items():
            (self._folder / each).write_bytes(content if each == name else good)
        verify_folder(self._folder.parent, self._policy)


class _Statement:
    """The mutant is signed: what a dishonest signer could send."""

    def __init__(self, signer: FileSigner, policy: Policy) -> None:
        self._signer, self._policy = signer, policy

    def __call__(self, content: bytes) -> None:
        signed = self._signer._sign(content, STATEMENT_PAYLOAD)
        bundle = signed.render_bundle(load_public_key(self._signer.path.with_suffix(".pub.pem")))
        verify_command(self._signer.sign_command(content), self._policy)
        parsers: dict[Purpose, Callable[[dict[str, Any]], object]] = {
            "watermark": parse_watermark,
            "audit": parse_audit,
            "claim": parse_claim,
        }
        for purpose, parse in parsers.items():
            with suppress(TamperedError):
                parse(verify_statement(bundle, self._policy, purpose).predicate)


class _Sealed:
    """A sealed secret."""

    def __init__(self, identity: Path) -> None:
        self._identity = load_identity(identity)

    def __call__(self, content: bytes) -> None:
        unseal(content, self._identity, {"owner": "0" * 64, "request": "r-0001"})


class _Keystore:
    """A marking of a key store, whose public notes are the mutant."""

    def __init__(self, root: Path) -> None:
        self._store = FileKeystore(root)
        (root / "m").mkdir(parents=True)

    def __call__(self, content: bytes) -> None:
        for name in ("marking.json", "context.json"):
            (self._store.root / "m" / name).write_bytes(content)
        with suppress(DeepSignsError):
            self._store.context("m")
        self._store.list_markings()


class _Described:
    """A version's folder whose `MLmodel` is the mutant."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "model.pt2").write_bytes(b"")
        (folder / "model.onnx").write_bytes(b"")
        self._folder = folder

    def __call__(self, content: bytes) -> None:
        (self._folder / "MLmodel").write_bytes(content)
        Described.of(self._folder)
        for read in (pytorch_file, onnx_file):
            with suppress(DeepSignsError):
                read(self._folder)
        find_obstacle(str(self._folder))


def _chain(content: bytes) -> None:
    for partial in (False, True):
        read_chain(content, "chain", advice="", partial=partial)


def _read_onnx(path: Path) -> None:
    model = read_model(path)
    read_forms(model, where="model")
    possible_taps(model)


def _verify_evidence(path: Path) -> None:
    version = "v1" if path.stat().st_size % 2 else "v2"
    golden = GOLDEN / "evidence" / version
    verify_evidence(path, golden / "suspect.onnx", golden / "signer.pub.pem")


def _record(content: bytes) -> None:
    WatermarkRecord.from_bytes(content).check()


def _array(content: bytes) -> None:
    with suppress(UnreadableError):
        read_array(content)


def _configure(path: Path) -> None:
    settings = load_settings(path)
    settings.protects_model("prod-a")
    open_keystore(settings).list_markings()
    settings.file(settings.owner.unsealing, scheme="age")
    for deployment in settings.deployments:
        with suppress(DeepSignsError):
            check_target(deployment)
    Policy.from_settings(settings)


def _tags(content: bytes) -> None:
    """The mutant is the tags of a version, and each of them a value that a stranger wrote."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = content.decode("utf-8", "surrogateescape")
    if not isinstance(document, dict):
        document = dict.fromkeys((LEASE_TAG, request_tag("champion")), str(document))
    state = PromotionState.from_tags(
        {
            str(name): value if isinstance(value, str) else json.dumps(value)
            for name, value in document.items()
        }
    )
    for request in state.requests.values():
        for line in (*_lines(request), _in_a_line(request)):
            assert shown(line).isprintable()
    state.queued()
    state.to_tags()
