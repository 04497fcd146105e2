import pytest

from benchmarks.catalogue import KINDS
from benchmarks.detectors import DETECTORS as MODEL_DETECTORS
from benchmarks.scale import FULL, Scale
from benchmarks.thieves.bars import bars_of
from benchmarks.thieves.filtered import DETECTORS
from benchmarks.thieves.hidden import hidden_settings
from benchmarks.thieves.plan import MODELS, QUICK, planned, samples_of
from benchmarks.thieves.reading import ADJUSTED, GROUPS
from benchmarks.thieves.rewritten import PAIRS, REWRITES, rewrite_settings
from benchmarks.thieves.robberies import attack_of, robberies
from benchmarks.thieves.stronger import stronger_robberies
from benchmarks.units import ordered
from deepsigns_registry.attacks.rewrite import REWRITINGS
from deepsigns_registry.watermark.settings import MarkSettings


@pytest.mark.parametrize("model", MODELS)
def test_every_attack_is_one_of_the_catalogue_and_takes_its_strength(model: str) -> None:
    found = robberies(model, samples_of(model, FULL))
    assert len({robbery.setting for robbery in found}) == len(found)
    for robbery in found:
        assert set(robbery.bars) <= set(GROUPS)
        if not robbery.siblings:
            attack = attack_of(robbery, MarkSettings(precision="bfloat16"))
            assert attack.name == robbery.attack
            assert attack.parse(robbery.strength) > 0


@pytest.mark.parametrize(("samples", "passes"), [(60_000, 6), (20_000, 7), (4_000, 15)])
def test_weight_decay_acts_for_as_many_steps_on_little_data(samples: int, passes: int) -> None:
    decayed = [robbery for robbery in robberies("cnn", samples) if robbery.attack == "decay"]
    assert [robbery.strength for robbery in decayed] == ["6", "15"]
    assert {robbery.passes for robbery in decayed} == {passes}


@pytest.mark.parametrize("scale", [FULL, QUICK])
def test_units_are_known_and_need_what_is_there(scale: Scale) -> None:
    units = ordered(planned(MODELS, scale))
    assert {unit.kind for unit in units} <= set(KINDS)
    assert len({unit.name for unit in units}) == len(units)
    robbed = [unit for unit in units if unit.kind == "robbed" and unit.model == "mlp"]
    assert len(robbed) == scale.seeds * len(robberies("mlp", samples_of("mlp", scale)))
    merged = [unit for unit in robbed if "sibling" in unit.setting]
    own = {unit.seed for unit in units if unit.kind == "marked"}
    siblings = {len(unit.needs) - 2: unit.needs[2:] for unit in merged}
    assert sorted(siblings) == [1, 3]
    for needed in siblings.values():
        assert {unit.kind for unit in needed} == {"parent"}
        assert own.isdisjoint(unit.seed for unit in needed)


def test_a_few_attacks_alone() -> None:
    units = planned(("mlp",), QUICK, ("redraw", "gate"))
    assert {unit.kind for unit in units} == {"released", "robbed"}
    assert len(units) == 1 + 3 + 1


def test_detectors_alone_compare_pairs_and_say_what_is_left_of_the_hidden_mark() -> None:
    units = ordered(planned(("mlp",), FULL, ("detectors",)))
    kinds = [unit.kind for unit in units]
    assert set(kinds) == {"pair", "detection", "hidden"}
    assert (kinds.count("detection"), kinds.count("hidden")) == (len(MODEL_DETECTORS), FULL.seeds)
    assert {unit for unit in units if unit.kind == "detection"} <= set(planned(MODELS, FULL))
    # Pairs take their time.
    assert "pair" not in {unit.kind for unit in ordered(planned(MODELS, QUICK))}


def test_stealth_has_a_bar_for_every_detector_and_for_what_is_left() -> None:
    bars = [bar for bar in bars_of(FULL, ()) if bar.scheme == "stealth"]
    assert len([bar for bar in bars if bar.metric == "AUC"]) == len(MODEL_DETECTORS)
    left = [bar.setting for bar in bars if bar.metric == ADJUSTED]
    assert left == list(hidden_settings())
    assert {"90% of the weights pruned", "fine-tuned, 10 epochs"} <= set(left)


def test_the_bars_are_those_of_a_row_each() -> None:
    bars = bars_of(FULL, ("whitebox", "blackbox", "joint"))
    names = [(b.criterion, b.scheme, b.setting, b.metric, b.models) for b in bars]
    assert len(set(names)) == len(names)
    per_model = [bar for bar in bars if bar.models == ("mlp",)]
    asked = sum(len(robbery.bars) + robbery.labels for robbery in robberies("mlp", 60_000))
    rewrites = 2 * len(list(rewrite_settings()))
    stronger = len(list(stronger_robberies("mlp", 60_000)))
    assert len(per_model) == asked + 1 + len(DETECTORS) + rewrites + stronger


def test_every_rewrite_of_the_catalogue_is_measured() -> None:
    assert tuple(kind.name for kind in REWRITINGS) == REWRITES
    assert {name for pair in PAIRS for name in pair} == set(REWRITES)
    units = planned(("mlp",), QUICK, ("rewrite",))
    settings = [unit.setting for unit in units if unit.kind == "rewritten"]
    assert len(set(settings)) == len(settings) == len(REWRITES) + len(PAIRS)
