from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.galaxies.batches import GalaxyBatches
from baselines.galaxies.bed import noise_curve
from baselines.galaxies.library import load_galaxies
from baselines.galaxies.measures import reduction
from baselines.galaxies.model import fit_galaxy_model
from baselines.galaxies.ours import posterior_flux
from bayesden.errors import InputError


def test_epochs_have_new_noise_and_can_be_repeated(library):
    batches = GalaxyBatches.of(library, seed=1)
    (first, target), (again, _) = (next(batches.epoch(1, 10_000)) for _ in range(2))
    other, _ = next(batches.epoch(2, 10_000))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first) == len(library.subset("train"))
    relative = (first - target) / torch.from_numpy(noise_curve(library.grid.wavelength)).float()
    snr = target.mean(1) / relative.std(1)
    assert 4 < snr.min() < 7 and 17 < snr.max() < 23


def test_validation_is_always_the_same_and_of_other_galaxies(library):
    batches = GalaxyBatches.of(library)
    one, two = (next(batches.validation(50)) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])
    assert not set(library.subset("train").name) & set(library.subset("validation").name)


def test_a_library_of_stars_is_refused(library, tmp_path):
    path = tmp_path / "stars.npz"
    replace(library, recipe={"rest": True}).save(path)
    with pytest.raises(InputError, match="got one of stars"):
        load_galaxies(path)
    library.save(path)
    assert load_galaxies(path).recipe["galaxies"] == "smooth"


def test_our_model_denoises_galaxies_and_knows_how_well(library, small_bed):
    model = fit_galaxy_model(library, latent_dim=4, components=24, epochs=60)
    galaxies = small_bed.draw("smooth", 24, seed=99)
    seen = small_bed.observe(galaxies, 5.0)
    flux, sigma, draws = posterior_flux(model, seen, 5)
    assert draws.shape == (24, 5, small_bed.grid.size)
    assert reduction(flux, galaxies.flux, np.array([o.flux[0] for o in seen])).mean() > 65
    z = (flux - galaxies.flux) / sigma
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5
    again, _, _ = posterior_flux(model, seen, 5)
    assert np.array_equal(flux, again)
