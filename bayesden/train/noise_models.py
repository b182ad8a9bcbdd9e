r"""Simpler models of the noise, and the table that `NoiseFlow` has to win: held-out nats per pixel.

Every model gives :math:`\log p(\epsilon_d \mid \epsilon_{d-K}, \dots, \epsilon_{d-1})`, and all are scored on the very same
pixels: those that have :math:`K` predecessors, all of them observed.

`robust-deviation` also reads the noise out of the pipeline's errors, which follow the counts, but only as far as an exposure's
errors deviate from those of the star's other exposures at the pixel. A line of the star is in all of them and cancels.
So does, in their mean, what is read: it tells exposures from each other and nothing about the star, and a likelihood that
took them for independent would have too small an error (by :math:`e^{-g}` for g nats per pixel). It is no noise for `denoise`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm
from scipy.stats import t as student_t

from ..errors import InputError
from ..model.noise_context import CHANNELS, smooth
from ..model.noiseflow import window_maf
from .noise import NoiseSamples, fit_noise

__all__ = [
    "DEVIATIONS",
    "MODELS",
    "NoiseScore",
    "compare_noise_models",
    "deviation",
    "leave_one_star_out",
    "with_deviation",
]

LogDensity = Callable[[NoiseSamples], NDArray]  # to (N, D - K): the density of each pixel from the K-th on
DEVIATIONS = ("deviation-1", "deviation", "deviation+1")
DEVIATION_GAIN = 10.0  # errors deviate by a tenth


class NoiseScore(NamedTuple):
    """A row of the table: negative log-likelihood of held-out noise, in nats per pixel (lower is better)."""

    name: str
    nats_per_pixel: float


def _windows(samples: NoiseSamples, k: int) -> tuple[NDArray, NDArray, NDArray]:
    """Whitened windows (N, D - K, K + 1), log of the last pixel's unit, and where the whole window is observed."""
    unit = np.sqrt(np.where(samples.mask, 0.0, samples.ivar))
    white = sliding_window_view(samples.eps * unit, k + 1, axis=1)
    good = ~sliding_window_view(samples.mask | ~(samples.ivar > 0), k + 1, axis=1).any(-1)
    return white, np.log(np.where(unit > 0, unit, 1.0))[:, k:], good


def _gaussian(train: NoiseSamples, k: int, seed: int) -> LogDensity:
    white, _, good = _windows(train, k)
    scale = np.sqrt(np.mean(white[good][:, -1] ** 2))

    def log_density(samples: NoiseSamples) -> NDArray:
        white, log_unit, _ = _windows(samples, k)
        return norm.logpdf(white[..., -1], scale=scale) + log_unit

    return log_density


def _student(train: NoiseSamples, k: int, seed: int) -> LogDensity:
    white, _, good = _windows(train, k)
    residual = white[good][:, -1]
    start = np.log([1.4826 * np.median(np.abs(residual)), 4.0])

    def loss(log_parameters: NDArray) -> float:
        scale, nu = np.exp(log_parameters)
        return -student_t.logpdf(residual, nu, scale=scale).mean()

    scale, nu = np.exp(minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}).x)

    def log_density(samples: NoiseSamples) -> NDArray:
        white, log_unit, _ = _windows(samples, k)
        return student_t.logpdf(white[..., -1], nu, scale=scale) + log_unit

    return log_density


def _autoregression(train: NoiseSamples, k: int, seed: int) -> LogDensity:
    white, _, good = _windows(train, k)
    window = white[good]
    coefficients = np.linalg.lstsq(window[:, :-1], window[:, -1], rcond=None)[0]
    scale = np.sqrt(np.mean((window[:, -1] - window[:, :-1] @ coefficients) ** 2))

    def log_density(samples: NoiseSamples) -> NDArray:
        white, log_unit, _ = _windows(samples, k)
        return norm.logpdf(white[..., -1], white[..., :-1] @ coefficients, scale) + log_unit

    return log_density


