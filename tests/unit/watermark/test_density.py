import numpy as np

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
