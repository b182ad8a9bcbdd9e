"""From draws of the parameters to a `Posterior`, with what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..chains import Chains
from ..io.inference_data import Diagnostics, diagnose
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .draws import Draws, chains_of, flux_of_draws
from .located import Located
from .seeds import random_of
from .summary import mixed_flux, summarise

__all__ = ["Standard", "posteriors_of_draws"]


@dataclass(frozen=True)
class Standard:
    """What chains must reach, or `NOT_CONVERGED` is raised.

    Arguments:
        r_hat: Rank-normalised R-hat at most, of any parameter.
        ess: Effective draws at least, of bulk and tail of any parameter; a tenth of the draws where that is less.
        divergences: Share of divergent trajectories at most.
    """

    r_hat: float = 1.02
    ess: float = 200.0
    divergences: float = 0.02

    def reached(self, found: Diagnostics, draws: int) -> bool:
        """Whether chains with that many draws are good enough."""
        enough = min(self.ess, draws / 10)
        agree = found.r_hat <= self.r_hat and min(found.ess_bulk, found.ess_tail) >= enough
        return bool(agree and found.divergences <= self.divergences * draws)


def posteriors_of_draws(
    model: SpectrumModel,
    observations: Sequence[Observation],
    stars: Sequence[Located],
    draws: Sequence[Draws],
    method: str,
    *,
    seed: int = 0,
    standard: Standard | None = None,
) -> list[Posterior]:
    """The posterior of every star.

    Arguments:
        model: The joint density.
        observations: What was observed.
        stars: What is known in closed form.
        draws: Of the parameters.
        method: The engine's name.
        seed: Seed of the generator's error and of the predictions.
        standard: What chains must reach.
    """
    rows = zip(observations, stars, draws, strict=True)
    return [_posterior(model, *row, method, seed, standard or Standard()) for row in rows]


def _posterior(
    model: SpectrumModel,
    observation: Observation,
    star: Located,
    draws: Draws,
    method: str,
    seed: int,
    standard: Standard,
) -> Posterior:
    random = random_of(star, seed + 1)
    flux = flux_of_draws(model, star, draws, random)
    if method == "laplace":  # whose moments are known exactly
        flux = replace(mixed_flux(model, star.normals), draws=flux.draws)
    chains = chains_of(model, star, draws, float(star.data.scale[0]), random)
    post = summarise(model, observation, star, method, flux)
    probability = dict(zip(model.classes, draws.class_prob.tolist(), strict=True))
    flags, facts = _verdict(post, chains, standard)
    return replace(
        post,
        class_prob=probability,
        latent=chains.parameters["z"].reshape(-1, model.generator.latent_dim),
        chains=chains,
        flags=flags,
        meta={**post.meta, **_moments(chains), **facts},
    )


def _moments(chains: Chains) -> dict[str, float]:
    """Velocity and reddening with their standard deviations, from the draws."""
    names = {"velocity_kms": "velocity_sigma_kms", "ebv": "ebv_sigma"}
    facts = {}
    for name, sigma in names.items():
        if name in chains.parameters:
            values = chains.parameters[name].astype(float)
            facts |= {name: float(values.mean()), sigma: float(values.std())}
    return facts


def _verdict(post: Posterior, chains: Chains, standard: Standard) -> tuple[frozenset[str], dict[str, float | int]]:
    """Flags, those of the chains' convergence in place of the mode's, and the diagnostics."""
    facts = {"chains": chains.shape[0], "samples": int(np.prod(chains.shape))}
    if chains.independent:
        return post.flags, facts
    found = diagnose(chains)
    flags = set(post.flags) - {"NOT_CONVERGED"}
    if not standard.reached(found, facts["samples"]):
        flags.add("NOT_CONVERGED")
    return frozenset(flags), facts | found._asdict()
