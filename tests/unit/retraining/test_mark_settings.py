"""What deepsigns.toml says reaches the method."""

from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

from deepsigns_registry.retraining import inspection
from deepsigns_registry.retraining.options import mark_settings
from deepsigns_registry.sections import ModelSettings
from deepsigns_registry.watermark.blueprint import Blueprint
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.queries import FAMILIES
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings


def test_defaults_are_the_method_s_own() -> None:
    assert mark_settings(ModelSettings(data="a:b")) == MarkSettings()


def test_every_shared_setting_reaches_the_method() -> None:
    changed = ModelSettings(
        data="a:b",
        bits=256,
        carriers=8,
        queries=200,
        triggers_per_class=60,
        epochs=3,
        learning_rate=1e-3,
        batch_size=32,
        margin=3.0,
        query_family="flipped",
        query_margin=20.0,
        spread_strength=0.08,
        cells_margin=2.0,
        pruning_masks=0.9,
        weight_noise=0.3,
        seed=7,
        precision="bfloat16",
        channels_last=False,
    )
    found, plain = mark_settings(changed), MarkSettings()
    assert mark_settings(ModelSettings(data="a:b", stealth=True)).stealth
    shared = {field.name for field in fields(MarkSettings)} & set(ModelSettings.model_fields)
    assert len(shared) == 18
    for name in shared - {"stealth"}:
        assert getattr(found, name) == getattr(changed, name) != getattr(plain, name)


def test_the_families_of_queries_are_those_of_the_method() -> None:
    annotation = ModelSettings.model_fields["query_family"].annotation
    assert get_args(annotation) == tuple(FAMILIES)


@pytest.mark.parametrize(
    ("schemes", "bits", "queries"),
    [
        (["whitebox", "blackbox"], 128, 300),
        (["whitebox"], 128, 0),
        (["blackbox"], 0, 300),
        ([], 0, 0),
    ],
)
def test_what_is_signed_of_the_mark_is_what_the_record_holds(
    schemes: list[str], bits: int, queries: int
) -> None:
    secrets = {
        "whitebox": SchemeSecret("whitebox", arrays={"bits": np.zeros((4, 32), np.int8)}),
        "blackbox": SchemeSecret("blackbox", arrays={"kept": np.arange(300)}),
    }
    record = WatermarkRecord(
        root=RootKey(bytes(32), bytes(32)),
        salts={},
        nonces={},
        secrets={name: secrets[name] for name in schemes},
        manifest=Manifest(np.zeros((0, 32), np.uint8), np.zeros(0, np.int64)),
        tap="",
        blueprint=Blueprint.empty(),
    )
    assert inspection.mark_size(record) == (bits, queries)
