"""The method runs where nothing is installed but torch, numpy and scipy."""

import subprocess
import sys
from pathlib import Path

from tests.support.patience import HANG

ROOT = Path(__file__).parents[3]
PROGRAM = """
import importlib, pkgutil, sys

ALLOWED = {"torch", "numpy", "scipy", "deepsigns_registry"}


class Others:
    # What torch itself needs, or tries, is its own affair.
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        if package in ALLOWED or package in sys.stdlib_module_names:
            return None
        frame = sys._getframe(1)
        while frame:
            asked = frame.f_globals.get("__name__", "").partition(".")[0]
            if asked in {"torch", "numpy", "scipy"}:
                return None
            if asked == "deepsigns_registry":
                break
            frame = frame.f_back
        raise ModuleNotFoundError(f"not installed here: {name}")


sys.meta_path.insert(0, Others())
try:
    import yaml
    raise SystemExit("the hook lets everything through")
except ModuleNotFoundError:
    pass

import numpy, torch
import deepsigns_registry.watermark as room

for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    importlib.import_module(module.name)

from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.embed import embed
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.prepare import prepare_record
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.verdict import judge

random = numpy.random.default_rng(0)
labels = numpy.arange(900) % 6
inputs = (random.normal(size=(6, 16))[labels] + 0.5 * random.normal(size=(900, 16)))
samples = LabelledData(inputs.astype(numpy.float32), labels)
data = TrainingData(samples, samples, 6)
torch.manual_seed(0)
layers = torch.nn.Linear(16, 96), torch.nn.ReLU(), torch.nn.Linear(96, 6)
model = EagerTappedModel(torch.nn.Sequential(*layers), "1")
settings = MarkSettings(bits=64, queries=100, sources=60, minimum_steps=300, repeats=60)
record = prepare_record(model, data, RootKey.generate(bytes(32)), settings)
embed(model, data, WatermarkRecord.from_bytes(record.to_bytes()), settings)
found = extract(record, TappedSuspect(model))
print(judge(found.evidence, tries=1, incomplete=found.incomplete).word)
"""


def test_a_mark_is_embedded_and_read_with_torch_numpy_and_scipy_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "present"
