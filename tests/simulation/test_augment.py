import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.simulation.augment import Augmentation

CLEAN = 0.5 + 0.1 * torch.sin(torch.linspace(0, 20, 1024)).expand(60, -1)
SIGMA = torch.full_like(CLEAN, 0.05)


def test_an_epoch_has_every_spectrum_once_in_an_order_of_its_own():
    training = Augmentation(CLEAN, SIGMA, seed=1)
    orders = [torch.cat([b.row for b in training.epoch(number, 16)]) for number in (0, 1)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(60))
    assert not torch.equal(*orders)


def test_epochs_differ_and_batches_do_not_matter():
    training = Augmentation(CLEAN, SIGMA, seed=1)
    row = torch.arange(60)
    whole = training.batch(row, 3)
    parts = [training.batch(part, 3) for part in row.split(7)]
    assert torch.allclose(torch.cat([p.input for p in parts]), whole.input, atol=1e-6)
    assert (training.batch(row, 4).input - whole.input).abs().mean() > 0.02


def test_noise_is_what_sigma_says_and_the_target_has_none():
    batch = Augmentation(CLEAN, SIGMA, seed=1).batch(torch.arange(60), 0)
    z = (batch.input - batch.target) / batch.sigma
    assert z.square().mean().item() == pytest.approx(1, abs=5 * np.sqrt(2 / z.numel()))
    assert z.mean().abs() < 5 / np.sqrt(z.numel())


def test_without_noise_level_and_calibration_nothing_changes():
    batch = Augmentation(CLEAN, torch.zeros_like(CLEAN), calibration=0.0, level=0.0).batch(torch.arange(5), 0)
    assert torch.equal(batch.input, CLEAN[:5]) and torch.equal(batch.target, CLEAN[:5])


def test_calibration_error_is_smooth_and_at_most_two_percent():
    error = Augmentation(CLEAN, SIGMA, seed=2).calibration_error(torch.arange(60), 0)
    largest = error.abs().amax(1)
    assert largest.max() <= 0.02 + 1e-6
    assert largest.mean().item() == pytest.approx(0.01, abs=0.003)
    assert (error.diff(dim=1).abs().amax(1) < 0.05 * largest).all()  # white noise would give 2
    turns = (error.diff(dim=1).diff(dim=1).sign().diff(dim=1) != 0).float().sum(1)
    assert turns.median() > 3  # of a higher order than a polynomial correction


def test_offset_and_scale_have_their_laws():
    training = Augmentation(torch.ones(1, 8).expand(4000, -1), torch.zeros(4000, 8), calibration=0.0)
    target = training.batch(torch.arange(4000), 0).target[:, 0]
    assert target.mean().item() == pytest.approx(1, abs=1e-3)
    assert target.std().item() == pytest.approx(0.01 * np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [(SIGMA[:5], "expected the shape of clean"), (-SIGMA, "of at least 0"), (SIGMA / 0, "finite standard deviations")],
)
def test_bad_sigma_is_refused(sigma, message):
    with pytest.raises(InputError, match=message):
        Augmentation(CLEAN, sigma)
