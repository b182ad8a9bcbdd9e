"""Observations as tensors: what is known of each exposure's arms."""

from dataclasses import replace

import numpy as np

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
