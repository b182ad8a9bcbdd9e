r"""From a mode of the joint density to a `Posterior`.

Given the class, the parameters are normal about their mean (`mixture.py`), with covariance V. The flux is :math:`e^a s` with
variance

.. math:: \sigma_d^2 = J_d\, V J_d^\top + e^{2a}\, \tau_{Cd}^2, \qquad J_d = \frac{\partial\, e^a s_d}{\partial(z, u, f, a)},

with the generator's discrepancy :math:`\tau_C`, measured on spectra that it was not trained on: a perfect posterior over
:math:`z` would still be overconfident about the flux. Over several modes, such as those of other classes, the variance is
that within them plus that between them, weighed by evidence.
"""

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .missing import what_is_missing
from .mixture import Normal
from .newton import Fit

__all__ = ["flux_moments", "summarise"]

LOW_INFORMATION = 0.5  # median posterior over prior standard deviation above which the prior speaks, not the data


def flux_moments(model: SpectrumModel, normal: Normal) -> tuple[Tensor, Tensor, Tensor]:
    r"""Flux, its standard deviation and its prior's, each :math:`(M, D)`, in units of the scale.

    Arguments:
        model: The joint density.
        normal: Posteriors of the parameters, M rows.
    """
    at = normal.at
    star, jacobian = model.star_and_jacobian(at)
    amplitude = at.amplitude.exp().unsqueeze(-1)
    tangent = amplitude.unsqueeze(-1) * torch.cat([jacobian, star.unsqueeze(1)], 1)
    size = tangent.shape[1]
    covariance = normal.covariance[:, :size, :size].to(tangent.dtype)
    variance = ((covariance @ tangent) * tangent).sum(1)
    discrepancy = model.discrepancy[at.label]
    prior = model.spread[at.label].square() + (model.nuisance.amplitude_sd * star).square() + discrepancy.square()
    sigma = (variance + (amplitude * discrepancy).square()).sqrt()
    return amplitude * star, sigma, amplitude * prior.sqrt()


def _mix(model: SpectrumModel, normals: Normal) -> tuple[Tensor, Tensor, Tensor]:
    """Mean flux, its standard deviation and its prior's, each (D,), of one star's classes weighed by their evidence."""
    means, sigmas, priors = flux_moments(model, normals)
    weight = torch.softmax(normals.log_evidence, 0).to(means.dtype).unsqueeze(-1)
    flux = (weight * means).sum(0)
    sigma = (weight * (sigmas.square() + (means - flux).square())).sum(0).sqrt()
    return flux, sigma, (weight * priors).sum(0)


def summarise(
    model: SpectrumModel,
    observation: Observation,
    data: Data,
    fit: Fit,
    normals: Normal,
    evidence: Tensor,
    method: str,
) -> Posterior:
    """The posterior of one star.

    Arguments:
        model: The joint density.
        observation: What was observed.
        data: The same as tensors; one row.
        fit: The best mode; one row.
        normals: The posterior about the best mode of each class that was refined.
        evidence: Log evidence of each class, up to a constant, shape :math:`(K,)`.
        method: The engine's name.
    """
    at, scale = fit.at, float(data.scale[0])
    flux, sigma, prior = _mix(model, normals)
    likeliest = normals.take(normals.log_evidence.argmax().reshape(1))
    mean, _ = model.exposed(data, at, model.star(at))
    local = model.noise.linearize(data.flux - mean, data.ivar, data.mask, data.context)
    residual = torch.where(local.weight > 0, local.xi, torch.nan)[0, : observation.n_exposures].double().cpu().numpy()
    fraction = (sigma / prior).clamp_max(1.0).double().cpu().numpy()
    flags = set() if bool(fit.converged[0]) else {"NOT_CONVERGED"}
    if float(torch.from_numpy(fraction).median()) > LOW_INFORMATION:
        flags.add("LOW_INFORMATION")
    found = what_is_missing(model, data, fit, local, mean)
    flags |= found.flags
    meta = {**observation.meta, "model": model.card.get("name", ""), "model_sha256": model.card.get("sha256", "")}
    meta |= {"objective": float(fit.objective[0]), "iterations": int(fit.iterations[0])}
    meta |= {"converged": bool(fit.converged[0]), "amplitude": scale * float(at.amplitude.exp()[0])}
    meta |= _foreground(model, likeliest) | found.meta | {"mode_class": model.classes[int(at.label[0])]}
    probability = torch.softmax(evidence.double(), -1).tolist()
    return Posterior(
        wavelength=observation.wavelength,
        flux=scale * flux.double().cpu().numpy(),
        sigma=scale * sigma.double().cpu().numpy(),
        residual_z=residual,
        prior_fraction=fraction,
        class_prob=dict(zip(model.classes, probability, strict=True)),
        latent=likeliest.at.z[0].double().cpu().numpy(),
        flags=frozenset(flags),
        features=found.features,
        data_flux=observation.flux,
        data_ivar=observation.ivar,
        method=method,
        name=observation.name,
        flux_unit=observation.flux_unit,
        meta=meta,
    )


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
