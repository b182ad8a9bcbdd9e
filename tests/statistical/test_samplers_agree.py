"""The ensemble of chains and Pyro's NUTS explore the same posterior: 20 stars of all classes, the shipped model."""

from collections.abc import Callable

import pytest
import torch

from bayesden.infer.ensemble import sample_ensemble
from bayesden.infer.located import locate
from bayesden.infer.nuts import sample_nuts
from bayesden.model.checkpoint import load_model
from bayesden.model.data import Data

pytestmark = pytest.mark.statistical


def test_ensemble_and_nuts_agree(draw: Callable) -> None:
    """Root mean squares over parameters; NUTS's own Monte-Carlo error is about 0.06 sd of a mean and 4 % of an sd."""
    model = load_model()
    observations = [draw(model, [i % 10], snr=10.0, seed=i)[0] for i in range(20)]
    stars = locate(model, Data.stack(observations))
    ours = sample_ensemble(model, stars, samples=4000, seed=1)
    theirs = sample_nuts(model, stars, samples=400, chains=2, seed=1)
    shift, ratio = [], []
    for one, other in zip(ours, theirs, strict=True):
        a, b = one.theta.flatten(0, 1), other.theta.flatten(0, 1)
        shift.append(float(((a.mean(0) - b.mean(0)) / a.std(0)).square().mean().sqrt()))
        ratio.append(float((b.std(0) / a.std(0)).log().square().mean().sqrt()))
    print("\nmeans apart, sd:", [round(x, 2) for x in sorted(shift)])
    print("sd apart:", [round(x, 2) for x in sorted(ratio)])
    shift, ratio = torch.tensor(shift), torch.tensor(ratio)
    assert float(shift.median()) < 0.1 and float(ratio.median()) < 0.1
