"""What a network sees: lines over short gaps, and a unit that follows the amplitude and no cosmic ray."""

import numpy as np
import pytest
import torch

from baselines.preparation import Unit, bridge, longest_gap

UNITS = [Unit(), Unit(0.1), Unit(0.5, "median")]


def holes(n: int = 20, size: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    flux, seen = 2 + torch.rand(n, size, generator=random), torch.rand(n, size, generator=random) > 0.2
    seen[:, 30] = True
    return flux, seen


def test_bridges_are_those_of_numpy():
    flux, seen = holes()
    index = np.arange(flux.shape[1])
    expected = [np.interp(index, index[s], f[s]) for f, s in zip(flux.numpy(), seen.numpy(), strict=True)]
    np.testing.assert_allclose(bridge(flux, seen), np.array(expected), rtol=1e-5)


def test_the_longest_gap_is_counted_to_the_ends():
    seen = torch.tensor([[1, 0, 0, 1, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    assert longest_gap(seen).tolist() == [2, 3, 4, 0]


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_follows_the_amplitude(unit):
    flux, seen = holes()
    torch.testing.assert_close(unit.scale(7 * flux, seen), 7 * unit.scale(flux, seen))
    level = (flux / unit.scale(flux, seen)).where(seen, torch.nan).nanmean(1)
    torch.testing.assert_close(level, torch.full_like(level, unit.level), rtol=0.1, atol=0)


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_knows_neither_cosmic_rays_nor_masked_pixels(unit):
    flux, seen = holes()
    hit = flux.clone()
    hit[:, 30] = 1e5
    torch.testing.assert_close(unit.scale(hit, seen), unit.scale(flux, seen), rtol=0.1, atol=0)
    torch.testing.assert_close(unit.scale(flux.where(seen, 1e9), seen), unit.scale(flux, seen))


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_positive_whatever_comes(unit):
    flux, seen = holes()
    for strange in (-flux, 0 * flux, torch.randn(flux.shape, generator=torch.Generator().manual_seed(1))):
        assert (unit.scale(strange, seen) > 0).all()
