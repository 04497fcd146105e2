"""Settings: one file, the environment over it, and one clear line for what is wrong."""

from pathlib import Path

import pytest

from deepsigns_registry.config import Settings, load_settings
from deepsigns_registry.errors import ConfigurationError, NotFoundError


def written(folder: Path, text: str) -> Path:
    path = folder / "deepsigns.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> Settings:
    return load_settings(written(folder, text))


def test_an_empty_file_gives_defaults_that_trust_nobody(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    assert settings.tracking_uri == "http://127.0.0.1:5000"
    assert settings.registry.protected_aliases == ("champion",)
    assert settings.policy.keys == ()


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[registry]\ntracking_uri = "sqlite:///mlflow.db"')
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.file("file:keys/a.pem") == tmp_path / "keys/a.pem"
    assert settings.file("data.npz") == tmp_path / "data.npz"


def test_an_absolute_sqlite_path_stays_as_it_is(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[registry]\ntracking_uri = "sqlite:////var/mlflow.db"')
    assert settings.tracking_uri == "sqlite:////var/mlflow.db"


def test_a_reference_of_another_scheme_is_refused(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    with pytest.raises(ConfigurationError, match=r"'awskms:x' is not a file: reference"):
        settings.file("awskms:x")


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIGNS_REGISTRY__TRACKING_URI", "http://127.0.0.1:7777")
    text = '[registry]\ntracking_uri = "http://127.0.0.1:1"\nprotected_aliases = ["gold"]'
    settings = loaded(tmp_path, text)
    assert settings.tracking_uri == "http://127.0.0.1:7777"
    assert settings.registry.protected_aliases == ("gold",)


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSIGNS_CONFIG", str(written(tmp_path, "[owner]\nname = 'A'")))
    assert load_settings().owner.name == "A"


def test_one_recipient_may_be_written_without_a_list(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[owner]\nsealing = "age:k.pub"')
    assert settings.owner.sealing == ("age:k.pub",)


@pytest.mark.parametrize(
    ("value", "recipients"),
    [
        ("age:k.pub", ("age:k.pub",)),
        ('["age:k.pub"]', ("age:k.pub",)),
        (' ["age:k.pub", "age:l.pub"]', ("age:k.pub", "age:l.pub")),
    ],
)
def test_recipients_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, recipients: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DEEPSIGNS_OWNER__SEALING", value)
    assert loaded(tmp_path, '[owner]\nsealing = "age:file.pub"').owner.sealing == recipients


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEEPSIGNS_REGISTRY__PROTECTED_ALIASES", "champion"),
        ("DEEPSIGNS_REGISTRY__PROTECTED_ALIASES", '["champion"'),
        ("DEEPSIGNS_DEPLOYMENTS", "app"),
        ("DEEPSIGNS_REGISTRY", "http://127.0.0.1:1"),
        ("deepsigns_policy__keys", "keys/worker.pub.pem"),
    ],
)
def test_a_list_in_the_environment_that_is_not_json_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, "")
    assert str(caught.value).startswith(f"environment: {name}: its value is not JSON; write lists")
    assert "\n" not in str(caught.value)


def test_a_broken_list_of_recipients_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIGNS_OWNER__SEALING", '["age:k.pub"')
    with pytest.raises(ConfigurationError, match=r"owner\.sealing: .*JSON list"):
        loaded(tmp_path, "")


def test_a_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file; run: deepsigns init"):
        load_settings(tmp_path / "deepsigns.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registry", "not valid TOML: "),
        ("[registry]\ntracking_url = 'x'", "registry.tracking_url: there is no such setting"),
        ("[models.a]\nbits = 128", "models.a.data: Field required"),
        (
            "[models.a]\ndata = 'x.npz'\ncells_margin = inf",
            "models.a.cells_margin: Input should be",
        ),
        (
            "[models.a]\ndata = 'x.npz'\nstealth = true\nbits = 256",
            "models.a: stealth embeds the scheme spread alone; leave bits out",
        ),
        ("[sandbox]\nrequire = 'most'", "sandbox.require: Input should be 'full' or 'limits'"),
        ("[models.a]\ndata = 'x.npz'\nbits = 10", "models.a.bits: Input should be greater"),
        (
            "[models.a]\ndata = 'x.npz'\nschemes = []",
            "models.a.schemes: Tuple should have at least",
        ),
        (
            "[models.a]\ndata = 'x.npz'\nschemes = ['whitebox', 'whitebox']",
            "models.a.schemes: names a scheme twice",
        ),
        ("[keystore]\nuri = 'gs://bucket'", "keystore.uri: "),
        ("[[policy.keys]]\npublic_key = 'a'\nmay_sign = ['waiver']", "policy.keys.0.may_sign.0: "),
        ("[[deployments]]\nname = '../x'\nmodel = 'm'\ntarget = 't'", "deployments.0.name: "),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "deepsigns.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deepsigns.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path / "deepsigns.toml")


def test_a_model_without_a_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no section \[models\.fraud\]; add"):
        loaded(tmp_path, "").model("fraud")


def test_protected_models_are_patterns(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[registry]\nprotected_models = ["prod-*"]')
    assert settings.protects_model("prod-fraud")
    assert not settings.protects_model("fraud")
    assert loaded(tmp_path, '[registry]\nprotected_models = ["a [b]"]').protects_model("a [b]")


@pytest.mark.parametrize(
    "variable", ["DEEPSIGNS_MODELS__Fraud__BITS", "DEEPSIGNS_MODELS__FRAUD__BITS"]
)
def test_a_model_s_capitals_do_not_count_in_a_variable(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "64")
    path = written(tmp_path, '[models.Fraud]\ndata = "d.npz"\n[models.price]\ndata = "e.npz"')
    models = load_settings(path).models
    assert (models["Fraud"].bits, models["Fraud"].data) == (64, "d.npz")
    assert models["price"].bits is None


def test_of_two_models_that_differ_in_capitals_alone_the_variable_s_own_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIGNS_MODELS__FRAUD__BITS", "64")
    path = written(tmp_path, '[models.Fraud]\ndata = "d.npz"\n[models.fraud]\ndata = "e.npz"')
    models = load_settings(path).models
    assert (models["Fraud"].bits, models["fraud"].bits) == (None, 64)


@pytest.mark.parametrize(
    ("variable", "model"),
    [
        ("DEEPSIGNS_MODELS__FRAUD_DETECTION__BITS", "fraud detection"),
        ("DEEPSIGNS_MODELS__fraud detection__BITS", "fraud detection"),
        ("DEEPSIGNS_MODELS__MAIN_ML_FRAUD__BITS", "main.ml.fraud"),
        ("DEEPSIGNS_MODELS__main.ml.fraud__BITS", "main.ml.fraud"),
        ("DEEPSIGNS_MODELS__MY__MODEL__BITS", "my__model"),
        ("DEEPSIGNS_MODELS__ÖLPREIS__BITS", "Ölpreis"),
        ("DEEPSIGNS_MODELS__TEAM_FRAUD__BITS", "team@fraud"),
    ],
)
def test_a_variable_may_be_about_a_model_of_any_name(
    variable: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["fraud detection", "main.ml.fraud", "my__model", "Ölpreis", "team@fraud"]
    path = written(tmp_path, "".join(f'[models."{name}"]\ndata = "d.npz"\n' for name in names))
    monkeypatch.setenv(variable, "256")
    found = {name: section.bits for name, section in load_settings(path).models.items()}
    assert found == {**dict.fromkeys(names), model: 256}


def test_a_variable_that_may_be_about_two_models_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSIGNS_MODELS__A_B__BITS", "256")
    path = written(tmp_path, '[models."a b"]\ndata = "d.npz"\n[models."a.b"]\ndata = "d.npz"')
    with pytest.raises(ConfigurationError, match=r"may be about 'a b' or 'a\.b'; name it in JSON"):
        load_settings(path)


def test_a_whole_section_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSIGNS_MODELS__A_B", '{"bits": 256, "schemes": ["spread"]}')
    models = load_settings(written(tmp_path, '[models."a b"]\ndata = "d.npz"')).models
    assert (models["a b"].bits, models["a b"].schemes) == (256, ("spread",))


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("DEEPSIGNS_REGISTRY__TYPO", "DEEPSIGNS_REGISTRY__TYPO: registry.typo: there is no such"),
        ("DEEPSIGNS_MODELS__A_B__TYPO", '__TYPO: models."a b".typo: there is no such setting'),
        ("DEEPSIGNS_MODELS__A_B", "DEEPSIGNS_MODELS__A_B: its value is not JSON"),
        ("DEEPSIGNS_MODELS__A_B__SCHEMES", "__SCHEMES: its value is not JSON"),
    ],
)
def test_a_mistake_in_the_environment_is_called_one(
    variable: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, '[models."a b"]\ndata = "d.npz"'))
    assert str(caught.value).startswith("environment: ")
    assert said in str(caught.value)
