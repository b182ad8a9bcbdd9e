"""Laws of the class prior."""

import pytest
import torch

from bayesden.errors import ModelError
from bayesden.model.class_prior import CLASSES, ClassPrior


def test_it_is_normalised_and_uniform_by_default() -> None:
    prior = ClassPrior()
    assert prior.size == len(CLASSES) == 10
    torch.testing.assert_close(prior.log_prob.exp(), torch.full((10,), 0.1))


def test_given_weights_are_normalised_and_a_class_may_be_impossible() -> None:
    prior = ClassPrior(("A", "B", "C"), torch.tensor([3.0, 1.0, 0.0]))
    torch.testing.assert_close(prior.log_prob.exp(), torch.tensor([0.75, 0.25, 0.0]))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.0, 0.0, 0.0], [1.0, -0.1, 1.0], [1.0, float("nan"), 1.0]])
def test_weights_that_are_no_distribution_are_refused(weights: list[float]) -> None:
    with pytest.raises(ModelError, match="class prior: expected 3"):
        ClassPrior(("A", "B", "C"), torch.tensor(weights))
