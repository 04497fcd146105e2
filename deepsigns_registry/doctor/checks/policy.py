"""Whether the policy trusts somebody, and this machine's own signing key among them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from deepsigns_registry.attestation.keys import key_hint, load_private_key
from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.doctor.check import Line

if TYPE_CHECKING:
    from deepsigns_registry.config import Settings

__all__ = ["check"]

_NEEDED: tuple[Literal["watermark", "command"], ...] = ("watermark", "command")


def check(settings: "Settings") -> Iterator[Line]:
    """Reads the policy, and looks for the signing key in it.

    Raises:
        DeepSignsError: The policy trusts nobody, or names a file that is no key.
    """
    policy = Policy.from_settings(settings)
    trusted = policy.keys_for("watermark")
    yield Line("ok", f"the policy trusts {len(trusted)} of {len(policy.keys)} keys to sign marks")
    if policy.ignore:
        yield Line("ok", f"the policy ignores {', '.join(policy.ignore)} beside a model")
    path = settings.file(settings.owner.signing_key)
    if not path.exists():
        return
    own = key_hint(load_private_key(path).public_key())
    granted = {
        purpose for entry in policy.keys if key_hint(entry.key) == own for purpose in entry.may_sign
    }
    needed = [*_NEEDED, *(["audit"] if settings.deployments else [])]
    lacking = [purpose for purpose in needed if purpose not in granted]
    if not lacking:
        yield Line("ok", "the policy trusts this machine's signing key")
        return
    yield Line(
        "wrong",
        f"the policy does not trust this machine's signing key to sign {', '.join(lacking)}: what "
        "the worker marks here would be called tampered",
        f"name its public key in [[policy.keys]] with may_sign = {lacking}",
    )
