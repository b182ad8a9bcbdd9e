"""The noise leaves signal alone: what all exposures share never reaches it, and a line in the data keeps its significance."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student_t

from bayesden.io import read
from bayesden.model.noise_context import CHANNELS
from bayesden.spectrum import Observation
from bayesden.train.noise import NoiseSamples, fit_noise, residuals
from bayesden.train.noise_models import DEVIATIONS, deviation, with_deviation

SIZE = 600
WAVELENGTH = 4000.0 + 2.4 * np.arange(SIZE)
LINE = np.exp(-0.5 * (np.arange(-8, 9) / 1.5) ** 2)  # FWHM 3.5 pixels
DEPTH = 1.5  # in units of the noise of one pixel


def stars(seeds: tuple[int, ...], *, rho: float = 0.0, line: float = 0.0) -> list[Observation]:
    """Exposures of stars with Student-t noise, white or correlated; a line in every exposure of each."""
    found = []
    for seed in seeds:
        z = np.random.default_rng(seed).standard_t(8, size=(10, SIZE))
        for d in range(1, SIZE):
            z[:, d] = rho * z[:, d - 1] + np.sqrt(1 - rho**2) * z[:, d]
        flux = 10 + np.sin(WAVELENGTH / 300) + 0.3 * z
        flux[:, 300:317] -= line * LINE
        found.append(
            Observation(wavelength=WAVELENGTH, flux=flux, ivar=np.full(flux.shape, 0.3**-2), name=f"star-{seed}")
        )
    return found


def significance(log_prob: Callable[[np.ndarray], np.ndarray], samples: NoiseSamples, sigma: np.ndarray) -> float:
    """Of lines laid over the noise: root of twice the mean gain in log-likelihood by knowing them."""
    line = np.zeros(samples.eps.shape)
    for start in range(40, samples.eps.shape[1] - 40, 40):
        line[:, start : start + 17] = DEPTH * LINE
    line = np.where(samples.mask, 0, line * sigma)
    gain = log_prob(samples.eps) - log_prob(samples.eps - line)
    return float(np.sqrt(2 * gain.sum() / (len(range(40, samples.eps.shape[1] - 40, 40)) * len(samples))))


def by_flow(train: NoiseSamples, test: NoiseSamples, **options: int) -> Callable[[np.ndarray], np.ndarray]:
    noise, _ = fit_noise(train, **options)
    context = test.context_tensor()

    def log_prob(eps: np.ndarray) -> np.ndarray:
        return noise.log_prob(*replace(test, eps=eps).tensors(), context).detach().double().numpy()

    return log_prob


def by_white_noise(test: NoiseSamples, sigma: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Independent Student-t noise of the same scale."""
    white = (test.eps / sigma)[~test.mask]
    nu, _, scale = student_t.fit(white, floc=0)
    return lambda eps: np.where(test.mask, 0, student_t.logpdf(eps / sigma, nu, scale=scale))


def pipeline_sigma(samples: NoiseSamples) -> np.ndarray:
    return 1 / np.sqrt(np.where(samples.mask, 1.0, samples.ivar))


def test_what_all_exposures_share_leaves_the_residuals_as_they_are() -> None:
    plain, lined = (residuals(stars((1,), line=line), calibration_order=None) for line in (0.0, 5.0))
    white = [s.eps * np.sqrt(s.ivar) for s in (plain, lined)]
    np.testing.assert_allclose(white[1], white[0], atol=1e-10)
    np.testing.assert_allclose(lined.context, plain.context, atol=0.05)
    plain, lined = (residuals(stars((1,), line=line)) for line in (0.0, 5.0))
    assert np.abs(plain.eps * np.sqrt(plain.ivar) - lined.eps * np.sqrt(lined.ivar)).max() < 0.2


def test_the_noise_that_is_fitted_is_the_same_with_a_line_in_every_exposure() -> None:
    test = residuals(stars((3,)))
    found = [by_flow(residuals(stars((1, 2), line=line)), test, epochs=15)(test.eps) for line in (0.0, 5.0)]
    assert abs(found[0].mean() - found[1].mean()) < 0.003
    assert np.abs(found[0] - found[1]).mean() < 0.02


def test_a_line_keeps_its_significance_under_the_fitted_noise() -> None:
    train, test = residuals(stars((1, 2))), residuals(stars((3,)))
    sigma = pipeline_sigma(test)
    expected = significance(by_white_noise(test, sigma), test, sigma)
    found = significance(by_flow(train, test, epochs=30), test, sigma)
    assert expected > 1.5
    assert 0.9 < found / expected < 1.1


