"""Observations as tensors: what is known of each exposure's arms."""

from dataclasses import replace

import numpy as np
import torch

from bayesden.model.data import Data
from bayesden.spectrum import ARM_BLUE, ARM_RED, Observation


def test_joined_arms_go_from_one_to_the_other_and_a_pixel_of_one_arm_is_that_arms() -> None:
    both, size = ARM_BLUE | ARM_RED, 12
    arm = np.array([[ARM_BLUE] * 4 + [both] * 3 + [ARM_RED] * 5, [ARM_RED] * size, [0] * size], np.uint8)
    arm[0, 5] = ARM_RED  # the blue arm's pixel was bad
    observation = Observation(np.arange(5000.0, 5000.0 + size), np.ones((3, size)), np.ones((3, size)), arm=arm)
    side = Data.stack([observation]).side[0].numpy()
    np.testing.assert_allclose(side[0], [1, 1, 1, 1, 0.5, -1, -0.5, -1, -1, -1, -1, -1])
    assert (side[1] == -1).all() and (side[2] == 0).all()
    assert Data.stack([replace(observation, arm=None)]).side is None


def test_views_of_one_spectrum_are_known_as_such() -> None:
    wavelength, flux = np.arange(5000.0, 5012.0), np.ones((2, 12))
    data = Data.stack([Observation(wavelength, flux, flux), Observation(wavelength, 2 * flux, flux)])
    assert data.shared is data and len(data.take(slice(0, 1)).expand(5).shared) == 1
    assert len(data.take(torch.tensor([0, 0])).shared) == 2  # copies
