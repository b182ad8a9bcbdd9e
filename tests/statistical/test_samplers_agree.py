"""The ensemble of chains and Pyro's NUTS explore the same posterior: 20 stars of all classes, the shipped model."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bayesden.infer.draws import Draws
from bayesden.infer.ensemble import sample_ensemble
from bayesden.infer.located import locate
from bayesden.infer.nuts import sample_nuts
from bayesden.io.inference_data import convergence
from bayesden.model.checkpoint import load_model
from bayesden.model.data import Data

pytestmark = pytest.mark.statistical
STARS = 20


def moments(draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and effective draws of each parameter."""
    worth = torch.from_numpy(np.array(convergence(draws.theta.numpy()).ess_bulk))
    flat = draws.theta.flatten(0, 1)
    return flat.mean(0), flat.std(0), worth


def apart(ours: Draws, theirs: Draws) -> tuple[float, float]:
    """Root mean squares over parameters of the distances of means (sd) and of log sd, what chance adds taken off.

    A mean over n effective draws has the variance 1 / n, in units of the sd; the logarithm of an sd about 1 / (2 n).
    """
    (mean, sd, n), (other, other_sd, m) = moments(ours), moments(theirs)
    chance = (1 / n + 1 / m).mean()
    shift, ratio = ((mean - other) / sd).square().mean(), (sd / other_sd).log().square().mean()
    return float((shift - chance).clamp_min(0).sqrt()), float((ratio - chance / 2).clamp_min(0).sqrt())


def test_ensemble_and_nuts_agree(draw: Callable) -> None:
    """Of the stars whose reference chains agree among themselves: it cannot cross between modes that are far apart."""
    torch.set_num_threads(1)
    model = load_model()
    observations = [draw(model, [i % 10], snr=10.0, seed=i)[0] for i in range(STARS)]
    found, sure = [], []
    for star in locate(model, Data.stack(observations)):
        (ours,) = sample_ensemble(model, [star], samples=4000, seed=1)
        (theirs,) = sample_nuts(model, [star], samples=600, chains=2, seed=1)
        found.append(apart(ours, theirs))
        sure.append(float(convergence(theirs.theta.numpy()).r_hat.max()) < 1.05)
        print(
            f"\n{len(found)}: means {found[-1][0]:.2f} sd, sd {100 * found[-1][1]:.0f} %; reference agrees: {sure[-1]}"
        )
    shift, ratio = np.array(found)[np.array(sure)].T
    assert len(shift) >= STARS // 2
    assert np.median(shift) < 0.1 and np.median(ratio) < 0.1
