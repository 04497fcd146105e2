from importlib.metadata import EntryPoint, EntryPoints

import pytest

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
    ],
)
def test_a_bad_strength_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ConfigurationError, match="strength") as caught:
        parse_attack(text)
    assert f"{text.partition(':')[0]}:" in caught.value.advice


@pytest.mark.parametrize("text", ["nonsense:1", "prune", "", ":", ":1", "Prune:0.5"])
def test_an_unknown_attack_lists_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigurationError, match="finetune, prune, quantize"):
        parse_attack(text)


class _Theirs(Prune):
    name = "theirs"


def _with_plugin(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    group = "deepsigns_registry.attacks"

    def points(**_: str) -> EntryPoints:
        return EntryPoints([EntryPoint(name, value, group)])

    monkeypatch.setattr(catalogue, "entry_points", points)


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
    with pytest.raises(ConfigurationError, match=value):
        known_attacks()
