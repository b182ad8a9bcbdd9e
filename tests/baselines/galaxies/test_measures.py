import numpy as np

from baselines.galaxies.measures import WINDOWS_A, pearson, reduction, window_reductions
from baselines.galaxies.populations import rebin


def test_reduction_is_of_the_residuals_root_mean_square():
    rng = np.random.default_rng(0)
    truth, noise = np.ones((4, 50)), rng.standard_normal((4, 50))
    for share, wanted in ((1.0, 0.0), (0.5, 50.0), (0.0, 100.0), (2.0, -100.0)):
        np.testing.assert_allclose(reduction(truth + share * noise, truth, truth + noise), wanted, atol=1e-9)


def test_correlation_knows_neither_scale_nor_zero():
    truth = np.random.default_rng(0).standard_normal((3, 50))
    np.testing.assert_allclose(pearson(2 * truth + 5, truth), 100.0)
    np.testing.assert_allclose(pearson(-truth, truth), -100.0)


def test_windows_are_measured_inside_only():
    wavelength = np.arange(3700.0, 7000.0)
    truth, noisy = np.ones((1, wavelength.size)), np.full((1, wavelength.size), 2.0)
    low, high = WINDOWS_A["Hβ"]
    flux = np.where((wavelength >= low) & (wavelength <= high), 1.25, 2.0)[None]
    found = {name: float(value[0]) for name, value in window_reductions(flux, truth, noisy, wavelength).items()}
    assert found.pop("Hβ") == 75.0 and set(found.values()) == {0.0} and len(found) == 5


def test_rebinning_keeps_the_integral():
    edges, wanted = np.linspace(0.0, 1.0, 21), np.linspace(0.0, 1.0, 8) ** 2
    values = np.random.default_rng(0).standard_normal((2, 20))
    np.testing.assert_allclose(rebin(values, edges, wanted) @ np.diff(wanted), values @ np.diff(edges))
    np.testing.assert_allclose(rebin(values, edges, edges), values)
