import numpy as np
import pytest

from benchmarks.thieves.filtered import DETECTORS, FALSE_ALARMS, detector_setting, score_of


@pytest.fixture(scope="module")
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Smooth images: sums of a few broad waves."""
    random = np.random.default_rng(0)
    phases = random.uniform(0, 2 * np.pi, (3_000, 2, 1))
    steps = np.arange(16) / 16 * np.pi
    waves = np.sin(steps + phases)
    found = waves[:, 0, :, None] * waves[:, 1, None, :]
    return found[:, None].astype(np.float32)


@pytest.mark.parametrize("detector", DETECTORS)
def test_salt_is_found_and_ordinary_images_are_not(
    detector: str, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    known, held, others = np.split(images, 3)
    score = score_of(detector, known)
    limit = np.quantile(score(held), 1 - FALSE_ALARMS)
    # One of a thousand is expected; eight or more come once in a hundred thousand times.
    assert (score(others) > limit).sum() < 8
    random = np.random.default_rng(1)
    salted = np.where(random.random(others.shape) < 0.1, 1, others).astype(np.float32)
    assert (score(salted) > limit).mean() > 0.95


def test_detectors_have_settings_of_their_own() -> None:
    assert len({detector_setting(detector) for detector in DETECTORS}) == len(DETECTORS)
