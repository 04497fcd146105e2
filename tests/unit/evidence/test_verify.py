"""A third party sees the mark that is there, no other, and only in the file in dispute."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepsigns_registry.errors import NotFoundError, TamperedError
from deepsigns_registry.evidence.contents import Evidence, render
from deepsigns_registry.evidence.result import Step
from deepsigns_registry.evidence.verify import verify_evidence
from deepsigns_registry.graph.export import export_onnx
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from tests.support.evidence import Story, claim_again, export


def test_a_third_party_sees_the_mark(story: Story, exported: Path, known: Path) -> None:
    seen: list[Step] = []
    result = verify_evidence(
        exported, story.marked, story.signer_key, known_attestation=known, report=seen.append
    )
    assert result.verdict.word == "present"
    assert result.owner == story.record.root.owner.hex()
    assert result.schemes == ("blackbox", "whitebox")
    assert tuple(seen) == result.steps
    assert [step.name for step in result.steps] == [
        "signature", "known attestation", "owner", "suspect", "claim",
        "chain of commitments", "manifest",
        "commitment: blackbox", "derivation: blackbox",
        "commitment: whitebox", "derivation: whitebox", "extraction",
    ]  # fmt: skip
    assert "a file of the marked version itself" in result.steps[3].detail
    document = json.loads(json.dumps(result.to_json()))
    assert document["verdict"] == "present"
    assert document["evidence"]["whitebox"]["level"] == "a"
    assert document["evidence"]["blackbox"]["log10_p_adjusted"] <= -20


def test_an_unmarked_model_is_not_claimed(story: Story, tmp_path: Path, known: Path) -> None:
    path = export(story, tmp_path / "e.zip", suspect=story.unmarked)
    result = verify_evidence(path, story.unmarked, story.signer_key, known_attestation=known)
    assert result.verdict.word in {"absent", "undecided"}


def test_every_tensor_counts_as_a_tap_that_was_tried(story: Story, tmp_path: Path) -> None:
    hidden = export(story, tmp_path / "w.zip", schemes=["whitebox"])
    outputs = export(story, tmp_path / "b.zip", schemes=["blackbox"])
    tries = [
        verify_evidence(path, story.marked, story.signer_key).verdict.tries
        for path in (hidden, outputs)
    ]
    # Three schemes were committed to, and all may be taken together.
    assert tries[0] > tries[1] == 4


def test_who_chooses_what_to_reveal_has_no_joint_p(story: Story, tmp_path: Path) -> None:
    """Else each choice of schemes would be one more question that nobody counts."""
    every = sorted(story.record.secrets)
    for number, schemes in enumerate((every, every[:2])):
        path = export(story, tmp_path / f"{number}.zip", schemes=schemes)
        verdict = verify_evidence(path, story.marked, story.signer_key).verdict
        assert len(verdict.evidence) == len(schemes) >= 2
        assert (verdict.log10_p_joint is None) == (schemes != every)


def test_another_signer_is_not_believed(
    story: Story, exported: Path, another_pair: tuple[Path, Path]
) -> None:
    _, public = another_pair
    with pytest.raises(TamperedError, match="not signed by"):
        verify_evidence(exported, story.marked, public)


def test_the_evidence_is_about_one_file(story: Story, exported: Path) -> None:
    with pytest.raises(TamperedError, match="not the file that this evidence is about"):
        verify_evidence(exported, story.unmarked, story.signer_key)


def test_a_wrong_tap_is_found_by_its_layers(
    story: Story, evidence: Evidence, tmp_path: Path
) -> None:
    revealed = {"whitebox": evidence.schemes["whitebox"]}
    path = tmp_path / "e.zip"
    wrong = claim_again(story, replace(evidence, schemes=revealed, tap="no such tensor"))
    path.write_bytes(render(wrong))
    found = verify_evidence(path, story.marked, story.signer_key).verdict
    (read,) = found.evidence
    assert read.level == "c"
    # The parent's lengths of rows take the place of the marked model's: a bit may be lost.
    assert read.log10_p < -30
    by_name = replace(wrong, tap=evidence.tap)
    path.write_bytes(render(by_name))
    assert verify_evidence(path, story.marked, story.signer_key).verdict.tries < found.tries


def test_a_wrong_tap_of_an_unmarked_model_is_never_absent(story: Story, tmp_path: Path) -> None:
    """A network with other layers, which resemble the parent's in nothing."""
    flat = tmp_path / "flat.onnx"
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 9), nn.ReLU())
    stranger = EagerTappedModel(nn.Sequential(*layers, nn.Linear(9, 10)), tap="3")
    export_onnx(stranger, np.eye(4, 64, dtype=np.float32), flat)
    record = replace(story.record, tap="no such tensor")
    path = export(story, tmp_path / "e.zip", record=record, schemes=["whitebox"], suspect=flat)
    found = verify_evidence(path, flat, story.signer_key).verdict
    assert found.word == "undecided"
    assert [read.level for read in found.evidence] == [""]
    assert "tap not verified" in found.reasons[-1]


def test_a_missing_file_is_named(story: Story, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        verify_evidence(tmp_path / "nothing.zip", story.marked, story.signer_key)
