"""The whole method on a small model: embed, read, null, robustness, fidelity."""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError, UnmarkableError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.evidence import Evidence
from deepsigns_registry.watermark.extract import Extraction, extract
from deepsigns_registry.watermark.fidelity import accuracy
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.projection import read_bits
from deepsigns_registry.watermark.scheme import Answers, Preparation, Probes, Scheme, SchemeSecret
from deepsigns_registry.watermark.schemes import named_schemes
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.verdict import judge
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


def read(marked: "Marked", model: TappedModel) -> tuple[Evidence, Evidence, Extraction]:
    found = extract(marked.record, TappedSuspect(model))
    whitebox, blackbox, *_ = found.evidence
    return whitebox, blackbox, found


def word(found: Extraction) -> str:
    return judge(found.evidence, tries=10, incomplete=found.incomplete).word


def test_the_marked_model_carries_both_marks(marked: "Marked") -> None:
    whitebox, blackbox, found = read(marked, marked.model)
    assert (matched(whitebox).errors, whitebox.level) == (0, "a")
    assert blackbox.level == "oracle"
    assert blackbox.log10_p < -20
    assert word(found) == "present"


def test_the_parent_and_a_sibling_are_not_claimed(marked: "Marked") -> None:
    _, queries, found = read(marked, marked.parent)
    assert word(found) == "absent"
    # Of 100 queries at 1/5; one key in 10,000 would be unlucky here.
    assert queries.log10_p > -4
    _, _, found = read(marked, marked.sibling)
    assert word(found) == "undecided"
    assert found.incomplete == (
        "whitebox: tap not verified, its activations do not resemble the parent's",
    )


def test_the_tap_is_told_by_value(marked: "Marked") -> None:
    agreements = {
        name: read(marked, model)[2].tap_agreement
        for name, model in [
            ("marked", marked.model),
            ("parent", marked.parent),
            ("sibling", marked.sibling),
        ]
    }
    assert agreements["parent"] == pytest.approx(1, abs=1e-6)
    assert agreements["marked"] is not None
    assert agreements["sibling"] is not None
    # The correlation of an unrelated order of 96 neurons is below 0.3 far more often than not.
    assert agreements["marked"] > 0.3 > agreements["sibling"]


def test_fine_tuning_without_a_record_leaves_no_mark(marked: "Marked") -> None:
    control = copy.deepcopy(marked.parent)
    result = embed(control, marked.data, None, marked.settings)
    assert result.steps == marked.result.steps
    assert word(read(marked, control)[2]) == "absent"
    kept = accuracy(marked.model, marked.data.validation)
    # 300 samples at accuracy 0.95: a paired difference of 0.04 is three standard errors.
    assert kept >= accuracy(control, marked.data.validation) - 0.04


def test_half_of_the_weights_can_go(marked: "Marked") -> None:
    pruned = copy.deepcopy(marked.model)
    weights = [weight for weight in pruned.parameters() if weight.ndim > 1]
    values = torch.cat([weight.detach().abs().flatten() for weight in weights])
    limit = values.median()
    with torch.no_grad():
        for weight in weights:
            weight[weight.abs() <= limit] = 0
    assert word(read(marked, pruned)[2]) == "present"


