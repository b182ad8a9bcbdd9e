"""Laws of the statistics with intervals: weights are repetitions, intervals cover, stars count once."""

import numpy as np
import pytest

from baselines.bootstrap import bootstrap, mean, median, rms, scatter


@pytest.mark.parametrize(
    ("statistic", "plain"),
    [
        (mean, np.mean),
        (median, lambda v: np.sort(v)[(len(v) - 1) // 2]),
        (rms, lambda v: np.sqrt(np.mean(v**2))),
        (scatter, None),
    ],
)
def test_a_weight_is_a_repetition(statistic, plain):
    rng = np.random.default_rng(0)
    values, times = rng.normal(size=31), rng.integers(0, 4, size=31)
    repeated = np.repeat(values, times)
    found = statistic(values, times[None])[0]
    assert found == pytest.approx(statistic(repeated, np.ones((1, len(repeated))))[0])
    if plain is not None:
        assert found == pytest.approx(plain(repeated))


def test_the_scatter_is_a_normals_standard_deviation_and_one_outlier_does_not_move_it():
    values = 3.0 + 2.0 * np.random.default_rng(0).normal(size=4000)
    assert scatter(values, np.ones((1, 4000)))[0] == pytest.approx(2.0, rel=0.05)
    values[0] = 1e9
    assert scatter(values, np.ones((1, 4000)))[0] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("statistic", [mean, median])
def test_the_interval_covers_the_truth_and_is_wider_where_stars_repeat(statistic):
    rng, covered, width = np.random.default_rng(0), [], []
    for seed in range(60):
        values = rng.normal(size=60)
        low, high = bootstrap(values, [str(i) for i in range(60)], statistic, seed=seed)
        covered.append(low < 0 < high)
        if seed % 10 == 0:
            copies = bootstrap(np.repeat(values, 4), [str(i // 4) for i in range(240)], statistic, seed=seed)
            careless = bootstrap(np.repeat(values, 4), [str(i) for i in range(240)], statistic, seed=seed)
            width.append([high - low, copies[1] - copies[0], careless[1] - careless[0]])
    assert np.mean(covered) > 0.85
    alone, copies, careless = np.mean(width, 0)
    assert copies == pytest.approx(alone, rel=0.02) and careless < 0.6 * copies
