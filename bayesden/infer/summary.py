r"""From a mode of the joint density to a `Posterior`.

Given the class, the parameters are normal about their mean (`mixture.py`), with covariance V. The flux is :math:`e^a s` with
variance

.. math:: \sigma_d^2 = J_d\, V J_d^\top + e^{2a}\, \tau_{Cd}^2, \qquad J_d = \frac{\partial\, e^a s_d}{\partial(z, u, f, a)},

with the generator's discrepancy :math:`\tau_C`, measured on spectra that it was not trained on: a perfect posterior over
:math:`z` would still be overconfident about the flux. Over several modes, such as those of other classes, the variance is
that within them plus that between them, weighed by evidence.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .draws import Flux, compress
from .finite import check_finite
from .located import Located
from .missing import what_is_missing
from .mixture import Normal

__all__ = ["flux_moments", "mixed_flux", "summarise"]

LOW_INFORMATION = 0.5  # median posterior over prior standard deviation above which the prior speaks, not the data


def flux_moments(model: SpectrumModel, normal: Normal) -> tuple[Tensor, Tensor, Tensor]:
    r"""Flux, its standard deviation and its prior's, each :math:`(M, D)`, in units of the scale.

    Arguments:
        model: The joint density.
        normal: Posteriors of the parameters, M rows.
    """
    at, (tangent, star) = normal.at, _tangent(model, normal)
    amplitude, size = at.amplitude.exp().unsqueeze(-1), tangent.shape[1]
    covariance = normal.covariance[:, :size, :size].to(tangent.dtype)
    variance = ((covariance @ tangent) * tangent).sum(1)
    discrepancy = model.discrepancy[at.label]
    prior = model.spread[at.label].square() + (model.nuisance.amplitude_sd * star).square() + discrepancy.square()
    sigma = (variance + (amplitude * discrepancy).square()).sqrt()
    return amplitude * star, sigma, amplitude * prior.sqrt()


def _tangent(model: SpectrumModel, normal: Normal) -> tuple[Tensor, Tensor]:
    """Derivatives of the flux by z, u, f and a, (M, n, D), and the star (M, D)."""
    star, jacobian = model.star_and_jacobian(normal.at)
    amplitude = normal.at.amplitude.exp()
    return amplitude[:, None, None] * torch.cat([jacobian, star.unsqueeze(1)], 1), star


def mixed_flux(model: SpectrumModel, normals: Normal) -> Flux:
    """The flux of one star, its classes weighed by their evidence, from the posterior in closed form."""
    means, sigmas, priors = flux_moments(model, normals)
    share = torch.softmax(normals.log_evidence, 0).to(means.dtype).unsqueeze(-1)
    flux = (share * means).sum(0)
    sigma = (share * (sigmas.square() + (means - flux).square())).sum(0).sqrt()
    between = share.sqrt() * (means - flux)
    within = share.sqrt().unsqueeze(-1) * _roots(model, normals)
    return Flux(flux, sigma, (share * priors).sum(0), compress(torch.cat([within.flatten(0, 1), between])))


def _roots(model: SpectrumModel, normals: Normal) -> Tensor:
    """Rows (M, n, D) whose outer products are the covariance of the flux in each class, the generator's error aside."""
    tangent, _ = _tangent(model, normals)
    factor, _ = torch.linalg.cholesky_ex(normals.covariance[:, : tangent.shape[1], : tangent.shape[1]])
    return factor.mT.to(tangent.dtype) @ tangent


def summarise(
    model: SpectrumModel, observation: Observation, star: Located, method: str, flux: Flux | None = None
) -> Posterior:
    """The posterior of one star.

    Arguments:
        model: The joint density.
        observation: What was observed.
        star: What is known of it in closed form.
        method: The engine's name.
        flux: What is known of the flux from draws; by default from the closed form.

    Raises:
        NumericalError: if the flux or its error is no number somewhere.
    """
    data, fit, at, scale = star.data, star.fit, star.fit.at, float(star.data.scale[0])
    flux = mixed_flux(model, star.normals) if flux is None else flux
    check_finite("the flux", flux.mean, flux.sigma)
    likeliest = star.normals.take(star.normals.log_evidence.argmax().reshape(1))
    mean, _ = model.exposed(data, at, model.star(at))
    local = model.noise.linearize(data.flux - mean, data.ivar, data.mask, data.context)
    residual = torch.where(local.weight > 0, local.xi, torch.nan)[0, : observation.n_exposures]
    fraction = _array((flux.sigma / flux.prior).clamp_max(1.0))
    flags = set() if bool(fit.converged[0]) else {"NOT_CONVERGED"}
    if np.median(fraction) > LOW_INFORMATION:
        flags.add("LOW_INFORMATION")
    found = what_is_missing(model, data, fit, local, mean)
    meta = {**observation.meta, "snr": observation.snr}  # of what was fitted, whatever the file says
    meta |= {"model": model.card.get("name", ""), "model_sha256": model.card.get("sha256", "")}
    meta |= {"objective": float(fit.objective[0]), "iterations": int(fit.iterations[0])}
    meta |= {"converged": bool(fit.converged[0]), "amplitude": scale * float(at.amplitude.exp()[0])}
    meta |= _foreground(model, likeliest) | found.meta | {"mode_class": model.classes[int(at.label[0])]}
    probability = torch.softmax(star.log_evidence.double(), -1).tolist()
    return Posterior(
        wavelength=observation.wavelength,
        flux=scale * _array(flux.mean),
        sigma=scale * _array(flux.sigma),
        residual_z=_array(residual),
        prior_fraction=fraction,
        class_prob=dict(zip(model.classes, probability, strict=True)),
        latent=_array(likeliest.at.z[0]),
        draws=None if flux.draws is None else (scale * _array(flux.draws)).astype(np.float32),
        factors=(scale * _array(flux.factors)).astype(np.float32),
        flags=frozenset(flags | found.flags),
        features=found.features,
        data_flux=observation.flux,
        data_ivar=observation.ivar,
        method=method,
        name=observation.name,
        flux_unit=observation.flux_unit,
        meta=meta,
    )


def _array(values: Tensor) -> NDArray:
    return values.double().cpu().numpy()


def _foreground(model: SpectrumModel, normal: Normal) -> dict[str, float]:
    """Velocity and reddening of one class with their standard deviations, as far as the model has them."""
    nuisance, at = model.nuisance, normal.at
    if not model.foreground:
        return {}
    first = at.z.shape[1] + at.detail.shape[1]
    variance = normal.covariance[0].diagonal()[first:]
    facts, column = {}, 0
    if nuisance.velocity_sd_kms > 0:
        sigma = nuisance.velocity_sd_kms * float(variance[column].sqrt())
        facts |= {"velocity_kms": float(nuisance.velocity_kms(at.foreground)[0]), "velocity_sigma_kms": sigma}
        column += 1
    if nuisance.ebv_sd > 0:
        facts |= {
            "ebv": float(nuisance.ebv(at.foreground)[0]),
            "ebv_sigma": nuisance.ebv_sd * float(variance[column].sqrt()),
        }
    return facts
