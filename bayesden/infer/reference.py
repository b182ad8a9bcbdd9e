r"""The plain Pyro implementation of the maximum a posteriori (Kang et al. 2021, eq. 7): a reference, not an engine.

For each class a point-mass guide (`AutoDelta`) on `SpectrumModel.pyro_model`, fitted by Adam through stochastic
variational inference, one spectrum at a time,

.. math:: (\hat z, \hat a, \hat c, \hat C) = \arg\max_C \arg\max_{z, a, c} \log p(y, z, a, c, C),

from a start that knows nothing of the spectrum: the mean of the class's latents, amplitude 1, no calibration error. It
shares the model with `map` and nothing of the optimiser, so tests and the benchmark compare the two. Users want `denoise`.
"""

from collections.abc import Sequence

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta
from pyro.infer.autoguide.initialization import init_to_value
from pyro.optim import ExponentialLR
from torch import Tensor

from ..errors import InputError
from ..model.data import Data
from ..model.joint import Parameters, SpectrumModel

__all__ = ["fit_map_pyro"]


def fit_map_pyro(
    model: SpectrumModel,
    data: Data,
    *,
    classes: Sequence[int] | None = None,
    steps: int = 1500,
    learning_rate: float = 0.1,
    decay: float = 1e-3,
    seed: int = 0,
) -> tuple[Parameters, float]:
    """The maximum a posteriori of one spectrum, by AutoDelta and Adam.

    Arguments:
        model: The joint density.
        data: One row.
        classes: Indices of the classes to try; all of them by default.
        steps: Steps of Adam for each class.
        learning_rate: Of the first step.
        decay: Learning rate of the last step over that of the first; it falls geometrically.
        seed: Seed of Pyro's generators; the density itself has nothing random in it.

    Returns:
        The best class's mode, one row, and the log joint density there.

    Raises:
        InputError: if `data` has not exactly one row.
    """
    if len(data) != 1:
        raise InputError(f"reference: expected one spectrum, got {len(data)}")
    state = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        chosen = range(len(model.classes)) if classes is None else classes
        modes = [_fit_class(model, data, k, steps, learning_rate, decay) for k in chosen]
    finally:
        torch.random.set_rng_state(state)
    return max(modes, key=lambda mode: mode[1])


def _start(model: SpectrumModel, data: Data, label: int) -> dict[str, Tensor]:
    z = model.latent_prior.latents(label).mean(0, keepdim=True).to(data.flux.dtype)
    calibration = data.flux.new_zeros(*data.share.shape, model.nuisance.terms)
    detail, foreground = data.flux.new_zeros(1, model.rank), data.flux.new_zeros(1, model.foreground)
    return {"z": z, "a": data.flux.new_zeros(1), "c": calibration, "u": detail, "f": foreground}


def _fit_class(
    model: SpectrumModel, data: Data, k: int, steps: int, learning_rate: float, decay: float
) -> tuple[Parameters, float]:
    label = torch.full((1,), k, device=data.flux.device)
    start = _start(model, data, k)
    with pyro.get_param_store().scope():  # nothing of ours stays in the global store, nothing of it comes in
        guide = AutoDelta(model.pyro_model, init_loc_fn=init_to_value(values=start))
        rate = {"optimizer": torch.optim.Adam, "optim_args": {"lr": learning_rate}, "gamma": decay ** (1 / steps)}
        schedule = ExponentialLR(rate)
        svi = SVI(model.pyro_model, guide, schedule, Trace_ELBO())
        for _ in range(steps):
            svi.step(data, label)
            schedule.step()
        mode = {name: value.detach() for name, value in guide(data, label).items()}
    calibration = mode.get("c", start["c"][..., :0])
    at = Parameters(mode["z"], mode["a"], calibration, label, mode.get("u"), mode.get("f"))
    with torch.no_grad():
        return at, float(model.log_joint(data, at)[0])
