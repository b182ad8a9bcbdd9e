r"""The example spectrum: a star drawn from a model, observed as a survey would.

    python -m bayesden.simulation.example --out data/example-spec.fits

draws latents from the prior of one class, decodes them, and writes exposures on native SDSS pixels with noise sampled from
the model's own NoiseFlow, cosmic rays that the pipeline missed, a masked gap in every exposure, tilted flux calibrations,
and one exposure without its blue arm. The noise-free spectrum is kept in the coadd's `model` column, where a survey has its
best-fitting template.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..io import write_spec
from ..io.sdss_write import ArmSpectrum, coadd_arms
from ..io.sppixmask import SPPIXMASK
from ..model.checkpoint import load_model
from ..model.joint import Parameters, SpectrumModel
from ..model.noiseflow import NoiseFlow

__all__ = ["draw_star", "example_arms", "write_example"]

ARMS = {"b1": (3.575, 3.800), "r1": (3.755, 3.965)}  # log10 wavelength; BOSS's, cut at the model's grid
PIXELS = {"b1": 1.0e-4, "r1": 0.9e-4}  # log10 wavelength per native pixel
GAP = (6900.0, 7050.0)  # Å
NATIVE_NOISE = 0.8  # of what the flow gives: after resampling, correlated noise keeps more of its scatter than white
MEAN_FLUX = 8.0  # 1e-17 erg/cm²/s/Å: a star of about 19 mag


def draw_star(model: SpectrumModel, spectral_class: str, random: torch.Generator) -> NDArray:
    """One noise-free spectrum from the prior of a class, velocity and dust included, shape (D,), mean |flux| = 1."""
    label = torch.tensor([model.classes.index(spectral_class)])
    z = model.latent_prior.sample(label, random)
    detail, foreground = (torch.randn(1, n, generator=random) for n in (model.rank, model.foreground))
    at = Parameters(z, z.new_zeros(1), z.new_zeros(1, 1, 0), label, detail, foreground)
    flux = model.star(at)[0].double().numpy()
    return flux / np.abs(flux).mean()


def _native_noise(model: SpectrumModel, ivar: NDArray, random: torch.Generator) -> NDArray:
    """Noise of one arm from the model's flow, whose window does not depend on the number of pixels."""
    noise = NoiseFlow(**{**model.noise.config, "size": len(ivar)})
    noise.load_state_dict(model.noise.state_dict())
    eps = noise.sample(torch.from_numpy(ivar).float()[None], generator=random)[0]
    return NATIVE_NOISE * eps.double().numpy()


def _error(loglam: NDArray, camera: str, flux: NDArray, snr: float) -> NDArray:
    """A standard deviation with the throughput's edges and the sky's bright lines."""
    low, high = ARMS[camera]
    x = (loglam - low) / (high - low)
    edges = 1 + 1.5 * np.exp(-x / 0.12) + 0.8 * np.exp(-(1 - x) / 0.08)
    sky = sum(
        2.5 * np.exp(-0.5 * ((10**loglam - line) / 3.0) ** 2) for line in (5578.9, 5891.6, 6301.7, 8346.7, 8888.0)
    )
    return np.median(flux) / snr * edges * (1 + sky)


def example_arms(
    model: SpectrumModel, star: NDArray, *, exposures: int = 4, snr: float = 6.0, seed: int = 0
) -> list[ArmSpectrum]:
    """Both arms of each exposure of a star; the last exposure lacks its blue arm.

    Arguments:
        model: Whose noise and grid to use.
        star: Noise-free flux on the model's grid, shape (D,), in 1e-17 erg/cm²/s/Å.
        exposures: How many.
        snr: Median signal-to-noise ratio of a native pixel.
        seed: Seed of the noise and of everything else that is drawn.
    """
    rng, random = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    arms = []
    for exposure in range(exposures):
        tilt, scale = rng.normal(0, 0.02, 2)
        for camera, (low, high) in ARMS.items():
            if camera == "b1" and exposure == exposures - 1:
                continue
            loglam = np.arange(low, high, PIXELS[camera])
            truth = np.interp(10**loglam, model.grid.wavelength, star)
            sigma = _error(loglam, camera, truth, snr)
            gain = np.exp(scale + tilt * (10**loglam - 6500) / 2500)
            flux = gain * truth + _native_noise(model, sigma**-2, random)
            hits = rng.integers(0, len(loglam), 4)
            flux[hits] += rng.uniform(20, 200, len(hits)) * sigma[hits]
            gap = (10**loglam > GAP[0]) & (10**loglam < GAP[1])
            mask = np.where(gap, 1 << SPPIXMASK["NODATA"], 0).astype(np.int32)
            ivar = np.where(gap, 0.0, sigma**-2)
            arms.append(ArmSpectrum(camera, 100001 + exposure, loglam, np.where(gap, 0.0, flux), ivar, mask))
    return arms


def write_example(path: Path, model: SpectrumModel, *, spectral_class: str = "K", seed: int = 1) -> None:
    """Draw a star and write its spec file."""
    star = MEAN_FLUX * draw_star(model, spectral_class, torch.Generator().manual_seed(seed))
    arms = example_arms(model, star, seed=seed)
    coadd = coadd_arms(arms)
    coadd = replace(coadd, model=np.interp(10**coadd.loglam, model.grid.wavelength, star))
    facts = {"CLASS": "STAR", "SUBCLASS": spectral_class, "Z": 0.0}
    cards = {"OBJECT": "simulated", "COMMENT": "drawn from a bayesden model; not an observation"}
    options = {"plate": 1, "mjd": 55555, "fiber": 1, "facts": facts, "cards": cards}
    write_spec(path, arms, coadd=coadd, overwrite=True, **options)


def main() -> None:
    """Write the example file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/example-spec.fits"))
    parser.add_argument("--model", default=None, help="name or path of a model; the shipped one by default")
    parser.add_argument("--spectral-class", default="K")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    write_example(arguments.out, model, spectral_class=arguments.spectral_class, seed=arguments.seed)


if __name__ == "__main__":
    main()
