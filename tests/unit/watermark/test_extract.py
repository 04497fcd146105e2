"""Who says that a tap is the parent's, and which of several readings counts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor
from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.objective import Objective
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import (
    Answers,
    Fitting,
    Preparation,
    Probes,
    Scheme,
    SchemeSecret,
)
from deepsigns_registry.watermark.schemes import builtin_schemes
from deepsigns_registry.watermark.suspect import Suspect, TappedSuspect
from deepsigns_registry.watermark.tap import TapAgreement
from deepsigns_registry.watermark.tapped import TappedModel
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

Floats = NDArray[np.float32]


class Signs:
    """A scheme of another distribution: signs of activations of its own inputs, in any number."""

    name = "signs"
    needs_activation, needs_weight = True, False

    def prepare(self, preparation: Preparation) -> SchemeSecret:
        raise NotImplementedError(preparation)

    def objective(self, secret: SchemeSecret, fitting: Fitting) -> Objective:
        raise NotImplementedError(secret, fitting)

    def probes(self, secret: SchemeSecret) -> Probes:
        return Probes(secret.arrays["inputs"].astype(np.float32))

    def evidence(self, secret: SchemeSecret, answers: Answers) -> Evidence:
        assert answers.activation is not None
        assert len(answers.activation) == len(secret.arrays["inputs"])
        positive = answers.activation[:, 0] > 0
        return Matches("signs", trials=len(positive), matches=int(positive.sum()), chance=0.5)

    def check(self, secret: SchemeSecret, subkey: bytes, manifest: Manifest) -> None:
        raise NotImplementedError(secret, subkey, manifest)


SCHEMES: tuple[Scheme, ...] = (*builtin_schemes(), Signs())


def with_signs(marked: "Marked", count: int) -> WatermarkRecord:
    signs = SchemeSecret("signs", {}, {"inputs": marked.data.train.inputs[:count]})
    return replace(marked.record, secrets={**marked.record.secrets, "signs": signs})


class Named:
    """A model whose tap has a name, and that shows other activations behind the same layers."""

    def __init__(self, model: TappedModel, network: Network, shown: TappedModel) -> None:
        self._direct, self._network, self._shown = TappedSuspect(model), network, shown

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, Floats | None]:
        return self._direct.run(inputs, tap=tap)

    def weight(self, tap: str) -> Floats | None:
        return self._direct.weight(tap)

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        return (None,) * len(probes.matrices)

    def networks(self) -> tuple[Network, ...]:
        return (self._network,)

    def activations(
        self, _network: Network, inputs: Floats, tensors: Sequence[str]
    ) -> dict[str, Floats]:
        _, value = TappedSuspect(self._shown).run(inputs, tap="t")
        assert value is not None
        return dict.fromkeys(tensors, value)


class Renamed(Named):
    """The same without a tensor of the tap's name."""

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, Floats | None]:
        return super().run(inputs, tap=tap)[0], None


def network_of(model: TappedModel) -> Network:
    first, second, _ = (part for part in model.modules() if isinstance(part, nn.Linear))
    weights = [layer.weight.detach().numpy() for layer in (first, second)]
    layers = (Layer(weights[0], (), 0), Layer(weights[1], (0,), 1))
    return Network(layers, (Tensor("t", (1,), 2),), frozenset({"t"}))


@pytest.mark.parametrize("count", [7, 200])
def test_a_plugin_s_probes_do_not_say_whether_the_tap_is_the_parent_s(
    marked: "Marked", count: int
) -> None:
    found = extract(with_signs(marked, count), TappedSuspect(marked.model), schemes=SCHEMES)
    ours = extract(marked.record, TappedSuspect(marked.model))
    assert found.tap_agreement == ours.tap_agreement
    assert {entry.scheme: entry.level for entry in found.evidence} == {
        "whitebox": "a",
        "blackbox": "oracle",
        "signs": "a",
        "spread": "b",
    }


