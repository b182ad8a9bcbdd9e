"""Laws of the Gaussian denoisers: everything equals dense D x D conditioning, and nothing depends on the flux unit."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from baselines.linear_gaussian import LowRankGaussian
from baselines.mppca import MixturePPCA
from baselines.wiener import Wiener
from bayesden.errors import InputError
from bayesden.spectrum import Grid, Observation

D, RANK = 30, 4
GRID = Grid.uniform(4000.0, 9000.0, D)


def make_prior(seed, scale=0.2, size=D, rank=RANK):
    rng = np.random.default_rng(seed)
    mean = 1 + 0.3 * np.sin(np.linspace(0, 5, size) + seed)
    return LowRankGaussian(mean, scale * rng.standard_normal((size, rank)), rng.uniform(0.001, 0.01, size))


def covariance(prior):
    return prior.factor @ prior.factor.T + np.diag(prior.psi)


def draw(prior, rng):
    u, e = rng.standard_normal(prior.rank), rng.standard_normal(prior.psi.size)
    return prior.mean + prior.factor @ u + np.sqrt(prior.psi) * e


def make_observation(seed=0, n_exposures=3, unit=1.0, snr=5.0, grid=GRID, prior=None):
    rng = np.random.default_rng(seed)
    truth = draw(prior or make_prior(1, size=grid.size), rng)
    sigma = rng.uniform(0.5, 2.0, (n_exposures, grid.size)) / snr
    flux = truth + sigma * rng.standard_normal(sigma.shape)
    mask = rng.random(sigma.shape) < 0.2
    mask[:, 5] = True
    return Observation(grid.wavelength, unit * flux, (unit * sigma) ** -2.0, mask)


def dense(prior, obs, amplitude=1.0):
    """Mean, variance and log evidence by the textbook, every exposure's pixel a row of its own."""
    e, d = np.nonzero(obs.ivar)
    y, noise = obs.flux[e, d], np.diag(1 / obs.ivar[e, d])
    mean, cov = amplitude * prior.mean, amplitude**2 * covariance(prior)
    total = cov[np.ix_(d, d)] + noise
    gain = np.linalg.solve(total, cov[d]).T
    post_mean = mean + gain @ (y - mean[d])
    post_var = np.diag(cov - gain @ cov[d])
    return post_mean, post_var, multivariate_normal(mean[d], total).logpdf(y)


CLASSES = ("A", "B", "C")
PRIORS = tuple(make_prior(seed, 0.1 * (1 + seed)) for seed in range(3))
KNOWN = MixturePPCA(PRIORS, CLASSES, GRID, "known")
UNKNOWN = MixturePPCA(PRIORS, CLASSES, GRID)
METHODS = [Wiener(PRIORS[1], GRID), Wiener(PRIORS[1], GRID, "known"), UNKNOWN, KNOWN]


def names(method):
    return f"{type(method).__name__}-{method.amplitude}"


