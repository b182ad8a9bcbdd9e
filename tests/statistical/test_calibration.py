"""The engines' error bars on stars that the shipped model drew itself: `bayesden evaluate`."""

import pytest

from bayesden.evaluate.calibration import Plan, calibrate
from bayesden.evaluate.certificate import certificate
from bayesden.model.checkpoint import load_model

pytestmark = pytest.mark.statistical
MISSED = {"laplace": {"sbc"}, "ensemble": set()}  # what is known to fail: see docs/calibration.md


@pytest.mark.parametrize(("method", "simulations"), [("laplace", 510), ("ensemble", 150)])
def test_error_bars_are_right_in_the_model(method, simulations):
    model, plan = load_model(), Plan(simulations=simulations)
    engine = certificate(calibrate(model, [method], plan), model.classes, plan, {})["engines"][method]
    assert {test for test, passed in engine["passed"].items() if not passed} <= MISSED[method]
    assert engine["controls_passed"] == {"overconfident": [], "biased": []}
    share = engine["coverage"]["groups"]["all"]["share"]
    assert share["within 50 %"] == pytest.approx(0.5, abs=0.03) and share["within 90 %"] == pytest.approx(0.9, abs=0.03)