def _maf(train: NoiseSamples, k: int, seed: int, steps: int = 600, batch: int = 2048) -> LogDensity:
    white, _, good = _windows(train, k)
    window = torch.tensor(white[good], dtype=torch.float32)
    spread = 1.4826 * window.abs().median()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = window_maf(k + 1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        index = torch.randint(len(window), (batch,), generator=generator)
        optimizer.zero_grad()
        (-flow.log_prob(window[index] / spread).mean()).backward()
        optimizer.step()
        schedule.step()

    def log_density(samples: NoiseSamples) -> NDArray:
        white, log_unit, good = _windows(samples, k)
        x = (torch.tensor(white[good], dtype=torch.float32) / spread).requires_grad_()
        xi = flow.transform_to_noise(x)[:, -1]
        slope = torch.autograd.grad(xi.sum(), x)[0][:, -1]
        out = np.zeros(log_unit.shape)
        last = flow._distribution.log_density(xi) + slope.abs().log() - spread.log()
        out[good] = last.detach().numpy()
        return out + log_unit

    return log_density


def _flow(kind: str, **config: str | Sequence[str]) -> Callable[[NoiseSamples, int, int], LogDensity]:
    def fit(train: NoiseSamples, k: int, seed: int) -> LogDensity:
        noise, _ = fit_noise(train, kind=kind, seed=seed, window=k, **config)

        def log_density(samples: NoiseSamples) -> NDArray:
            with torch.no_grad():
                return noise.log_prob(*samples.tensors(), samples.context_tensor())[:, k:].double().numpy()

        return log_density

    return fit


def deviation(samples: NoiseSamples) -> NDArray:
    """The logarithm of each exposure's inverse variance less what the star's others have at the pixel.

    Arguments:
        samples: All exposures of each star.

    Returns:
        Shape (N, D), their levels over tens of pixels removed; 0 where no other exposure is known.
    """
    good = ~samples.mask & (samples.ivar > 0)
    level = np.where(good, np.log(np.where(good, samples.ivar, 1.0)), 0.0)
    pattern = np.where(good, level - smooth(level, good), 0.0)
    _, star = np.unique(samples.star, return_inverse=True)
    out = np.zeros(pattern.shape)
    for rows in (np.flatnonzero(star == k) for k in range(star.max() + 1)):
        here, count = pattern[rows], good[rows].sum(0) - good[rows]
        out[rows] = np.where(good[rows] & (count > 0), here - (here.sum(0) - here) / np.maximum(count, 1), 0.0)
    return out


def with_deviation(samples: NoiseSamples) -> NoiseSamples:
    """The same samples; the context has the deviation at a pixel and at its neighbours too."""
    scaled = np.pad(np.clip(DEVIATION_GAIN * deviation(samples), -3, 3), ((0, 0), (1, 1)))
    channels = np.stack([scaled[:, :-2], scaled[:, 1:-1], scaled[:, 2:]], 1) * ~samples.mask[:, None]
    return replace(samples, context=np.concatenate([samples.context, channels.astype(np.float32)], 1))


def _flow_with_deviation(train: NoiseSamples, k: int, seed: int) -> LogDensity:
    log_density = _flow("robust", context=(*CHANNELS, *DEVIATIONS))(with_deviation(train), k, seed)
    return lambda samples: log_density(with_deviation(samples))


MODELS: dict[str, Callable[[NoiseSamples, int, int], LogDensity]] = {
    "gaussian": _gaussian,  # iid, variance proportional to the pipeline's
    "student": _student,  # the same with heavy tails
    "gaussian-ar": _autoregression,  # linear in the K preceding whitened residuals
    "maf": _maf,  # nflows' masked autoregressive flow on windows, Student-t base
    "kang2021": _flow("kang2021"),
    "robust": _flow("robust"),
    "robust-profile": _flow(
        "robust", profile="full"
    ),  # reads the noise, and the star's lines, out of the pipeline's errors
    "robust-deviation": _flow_with_deviation,  # as far as exposures differ in them: without the lines
}


def compare_noise_models(
    train: NoiseSamples,
    test: NoiseSamples,
    *,
    window: int = 3,
    seed: int = 0,
    names: Sequence[str] = tuple(MODELS),
) -> list[NoiseScore]:
    r"""Fit each model on one set of exposures and score it on another.

    Arguments:
        train: Noise to fit.
        test: Noise of other exposures, best of other stars.
        window: Predecessors :math:`K` of every model that has some.
        seed: Seed of those that need one.
        names: Which of `MODELS`.

    Returns:
        A row for each name, in that order, over the same pixels.

    Raises:
        InputError: if a name is not known, or no pixel has `window` observed predecessors.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> from bayesden.spectrum import Observation
        >>> from bayesden.train.noise import residuals
        >>> flux, wavelength = 5 + rng.normal(size=(3, 64)), np.arange(4000.0, 4064.0)
        >>> noise = residuals(Observation(wavelength=wavelength, flux=flux, ivar=np.ones((3, 64))))
        >>> compare_noise_models(noise.select([0, 1]), noise.select([2]), names=["gaussian"])[0].name
        'gaussian'
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise InputError(f"noise models: expected some of {', '.join(MODELS)}, got {', '.join(unknown)}")
    good = _windows(test, window)[2]
    if not good.any() or not _windows(train, window)[2].any():
        raise InputError(f"noise samples: expected pixels with {window} observed predecessors, got none")
    return [NoiseScore(name, float(-MODELS[name](train, window, seed)(test)[good].mean())) for name in names]


def leave_one_star_out(
    stars: Iterable[NoiseSamples], *, window: int = 3, seed: int = 0, names: Sequence[str] = tuple(MODELS)
) -> dict[str, list[NoiseScore]]:
    """The table for each star, with all models fitted on the others, and its mean over the stars.

    Arguments:
        stars: Noise of each star.
        window: As in `compare_noise_models`, and so are `seed` and `names`.
        seed: Seed.
        names: Which of `MODELS`.

    Returns:
        Rows by the star's name, then `mean`.

    Raises:
        InputError: if there are fewer than two stars.
    """
    stars = list(stars)
    if len(stars) < 2:
        raise InputError(f"leave one star out: expected at least two stars, got {len(stars)}")
    table: dict[str, list[NoiseScore]] = {}
    for i, test in enumerate(stars):
        train = NoiseSamples.concatenate(stars[:i] + stars[i + 1 :])
        table[test.star[0]] = compare_noise_models(train, test, window=window, seed=seed, names=names)
    means = [float(np.mean([rows[i].nats_per_pixel for rows in table.values()])) for i in range(len(names))]
    return table | {"mean": [NoiseScore(*row) for row in zip(names, means, strict=True)]}
