"""Where deployed ONNX files are: one module a kind of place, each with one `fetch`.

Every fetch writes a file of its own under a private folder and never hands out the original,
so that what is verified, attacked and signed are the same bytes.
"""

from pathlib import Path

from deepsigns_registry.config import Settings
from deepsigns_registry.errors import ConfigurationError
from deepsigns_registry.sections import Deployment

__all__ = ["check_target", "fetch"]

_KINDS = 'a path, "s3://bucket/key" or "models:/name@alias"'


def check_target(deployment: Deployment) -> str:
    """Says which kind of place the deployment's target names, before anything is fetched.

    Returns:
        `local`, `s3` or `registry`.

    Raises:
        ConfigurationError: It is none of them, or incomplete.

    Examples:
        >>> check_target(Deployment(name="a", model="m", target="s3://bucket/m.onnx"))
        's3'
    """
    target = deployment.target
    scheme, separator, rest = target.partition(":")
    if scheme == "models" and separator:
        kind, complete = "registry", rest.startswith("/") and len(rest) > 1
    elif target.startswith("s3://"):
        bucket, _, key = target.removeprefix("s3://").partition("/")
        if "@" in bucket:
            # Not quoted: what stands before the @ is most likely a secret.
            raise ConfigurationError(
                f"deployment '{deployment.name}': target holds credentials",
                advice="give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        kind, complete = "s3", bool(bucket and key)
    elif scheme == "file" and separator:
        kind, complete = "local", bool(rest)
    else:
        kind, complete = "local", bool(target) and "://" not in target
    if not complete:
        raise ConfigurationError(
            f"deployment '{deployment.name}': target '{target}' cannot be fetched",
            advice=f"write {_KINDS}",
        )
    return kind


def fetch(settings: Settings, deployment: Deployment, out: Path) -> Path:
    """Copies the deployed ONNX file to a new file.

    Args:
        settings: For the registry's address and the folder relative paths start in.
        deployment: Its `target` names the file.
        out: An existing private folder.

    Returns:
        The copy, in `out`.

    Raises:
        ConfigurationError: The target is none that can be fetched.
        CouldNotCheckError: It is gone, too large, or its place cannot be reached or read.
    """
    kind = check_target(deployment)
    copy = out / "deployed.onnx"
    if kind == "s3":
        from deepsigns_registry.audit.targets import s3

        return s3.fetch(deployment.target, copy)
    if kind == "registry":
        from deepsigns_registry.audit.targets import registry

        return registry.fetch(settings, deployment.target, copy)
    from deepsigns_registry.audit.targets import local

    return local.fetch(settings.file(deployment.target), copy)
