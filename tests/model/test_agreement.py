"""What an exposure counts for in the calibration of all: laws of the shares, and of the mean that the search starts from."""

import numpy as np
import pytest
import torch

from bayesden.model.agreement import agreement, mean_of_agreeing, rough_scale, two_armed
from bayesden.model.agreement import shares as by_trust

SIZE = 512
X = np.linspace(-1, 1, SIZE)
RUINS = {"dropped": 0.2, "lost": 0.0, "tilted": 1 + 0.3 * X, "too bright": 1.3, "all cosmic rays": 1e3}


def exposures(count: int = 4, snr: float = 20.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    star = 3 * (1 + 0.3 * np.sin(5 * X))
    ivar = np.full((count, SIZE), (snr / 3) ** 2)
    return star + rng.normal(size=ivar.shape) / np.sqrt(ivar), ivar


def shares(flux: np.ndarray, ivar: np.ndarray) -> np.ndarray:
    return by_trust(ivar, agreement(flux, ivar))


def test_sound_exposures_share_by_the_root_of_their_information() -> None:
    flux, ivar = exposures()
    ivar[1] *= 4
    found = shares(flux * (1 + 0.02 * np.outer([1, -1, 0.5, 0], X)), ivar)
    np.testing.assert_allclose(found, np.array([1, 2, 1, 1]) / 5, rtol=1e-2)


@pytest.mark.parametrize("snr", [3.0, 20.0])
@pytest.mark.parametrize("ruin", RUINS)
def test_a_ruined_exposure_has_no_share(ruin: str, snr: float) -> None:
    flux, ivar = exposures(snr=snr)
    flux[2] += (RUINS[ruin] - 1) * 3 * (1 + 0.3 * np.sin(5 * X))
    found = shares(flux, ivar)
    most = 0.02 if snr > 10 else 0.15
    assert found[2] < most and np.abs(found[[0, 1, 3]] - 1 / 3).max() < most and found.sum() == pytest.approx(1)


def test_of_two_that_disagree_the_one_with_more_signal_counts() -> None:
    flux, ivar = exposures(2)
    for bad in (0, 1):
        ruined = flux.copy()
        ruined[bad] *= 0.2
        assert shares(ruined, ivar)[bad] < 0.01


def test_noise_is_not_disagreement_and_the_order_does_not_matter() -> None:
    flux, ivar = exposures(6, snr=0.5)
    assert agreement(flux, ivar).min() > 0.8
    flux[3] *= 1.1
    order = np.array([5, 3, 0, 1, 4, 2])
    np.testing.assert_allclose(agreement(flux[order], ivar[order]), agreement(flux, ivar)[order])


def test_a_missing_arm_is_not_disagreement_and_no_data_no_share() -> None:
    flux, ivar = exposures(3)
    flux[0, :200] = ivar[0, :200] = 0.0
    flux[1] = ivar[1] = 0.0
    found = shares(flux, ivar)
    assert found[1] == 0 and found[0] == pytest.approx(312 / 824, rel=1e-2)
    assert shares(flux[:2], ivar[:2]).tolist() == [0, 0]


def test_exposures_with_one_arm_say_nothing_of_both() -> None:
    ivar = torch.ones(1, 3, 8)
    side = torch.tensor([1.0] * 4 + [-1.0] * 4).expand(1, 3, 8)
    ivar[0, 0, :4] = 0.0
    share = torch.tensor([[0.2, 0.4, 0.4]])
    torch.testing.assert_close(two_armed(share, ivar, side), torch.tensor([[0.0, 0.5, 0.5]]))
    torch.testing.assert_close(two_armed(share, ivar * (side > 0), side), share)


def test_the_mean_is_that_by_inverse_variance_less_what_is_ruined() -> None:
    flux, ivar = exposures(3)
    ivar[0, :9] = 0.0
    ivar[:, 9] = 0.0
    flux[2] = -flux[2]
    tensors = [torch.from_numpy(x)[None] for x in (flux, ivar, shares(flux, ivar))]
    mean, precision = (x[0, 0].numpy() for x in mean_of_agreeing(*tensors))
    total = ivar[:2].sum(0)
    expected = (flux[:2] * ivar[:2]).sum(0) / np.where(total > 0, total, 1)
    np.testing.assert_allclose(mean, expected, atol=0.05)
    np.testing.assert_allclose(precision, total, rtol=1e-2)
    plain, _ = mean_of_agreeing(*tensors[:2], torch.zeros(1, 3))
    np.testing.assert_allclose(plain[0, 0, 10:], flux[:, 10:].mean(0))


def test_neither_an_outlier_nor_a_ruined_exposure_moves_the_rough_scale() -> None:
    flux, ivar = exposures(4)
    before = rough_scale(flux, ivar, agreement(flux, ivar))
    flux[0, 7] = 1e9
    flux[1] *= 1e3
    assert rough_scale(flux, ivar, agreement(flux, ivar)) == pytest.approx(before, rel=1e-2)


def test_exposures_without_data_do_not_tell_what_is_usual() -> None:
    flux, ivar = exposures(4)
    flux = flux * np.array([0.8, 0.9, 1.1, 1.2])[:, None]  # all scatter alike
    empty = np.zeros((5, SIZE))
    found = agreement(np.concatenate([flux, empty]), np.concatenate([ivar, empty]))
    np.testing.assert_allclose(found[:4], agreement(flux, ivar))
