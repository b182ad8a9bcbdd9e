"""A posterior with chains whose right answer is known: one amplitude, white noise, exact draws."""

import numpy as np

from bayesden.chains import Chains
from bayesden.posterior import Posterior

C, S, E, D, BLOCKS, THIN = 4, 200, 2, 380, 6, 2
WAVE = np.linspace(4000.0, 9000.0, D)
TEMPLATE = 1 + 0.3 * np.sin(WAVE / 700)


def twin(*, noise: float = 1.0, seed: int = 0, independent: bool = False, **changes: object) -> Posterior:
    """The posterior of a star that is a template times an unknown amplitude, near 2, given a flat prior.

    Arguments:
        noise: What the model takes the noise to be, in units of what it is; 1 is right.
        seed: Of data and draws.
        independent: What the chains say of their draws.
        changes: Fields of the posterior to replace.
    """
    rng = np.random.default_rng(seed)
    ivar = np.where(rng.uniform(size=(E, D)) < 0.1, 0.0, 25.0)
    ivar[1, :64] = 0.0  # a block of pixels without any
    good = ivar > 0
    data = np.where(good, 2 * TEMPLATE + 0.2 * rng.normal(size=(E, D)), 0.0)
    precision = (ivar * TEMPLATE**2).sum() / noise**2
    mean = (ivar * TEMPLATE * data).sum() / noise**2 / precision
    amplitude = mean + rng.normal(size=(C, S)) / np.sqrt(precision)
    some = amplitude[:, ::THIN, None, None] * TEMPLATE
    z = np.where(good, (data - some) / (0.2 * noise), 0.0)
    pixels = np.where(good, -0.5 * z**2 - np.log(0.2 * noise), 0.0)
    pixels = np.pad(pixels, [(0, 0)] * 3 + [(0, BLOCKS * 64 - D)])
    parameters = {
        "z": np.stack([amplitude, rng.normal(size=(C, S))], -1),
        "log_amplitude": np.log(amplitude),
        "calibration": rng.normal(size=(C, S, E, 3)),
        "velocity_kms": np.zeros((C, S)),  # of no prior width
        "class_index": np.zeros((C, S), int),
    }
    chains = Chains(
        parameters,
        {"lp": rng.normal(size=(C, S)), "diverging": rng.uniform(size=(C, S)) < 0.01},
        log_likelihood=pixels.reshape(C, S // THIN, E, BLOCKS, 64).sum(-1),
        predictive=np.where(good, some + 0.2 * noise * rng.normal(size=(C, S // THIN, E, D)), np.nan).astype("f4"),
        thin=THIN,
        independent=independent,
    )
    fields = {
        "wavelength": WAVE,
        "flux": mean * TEMPLATE,
        "sigma": TEMPLATE / np.sqrt(precision),
        "residual_z": np.where(good, (data - mean * TEMPLATE) / (0.2 * noise), np.nan),
        "prior_fraction": np.full(D, 0.01),
        "class_prob": {"A": 0.9995, "G": 0.0005, "M": 0.0},
        "latent": parameters["z"].reshape(-1, 2),
        "draws": amplitude.reshape(-1, 1) * TEMPLATE,
        "chains": chains,
        "data_flux": data,
        "data_ivar": ivar,
        "method": "ensemble",
        "name": "twin",
        "flux_unit": "1E-17 erg/cm^2/s/Ang",
        "meta": {"seed": seed, "converged": True},
    }
    return Posterior(**(fields | changes))
