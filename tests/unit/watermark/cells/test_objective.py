"""What `cells` adds to a fine-tuning: a loss that ends where shifts are as wanted."""

import numpy as np
import pytest
import torch

from deepsigns_registry.watermark.cells.carriers import contrasts
from deepsigns_registry.watermark.cells.objective import CellsObjective
from deepsigns_registry.watermark.tapped import Tapped

POOL, CLASSES = 40, 4
NOTHING = Tapped(torch.zeros(0, CLASSES), torch.zeros(0, 1))


@pytest.fixture
def objective() -> CellsObjective:
    random = np.random.default_rng(0)
    return CellsObjective(
        inputs=np.arange(POOL, dtype=np.float32)[:, None],
        outputs=random.normal(size=(POOL, CLASSES)).astype(np.float32),
        scales=np.full(CLASSES, 2, dtype=np.float32),
        directions=contrasts(np.tile(np.arange(2), (CLASSES, 1)), CLASSES),
        kinds=np.arange(POOL) % CLASSES,
        wanted=random.normal(size=(POOL, 1)).astype(np.float32),
        weight=0.2,
        sample=16,
    )


def loss(objective: CellsObjective, outputs: torch.Tensor) -> float:
    samples = Tapped(outputs, torch.zeros(POOL, 1))
    return float(objective.loss(NOTHING, torch.zeros(0), samples, torch.arange(POOL)))


def test_a_parent_that_has_not_moved_has_the_whole_loss(objective: CellsObjective) -> None:
    assert loss(objective, objective.outputs) == pytest.approx(0.2, rel=1e-5)


def test_what_moved_as_wanted_has_none_whatever_else_moved(objective: CellsObjective) -> None:
    directions = objective.directions[objective.kinds][:, 0]
    moved = objective.outputs + 2 * objective.wanted * directions
    assert loss(objective, moved) == pytest.approx(0, abs=1e-6)
    # A constant a row, and a class that no direction moves, are the task's own.
    moved = moved + torch.arange(POOL)[:, None]
    moved[:, 3] += 7
    assert loss(objective, moved) == pytest.approx(0, abs=1e-6)


def test_every_sample_comes_once_a_round_and_a_round_goes_on(objective: CellsObjective) -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.cat([objective.samples(generator)[1] for _ in range(5)])
    assert seen[:POOL].sort().values.tolist() == list(range(POOL))
    inputs, rows = objective.samples(generator)
    torch.testing.assert_close(inputs[:, 0], rows.float())
    state = objective.state_dict()
    kept = generator.get_state()
    expected = objective.samples(generator)[1]
    objective.samples(generator)
    objective.load_state_dict(state)
    generator.set_state(kept)
    assert objective.samples(generator)[1].tolist() == expected.tolist()
    assert not {"outputs", "wanted"} & state.keys()
