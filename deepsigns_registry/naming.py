"""How a model, a version and a command are written: read from a person, and printed for one.

MLflow takes every name without `/` and `:`: blanks, quotes, `@`, letters of all languages. What is
printed is meant to be copied, so that a command is quoted for the shell and a setting for TOML.
"""

import json
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from deepsigns_registry.errors import ConfigurationError

__all__ = [
    "ModelName",
    "command",
    "folder_in",
    "key_of",
    "parse_name",
    "parse_version",
    "section_of",
    "toml_string",
    "version_name",
    "without_password",
]

_SCHEME = "models:/"
_ADVICE = "write NAME/VERSION or models:/NAME@ALIAS"
# MLflow keeps a number in 32 bits, so that no version has more than nine digits. What stands
# behind the last `@` is an alias where it can be one.
_NAME = re.compile(
    r"(?:models:/)?(?:(?P<one>[^/]+)/(?P<version>[0-9]{1,9})"
    r"|(?P<aliased>[^/]+)@(?P<alias>[\w-]+)|(?P<model>[^/]+))"
)


class ModelName(NamedTuple):
    """What a person wrote to name a model, or one version of it.

    Attributes:
        name: Registered model.
        version: Its number; empty when an alias or nothing stands there.
        alias: The alias; empty when a number or nothing stands there.
    """

    name: str
    version: str
    alias: str


def parse_name(text: str) -> ModelName:
    """Reads the name of a model or of one version of it; asks nobody.

    Args:
        text: `NAME`, `NAME/3` or `NAME@alias`, each with or without `models:/`. What stands
            behind the last `@` is taken for an alias.

    Raises:
        ConfigurationError: It is no such name.

    Examples:
        >>> parse_name("models:/fraud/3")
        ModelName(name='fraud', version='3', alias='')
        >>> parse_name("team@fraud@champion")
        ModelName(name='team@fraud', version='', alias='champion')
    """
    parts = _NAME.fullmatch(text)
    if parts is None:
        raise ConfigurationError(f"{text!r} names no model version", advice=_ADVICE)
    name = parts["one"] or parts["aliased"] or parts["model"]
    return ModelName(name, parts["version"] or "", parts["alias"] or "")


def parse_version(text: str) -> ModelName:
    """Reads the name of one version, by number or by alias; asks nobody.

    Raises:
        ConfigurationError: It is no such name.

    Examples:
        >>> parse_version("driver's model/3").version
        '3'
    """
    found = parse_name(text)
    if not found.version and not found.alias:
        raise ConfigurationError(f"{text!r} names no model version", advice=_ADVICE)
    return found


def folder_in(text: str) -> Path | None:
    """The folder that a person means who may name a version or a folder; None for a version.

    What begins like a path is a folder, whether it exists or not. So is what is no version's name,
    where there is such a folder; a link to a folder is the folder that it leads to.

    Args:
        text: `./FOLDER`, `/FOLDER`, `FOLDER/FOLDER`, or a version as `parse_name` reads it.

    Examples:
        >>> folder_in("models:/fraud@champion"), folder_in("fraud/7")
        (None, None)
        >>> folder_in("/no/such/folder")
        PosixPath('/no/such/folder')
    """
    if not text or text.startswith(_SCHEME):
        return None
    # Unlike Path.is_dir() it has an answer for what is too long for a path.
    exists = os.path.isdir(text)  # noqa: PTH112
    if not text.startswith((".", "/")) and (not exists or _is_version(text)):
        return None
    return Path(os.path.realpath(text)) if exists else Path(text)


def _is_version(text: str) -> bool:
    parts = _NAME.fullmatch(text)
    return parts is not None and bool(parts["version"] or parts["alias"])


def version_name(name: str, version: str | int) -> str:
    """A version as every command reads it.

    Examples:
        >>> version_name("fraud", 7), version_name("-old", 7)
        ('fraud/7', 'models:/-old/7')
    """
    # What begins with a dash is an option to a command, and with a dot a folder.
    scheme = _SCHEME if name.startswith(("-", ".")) else ""
    return f"{scheme}{name}/{version}"


def command(*words: str | os.PathLike[str]) -> str:
    r"""A command line that a shell reads as these words, to be printed for a person.

    Examples:
        >>> command("deepsigns", "status", "driver's model/1")
        'deepsigns status "driver\'s model/1"'
        >>> command("deepsigns", "status", "fraud\xa0eu/1")
        "deepsigns status $'fraud\\u00a0eu/1'"
    """
    return " ".join(_word(os.fspath(word)) for word in words)


def _word(word: str) -> str:
    if not word.isprintable():
        # What is not printed would not survive being copied from a terminal.
        escaped = word.replace("\\", "\\\\").replace("'", "\\'")
        return f"$'{_escaped(escaped)}'"
    # Easier to read than how shlex writes a quote inside quotes.
    if "'" in word and not re.search(r'["$`\\!]', word):
        return f'"{word}"'
    return shlex.quote(word)


def _escaped(text: str) -> str:
    return "".join(
        sign
        if sign.isprintable()
        else f"\\u{ord(sign):04x}"
        if ord(sign) < 65536
        else f"\\U{ord(sign):08x}"
        for sign in text
    )


def toml_string(text: str) -> str:
    r"""Text as TOML has it, with escapes for what is not printed.

    Examples:
        >>> toml_string('the "best"\x7f')
        '"the \\"best\\"\\u007f"'
    """
    # JSON escapes as TOML does, but leaves DEL as it is and writes an emoji as two surrogates.
    return _escaped(json.dumps(text, ensure_ascii=False))


def section_of(model: str) -> str:
    """The header of a model's section, as TOML has it.

    Examples:
        >>> section_of("fraud"), section_of("team@fraud v2")
        ('[models.fraud]', '[models."team@fraud v2"]')
    """
    return f"[{key_of('models', model)}]"


def key_of(*parts: str | int) -> str:
    """A dotted key, as TOML has it.

    Examples:
        >>> key_of("models", "main.ml.fraud", "bits")
        'models."main.ml.fraud".bits'
    """
    bare = re.compile(r"[A-Za-z0-9_-]+")
    words = map(str, parts)
    return ".".join(word if bare.fullmatch(word) else toml_string(word) for word in words)


def without_password(address: str) -> str:
    """An address as it may be shown: a server's or a database's.

    Examples:
        >>> without_password("postgresql://mlflow:hidden@db/mlflow")
        'postgresql://mlflow:***@db/mlflow'
        >>> without_password("sqlite:////srv/mlflow.db")
        'sqlite:////srv/mlflow.db'
        >>> without_password("https://me:hidden@mlflow.example/path")
        'https://me:***@mlflow.example/path'
    """
    hidden = address.split("?", 1)[0]
    head, at, rest = hidden.rpartition("@")
    scheme, slashes, user = head.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}{':***' if colon else ''}{at}{rest}" if at else hidden
