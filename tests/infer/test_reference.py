"""The Pyro reference: an exact twin of its own, and what it leaves behind."""

from collections.abc import Callable

import pyro
import pytest
import torch

from bayesden.errors import InputError
from bayesden.infer.reference import fit_map_pyro
from bayesden.model.data import Data


def test_it_finds_the_closed_form_of_a_linear_model(linear: Callable) -> None:
    twin = linear(spectra=1)
    at, objective = fit_map_pyro(twin.model, twin.data, classes=[0], steps=500)
    mean, _, _ = twin.posterior(0, 0)
    torch.testing.assert_close(at.z[0], mean, rtol=1e-3, atol=1e-3)
    assert objective == pytest.approx(float(twin.model.log_joint(twin.data, at)[0]))


def test_the_best_class_wins_and_classes_can_be_chosen(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [1], exposures=2))
    each = [fit_map_pyro(model, data, classes=[k], steps=60)[1] for k in range(3)]
    at, objective = fit_map_pyro(model, data, steps=60)
    assert objective == max(each) and int(at.label) == each.index(max(each))
    assert at.calibration.shape == (1, 2, 3)


def test_it_leaves_no_trace(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    data = Data.stack(draw(model, [1]))
    pyro.param("mine", torch.ones(1))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = (fit_map_pyro(model, data, classes=[1], steps=20)[1] for _ in range(2))
    assert one == two
    assert list(pyro.get_param_store().keys()) == ["mine"]
    assert torch.equal(torch.rand(3), expected)


def test_it_takes_one_spectrum_at_a_time(toy_model: Callable, draw: Callable) -> None:
    model = toy_model()
    with pytest.raises(InputError, match="expected one spectrum, got 2"):
        fit_map_pyro(model, Data.stack(draw(model, [0, 1])))
