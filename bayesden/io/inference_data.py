r"""ArviZ: diagnostics of chains, `InferenceData`, netCDF. The one file that knows ArviZ, and so the one that its 1.x will change.

References:
    Kumar et al. (2019), JOSS 4, 1143 (ArviZ); Vehtari et al. (2021), arXiv:1903.08008 (rank-normalised R-hat and ESS);
    Vehtari, Gelman & Gabry (2017), arXiv:1507.04544 (leave-one-out cross-validation).
"""

import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..chains import LABELS, Chains
from ..errors import InputError
from ..posterior import Posterior
from .files import replace_file

if TYPE_CHECKING:
    from arviz import InferenceData
    from arviz.labels import MapLabeller
    from xarray import Dataset

__all__ = [
    "Convergence",
    "Diagnostics",
    "convergence",
    "diagnose",
    "labeller",
    "loo_pit",
    "read_chains",
    "to_inference_data",
    "write_netcdf",
]

DIMS = {  # names of what stands beside chain and draw
    "z": ["latent"],
    "detail": ["component"],
    "tilt": ["order"],
    "calibration": ["exposure", "term"],
}
UNITS = {"wavelength": "Angstrom", "velocity_kms": "km/s", "ebv": "mag"}


class Diagnostics(NamedTuple):
    """Of one star's chains: the worst R-hat and effective sample sizes over all parameters, and divergent trajectories."""

    r_hat: float
    ess_bulk: float
    ess_tail: float
    divergences: int


class Convergence(NamedTuple):
    """Of several quantities: rank-normalised R-hat and effective sample sizes of bulk and tail, each of shape (n,)."""

    r_hat: NDArray
    ess_bulk: NDArray
    ess_tail: NDArray


def _arviz() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of 1.x to come
            import arviz
    except ImportError:
        raise InputError(
            "ArviZ: expected to be installed, got no module arviz: pip install 'bayesden[arviz]'"
        ) from None
    return arviz


def convergence(values: NDArray) -> Convergence:
    """Whether chains agree on quantities and how much they are worth; NaN for fewer than four draws a chain.

    Arguments:
        values: Draws, shape (C, S, n).
    """
    if values.shape[1] < 4 or not values.size:
        return Convergence(*np.full((3, values.shape[2]), np.nan))
    az = _arviz()
    data = az.convert_to_dataset({"x": values})
    found = (az.rhat(data), az.ess(data), az.ess(data, method="tail"))
    return Convergence(*(np.asarray(each.x) for each in found))


def diagnose(chains: Chains) -> Diagnostics:
    """Whether chains agree and how much they are worth; NaN for R-hat and ESS of fewer than four draws a chain.

    Arguments:
        chains: Draws of one star's parameters.
    """
    shape, diverging = chains.shape, chains.stats.get("diverging")
    divergences = 0 if diverging is None else int(np.sum(diverging))
    values = np.concatenate(
        [v.reshape(*shape, -1) for name, v in chains.parameters.items() if name != "class_index"], 2
    )
    moving = np.ptp(values, axis=(0, 1)) > 0  # what does not, as a prior of no width, has nothing to tell
    found = convergence(values[:, :, moving])
    if not moving.any():
        return Diagnostics(np.nan, np.nan, np.nan, divergences)
    return Diagnostics(float(found.r_hat.max()), float(found.ess_bulk.min()), float(found.ess_tail.min()), divergences)


def to_inference_data(post: Posterior) -> "InferenceData":
    """A posterior with chains as ArviZ sees it.

    Groups: `posterior` (parameters, class, flux), `sample_stats`, `log_likelihood` (of blocks of pixels of each exposure) and
    `posterior_predictive` (of every `chains.thin`-th draw), `observed_data`. Wavelengths are coordinates.

    Arguments:
        post: From a method that draws, such as 'ensemble'.

    Returns:
        ArviZ's container; wavelengths in Å, flux in the posterior's `flux_unit`, velocity in km/s, E(B-V) in mag.

    Raises:
        InputError: if the posterior has no chains, or ArviZ is not installed.

    Example:
        >>> idata = bd.to_inference_data(post)
        >>> dict(idata.posterior.sizes)["chain"], idata.posterior.velocity_kms.shape
        (4, (4, 50))
    """
    az, chains = _arviz(), post.chains
    if chains is None:
        raise InputError(
            f"{post.name}: expected a posterior with chains, from a method that draws, got {post.method!r}"
        )
    posterior = dict(chains.parameters)
    if post.draws is not None and len(post.draws) == chains.shape[0] * chains.shape[1]:
        posterior["flux"] = post.draws.reshape(*chains.shape, -1)
    groups, dims = {"posterior": posterior, "sample_stats": dict(chains.stats)}, {**DIMS, "flux": ["wavelength"]}
    coords = {"wavelength": post.wavelength}
    observed = np.where(post.data_ivar > 0, post.data_flux, np.nan)
    groups["observed_data"], dims["y"] = {"y": observed}, ["exposure", "wavelength"]
    if chains.predictive is not None:
        groups["posterior_predictive"] = {"y": chains.predictive}
    facts = _attributes(post)
    data = az.from_dict(**groups, coords=coords, dims=dims, posterior_attrs=facts, attrs=dict(facts))
    if chains.predictive is not None:
        data.posterior_predictive = _thinned(data.posterior_predictive, chains.thin)
    if chains.log_likelihood is not None:
        data.add_groups(log_likelihood=_likelihood(az, post))
    for group in data.groups():
        _name_units(data[group], "nat" if group == "log_likelihood" else post.flux_unit)
    return data


