"""Laws of the tests of calibration: an exact posterior passes every one, and those that are wrong on purpose none."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import norm

from bayesden.errors import InputError
from bayesden.evaluate.calibration import Plan, calibrate
from bayesden.evaluate.certificate import TESTS, certificate, verdicts
from bayesden.evaluate.controls import BIAS, SHRINK, biased, overconfident, wrong_transform
from bayesden.evaluate.coverage import coverage, coverage_curve, covered, groups_of
from bayesden.evaluate.in_model import at_snr, plain_template, simulate, template_data
from bayesden.evaluate.kept import Kept
from bayesden.evaluate.places import VERSIONS, Places
from bayesden.evaluate.sbc import ranks, uniformity
from bayesden.evaluate.tarp import REFERENCES, expected_coverage, references, tarp
from bayesden.spectrum import Grid

STARS, DRAWS, PIXELS = 400, 200, 12


def gaussian(spread=1.0, shift=0.0, stars=STARS, seed=0):
    """Places in the exact posterior of a linear Gaussian model, its sd scaled by `spread` and its mean moved by `shift` sd."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3, PIXELS))
    prior = rows.T @ rows + 0.1 * np.eye(PIXELS)
    covariance = np.linalg.inv(np.linalg.inv(prior) + np.eye(PIXELS))
    root, sd = np.linalg.cholesky(covariance), np.sqrt(np.diag(covariance))
    truth = 10 + rng.multivariate_normal(np.zeros(PIXELS), prior, size=(2, stars))
    pool, truth = truth
    u, flux, f = ({version: [] for version in VERSIONS} for _ in range(3))
    for star in truth:
        data = star + rng.normal(size=PIXELS)
        mean = 10 + covariance @ (data - 10) + shift * sd
        drawn = mean + spread * rng.normal(size=(DRAWS, PIXELS)) @ root.T
        reference = references(pool, rng)
        for version, change in VERSIONS.items():
            wrong = change(drawn)
            u[version].append(ranks(wrong[:, :2], star[:2], rng))
            flux[version].append(ranks(wrong, star, rng))
            f[version].append(tarp(wrong, star, reference, rng))
    pit = rng.random((stars, 16))
    stacked = ({version: np.array(rows) for version, rows in part.items()} for part in (u, flux, f))
    label, found = rng.integers(2, size=(2, stars))
    return Places(("a", "b"), *stacked, pit, label, found, np.repeat([5.0, 20.0], stars // 2))


@pytest.fixture(scope="module")
def exact():
    return gaussian()


def card_of(places):
    return certificate({"exact": places}, ("G", "M"), Plan(), {})


def test_an_exact_posterior_passes_and_the_controls_fail_every_test(exact):
    card = card_of(exact)
    engine = card["engines"]["exact"]
    assert engine["passed"] == dict.fromkeys(TESTS, True)
    assert engine["controls_passed"] == {"overconfident": [], "biased": []}
    assert engine["calibrated"] and verdicts(card) == ["exact: calibrated; both controls fail every test"]
    assert json.loads(json.dumps(card)) == card
    assert set(engine["coverage"]["groups"]) == {"all", "G", "M", "S/N 5", "S/N 20"}
    assert set(engine["coverage"]["true_classes"]) == {"G", "M"}


@pytest.mark.parametrize(("spread", "shift"), [(SHRINK, 0.0), (1.6, 0.0), (1.0, BIAS)], ids=["narrow", "wide", "moved"])
def test_a_wrong_posterior_fails_what_looks_at_the_flux(spread, shift):
    card = card_of(gaussian(spread, shift))
    engine = card["engines"]["exact"]
    assert not any(engine["passed"][test] for test in ("sbc", "coverage", "tarp")) and not engine["calibrated"]
    assert "fails sbc, coverage, tarp" in verdicts(card)[0]


def test_too_few_simulations_say_so():
    card = card_of(gaussian(stars=20))
    assert not card["engines"]["exact"]["calibrated"]
    assert "too few simulations to tell" in verdicts(card)[0]


def test_ranks_break_ties_and_are_uniform():
    rng = np.random.default_rng(1)
    draws = rng.integers(3, size=(500, 9, 1))
    u = np.array([ranks(row[1:], row[0], rng) for row in draws])
    assert uniformity(u, ("label",)).passed
    assert ranks(np.zeros((4, 1)), np.ones(1), rng) > 0.8


def test_tarp_with_dimmed_references_sees_a_common_bias(exact):
    levels = np.array([0.5])
    for version, low, high in (("posterior", -0.07, 0.07), ("biased", 0.1, 0.5)):
        f = exact.tarp[version][:, REFERENCES.index("dimmed stars")]
        assert low < expected_coverage(f, levels)[0] - 0.5 < high


def test_a_right_posterior_is_calibrated_by_the_class_it_finds_and_not_by_the_true_one():
    """Two classes of a number, wide and narrow, seen with noise: the posterior is a mixture, drawn from exactly."""
    rng, widths, stars = np.random.default_rng(4), np.array([3.0, 0.5]), 4000
    label = rng.integers(2, size=stars)
    truth = widths[label] * rng.normal(size=stars)
    seen = truth + rng.normal(size=stars)
    chance = norm.pdf(seen[:, None], scale=np.sqrt(widths**2 + 1))
    chance /= chance.sum(1, keepdims=True)
    shrink = widths**2 / (widths**2 + 1)
    drawn = (rng.random((stars, 400)) > chance[:, :1]).astype(int)
    draws = shrink[drawn] * seen[:, None] + np.sqrt(shrink[drawn]) * rng.normal(size=(stars, 400))
    u = (draws < truth[:, None]).mean(1, keepdims=True)
    assert covered(groups_of(u, {str(k): chance.argmax(1) == k for k in range(2)}))
    assert not covered(groups_of(u, {str(k): label == k for k in range(2)}))


def test_coverage_counts_stars_and_not_pixels():
    rng = np.random.default_rng(2)
    u = np.repeat(rng.random((200, 1)), 50, 1)
    found = coverage(u)
    assert found.stars == 200 and found.error["within 50 %"] == pytest.approx((0.25 / 200) ** 0.5, rel=0.05)
    assert covered({"all": found}) and not covered({"all": coverage(0.5 + 0.5 * u)})
    assert coverage_curve(u, np.array([0.0, 1.0])).tolist() == [0.0, 1.0]
    few = np.arange(200) < 5
    assert set(groups_of(u, {"many": ~few, "few": few})) == {"many"}


def test_controls_are_what_they_say():
    draws = np.random.default_rng(3).normal(size=(2000, 2))
    assert overconfident(draws).std(0) == pytest.approx(SHRINK * draws.std(0))
    assert biased(draws).mean(0) == pytest.approx(draws.mean(0) + BIAS * draws.std(0))
    assert wrong_transform(np.array([0.5]), "overconfident") == pytest.approx(0.5)
    assert wrong_transform(np.array([0.5]), "biased") < 0.4


def test_simulated_stars_come_from_the_priors(moving_model):
    model = moving_model()
    template = template_data(at_snr(plain_template(model.grid, 3), 10.0))
    stars = simulate(model, template, 4000, seed=1)
    assert torch.bincount(stars.at.label).float() == pytest.approx(4000 / 3 * np.ones(3), rel=0.1)
    for normal, sd in ((stars.at.foreground, 1.0), (stars.at.detail, 1.0), (stars.at.amplitude, 0.5)):
        assert float(normal.std()) == pytest.approx(sd, rel=0.05) and abs(float(normal.mean())) < 0.05
    tails = 10 / 8  # variance of Student's t with ten degrees of freedom
    assert float(stars.at.calibration.std()) == pytest.approx(tails**0.5 * model.nuisance.calibration_sd, rel=0.05)


def test_what_the_likelihood_is_conditioned_on_is_held_fixed(moving_model):
    model = moving_model()
    template = template_data(at_snr(plain_template(model.grid, 2), 10.0))
    stars = simulate(model, template, 5, seed=1)
    for name in ("ivar", "mask", "share", "context", "side"):
        fixed = getattr(template, name)
        assert torch.equal(getattr(stars.data, name), fixed.expand(5, *fixed.shape[1:]))
    assert stars.data.scale.tolist() == [1.0] * 5 and stars.left.flux.shape == (5, 1, model.grid.size)
    assert not bool(stars.left.share.any())
    again = simulate(model, template, 5, seed=1)
    assert torch.equal(again.data.flux, stars.data.flux) and torch.equal(again.left.flux, stars.left.flux)
    assert not torch.equal(simulate(model, template, 5, seed=2).data.flux, stars.data.flux)


def test_a_template_is_scaled_to_the_ratio_asked_for():
    observation = at_snr(plain_template(Grid.uniform(), 3), 7.0)
    ratio = np.median(np.sqrt(observation.ivar), 1) * np.median(observation.coadd()[0])
    assert ratio == pytest.approx(7.0 * np.ones(3), rel=0.01)


def test_laplace_on_a_small_model(moving_model):
    model, seen = moving_model(), []
    plan = Plan(simulations=90, samples=200)
    places = calibrate(model, ["laplace"], plan, progress=lambda done, total: seen.append((done, total)))
    engine = certificate(places, model.classes, plan, {})["engines"]["laplace"]
    assert seen == [(30, 90), (60, 90), (90, 90)]
    assert engine["passed"]["sbc"] and engine["passed"]["coverage"] and engine["passed"]["pit"]
    assert "sbc" not in engine["controls_passed"]["biased"]
    assert {"class", "z 2", "velocity_kms", "ebv", "log_amplitude", "detail 1"} <= set(places["laplace"].names)


def test_a_run_that_was_stopped_goes_on(moving_model, tmp_path):
    model, plan, stopped = moving_model(), Plan(simulations=70, samples=40, snr=(10.0,)), []

    def stop(done, total):
        stopped.append(done)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    kept = Kept(tmp_path / "parts", {"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, ["laplace"], plan, progress=stop, kept=kept)
    files = sorted(kept.folder.iterdir())
    assert len(files) == 2
    ages = [path.stat().st_mtime_ns for path in files]
    files[1].write_bytes(files[1].read_bytes()[:-9])  # cut short: made again
    whole = calibrate(model, ["laplace"], plan, kept=kept)["laplace"]
    assert files[0].stat().st_mtime_ns == ages[0] and files[1].stat().st_mtime_ns > ages[1]
    expected = calibrate(model, ["laplace"], plan)["laplace"]
    assert whole.names == expected.names
    for name in ("u", "flux", "tarp"):
        for version, values in getattr(expected, name).items():
            np.testing.assert_array_equal(getattr(whole, name)[version], values)
    np.testing.assert_array_equal(whole.pit, expected.pit)
    assert Kept(kept.folder, {"seed": 1}).load("laplace", 0, 0) is None
    kept.clear()
    assert not kept.folder.exists()


def test_bad_plans_are_refused(moving_model):
    model = moving_model()
    for options in ({"simulations": 0}, {"exposures": 0}, {"snr": ()}, {"snr": (-1.0,)}, {"samples": 2}):
        with pytest.raises(InputError, match="expected"):
            Plan(**options)
    with pytest.raises(InputError, match="expected one of laplace"):
        calibrate(model, ["map"], Plan())
    with pytest.raises(InputError, match="expected 2 exposures or more, got 1"):
        calibrate(model, ["laplace"], Plan(exposures=2), templates=[plain_template(model.grid, 1)])
    model.volume = True
    with pytest.raises(InputError, match="volume"):
        calibrate(model, ["laplace"], Plan())