def test_correlated_noise_takes_from_a_line_what_it_must_and_no_more() -> None:
    """The twin: a linear autoregression with the true coefficient; and a control, in which lines do lose."""
    rho = 0.6
    train, test = residuals(stars((1, 2), rho=rho)), residuals(stars((3,), rho=rho))
    sigma = pipeline_sigma(test)

    def truth(eps: np.ndarray) -> np.ndarray:
        white = eps / sigma
        innovation = (white[:, 1:] - rho * white[:, :-1]) / np.sqrt(1 - rho**2)
        return student_t.logpdf(innovation, 8)

    found, expected = (significance(f, test, sigma) for f in (by_flow(train, test, epochs=60), truth))
    assert 0.9 < found / expected < 1.1
    assert found / significance(by_white_noise(test, sigma), test, sigma) < 0.8


def test_lines_over_real_noise_of_another_star_keep_their_significance(sdss_files: list[Path]) -> None:
    samples = [residuals(read(path)) for path in sdss_files if "0618" not in path.name and "5047" not in path.name]
    test = samples.pop()
    white = np.abs(test.eps * np.sqrt(test.ivar))[~test.mask]
    sigma = 1.4826 * np.median(white) * pipeline_sigma(test)
    found = significance(by_flow(NoiseSamples.concatenate(samples), test, epochs=30), test, sigma)
    expected = significance(by_white_noise(test, sigma), test, sigma)
    assert found / expected > 0.9


def counting(seed: int, line: float = 0.0) -> Observation:
    """Exposures whose pipeline takes the errors from the counts that it has seen, noise and lines included."""
    rng = np.random.default_rng(seed)
    star = np.ones(SIZE)
    for start in range(40, SIZE - 40, 40):
        star[start : start + 17] -= line * LINE
    flux = star + np.sqrt(star) / 30 * rng.normal(size=(12, SIZE))
    return Observation(wavelength=WAVELENGTH, flux=flux, ivar=900 / np.maximum(flux, 0.1), name=f"counts-{seed}")


def test_a_line_that_the_errors_follow_is_not_taken_for_noise() -> None:
    """What the flow expects of the noise before it has seen any; the control reads it from the pattern of the errors."""
    train, test = residuals([counting(1), counting(2)]), residuals(counting(3, line=0.2))
    _, ivar, mask = test.tensors()
    found = {}
    for profile in ("scale", "full"):
        noise, _ = fit_noise(train, epochs=30, profile=profile)
        mu, _ = noise.network.conditionals(torch.zeros_like(ivar), ivar, mask, test.context_tensor())
        mu = mu.mean(0)[24 : SIZE - 40]  # the middle of a line, 6 sigma deep, and of the gap beside it, in turn
        found[profile] = (mu[24::40].mean() - mu[4::40].mean()).item()
    assert abs(found["scale"]) < 0.02
    assert found["full"] < -0.5


def test_what_errors_deviate_by_leaves_lines_alone_and_cancels_in_the_mean_of_exposures() -> None:
    """So the flow that reads it describes single exposures better, is safe for signal, and tells nothing about the star."""
    plain, lined = (residuals(counting(3, line=line)) for line in (0.0, 0.2))
    change = (deviation(lined) - deviation(plain)).mean(0)
    assert np.abs(change).max() < 1e-6  # the mean of deviations is 0 with a line or without
    train, test = with_deviation(residuals([counting(1), counting(2)])), with_deviation(lined)
    noise, _ = fit_noise(train, epochs=30, context=(*CHANNELS, *DEVIATIONS))
    eps, ivar, mask = test.tensors()
    mu, _ = noise.network.conditionals(torch.zeros_like(ivar), ivar, mask, test.context_tensor())
    read, noise_seen = (x[:, 24 : SIZE - 40] for x in (mu, eps * ivar.sqrt()))
    assert torch.corrcoef(torch.stack([read.flatten(), noise_seen.flatten()]))[0, 1] > 0.7
    mean = read.mean(0)
    assert abs((mean[24::40].mean() - mean[4::40].mean()).item()) < 0.02
    assert mean.std() < 0.3 * read.std() / len(read) ** 0.5  # as noise that the exposures do not share would be
