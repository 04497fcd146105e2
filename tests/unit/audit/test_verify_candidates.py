"""A file and the marks of several models, not all of which it could be a copy of."""

import copy
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.attestation.digests import sha256_file
from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.audit.verify import Candidate, Candidates, verify_onnx
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.graph.session import OnnxSuspect
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.settings import MarkSettings
from tests.support.training import train

CLASSES = 5
SETTINGS = MarkSettings(queries=100, sources=100, minimum_steps=300, repeats=60)


class Owned:
    """A model of some width, its parent, and the record of its mark."""

    def __init__(self, features: int, folder: Path) -> None:
        random = np.random.default_rng(features)
        centres = random.normal(size=(CLASSES, features)) * 2
        labels = np.arange(800) % CLASSES
        inputs = (centres[labels] + random.normal(size=(800, features))).astype(np.float32)
        split = LabelledData(inputs, labels)
        data = TrainingData(split, split, CLASSES)
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        parent = EagerTappedModel(train(layers, split, epochs=5), "1")
        root = RootKey(bytes([features]) * 32, bytes(32))
        record = prepare_record(parent, data, root, SETTINGS, schemes=[BlackBox()])
        marked = copy.deepcopy(parent)
        embed(marked, data, record, SETTINGS, schemes=[BlackBox()])
        self.parent, self.marked = (folder / f"{name}{features}.onnx" for name in "pm")
        export_onnx(parent, inputs[:4], self.parent)
        export_onnx(marked, inputs[:4], self.marked)
        marking = Marking(
            marking=f"m{features}",
            owner="ab" * 32,
            model=f"model{features}",
            source_version="1",
            marked_version="2",
            onnx_digest="3f" * 32,
            commitments={},
            index=1,
            created_at=datetime(2026, 11, 23, tzinfo=UTC),
        )
        self.candidate = Candidate(marking, record)


@pytest.fixture(scope="module")
def wide_and_narrow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Owned, Owned]:
    folder = tmp_path_factory.mktemp("owned")
    return Owned(20, folder), Owned(12, folder)


def test_a_model_with_other_inputs_is_no_reason_for_doubt(
    wide_and_narrow: tuple[Owned, Owned],
) -> None:
    both = Candidates("ab" * 32, 2, tuple(owned.candidate for owned in wide_and_narrow))
    for owned in wide_and_narrow:
        found = verify_onnx(owned.marked, both)
        assert found.verdict.word == "present"
        assert found.marking == owned.candidate.marking
        assert verify_onnx(owned.parent, both).verdict.word == "absent"


def test_a_file_that_none_of_the_models_could_be_is_not_checked(
    wide_and_narrow: tuple[Owned, Owned],
) -> None:
    wide, narrow = wide_and_narrow
    with pytest.raises(CouldNotCheckError, match="takes other inputs than the marked model"):
        verify_onnx(wide.marked, Candidates("ab" * 32, 1, (narrow.candidate,)))


def test_a_file_that_is_swapped_while_it_is_read_lends_its_digest_to_nobody(
    wide_and_narrow: tuple[Owned, Owned], tmp_path: Path
) -> None:
    wide, _ = wide_and_narrow
    candidates = Candidates("ab" * 32, 1, (wide.candidate,))
    deployed = tmp_path / "deployed.onnx"
    deployed.write_bytes(wide.marked.read_bytes())
    with OnnxSuspect(deployed) as opened:
        deployed.write_bytes(wide.parent.read_bytes())
        found = verify_onnx(deployed, candidates, suspect=opened)
    assert found.verdict.word == "present"
    assert found.digest == sha256_file(wide.marked)


def test_a_link_is_followed(wide_and_narrow: tuple[Owned, Owned], tmp_path: Path) -> None:
    wide, _ = wide_and_narrow
    link = tmp_path / "current.onnx"
    link.symlink_to(wide.marked)
    found = verify_onnx(link, Candidates("ab" * 32, 1, (wide.candidate,)))
    assert (found.verdict.word, found.digest) == ("present", sha256_file(wide.marked))
