"""Laws of DER_SNR: it is the noise's, no unit and no missing pixel matters, and a smooth spectrum has much."""

import numpy as np
import pytest

from baselines.der_snr import der_snr


def test_it_is_the_ratio_of_flux_and_noise_in_any_unit():
    rng = np.random.default_rng(0)
    flux = 1 + rng.normal(size=(3, 4000)) / np.array([[5.0], [20.0], [80.0]])
    assert der_snr(flux) == pytest.approx([5, 20, 80], rel=0.05)
    assert der_snr(1e-17 * flux) == pytest.approx(der_snr(flux))


def test_missing_pixels_are_left_out_and_a_straight_line_has_no_noise():
    rng = np.random.default_rng(0)
    flux = 1 + rng.normal(size=(1, 4000)) / 20
    flux[:, 1000:2900] = 0
    assert der_snr(flux) == pytest.approx([20], rel=0.1)
    assert der_snr(np.linspace(1, 2, 100)[None]) > 1e6
