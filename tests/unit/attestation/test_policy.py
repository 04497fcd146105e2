from collections.abc import Callable
from pathlib import Path

import pytest

from deepsigns_registry.attestation.keys import load_public_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.config import load_settings
from deepsigns_registry.errors import ConfigurationError, NotFoundError

NewKey = Callable[[str], tuple[Path, Path]]


def _settings(tmp_path: Path, text: str) -> Policy:
    (tmp_path / "deepsigns.toml").write_text(text)
    return Policy.from_settings(load_settings(tmp_path / "deepsigns.toml"))


def test_an_empty_policy_trusts_nobody(tmp_path: Path) -> None:
    policy = _settings(tmp_path, "")
    with pytest.raises(ConfigurationError, match="trusts nobody: it names no key"):
        policy.keys_for("watermark")


def test_a_key_counts_only_for_what_it_may_sign(tmp_path: Path, new_key: NewKey) -> None:
    worker, auditor = new_key("worker")[1], new_key("auditor")[1]
    policy = _settings(
        tmp_path,
        '[[policy.keys]]\npublic_key = "file:keys/worker.pub.pem"\nmay_sign = ["watermark"]\n'
        '[[policy.keys]]\npublic_key = "keys/auditor.pub.pem"\nmay_sign = ["audit"]\n',
    )
    assert policy.keys_for("watermark") == (load_public_key(worker),)
    assert policy.keys_for("audit") == (load_public_key(auditor),)
    with pytest.raises(ConfigurationError, match="trusts nobody to sign 'command'"):
        policy.keys_for("command")


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.pem: no such file"):
        _settings(
            tmp_path,
            '[[policy.keys]]\npublic_key = "file:nowhere.pem"\nmay_sign = ["audit"]\n',
        )
