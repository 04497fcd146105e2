from pathlib import Path

import pytest

from deepsigns_registry.audit.plan import plan_audits
from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import ConfigurationError, NotFoundError

ONE = '[[deployments]]\nname = "{name}"\nmodel = "m"\ntarget = "m.onnx"\nattacks = {attacks}\n'


def settings(
    folder: Path, *names: str, attacks: str = '["prune:0.5", "quantize:int8"]'
) -> Settings:
    text = '[models.m]\ndata = "m.npz"\n'
    text += "".join(ONE.format(name=name, attacks=attacks) for name in names)
    (folder / "deepsigns.toml").write_text(text)
    return load_settings(folder / "deepsigns.toml")


def test_all_deployments_or_the_named_ones_once(tmp_path: Path) -> None:
    known = settings(tmp_path, "a", "b")
    assert [plan.deployment.name for plan in plan_audits(known)] == ["a", "b"]
    assert [plan.deployment.name for plan in plan_audits(known, ["b", "b"])] == ["b"]


def test_attacks_are_parsed_and_repeats_dropped(tmp_path: Path) -> None:
    known = settings(tmp_path, "a", attacks='["prune:0.5", "quantize:int8", "prune:0.5"]')
    (plan,) = plan_audits(known)
    assert plan.labels == ("prune:0.5", "quantize:int8")
    assert [(row.attack, row.strength) for row in plan.attacks] == [("prune", 0.5), ("quantize", 8)]


def test_no_deployments(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no deployments"):
        plan_audits(settings(tmp_path))


def test_unknown_and_doubled_names(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no deployment named 'c'; known: a, b"):
        plan_audits(settings(tmp_path, "a", "b"), ["a", "c"])
    with pytest.raises(ConfigurationError, match="two deployments are named 'a'"):
        plan_audits(settings(tmp_path, "a", "b", "a"))


@pytest.mark.parametrize(
    ("attack", "message"),
    [("melt:1", "deployment 'a': attack 'melt:1' is unknown"), ("prune:x", "strength 'x'")],
)
def test_wrong_attack_names_its_deployment(tmp_path: Path, attack: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_audits(settings(tmp_path, "a", attacks=f'["{attack}"]'))
