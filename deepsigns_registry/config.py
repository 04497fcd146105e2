"""`deepsigns.toml` and the environment, as typed settings.

One file configures everything. An environment variable wins over the file:
`DEEPSIGNS_REGISTRY__TRACKING_URI` stands for `tracking_uri` in `[registry]`. Relative paths are
relative to the file's folder, so that a command works from anywhere.
"""

import json
import os
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import ConfigurationError, NotFoundError

__all__ = [
    "AuditSettings",
    "Deployment",
    "EngineSettings",
    "KeyRule",
    "KeystoreSettings",
    "ModelSettings",
    "OwnerSettings",
    "PolicySettings",
    "RegistrySettings",
    "SandboxSettings",
    "Settings",
    "WorkerSettings",
    "load_settings",
    "section_of",
]

_PREFIX = "DEEPSIGNS_"
_MOST_BYTES = 4 * 2**20

Purpose = Literal["watermark", "audit", "command"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RegistrySettings(_Section):
    """Where MLflow is, and what it protects."""

    tracking_uri: str = "http://127.0.0.1:5000"
    protected_aliases: tuple[str, ...] = ("champion",)
    protected_stages: tuple[str, ...] = ("Production",)
    protected_models: tuple[str, ...] = ()


class OwnerSettings(_Section):
    """Who owns the models, and where this machine finds the keys it may use."""

    name: str = ""
    public_key: str = "file:keys/owner.pub.pem"
    signing_key: str = "file:keys/worker.pem"
    # The environment gives it as text, one recipient or a JSON list, and the validator reads it.
    sealing: Annotated[tuple[str, ...], NoDecode] = ("age:keys/sealing.pub",)
    unsealing: str = "age:keys/sealing.key"

    @field_validator("sealing", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return (value,)
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("starts like a JSON list and is none") from None


class KeyRule(_Section):
    """A public key, and the kinds of statement it may sign."""

    public_key: str
    may_sign: tuple[Purpose, ...] = Field(min_length=1)


class PolicySettings(_Section):
    """Whose signatures count. An empty policy trusts nobody."""

    keys: tuple[KeyRule, ...] = ()


class KeystoreSettings(_Section):
    """Where sealed watermark secrets are kept."""

    uri: Annotated[str, Field(pattern=r"^file:.+")] = "file:keystore"


class WorkerSettings(_Section):
    """Where the worker keeps what it has not finished, and what it says meanwhile."""

    checkpoints: str = ""
    # Empty: the figures of a marking are not logged to MLflow.
    experiment: str = "deepsigns-markings"
    report_seconds: float = Field(default=5.0, gt=0)


# Settings of what `stealth` does not embed.
_NOT_HIDDEN = {
    *("bits", "carriers", "margin", "triggers_per_class"),
    *("queries", "query_family", "query_margin", "cells_margin"),
}


class ModelSettings(_Section):
    """How one registered model is retrained and marked."""

    data: str
    task: Literal["classification", "regression", "embedding"] = "classification"
    layer: str = "auto"
    # None: our own, as far as they suit the model.
    schemes: tuple[str, ...] | None = Field(default=None, min_length=1)
    # None: 128, and more where the layer has room for them.
    bits: int | None = Field(default=None, ge=64, le=4096)
    carriers: int = Field(default=4, ge=2)
    queries: int = Field(default=400, ge=100)
    triggers_per_class: int = Field(default=50, ge=50)
    epochs: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    batch_size: int = Field(default=64, ge=2)
    margin: float = Field(default=5.0, gt=0)
    query_family: Literal["salt", "noise", "blend", "noisy_blend", "flipped"] = "salt"
    # None: the cross-entropy of the queries, which has no margin.
    query_margin: float | None = Field(default=None, gt=0)
    cells_margin: float = Field(default=1.5, gt=0)
    # Beyond a tenth of its own deviation a pattern is no small change any more.
    spread_strength: float = Field(default=0.05, gt=0, le=0.1)
    # Only what detectors do not see: `spread`, weaker, and left out where it would show.
    stealth: bool = False
    pruning_masks: float = Field(default=0.0, ge=0, lt=1)
    weight_noise: float = Field(default=0.0, ge=0)
    max_accuracy_drop: float = Field(default=0.01, ge=0, le=1)
    # Beyond what plain fine-tuning changes.
    max_changed_answers: float = Field(default=0.05, ge=0, le=1)
    # Of fine-tuning after the first, while the mark is too weak or costs too much.
    rounds: int = Field(default=4, ge=0, le=20)
    seed: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool = True

    @model_validator(mode="after")
    def _only_hidden(self) -> Self:
        if self.stealth and self.schemes not in (None, ("spread",)):
            raise ValueError("stealth embeds the scheme spread alone; leave schemes out")
        unused = sorted(self.model_fields_set & _NOT_HIDDEN) if self.stealth else []
        if unused:
            raise ValueError(f"stealth embeds the scheme spread alone; leave {unused[0]} out")
        return self

    @field_validator("schemes")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("names a scheme twice")
        return value


class Deployment(_Section):
    """One deployed ONNX file, and what the audit does to it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    model: str
    target: str
    schedule: str = "0 3 * * *"
    attacks: tuple[str, ...] = ("prune:0.5", "finetune:3", "quantize:int8")


class AuditSettings(_Section):
    """Where audit reports go, and what counts as a pass."""

    reports: str = "audits"
    experiment: str = "deepsigns-audits"
    min_accuracy: float = Field(default=0.0, ge=0, le=1)


class SandboxSettings(_Section):
    """The room in which files and code run that are not ours."""

    # None: as much of it as the kernel gives.
    require: Literal["full", "limits"] | None = None
    # Of all readings of one file together.
    seconds: float = Field(default=300.0, gt=0)
    memory_mib: int = Field(default=4096, ge=256)


class EngineSettings(_Section):
    """Where jobs run."""

    kind: Literal["local", "ray"] = "local"
    address: str = ""
    jobs: int = Field(default=1, ge=1)
    gpus_per_job: float = Field(default=0, ge=0)


class _Environment(EnvSettingsSource):
    """The environment, whose variables have no case, for models whose names do.

    Args:
        settings_cls: What is set.
        names: The models that the file names.
    """

    def __init__(self, settings_cls: type[BaseSettings], names: tuple[str, ...]) -> None:
        super().__init__(settings_cls)
        self._names = names

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        if isinstance(found.get("models"), dict):
            found["models"] = {self._named(key): value for key, value in found["models"].items()}
        return found

    def _named(self, key: str) -> str:
        alike = [name for name in self._names if name.lower() == key.lower()]
        return alike[0] if len(alike) == 1 else key


class _Document(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    registry: RegistrySettings = RegistrySettings()
    owner: OwnerSettings = OwnerSettings()
    policy: PolicySettings = PolicySettings()
    keystore: KeystoreSettings = KeystoreSettings()
    worker: WorkerSettings = WorkerSettings()
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    deployments: tuple[Deployment, ...] = ()
    audit: AuditSettings = AuditSettings()
    engine: EngineSettings = EngineSettings()
    sandbox: SandboxSettings = SandboxSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Pydantic calls this with these argument names; the environment wins over the file.
        written = init_settings().get("models")
        names = tuple(written) if isinstance(written, dict) else ()
        return _Environment(settings_cls, names), init_settings


class Settings:
    """The validated settings of one `deepsigns.toml`.

    Attributes:
        path: The file that was read.
        base: Its folder; relative paths in it start there.
    """

    def __init__(self, path: Path, document: _Document) -> None:
        self.path = path
        self.base = path.parent
        self.registry = document.registry
        self.owner = document.owner
        self.policy = document.policy
        self.keystore = document.keystore
        self.worker = document.worker
        self.models = document.models
        self.deployments = document.deployments
        self.audit = document.audit
        self.engine = document.engine
        self.sandbox = document.sandbox

    @property
    def tracking_uri(self) -> str:
        """MLflow's address; a relative SQLite path is relative to the file's folder."""
        uri = self.registry.tracking_uri
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            return f"{prefix}{self.base / uri.removeprefix(prefix)}"
        return uri

    @property
    def checkpoints(self) -> Path:
        """Folder of unfinished trainings; beside the key store unless it is named."""
        if self.worker.checkpoints:
            return self.file(self.worker.checkpoints)
        return self.file(self.keystore.uri).with_name("checkpoints")

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Where secrets lie on this machine: the key store, and the folders of private keys."""
        found = [self.file(self.keystore.uri)]
        for reference in (self.owner.signing_key, self.owner.unsealing):
            prefix, colon, rest = reference.partition(":")
            if prefix in {"file", "age"} or not colon:
                path = self.base / (rest if colon else prefix)
                alone = path.parent in {self.base, *self.base.parents}
                found.append(path if alone else path.parent)
        return tuple(dict.fromkeys(found))

    def file(self, reference: str, *, scheme: str = "file") -> Path:
        """Resolves `file:keys/owner.pem` (or a plain path) to a path.

        Raises:
            ConfigurationError: The reference has another scheme, or is no path.
        """
        if "\0" in reference:
            # The system ends a path there; Python's own error says no more than that.
            raise ConfigurationError(f"{self.path}: {reference!a} is no path")
        prefix, colon, rest = reference.partition(":")
        if not colon:
            return self.base / reference
        if prefix != scheme:
            raise ConfigurationError(
                f"{self.path}: '{reference}' is not a {scheme}: reference",
                advice=f"write {scheme}:PATH",
            )
        return self.base / rest

    def model(self, name: str) -> ModelSettings:
        """Settings of `[models.<name>]`.

        Raises:
            ConfigurationError: There is no such section.
        """
        if name not in self.models:
            raise ConfigurationError(
                f"{self.path}: no section {section_of(name)}",
                advice=f'add {section_of(name)} with data = "module:function" or a .npz path',
            )
        return self.models[name]

    def protects_model(self, name: str) -> bool:
        """Whether every version created under this name must be attested."""
        return any(fnmatchcase(name, pattern) for pattern in self.registry.protected_models)


def section_of(model: str) -> str:
    """The header of a model's section, as TOML has it.

    Examples:
        >>> section_of("fraud"), section_of("team@fraud v2")
        ('[models.fraud]', '[models."team@fraud v2"]')
    """
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", model)
    return f"[models.{model if bare else json.dumps(model, ensure_ascii=False)}]"


def load_settings(path: str | os.PathLike[str] | None = None) -> Settings:
    """Reads the settings file.

    Args:
        path: The file; by default `$DEEPSIGNS_CONFIG`, else `deepsigns.toml` in this folder.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It is not TOML, a setting is unknown or invalid, or a variable of the
            environment cannot be read.
    """
    file = Path(path or os.environ.get("DEEPSIGNS_CONFIG") or "deepsigns.toml").absolute()
    try:
        text = read_regular(file, most_bytes=_MOST_BYTES).decode()
    except FileNotFoundError:
        raise NotFoundError(
            f"{file}: no such file", advice="run: deepsigns init, or name one with --config"
        ) from None
    except UnreadableError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from None
    try:
        # Text mode of Python would do the same.
        content = tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{file}: not valid TOML: {error}", advice="mend the line named"
        ) from None
    except (ValueError, RecursionError):
        # A number of thousands of digits; lists inside each other a thousand times.
        raise ConfigurationError(
            f"{file}: holds a number or a nesting that no setting has"
        ) from None
    try:
        return Settings(file, _Document(**content))
    except SettingsError as error:
        raise ConfigurationError(
            f"environment: {_unreadable_variable(error)}: its value is not JSON",
            advice="""write lists and tables as JSON, for example '["champion"]'""",
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigurationError(
            f"{file}: {where}: {said.removeprefix('Value error, ')}",
            advice="see docs/configuration.md",
        ) from None


def _unreadable_variable(error: SettingsError) -> str:
    # Pydantic names the section only; the parser's error holds the text that it could not read.
    text = getattr(error.__cause__, "doc", None)
    names = (name for name, value in os.environ.items() if value == text)
    return next((name for name in names if name.upper().startswith(_PREFIX)), f"{_PREFIX}...")
