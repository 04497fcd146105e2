import numpy as np
import pytest

from deepsigns_registry.watermark.density import Density


def clusters(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, samples)
    centres = 10 * np.eye(3, 8)
    return (centres[labels] + random.normal(size=(samples, 8))).astype(np.float32), labels


def test_between_the_classes_it_is_rarer_than_inside() -> None:
    density = Density.fit(*clusters(600, 0))
    inside = density.log_density(clusters(100, 1)[0])
    between = density.log_density((10 * np.full((1, 8), 1 / 3)).astype(np.float32))
    assert between[0] < np.quantile(inside, 0.01)


def test_scale_of_a_layer_does_not_matter() -> None:
    values, labels = clusters(300, 0)
    given = clusters(50, 1)[0]
    small = Density.fit(values, labels).log_density(given)
    large = Density.fit(values * 1000, labels).log_density(given * 1000)
    np.testing.assert_allclose(small, large, rtol=1e-3)


def test_dead_neurons_are_left_out() -> None:
    values, labels = clusters(300, 0)
    padded = np.concatenate([values, np.zeros((300, 5), dtype=np.float32)], axis=1)
    density = Density.fit(padded, labels)
    assert np.isfinite(density.log_density(padded)).all()
    assert density.axes.shape[1] <= 8


@pytest.mark.parametrize("samples", [40, 300])
def test_axes_are_those_of_the_decomposition_of_all_samples(samples: int) -> None:
    """Fewer samples than neurons, and more: both ways give the subspace of the largest spread."""
    random = np.random.default_rng(0)
    values = (random.normal(size=(samples, 100)) * np.geomspace(1, 1e-3, 100)).astype(np.float32)
    density = Density.fit(values, random.integers(0, 3, samples))
    _, _, rows = np.linalg.svd(values - values.mean(axis=0, dtype=np.float64), full_matrices=False)
    wanted = rows[: density.axes.shape[1]]
    # Each axis lies in the span of the first principal directions.
    inside = wanted.T @ (wanted @ density.axes)
    assert density.axes.shape == (100, 16)
    np.testing.assert_allclose(inside, density.axes, atol=1e-6 * np.abs(density.axes).max())