def _name_units(dataset: "Dataset", unit: str) -> None:
    """Units as xarray's plots and other readers of netCDF look for them; `unit` is that of what was or could be observed."""
    for name, text in {**UNITS, "flux": unit, "y": unit}.items():
        if text and name in dataset.variables:
            dataset[name].attrs["units"] = text


def _attributes(post: Posterior) -> dict[str, str | float]:
    """Facts about the posterior as netCDF can hold them."""
    facts = {key: value for key, value in post.meta.items() if isinstance(value, str | int | float)}
    facts = {key: int(value) if isinstance(value, bool) else value for key, value in facts.items()}
    classes = ",".join(post.class_prob)
    return {**facts, "name": post.name, "method": post.method, "flux_unit": post.flux_unit, "classes": classes}


def _thinned(data: object, thin: int) -> object:
    return data.assign_coords(draw=thin * np.arange(data.sizes["draw"]))


def _blocks(post: Posterior) -> tuple[NDArray, NDArray]:
    """Exposure and first pixel of every block of pixels that was observed."""
    count = post.chains.log_likelihood.shape[-1]
    size = -(-post.wavelength.size // count)
    seen = np.abs(post.chains.log_likelihood).max((0, 1)) > 0
    exposure, block = np.nonzero(seen)
    return exposure, block * size


def _likelihood(az: ModuleType, post: Posterior) -> object:
    """Blocks that were observed, in one dimension: exposure and wavelength are coordinates of it."""
    exposure, first = _blocks(post)
    count = post.chains.log_likelihood.shape[-1]
    values = post.chains.log_likelihood[:, :, exposure, first // -(-post.wavelength.size // count)]
    data = az.convert_to_dataset({"y": values}, dims={"y": ["block"]})
    data = data.assign_coords(exposure=("block", exposure), wavelength=("block", post.wavelength[first]))
    return _thinned(data, post.chains.thin)


def labeller() -> "MapLabeller":
    """Labels for ArviZ's plots, with units: velocity [km/s] in place of velocity_kms.

    Returns:
        What ArviZ's plots take as `labeller`.

    Raises:
        InputError: if ArviZ is not installed.

    Example:
        >>> bd.labeller().var_name_to_str("velocity_kms")
        'velocity [km/s]'
    """
    return _arviz().labels.MapLabeller(var_name_map=LABELS)


def write_netcdf(post: Posterior, path: str | Path, *, overwrite: bool = False) -> None:
    """Write chains to a netCDF file, whole or not at all; `arviz.from_netcdf` reads it.

    Arguments:
        post: From a method that draws.
        path: Where the file shall be.
        overwrite: Whether an existing file may be replaced.

    Raises:
        InputError: as in `to_inference_data`.
        OutputError: if the file exists or its folder cannot be written.

    Example:
        >>> bd.write_netcdf(post, "chains.nc")
    """
    data = to_inference_data(post)
    with replace_file(Path(path), overwrite=overwrite) as place:
        data.to_netcdf(str(place), engine="h5netcdf", compress=False)  # noise is a fifth smaller at most


def read_chains(path: str | Path) -> dict[str, object]:
    """What a netCDF file of chains holds, in a few facts: its attributes, sizes, groups and parameters.

    Raises:
        InputError: if ArviZ is not installed, or cannot read the file as chains.
    """
    az = _arviz()
    try:
        data = az.from_netcdf(str(path), engine="h5netcdf")
        posterior = data.posterior
        sizes, parameters = dict(posterior.sizes), [str(name) for name in posterior.data_vars]
        facts = {**posterior.attrs, "sizes": sizes, "parameters": parameters, "groups": list(data.groups())}
        data.close()
    except Exception as error:  # the readers below meet arbitrary bytes, and raise whatever those lead them to
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected chains in a netCDF file, got: {type(error).__name__}: {reason}") from None
    return facts


def loo_pit(post: Posterior) -> NDArray:
    r"""Leave-one-out probability integral transforms of the observed pixels, uniform if the model is right.

    A block of pixels at a time is left out, by Pareto-smoothed importance weights of the draws,

    .. math:: \mathrm{PIT}_{ed} = \sum_s w_s^{(-b)}\, [\tilde y_{ed}^{(s)} \le y_{ed}], \qquad d \in b.

    Arguments:
        post: From a method that draws, with predictions.

    Returns:
        Shape :math:`(E, D)`, NaN where nothing was observed.

    Raises:
        InputError: if there are no chains, or no predictions in them.

    Example:
        >>> bd.loo_pit(post).shape
        (4, 2048)
    """
    az, chains = _arviz(), post.chains
    if chains is None or chains.predictive is None or chains.log_likelihood is None:
        raise InputError(f"{post.name}: expected chains with predictions, got method {post.method!r}")
    likelihood = chains.log_likelihood.reshape(-1, *chains.log_likelihood.shape[2:])
    predicted = chains.predictive.reshape(-1, *chains.predictive.shape[2:])
    size, pit = -(-post.wavelength.size // likelihood.shape[-1]), np.full(predicted.shape[1:], np.nan)
    for exposure, first in zip(*_blocks(post), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a large Pareto k costs precision here, no more
            log_weight, _ = az.psislw(-likelihood[:, exposure, first // size])
        block = np.s_[exposure, first : first + size]
        below = predicted[:, *block] <= post.data_flux[block]
        pit[block] = np.exp(np.asarray(log_weight)) @ below
    return np.where(post.data_ivar > 0, pit, np.nan)
