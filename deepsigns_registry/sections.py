"""The sections of `deepsigns.toml`, one class each, with every default; see `config`."""

import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import NoDecode

__all__ = [
    "AuditSettings",
    "Deployment",
    "EngineSettings",
    "KeyRule",
    "KeystoreSettings",
    "ModelSettings",
    "Note",
    "OwnerSettings",
    "PolicySettings",
    "RegistrySettings",
    "SandboxSettings",
    "WorkerSettings",
]

Purpose = Literal["watermark", "audit", "command"]
Note = Literal[".DS_Store", "._*", ".directory", ".nfs*", "Thumbs.db", "desktop.ini"]
"""Names of files that systems and file managers leave behind, and that no loader reads."""


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
    # Unsigned files beside a model that do not count.
    ignore: tuple[Note, ...] = ()


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
    file_mib: int = Field(default=2047, ge=1, le=2047)
    output_mib: int = Field(default=2048, ge=1)
    nodes: int = Field(default=50_000, ge=1)
    # Of one deployment: its file, and everything that is done to copies of it.
    audit_seconds: float = Field(default=14_400.0, gt=0)
    # None: three quarters of the machine's.
    attack_memory_mib: int | None = Field(default=None, ge=256)


class EngineSettings(_Section):
    """Where jobs run."""

    kind: Literal["local", "ray"] = "local"
    address: str = ""
    jobs: int = Field(default=1, ge=1)
    gpus_per_job: float = Field(default=0, ge=0)
