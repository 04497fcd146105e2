"""The method runs where nothing is installed but torch, numpy and scipy; reading needs numpy."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.lacking import without
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
layers = torch.nn.Linear(16, 512), torch.nn.ReLU(), torch.nn.Linear(512, 6)
model = EagerTappedModel(torch.nn.Sequential(*layers), "1")
settings = MarkSettings(bits=64, queries=100, sources=60, minimum_steps=300, repeats=60)
record = prepare_record(model, data, RootKey.generate(bytes(32)), settings)
embed(model, data, WatermarkRecord.from_bytes(record.to_bytes()), settings)
found = extract(record, TappedSuspect(model))
print(judge(found.evidence, tries=1, incomplete=found.incomplete).word)
"""


# The same network and its mark, read by numpy.
READ = """
import json, sys
from pathlib import Path

import numpy

from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.verdict import judge

folder = Path(sys.argv[1])
record = WatermarkRecord.from_bytes((folder / "record").read_bytes())
record.check()
with numpy.load(folder / "weights.npz") as loaded:
    weights = dict(loaded)


class Suspect:
    def run(self, inputs, *, tap):
        hidden = numpy.maximum(inputs @ weights["0.weight"].T + weights["0.bias"], 0)
        outputs = hidden @ weights["2.weight"].T + weights["2.bias"]
        return outputs, None if tap is None else hidden

    def weight(self, tap):
        return weights["0.weight"]

    def matrices(self, probes):
        return tuple(weights[matrix.name.removeprefix("module.")] for matrix in probes.matrices)

    def networks(self):
        return ()

    def activations(self, network, inputs, tensors):
        return {}


found = extract(record, Suspect())
print(judge(found.evidence, tries=1, incomplete=found.incomplete).word)
print(json.dumps({entry.scheme: entry.said for entry in found.evidence}))
print(sorted({"torch", "scipy", "onnx"} & set(sys.modules)))
"""
KEEP = """
import json
from pathlib import Path

folder = Path(sys.argv[1])
(folder / "record").write_bytes(record.to_bytes())
numpy.savez(folder / "weights.npz", **{
    name.removeprefix("module."): value.detach().numpy() for name, value in model.named_parameters()
})
print(json.dumps({entry.scheme: entry.said for entry in found.evidence}))
"""


def run(program: str, *arguments: str) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_mark_is_embedded_with_torch_numpy_and_scipy_and_read_with_numpy(tmp_path: Path) -> None:
    word, said = run(PROGRAM + KEEP, str(tmp_path))
    assert word == "present"
    assert set(json.loads(said)) >= {"whitebox", "blackbox", "spread"}
    # scipy as well is only asked for by what is harder to read.
    word, read, loaded = run(without("torch", "scipy") + READ, str(tmp_path))
    assert (word, json.loads(read), loaded) == ("present", json.loads(said), "[]")