def test_embedding_is_the_same_every_time(marked: "Marked") -> None:
    again = copy.deepcopy(marked.parent)
    result = embed(again, marked.data, marked.record, marked.settings)
    assert result.losses == marked.result.losses
    for mine, theirs in zip(again.parameters(), marked.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def many_keys(marked: "Marked", scheme: Scheme, count: int) -> Iterator[SchemeSecret]:
    for number in range(count):
        yield scheme.prepare(
            Preparation(
                model=marked.parent,
                data=marked.data,
                manifest=marked.record.manifest,
                subkey=RootKey(number.to_bytes(32, "big"), bytes(32)).subkey(scheme.name),
                device=torch.device("cpu"),
                options=marked.settings,
            )
        )


def test_matches_of_an_unmarked_model_are_binomial(marked: "Marked") -> None:
    """200 keys on models never marked: 64 fair coins each, however alike the rows.

    Mean 32 (standard error 0.28 with 200 draws), variance 16 (standard error 1.6): five of each.
    """
    scheme, found = WhiteBox(), []
    for number, secret in enumerate(many_keys(marked, scheme, 200)):
        suspect = TappedSuspect((marked.parent, marked.sibling)[number % 2])
        answers = Answers(*suspect.run(scheme.probes(secret).inputs, tap=""))
        found.append(matched(scheme.evidence(secret, answers)).matches)
    assert abs(np.mean(found) - 32) < 5 * 0.28
    assert abs(np.var(found) - 16) < 5 * 1.6
    # 52 of 64 would be p = 3e-7 for one key, 6e-5 for the best of 200.
    assert max(found) < 52


def test_queries_of_other_keys_stay_below_their_chance(marked: "Marked") -> None:
    """40 keys x 100 queries on a marked and an unmarked model: at most 1/5 match.

    The standard error of the share over 4000 draws is 0.0063; three of them.
    """
    scheme, matches = BlackBox(), {"marked": 0, "sibling": 0}
    for secret in many_keys(marked, scheme, 40):
        for name, model in [("marked", marked.model), ("sibling", marked.sibling)]:
            answers = Answers(*TappedSuspect(model).run(scheme.probes(secret).inputs, tap=None))
            matches[name] += matched(scheme.evidence(secret, answers)).matches
    assert max(matches.values()) / 4000 < 1 / 5 + 3 * 0.0063


class WithoutTap:
    """An oracle: outputs only."""

    def __init__(self, model: TappedModel) -> None:
        self.suspect = TappedSuspect(model)

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        return self.suspect.run(inputs, tap=tap)[0], None

    def weight(self, _tap: str) -> None:
        return None

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        return (None,) * len(probes.matrices)

    def networks(self) -> tuple[Network, ...]:
        return ()

    def activations(
        self, _network: Network, _inputs: NDArray[np.float32], _tensors: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        return {}


def test_an_oracle_is_still_judged_by_its_answers(marked: "Marked") -> None:
    found = extract(marked.record, WithoutTap(marked.model))
    assert [item.scheme for item in found.evidence] == ["blackbox"]
    assert word(found) == "present"
    assert "the tap gave nothing" in found.incomplete[0]
    assert word(extract(marked.record, WithoutTap(marked.parent))) == "undecided"


class Crashing(TappedSuspect):
    """A file that ends the process that runs it, whatever it is asked."""

    def run(
        self, inputs: NDArray[np.float32], *, tap: str | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        del inputs, tap
        raise CouldNotCheckError("it crashed", advice="look at it")

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        del probes
        raise CouldNotCheckError("it crashed", advice="look at it")


def test_what_stops_every_scheme_is_said_once(marked: "Marked") -> None:
    found = extract(marked.record, Crashing(marked.model))
    names = ", ".join(scheme.name for scheme in named_schemes(marked.record.secrets))
    assert len(marked.record.secrets) > 1
    assert found.incomplete == (f"{names}: it crashed; look at it",)


def test_another_architecture_is_undecided_not_a_crash(marked: "Marked") -> None:
    wide = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    found = extract(marked.record, TappedSuspect(EagerTappedModel(wide, "1")))
    assert (found.evidence, len(found.incomplete)) == ((), 3)
    assert word(found) == "undecided"


def test_not_a_number_is_no_answer(marked: "Marked") -> None:
    broken = copy.deepcopy(marked.model)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    found = extract(marked.record, TappedSuspect(broken))
    (weights,) = found.evidence
    # Two of the three matrices are as they were.
    assert (weights.scheme, weights.figures()["parts"]) == ("spread", 2)
    hidden, asked = found.incomplete
    assert "the activation at the tap holds NaN or infinity" in hidden
    assert asked == "blackbox: the suspect answers no sample with a finite number"


def test_progress_is_told_in_order(marked: "Marked") -> None:
    told: list[tuple[float, str]] = []
    embed(
        copy.deepcopy(marked.parent),
        marked.data,
        None,
        marked.settings,
        progress=lambda fraction, message: told.append((fraction, message)),
    )
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert told[-1] == (1.0, "epoch 5 of 5")


def test_a_frozen_model_is_refused(marked: "Marked") -> None:
    frozen = copy.deepcopy(marked.parent).requires_grad_(requires_grad=False)
    with pytest.raises(UnmarkableError, match="no trainable parameter"):
        embed(frozen, marked.data, marked.record, marked.settings)


def test_bits_do_not_change_with_a_common_offset_or_scale() -> None:
    random = np.random.default_rng(0)
    means = random.normal(size=(4, 20)).astype(np.float32)
    projection = random.normal(size=(20, 16)).astype(np.float32)
    bits = read_bits(means, projection)
    np.testing.assert_array_equal(read_bits(means * 3 + 7, projection), bits)
