"""A new settings file with fresh keys: what `deepsigns init` writes."""

import os
import tomllib
from pathlib import Path

from deepsigns_registry.attestation.keys import generate_signing_key
from deepsigns_registry.attestation.sealing import generate_sealing_key
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.naming import toml_string

__all__ = ["initialise"]

_TEMPLATE = """\
# Settings of deepsigns-registry. Every key is explained in docs/configuration.md; relative
# paths start in this file's folder.

[registry]
tracking_uri = {tracking_uri}
protected_aliases = ["champion"]

[owner]
name = {name}
public_key = "file:keys/owner.pub.pem"     # the owner's identity; keep keys/owner.pem offline
signing_key = "file:keys/worker.pem"       # signs marks and audits; only the worker needs it
sealing = ["age:keys/sealing.pub"]         # watermark secrets are sealed to these recipients
unsealing = "age:keys/sealing.key"         # opens them; never give it to CI or to the server

[policy]
keys = [
    {{ public_key = "keys/worker.pub.pem", may_sign = ["watermark", "audit", "command"] }},
]

[keystore]
uri = "file:keystore"
{sections}"""


def initialise(
    folder: Path, *, owner: str, tracking_uri: str = "http://127.0.0.1:5000", sections: str = ""
) -> Path:
    """Writes `deepsigns.toml` and new keys into a folder.

    Args:
        folder: Made when it does not exist.
        owner: The owner's name, for people; the identity is the key.
        tracking_uri: Of the MLflow server.
        sections: More TOML, appended as it is.

    Returns:
        Path of the settings file.

    Raises:
        ConfigurationError: The folder holds a settings file or keys already, or a value cannot
            be written as TOML; nothing was written then.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as folder:
        ...     initialise(folder, owner="Example Ltd").name
        ...     sorted(path.name for path in (folder / "keys").glob("owner*"))
        'deepsigns.toml'
        ['owner.pem', 'owner.pub.pem']
    """
    config = folder / "deepsigns.toml"
    keys = folder / "keys"
    for existing in (config, keys):
        if existing.exists():
            raise ConfigurationError(
                f"{existing}: exists already", advice="choose another folder with --out"
            )
    text = _TEMPLATE.format(
        name=_written(owner, "the owner's name"),
        tracking_uri=_written(tracking_uri, "tracking_uri"),
        sections=sections,
    )
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{config}: would not be valid TOML: {error}") from None
    generate_signing_key(keys / "owner.pem", keys / "owner.pub.pem")
    generate_signing_key(keys / "worker.pem", keys / "worker.pub.pem")
    generate_sealing_key(keys / "sealing.key", keys / "sealing.pub")
    # The settings come last: where they are, everything they name is there too.
    draft = config.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8", newline="\n")
    os.replace(draft, config)  # noqa: PTH105 - the name of the atomic operation
    return config


def _written(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{what} is not valid text: {text!a}") from None
    return toml_string(text)
