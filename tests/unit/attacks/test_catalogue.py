from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from deepsigns_registry import plugins
from deepsigns_registry.attacks import builtin_attacks, catalogue, known_attacks, parse_attack
from deepsigns_registry.attacks.prune import Prune
from deepsigns_registry.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "name", "strength"),
    [
        ("prune:0.5", "prune", 0.5),
        ("finetune:3", "finetune", 3.0),
        ("quantize:int8", "quantize", 8.0),
        ("quantize:fp16", "quantize", 16.0),
        ("quantize:static", "quantize", 7.0),
        ("layer_prune:0.5", "layer_prune", 0.5),
        ("fine_prune:0.3", "fine_prune", 0.3),
        ("finetune_slow:50", "finetune_slow", 50.0),
        ("finetune_last:3", "finetune_last", 3.0),
        ("finetune_reset:3", "finetune_reset", 3.0),
        ("smooth:3", "smooth", 3.0),
        ("distill:20", "distill", 20.0),
        ("overwrite:5", "overwrite", 5.0),
        ("noise:0.1", "noise", 0.1),
        ("quantize:int4", "quantize", 4.0),
        ("lowrank:0.875", "lowrank", 0.875),
        ("finetune_sgd:30", "finetune_sgd", 30.0),
        ("redraw:2", "redraw", 2.0),
        ("decay:6", "decay", 6.0),
        ("collapse:1", "collapse", 1.0),
        ("merge:3", "merge", 3.0),
        ("distill_hard:20", "distill_hard", 20.0),
        ("distill_other:20", "distill_other", 20.0),
        ("reconstruct:5", "reconstruct", 5.0),
        ("overwrite_strong:2", "overwrite_strong", 2.0),
        ("gate:0.05", "gate", 0.05),
        ("filter:2", "filter", 2.0),
    ],
)
def test_an_attack_is_parsed(text: str, name: str, strength: float) -> None:
    planned = parse_attack(text)
    assert (planned.attack.name, planned.strength, planned.label) == (name, strength, text)


@pytest.mark.parametrize(
    "text",
    [
        "prune:1.5",
        "prune:1",
        "prune:0",
        "prune:-0.1",
        "prune:nan",
        "prune:much",
        "prune:",
        "finetune:-1",
        "finetune:0",
        "finetune:1.5",
        "finetune:inf",
        "finetune:nan",
        "finetune:1e9",
        "quantize:int3",
        "quantize:8",
        "layer_prune:1",
        "fine_prune:0",
        "finetune_slow:0",
        "finetune_last:1.5",
        "finetune_reset:-1",
        "smooth:nan",
        "distill:inf",
        "overwrite:0",
        "noise:0",
        "noise:-1",
        "noise:nan",
        "noise:1e9",
        "lowrank:1",
        "redraw:0",
        "redraw:1.5",
        "decay:0",
        "decay:nan",
        "decay:1e4",
        "merge:17",
        "overwrite_strong:11",
        "gate:1",
        "filter:0",
    ],
)
def test_a_bad_strength_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ConfigurationError, match="strength") as caught:
        parse_attack(text)
    assert f"{text.partition(':')[0]}:" in caught.value.advice


@pytest.mark.parametrize("text", ["nonsense:1", "prune", "", ":", ":1", "Prune:0.5"])
def test_an_unknown_attack_lists_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"known attacks: .*prune, quantize") as caught:
        parse_attack(text)
    assert ", ".join(sorted(builtin_attacks())) in caught.value.advice


def test_every_attack_of_the_documentation_is_known() -> None:
    table = Path(__file__).parents[3] / "docs" / "audit.md"
    rows = table.read_text(encoding="utf-8").splitlines()
    written = [text for row in rows if row.startswith("| `") for text in row.split("`")[1::2]]
    attacks = {parse_attack(text).attack.name for text in written if ":" in text}
    assert attacks == set(builtin_attacks())


_DISTRIBUTION = {
    "more_attacks-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: more-attacks\nVersion: 1.0\n"
    ),
    "more_attacks-1.0.dist-info/entry_points.txt": (
        "[deepsigns_registry.attacks]\nhalve = more_attacks:Halve\n"
    ),
    "more_attacks.py": (
        "from deepsigns_registry.attacks.prune import Prune\n\n\n"
        "class Halve(Prune):\n    name = 'halve'\n"
    ),
}


def test_an_installed_distribution_brings_an_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in _DISTRIBUTION.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert parse_attack("halve:0.5").attack.name == "halve"
    assert set(known_attacks()) == {*builtin_attacks(), "halve"}


class _Theirs(Prune):
    name = "theirs"


def _with_plugin(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    group = "deepsigns_registry.attacks"

    def points(**wanted: Any) -> EntryPoints:
        return EntryPoints([EntryPoint(name, value, group)]).select(**wanted)

    monkeypatch.setattr(plugins, "entry_points", points)


def test_a_plugin_is_an_attack_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "theirs", _Theirs, raising=False)
    _with_plugin(monkeypatch, "theirs", "deepsigns_registry.attacks.catalogue:theirs")
    assert set(known_attacks()) == {*builtin_attacks(), "theirs"}
    assert parse_attack("theirs:0.5").strength == 0.5


def test_a_plugin_cannot_replace_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Theirs, "name", "prune")
    monkeypatch.setattr(catalogue, "theirs", _Theirs, raising=False)
    _with_plugin(monkeypatch, "prune", "deepsigns_registry.attacks.catalogue:theirs")
    assert type(parse_attack("prune:0.5").attack) is Prune


@pytest.mark.parametrize(
    "value", ["no.such.module:x", "deepsigns_registry.attacks.prune:Prune", "builtins:dict"]
)
def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    _with_plugin(monkeypatch, "broken", value)
    assert "broken" in known_attacks()
    with pytest.raises(ConfigurationError, match=value):
        parse_attack("broken:1")
    # It stops only who asks for it.
    assert type(parse_attack("prune:0.5").attack) is Prune


def test_two_plugins_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [EntryPoint("theirs", f"theirs_{n}:Theirs", "deepsigns_registry.attacks") for n in "ab"]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: EntryPoints(two))
    with pytest.raises(ConfigurationError, match="theirs_a:Theirs, theirs_b:Theirs; uninstall"):
        parse_attack("theirs:1")