def test_without_our_white_box_no_tap_is_verified(marked: "Marked") -> None:
    full = with_signs(marked, 7)
    record = replace(full, secrets={"signs": full.secrets["signs"]})
    network = network_of(marked.parent)
    aligned = replace(record, tap="t", blueprint=Blueprint.of(network, "t"))
    suspects: tuple[Suspect, Suspect] = (
        TappedSuspect(marked.model),
        Named(marked.model, network, marked.model),
    )
    for mark, suspect in zip((record, aligned), suspects, strict=True):
        found = extract(mark, suspect, schemes=SCHEMES)
        assert (found.tap_agreement, found.evidence[0].level) == (None, "")
        assert found.incomplete


def test_one_tensor_is_read_for_every_scheme(marked: "Marked") -> None:
    network = network_of(marked.parent)
    record = replace(with_signs(marked, 7), tap="t", blueprint=Blueprint.of(network, "t"))
    suspect = Named(marked.sibling, network, marked.model)
    found = extract(record, suspect, schemes=SCHEMES)
    levels = {entry.scheme: entry.level for entry in found.evidence}
    assert levels["whitebox"] == "c"
    _, value = TappedSuspect(marked.model).run(marked.data.train.inputs[:7], tap="t")
    _, direct = TappedSuspect(marked.sibling).run(marked.data.train.inputs[:7], tap="t")
    assert value is not None
    assert direct is not None
    best = max(int((values[:, 0] > 0).sum()) for values in (value, direct))
    assert (
        next(matched(entry).matches for entry in found.evidence if entry.scheme == "signs") == best
    )


def test_rows_alone_do_not_verify_a_tap(marked: "Marked") -> None:
    """Neurons with the parent's weights and other biases; all of the network goes through."""
    network = network_of(marked.parent)
    record = replace(marked.record, tap="t", blueprint=Blueprint.of(network, "t"))
    found = extract(record, Renamed(marked.model, network, marked.sibling))
    # A sibling's outputs may go with the parent's a little more in another form, which counts too.
    assert (found.evidence[0].level, found.alignments) in {("", 2), ("", 4)}
    assert found.incomplete
    known = extract(record, Renamed(marked.model, network, marked.model))
    assert known.evidence[0].level == "c"
    # The record knows no file of the parent's, so that its pattern cannot be looked for in one.
    assert all(reason.startswith("spread") for reason in known.incomplete)


def test_a_stronger_reading_is_not_thrown_away(
    marked: "Marked", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tap holds the mark and is not verified; behind the parent's layers is one without."""
    network = network_of(marked.parent)
    record = replace(marked.record, tap="t", blueprint=Blueprint.of(network, "t"))
    plain, bar = WhiteBox.tap_agreement, 0.9

    def strict(
        self: WhiteBox, secret: SchemeSecret, activation: NDArray[np.float32]
    ) -> TapAgreement | None:
        found = plain(self, secret, activation)
        return found and found._replace(verified=found.correlation > bar)

    # Between the marked model and the parent, as if more had been done to the marked model.
    monkeypatch.setattr(WhiteBox, "tap_agreement", strict)
    found = extract(record, Named(marked.model, network, marked.parent))
    assert (matched(found.evidence[0]).errors, found.evidence[0].level) == (0, "")
    assert found.incomplete


class Second(WhiteBox):
    """A scheme of another distribution that knows the parent's tap."""

    name = "second"


def test_another_scheme_that_knows_the_tap_tells_it(marked: "Marked") -> None:
    secret = replace(marked.record.secrets["whitebox"], scheme="second")
    record = replace(marked.record, secrets={"second": secret})
    for model, level in ((marked.model, "a"), (marked.sibling, "")):
        found = extract(record, TappedSuspect(model), schemes=(Second(),))
        assert found.tap_agreement is not None
        assert [entry.level for entry in found.evidence] == [level]
