r"""From a mode of the joint density to a `Posterior`.

About a mode the parameters are taken as normal. Their covariance is :math:`H^{-1}` with the information of the data and, in
place of the latent prior's curvature at the mode, which is that of a few kernels, the precision of the whole class: where
the data say little, the error bar must be the prior's and not a kernel's. The flux is :math:`e^a s` with variance

.. math:: \sigma_d^2 = J_d\, H^{-1} J_d^\top + e^{2a}\, \tau_{Cd}^2, \qquad J_d = \frac{\partial\, e^a s_d}{\partial(z, u, f, a)},

with the generator's discrepancy :math:`\tau_C`, measured on spectra that it was not trained on: a perfect posterior over
:math:`z` would still be overconfident about the flux. Over several modes, such as those of other classes, the variance is
that within them plus that between them, weighed by evidence.
"""

import torch
from torch import Tensor

from ..model.joint import Data, Parameters, SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .missing import what_is_missing
from .newton import Fit

__all__ = ["flux_moments", "summarise"]

LOW_INFORMATION = 0.5  # median posterior over prior standard deviation above which the prior speaks, not the data


def flux_moments(model: SpectrumModel, at: Parameters, information: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Flux, its standard deviation and its prior's, each :math:`(B, D)`, in units of the scale.

    Arguments:
        model: The joint density.
        at: The modes, B rows.
        information: What data and nuisance priors say (see `Fit`), shape :math:`(B, n, n)`.
    """
    star, jacobian = model.star_and_jacobian(at)
    amplitude = at.amplitude.exp().unsqueeze(-1)
    tangent = amplitude.unsqueeze(-1) * torch.cat([jacobian, star.unsqueeze(1)], 1)
    size = tangent.shape[1]
    prior = torch.stack([model.latent_prior.covariance(k) for k in at.label.tolist()])
    precision = information.clone()
    dim = at.z.shape[1]
    precision[:, :dim, :dim] += torch.linalg.inv(prior)
    covariance = torch.linalg.inv(precision)[:, :size, :size].to(tangent.dtype)
    variance = ((covariance @ tangent) * tangent).sum(1)
    discrepancy = model.discrepancy[at.label]
    prior = model.spread[at.label].square() + (model.nuisance.amplitude_sd * star).square() + discrepancy.square()
    sigma = (variance + (amplitude * discrepancy).square()).sqrt()
    return amplitude * star, sigma, amplitude * prior.sqrt()


def _mixed_sigma(model: SpectrumModel, flux: Tensor, modes: Fit) -> Tensor:
    r"""Standard deviation (1, D) about a flux (1, D), of all modes by their evidence: within them plus between them."""
    means, sigmas, _ = flux_moments(model, modes.at, modes.information)
    weight = torch.softmax(modes.log_evidence(), 0).to(means.dtype).unsqueeze(-1)
    return (weight * (sigmas.square() + (means - flux).square())).sum(0, keepdim=True).sqrt()


def summarise(
    model: SpectrumModel,
    observation: Observation,
    data: Data,
    fit: Fit,
    modes: Fit,
    evidence: Tensor,
    method: str,
) -> Posterior:
    """The posterior of one star about one mode.

    Arguments:
        model: The joint density.
        observation: What was observed.
        data: The same as tensors; one row.
        fit: The mode; one row.
        modes: All modes that were found, this one among them.
        evidence: Log evidence of each class, up to a constant, shape :math:`(K,)`.
        method: The engine's name.
    """
    at, scale = fit.at, float(data.scale[0])
    flux, _, prior = flux_moments(model, at, fit.information)
    sigma = _mixed_sigma(model, flux, modes)
    mean = model.gain(data, at.amplitude, at.calibration) * model.star(at).unsqueeze(1)
    local = model.noise.linearize(data.flux - mean, data.ivar, data.mask)
    residual = torch.where(local.weight > 0, local.xi, torch.nan)[0, : observation.n_exposures].double().cpu().numpy()
    fraction = (sigma / prior).clamp_max(1.0)[0].double().cpu().numpy()
    flags = set() if bool(fit.converged[0]) else {"NOT_CONVERGED"}
    if float(torch.from_numpy(fraction).median()) > LOW_INFORMATION:
        flags.add("LOW_INFORMATION")
    found = what_is_missing(model, data, fit, local, mean)
    flags |= found.flags
    meta = {**observation.meta, "model": model.card.get("name", ""), "model_sha256": model.card.get("sha256", "")}
    meta |= {"objective": float(fit.objective[0]), "iterations": int(fit.iterations[0])}
    meta |= {"converged": bool(fit.converged[0]), "amplitude": scale * float(at.amplitude.exp()[0])}
    meta |= _foreground(model, fit) | found.meta | {"mode_class": model.classes[int(at.label[0])]}
    probability = torch.softmax(evidence.double(), -1).tolist()
    return Posterior(
        wavelength=observation.wavelength,
        flux=scale * flux[0].double().cpu().numpy(),
        sigma=scale * sigma[0].double().cpu().numpy(),
        residual_z=residual,
        prior_fraction=fraction,
        class_prob=dict(zip(model.classes, probability, strict=True)),
        latent=at.z[0].double().cpu().numpy(),
        flags=frozenset(flags),
        features=found.features,
        data_flux=observation.flux,
        data_ivar=observation.ivar,
        method=method,
        name=observation.name,
        flux_unit=observation.flux_unit,
        meta=meta,
    )


def _foreground(model: SpectrumModel, fit: Fit) -> dict[str, float]:
    """Velocity and reddening of one mode with their standard deviations, as far as the model has them."""
    nuisance, at = model.nuisance, fit.at
    if not model.foreground:
        return {}
    first = at.z.shape[1] + at.detail.shape[1]
    variance = torch.linalg.inv(fit.precision[0]).diagonal()[first:]
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
