"""A number that is none becomes a reason, where it arises, and never a result."""

import math
from collections.abc import Callable

import pytest
import torch

from bayesden.errors import NumericalError
from bayesden.infer.denoise import denoise
from bayesden.infer.finite import check_finite
from bayesden.posterior import Posterior
from bayesden.spectrum import Observation
from bayesden.survey.fitting import Fitter

PLACES = {"generator.mean": "the starts of a climb", "discrepancy": "the flux"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_is_enough(value: float) -> None:
    check_finite("sound", torch.ones(2, 3), torch.zeros(0))
    with pytest.raises(NumericalError, match="fit: expected finite numbers, got 1 that are none in the sums"):
        check_finite("the sums", torch.ones(2), torch.tensor([[0.0, value]]))


@pytest.mark.parametrize("part", PLACES)
def test_it_is_said_where_it_arose(toy_model: Callable, draw: Callable, part: str) -> None:
    model = toy_model()
    observation = draw(model, [1])[0]
    model.get_buffer(part)[..., 5] = math.nan
    with pytest.raises(NumericalError, match=f"that are none in {PLACES[part]}"):
        denoise(observation, model)


def test_the_others_of_a_batch_have_results(toy_model: Callable, draw: Callable) -> None:
    model, spoilt = toy_model(), toy_model()
    spoilt.discrepancy[:] = math.nan
    observations = draw(model, [0, 1, 2])

    def infer(some: list[Observation]) -> list[Posterior]:
        return denoise(some, spoilt if any(one is observations[1] for one in some) else model)

    results = Fitter(infer, most=3)(observations)
    assert [isinstance(result, NumericalError) for result in results] == [False, True, False]
