"""Models as they are stored and loaded."""

import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from deepsigns_registry.retraining.source import load_program
from tests.support.ordinary import Log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    def logged(module: nn.Module, example: NDArray[np.generic]) -> ExportedProgram:
        with warnings.catch_warnings():
            # MLflow's and torch's own deprecations, while they store the model.
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                module, tmp_path / "model", input_example=example, pip_requirements=["torch"]
            )
            return load_program(tmp_path / "model")

    return logged