@pytest.mark.parametrize("n_exposures", [1, 3])
@pytest.mark.parametrize("snr", [0.1, 5.0, 1000.0])
def test_wiener_is_dense_conditioning(n_exposures, snr):
    obs = make_observation(2, n_exposures, snr=snr)
    mean, variance, evidence = dense(PRIORS[1], obs)
    post = Wiener(PRIORS[1], GRID, "known").denoise(obs)
    np.testing.assert_allclose(post.flux, mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(post.sigma**2, variance, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(post.meta["log_evidence"], evidence, rtol=1e-9)
    np.testing.assert_allclose(post.prior_fraction, np.sqrt(variance / np.diag(covariance(PRIORS[1]))), atol=1e-9)


@pytest.mark.parametrize("snr", [0.5, 2.0])
def test_mixture_is_dense_conditioning(snr):
    obs = make_observation(3, snr=snr)
    each = [dense(prior, obs) for prior in PRIORS]
    log_p = np.array([evidence for *_, evidence in each])
    prob = np.exp(log_p - logsumexp(log_p))
    mean = sum(p * m for p, (m, _, _) in zip(prob, each, strict=True))
    variance = sum(p * (v + (m - mean) ** 2) for p, (m, v, _) in zip(prob, each, strict=True))
    post = KNOWN.denoise(obs)
    np.testing.assert_allclose([post.class_prob[c] for c in CLASSES], prob, atol=1e-9)
    np.testing.assert_allclose(post.flux, mean, atol=1e-9)
    np.testing.assert_allclose(post.sigma**2, variance, atol=1e-9)


@pytest.mark.parametrize(("snr", "tolerance"), [(0.05, 0.02), (0.5, 0.01), (5.0, 0.003), (500.0, 0.003)])
def test_unknown_amplitude_is_the_integral(snr, tolerance):
    prior, obs = PRIORS[0], make_observation(4, snr=snr, unit=7.0)
    post = Wiener(prior, GRID).denoise(obs)
    flux, ivar = obs.coadd()
    second = ivar @ (prior.mean**2 + prior.variance)
    least_squares, error = (ivar * flux) @ prior.mean / second, second**-0.5
    a0 = (least_squares + np.hypot(least_squares, 2 * error)) / 2

    def log_joint(log_a):
        return dense(prior, obs, np.exp(log_a))[2] + norm.logpdf(log_a, np.log(a0), 1.0)

    reach = 5.0 if snr < 1 else 1.0
    peak = max(np.log(a0) + np.linspace(-reach, reach, 100), key=log_joint)
    top = log_joint(peak)
    value, _ = quad(lambda t: np.exp(log_joint(t) - top), peak - reach, peak + reach, points=[peak], epsrel=1e-5)
    assert abs(post.meta["log_evidence"] - (top + np.log(value))) < tolerance


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_exposures_are_their_inverse_variance_mean(method):
    obs = make_observation(5)
    flux, ivar = obs.coadd()
    one, many = method.denoise(Observation(obs.wavelength, flux, ivar)), method.denoise(obs)
    np.testing.assert_allclose(many.flux, one.flux, rtol=1e-10)
    np.testing.assert_allclose(many.sigma, one.sigma, rtol=1e-10)
    assert many.class_prob == pytest.approx(one.class_prob, abs=1e-10)
    assert many.residual_z.shape == (3, D)
    np.testing.assert_array_equal(np.isnan(many.residual_z), obs.mask)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_masked_is_dropped(method):
    obs = make_observation(6, n_exposures=1)
    keep = ~obs.mask[0]
    grid = Grid(GRID.wavelength[keep])
    cut = [LowRankGaussian(p.mean[keep], p.factor[keep], p.psi[keep]) for p in PRIORS]
    args = (cut[1], grid) if isinstance(method, Wiener) else (tuple(cut), CLASSES, grid)
    dropped = Observation(grid.wavelength, obs.flux[:, keep], obs.ivar[:, keep])
    expected, post = type(method)(*args, amplitude=method.amplitude).denoise(dropped), method.denoise(obs)
    # of the unknown amplitude, only the centre of the prior knows of the other pixels: not at all
    np.testing.assert_allclose(post.flux[keep], expected.flux, rtol=1e-9)
    np.testing.assert_allclose(post.sigma[keep], expected.sigma, rtol=1e-8)
    assert post.class_prob == pytest.approx(expected.class_prob, abs=1e-9)
    garbage = np.where(obs.mask, 1e30, obs.flux)
    np.testing.assert_array_equal(method.denoise(Observation(obs.wavelength, garbage, obs.ivar)).flux, post.flux)


@pytest.mark.parametrize("snr", [0.1, 3.0, 1e6])
@pytest.mark.parametrize("unit", [1e-17, 3.0, 1e12])
@pytest.mark.parametrize("method", [Wiener(PRIORS[1], GRID), UNKNOWN], ids=names)
def test_flux_unit_changes_nothing(method, unit, snr):
    one, other = (method.denoise(make_observation(7, unit=u, snr=snr)) for u in (1.0, unit))
    np.testing.assert_allclose(other.flux / unit, one.flux, rtol=1e-8)
    np.testing.assert_allclose(other.sigma / unit, one.sigma, rtol=1e-7)
    np.testing.assert_allclose(other.prior_fraction, one.prior_fraction, rtol=1e-7)
    assert other.class_prob == pytest.approx(one.class_prob, abs=1e-8)
    assert other.meta["amplitude"] == pytest.approx(unit * one.meta["amplitude"], rel=1e-8)


def test_known_amplitude_does_depend_on_the_unit():
    one, other = (KNOWN.denoise(make_observation(7, unit=unit)) for unit in (1.0, 3.0))
    assert np.abs(other.flux / 3.0 - one.flux).max() > 0.01


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_batch_is_each_alone(method):
    observations = [make_observation(seed, snr=10.0 ** (seed % 4 - 1)) for seed in range(70)]
    for post, obs in list(zip(method.denoise(observations), observations, strict=True))[::9]:
        alone = method.denoise(obs)
        np.testing.assert_allclose(post.flux, alone.flux, rtol=1e-9)
        np.testing.assert_allclose(post.sigma, alone.sigma, rtol=1e-7)
    assert method.denoise([]) == []


def edge_cases():
    wave, ones = GRID.wavelength, np.ones(D)
    blue = np.where(np.arange(D) < D // 2, 1.0, 0.0)
    single = (np.arange(D) == 7) * 1.0
    noisy = 1 + 10 * np.random.default_rng(8).standard_normal(D)
    yield "snr 1e6", Observation(wave, 1.0 + 0.1 * np.sin(wave), 1e12 * ones)
    yield "snr 0.1", Observation(wave, noisy, 0.01 * ones)
    yield "one arm", Observation(wave, ones, 100 * blue)
    yield "one arm, snr 1e6", Observation(wave, ones, 1e12 * blue)
    yield "one pixel", Observation(wave, ones, 25 * single)
    yield "one pixel, snr 0.1", Observation(wave, ones, 0.01 * single)
    yield "negative", Observation(wave, -ones, 100 * ones)
    yield "zero", Observation(wave, 0 * ones, 100 * ones)
    yield "tiny ivar", Observation(wave, ones, 1e-30 * ones)
    yield "huge ivar", Observation(wave, 1e-17 * ones, 1e46 * ones)
    yield "one outlier", Observation(wave, ones + 1e6 * single, 100 * ones)


@pytest.mark.parametrize("case", list(edge_cases()), ids=lambda case: case[0])
@pytest.mark.parametrize("method", METHODS, ids=names)
def test_always_finite(method, case):
    post = method.denoise(case[1])
    for values in (post.flux, post.sigma, post.prior_fraction, list(post.class_prob.values())):
        assert np.isfinite(values).all()
    assert (post.sigma > 0).all()
    assert all(np.isfinite(value) for value in post.meta.values())
    if post.class_prob:
        assert sum(post.class_prob.values()) == pytest.approx(1.0, abs=1e-9)


def test_without_information_the_posterior_is_the_prior():
    obs = Observation(GRID.wavelength, np.full(D, 5.0), np.full(D, 1e-20))
    post = KNOWN.denoise(obs)
    means = np.stack([prior.mean for prior in PRIORS])
    variance = np.mean([prior.variance for prior in PRIORS], axis=0) + means.var(0)
    np.testing.assert_allclose(post.flux, means.mean(0), rtol=1e-9)
    np.testing.assert_allclose(post.sigma**2, variance, rtol=1e-9)
    np.testing.assert_allclose(post.prior_fraction, 1.0, rtol=1e-9)
    assert list(post.class_prob.values()) == pytest.approx([1 / 3] * 3, abs=1e-9)


def test_pixels_that_no_data_reach_keep_the_prior():
    prior = LowRankGaussian(np.ones(D), np.zeros((D, 1)), np.full(D, 0.04))
    obs = Observation(GRID.wavelength, np.full(D, 2.0), np.where(np.arange(D) < 20, 400.0, 0.0))
    post = Wiener(prior, GRID).denoise(obs)
    np.testing.assert_allclose(post.prior_fraction[20:], 1.0, rtol=1e-9)
    assert (post.prior_fraction[:20] < 0.5).all()


def test_coverage_of_draws_from_the_model_and_a_control_that_fails():
    rng = np.random.default_rng(9)
    truths, observations = [], []
    for _ in range(300):
        truth = draw(PRIORS[rng.integers(3)], rng)
        truths.append(truth)
        observations.append(Observation(GRID.wavelength, truth + rng.standard_normal((2, D)) / 3, np.full((2, D), 9.0)))
    truth = np.array(truths)

    def rate(mixture, nominal):
        posts = mixture.denoise(observations)
        low, high = (np.array([p.quantile(0.5 + s * nominal / 2) for p in posts]) for s in (-1, 1))
        return ((truth > low) & (truth < high)).mean()

    narrow = tuple(LowRankGaussian(p.mean, 0.5 * p.factor, 0.25 * p.psi) for p in PRIORS)
    for nominal in (0.5, 0.9):
        assert abs(rate(KNOWN, nominal) - nominal) < 0.02
        assert rate(MixturePPCA(narrow, CLASSES, GRID, "known"), nominal) < nominal - 0.05


@pytest.mark.parametrize("amplitude", ["known", "unknown"])
def test_error_is_below_that_of_the_data(amplitude):
    rng, method = np.random.default_rng(10), Wiener(PRIORS[1], GRID, amplitude)
    truth = np.array([draw(PRIORS[1], rng) for _ in range(50)])
    flux = truth + 0.3 * rng.standard_normal(truth.shape)
    posts = method.denoise([Observation(GRID.wavelength, f, np.full(D, 1 / 0.09)) for f in flux])
    error = np.mean((np.array([p.flux for p in posts]) - truth) ** 2)
    assert error < 0.3 * np.mean((flux - truth) ** 2)


def test_amplitude_is_found():
    prior = LowRankGaussian(PRIORS[0].mean, PRIORS[0].factor - PRIORS[0].factor.mean(0), PRIORS[0].psi)
    rng = np.random.default_rng(11)
    pulls = []
    for a in np.geomspace(0.01, 100, 40):
        flux = a * (draw(prior, rng) + rng.standard_normal(D) / 5)
        meta = Wiener(prior, GRID).denoise(Observation(GRID.wavelength, flux, np.full(D, 25 / a**2))).meta
        pulls.append((meta["amplitude"] - a) / meta["amplitude_sigma"])
    assert 0.7 < np.std(pulls) < 1.3
    assert abs(np.mean(pulls)) < 0.5


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_another_grid_is_one_clear_line(method):
    wavelength = Grid.uniform(4000.0, 9001.0, D).wavelength
    with pytest.raises(InputError, match=r"^star: expected the model's wavelength grid \(30 pixels, 4000 to 9000 A\)"):
        method.denoise(Observation(wavelength, np.ones(D), np.ones(D), name="star"))


@pytest.mark.parametrize(
    ("mean", "factor", "psi"),
    [
        (np.ones(3), np.ones((2, 1)), np.ones(3)),
        (np.ones(3), np.ones((3, 1)), -np.ones(3)),
        (np.full(3, np.nan), np.ones((3, 1)), np.ones(3)),
    ],
)
def test_impossible_priors_are_refused(mean, factor, psi):
    with pytest.raises(InputError, match=r"^prior: expected"):
        LowRankGaussian(mean, factor, psi)
