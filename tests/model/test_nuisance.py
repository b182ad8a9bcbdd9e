"""Laws of the nuisances: their terms, their priors, the shift of a spectrum on its pixels, and what can be left out."""

import math

import numpy as np
import pytest
import torch

from bayesden.errors import InputError
from bayesden.model.nuisance import REMOVABLE, Nuisance, PixelShift
from bayesden.model.rest_frame import LIGHT_KMS
from bayesden.spectrum import Grid

ALL = Nuisance(velocity_sd_kms=100.0, ebv_sd=0.1, tilt_sd=0.02, arm_sd=0.03, shift_sd_kms=4.0)
GRID = Grid(np.linspace(5000.0, 5400.0, 220))


def test_the_slope_of_a_spectrum_is_that_of_its_shift() -> None:
    centre, width = 5200.0, 6.0

    def line(velocity: float) -> torch.Tensor:
        x = torch.tensor(GRID.wavelength) / (1 + velocity / LIGHT_KMS)
        return 1 - 0.6 * torch.exp(-0.5 * ((x - centre) / width) ** 2)

    slope = PixelShift(GRID)(line(0.0))
    torch.testing.assert_close(slope, (line(1.0) - line(-1.0)) / 2, atol=2e-7, rtol=1e-3)
    assert slope[:3].abs().max() == 0 and slope.abs().max() > 1e-4


def test_the_transpose_is_the_adjoint() -> None:
    shift, random = PixelShift(GRID), torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 5, 220, generator=random, dtype=torch.float64)
    torch.testing.assert_close((shift(x) * y).sum(-1), (x * shift.transpose(y)).sum(-1))


def test_two_polynomials_are_one_for_each_arm() -> None:
    nuisance = Nuisance(calibration_order=1, arm_sd=0.02, arm_order=1)
    side = torch.tensor([1.0] * 4 + [0.0] * 2 + [-1.0] * 4)
    basis = nuisance.basis(side.expand(1, 1, 10), 10, side)[0, 0]
    x = torch.linspace(-1, 1, 10)
    blue, red = torch.tensor([0.3, -0.1]), torch.tensor([-0.2, 0.4])
    found = torch.cat([(blue + red) / 2, (blue - red) / 2]) @ basis
    mean = (blue + red) / 2
    torch.testing.assert_close(found[:4], blue[0] + blue[1] * x[:4])
    torch.testing.assert_close(found[-4:], red[0] + red[1] * x[-4:])
    torch.testing.assert_close(found[4:6], mean[0] + mean[1] * x[4:6])
    assert nuisance.basis(None, 10, side)[2:].abs().max() == 0  # where no arm is known there is one polynomial


@pytest.mark.parametrize("dof", [0.0, 3.0, 10.0])
def test_the_precision_is_the_slope_of_the_prior(dof: float) -> None:
    nuisance = Nuisance(calibration_dof=dof, arm_sd=0.03, shift_sd_kms=4.0)
    c = torch.randn(2, 3, nuisance.terms, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    widths = nuisance.widths(c)
    assert widths.tolist() == pytest.approx([0.05] * 3 + [0.03] * 2 + [4.0])
    zero = torch.zeros_like(widths)
    prior = torch.distributions.StudentT(dof, zero, widths) if dof else torch.distributions.Normal(zero, widths)
    slope = torch.autograd.grad(prior.log_prob(c).sum(), c)[0]
    torch.testing.assert_close(-nuisance.precision(c.detach()) * c.detach(), slope)
    assert (nuisance.precision(c.detach()) > 0).all()


def test_shifts_are_as_they_are_and_calibrations_have_no_mean() -> None:
    nuisance = Nuisance(arm_sd=0.03, shift_sd_kms=4.0)
    share, mean_share = torch.tensor([[0.5, 0.3, 0.2, 0.0]]), torch.tensor([[0.6, 0.4, 0.0, 0.0]])
    maps = nuisance.centring(share, mean_share)[0]
    c = torch.randn(4, generator=torch.Generator().manual_seed(0))
    assert len(maps) == nuisance.terms == 6
    for smooth in maps[:5]:
        centred = smooth @ c
        assert float(mean_share[0] @ centred) == pytest.approx(0, abs=1e-6) and centred[3] == 0
    torch.testing.assert_close(maps[5] @ c, c * torch.tensor([1.0, 1, 1, 0]))


@pytest.mark.parametrize("name", REMOVABLE)
def test_each_nuisance_can_be_left_out(name: str) -> None:
    left = ALL.without([name])
    assert {field for field in vars(ALL) if getattr(left, field) != getattr(ALL, field)} == set(REMOVABLE[name])
    assert left.terms + left.foreground < ALL.terms + ALL.foreground
    assert ALL.without([]) == ALL and ALL.without(REMOVABLE).terms == ALL.without(REMOVABLE).foreground == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected some of velocity, reddening, .* got 'speed'"):
        ALL.without(["velocity", "speed"])
    for wrong in (
        {"calibration_sd": -0.1},
        {"ebv_sd": math.nan},
        {"calibration_order": -1},
        {"shift_sd_kms": math.inf},
    ):
        with pytest.raises(InputError, match=f"nuisance: {next(iter(wrong))}: expected a finite number"):
            Nuisance(**wrong)
    assert Nuisance(ebv_mean=-0.1).ebv_mean == -0.1
