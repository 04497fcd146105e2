"""`deepsigns.toml` and the environment, as typed settings.

One file configures everything. An environment variable wins over the file:
`DEEPSIGNS_REGISTRY__TRACKING_URI` stands for `tracking_uri` in `[registry]`. Relative paths are
relative to the file's folder, so that a command works from anywhere.
"""

import hashlib
import json
import os
import re
import time
import tomllib
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from deepsigns_registry.bounded.regular import read_regular
from deepsigns_registry.bounded.unreadable import UnreadableError
from deepsigns_registry.errors import ConfigurationError, NotFoundError
from deepsigns_registry.naming import key_of, section_of
from deepsigns_registry.sections import (
    AuditSettings,
    Deployment,
    EngineSettings,
    KeystoreSettings,
    ModelSettings,
    OwnerSettings,
    PolicySettings,
    RegistrySettings,
    SandboxSettings,
    WorkerSettings,
)

__all__ = ["Settings", "load_settings", "wait_until_settled"]

_PREFIX, _DELIMITER = "DEEPSIGNS_", "__"
_MODELS = f"{_PREFIX}MODELS{_DELIMITER}"
_MOST_BYTES = 4 * 2**20
# An editor that writes in place leaves half a file for less than this.
_SETTLED_SECONDS = 0.5
_MOST_WAITS = 10


class _Environment(EnvSettingsSource):
    """The environment; a variable about one model is read here, as its name may be any.

    Args:
        settings_cls: What is set.
        names: The models that the file names.
    """

    def __init__(self, settings_cls: type[BaseSettings], names: tuple[str, ...]) -> None:
        super().__init__(settings_cls)
        self._names = names
        # Pydantic lower-cases the rest, and cuts a name at every delimiter.
        self.env_vars = {
            name: value
            for name, value in self.env_vars.items()
            if not name.upper().startswith(_MODELS)
        }

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        models = found.get("models")
        named = (
            {self._named(key, f"{_PREFIX}MODELS"): value for key, value in models.items()}
            if (isinstance(models, dict))
            else {}
        )
        for variable, value in os.environ.items():
            if variable.upper().startswith(_MODELS) and value:
                written, more = _said(variable[len(_MODELS) :], value)
                section = named.setdefault(self._named(written, variable), {})
                if isinstance(section, dict):
                    section.update(more)
        return {**found, "models": named} if named else found

    def _named(self, written: str, variable: str) -> str:
        """The model that a variable is about: in these letters, or in others if only one is."""
        for exactly in (written, written.lower()):
            if exactly in self._names:
                return exactly
        for form in (_without_case, _without_signs):
            alike = [name for name in self._names if form(name) == form(written)]
            if len(alike) > 1:
                raise ConfigurationError(
                    f"environment: {variable} may be about {' or '.join(map(repr, alike))}",
                    advice=f"name it in JSON: {_PREFIX}MODELS='{{\"NAME\": {{...}}}}'",
                )
            if alike:
                return alike[0]
        return written.lower() if written.isupper() else written


def _without_case(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_signs(name: str) -> str:
    # What most shells take in the name of a variable.
    return re.sub(r"[^a-z0-9]", "_", _without_case(name))


def _said(name: str, text: str) -> tuple[str, dict[str, Any]]:
    """The model that a variable is about, and its settings: one, or a whole section in JSON."""
    written, delimiter, field = name.rpartition(_DELIMITER)
    field = field.lower()
    if delimiter and (field in ModelSettings.model_fields or not text.lstrip().startswith("{")):
        return written, {field: _parsed(text) if field == "schemes" else text}
    section = _parsed(text)
    if not isinstance(section, dict):
        raise SettingsError(name)
    return name, section


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(str(error)) from error


class _Document(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True
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
        self._values = document.model_dump(mode="json")

    def __str__(self) -> str:
        """The file, and what was read from it and from the environment, as one short text."""
        content = json.dumps(self._values, sort_keys=True).encode()
        return f"{self.path} {hashlib.sha256(content).hexdigest()}"

    def changed_since(self, earlier: "Settings") -> tuple[str, ...]:
        """Names of the settings that are not what they were, without their values.

        Examples:
            >>> from pathlib import Path
            >>> before = Settings(Path("a"), _Document())
            >>> Settings(Path("a"), _Document(owner={"name": "A"})).changed_since(before)
            ('owner.name',)
        """
        now, then = dict(_leaves(self._values)), dict(_leaves(earlier._values))  # noqa: SLF001
        names = sorted(now.keys() | then.keys())
        return tuple(key_of(*name) for name in names if now.get(name) != then.get(name))

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
        # A name may hold signs that mean something else in a pattern.
        patterns = self.registry.protected_models
        return name in patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _leaves(
    values: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def wait_until_settled(path: Path) -> None:
    """Waits while a file was written a moment ago: the rest of it may be about to follow.

    Half a settings file protects less than the whole, and is often no mistake.

    Args:
        path: The file; one that is missing is not waited for.
    """
    for _ in range(_MOST_WAITS):
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return
        if not 0 <= age < _SETTLED_SECONDS:
            return
        time.sleep(_SETTLED_SECONDS - age)


def load_settings(path: "str | os.PathLike[str] | Settings | None" = None) -> Settings:
    r"""Reads the settings file.

    Args:
        path: The file; by default `$DEEPSIGNS_CONFIG`, else `deepsigns.toml` in this folder.
            Settings that were read already stay what they are: so a job is given those of whoever
            started it, and not what the file says by then.

    Raises:
        NotFoundError: There is no such file.
        ConfigurationError: It is not TOML, a setting is unknown or invalid, or a variable of the
            environment cannot be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        ...     written = file.write('[models.fraud]\ndata = "training.npz"')
        ...     file.flush()
        ...     load_settings(file.name).models["fraud"].data
        'training.npz'
    """
    if isinstance(path, Settings):
        return path
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
        said = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigurationError(
            f"{_place_of(first['loc'], file)}: {said.removeprefix('Value error, ')}",
            advice="see docs/configuration.md",
        ) from None


def _place_of(location: tuple[str | int, ...], file: Path) -> str:
    """Where a setting comes from, and what it is called there."""
    wanted = _without_signs(_PREFIX + _DELIMITER.join(map(str, location)))
    variable = next((name for name in os.environ if _without_signs(name) == wanted), None)
    key = key_of(*location)
    return f"environment: {variable}: {key}" if variable else f"{file}: {key}"


def _unreadable_variable(error: SettingsError) -> str:
    # Pydantic names the section only; the parser's error holds the text that it could not read.
    text = getattr(error.__cause__, "doc", None)
    names = (name for name, value in os.environ.items() if value == text)
    return next((name for name in names if name.upper().startswith(_PREFIX)), f"{_PREFIX}...")
