r"""What is known of a pixel's noise beside its inverse variance, as a few numbers without unit.

- `snr`: the star's signal-to-noise ratio per pixel. Pipelines add errors that are a share of the flux, so that of a
  bright star is overestimated and that of a faint one is not.
- `correlation`: the correlation that resampling has given the pixel with its predecessor, and `correlation-1` and
  `correlation+1` those of the pixels before and after with theirs. They depend on the ratio of native to new pixels, which
  changes with wavelength and camera, on how the edges fall, and on whether one arm or both were used.
- `scatter`: the noise over the pipeline's error as the exposures themselves show it: the median second difference over two
  pixels of an exposure's difference to the others' mean, over a quarter of the grid. A single exposure has none.
- `sky`: the sky's brightness over that of its surroundings, high in airglow lines.

Each is scaled to order one, bounded, and 0 where it is typical or not known. Star, its error and surroundings are medians over
blocks of pixels, joined linearly: a line in the star, narrower than half a block, does not change what is thought of its noise.
That holds for the error too, which follows the counts: from pixel to pixel it tells the noise itself, and the star's lines.
"""

import numpy as np
from numpy.typing import NDArray

from ..spectrum import Observation

__all__ = ["CHANNELS", "noise_context", "smooth"]

CHANNELS = ("snr", "correlation-1", "correlation", "correlation+1", "sky", "scatter")
BLOCK = 64  # pixels
SNR_SCALE, SNR_MIDDLE = 30.0, 0.5
CORRELATION_MIDDLE, CORRELATION_GAIN = 0.11, 10.0
SCATTER_MIDDLE, SCATTER_GAIN = 0.75, 5.0
STRETCHES = 4  # of the grid, over which the scatter is taken as one


def smooth(values: NDArray, good: NDArray) -> NDArray:
    """Medians of the good values over blocks of `BLOCK` pixels, joined linearly.

    Arguments:
        values: Shape :math:`(E, D)`.
        good: What counts, same shape.

    Returns:
        Shape :math:`(E, D)`; 0 where a row has nothing good.
    """
    rows, size = values.shape
    blocks = max(1, size // BLOCK)
    width = -(-size // blocks)
    padded = np.full((rows, blocks * width), np.inf)
    padded[:, :size] = np.where(good, values, np.inf)
    blocked = padded.reshape(rows, blocks, width)
    count = np.isfinite(blocked).sum(-1)
    ranked, middle = np.sort(blocked, -1), np.stack([np.maximum(count - 1, 0) // 2, count // 2], -1)
    median = np.take_along_axis(ranked, np.minimum(middle, width - 1), -1).mean(-1)
    index = np.arange(blocks * width)
    centre = (np.isfinite(blocked) * index.reshape(blocks, width)).sum(-1) / np.maximum(count, 1)
    known = count > 0
    lines = [
        np.interp(index[:size], x[k], y[k]) if k.any() else np.zeros(size)
        for x, y, k in zip(centre, median, known, strict=True)
    ]
    return np.stack(lines)


def _squash(x: NDArray) -> NDArray:
    return x / np.sqrt(1 + x * x)


def _snr(obs: Observation) -> NDArray:
    flux, ivar = obs.coadd()
    snr = np.abs(smooth(flux[None], ivar[None] > 0)) * smooth(np.sqrt(obs.ivar), ~obs.mask)
    return 3 * (_squash(snr / SNR_SCALE) - SNR_MIDDLE)


def _correlations(correlation: NDArray) -> list[NDArray]:
    scaled = np.pad(np.clip(CORRELATION_GAIN * (correlation - CORRELATION_MIDDLE), -3, 3), ((0, 0), (1, 1)))
    return [scaled[:, :-2], scaled[:, 1:-1], scaled[:, 2:]]


def _sky(sky: NDArray) -> NDArray:
    known = sky > 0
    around = smooth(sky, known)
    known &= around > 0
    return 2 * _squash(np.log(np.where(known, sky, 1.0) / np.where(known, around, 1.0)))


def _second_difference(flux: NDArray, variance: NDArray, good: NDArray) -> tuple[NDArray, NDArray]:
    """Over two pixels, which resampling has not correlated, in units of its error; and where it is known."""
    before, here, after = (slice(0, -4), slice(2, -2), slice(4, None))
    step = 2 * flux[:, here] - flux[:, before] - flux[:, after]
    error = 4 * variance[:, here] + variance[:, before] + variance[:, after]
    known = good[:, before] & good[:, here] & good[:, after]
    pad = ((0, 0), (2, 2))
    return np.pad(step / np.sqrt(np.where(known, error, 1.0)), pad), np.pad(known, pad)


def _scatter(obs: Observation) -> NDArray:
    total = obs.ivar.sum(0)
    rest = total - obs.ivar
    known = (obs.ivar > 0) & (rest > 1e-9 * total)
    ivar, rest = np.where(known, obs.ivar, 1.0), np.where(known, rest, 1.0)
    step = obs.flux - ((obs.flux * obs.ivar).sum(0) - obs.flux * obs.ivar) / rest
    white, known = _second_difference(step, 1 / ivar + 1 / rest, known)
    out = np.zeros(obs.flux.shape)
    for part in np.array_split(np.arange(obs.wavelength.size), STRETCHES):
        for size, good, row in zip(np.abs(white[:, part]), known[:, part], out, strict=True):
            if good.sum() >= BLOCK:
                scatter = 1.4826 * np.median(size[good])
                row[part] = SCATTER_GAIN * np.log(max(scatter, 1e-3) / SCATTER_MIDDLE)
    return np.clip(out, -3, 3)


def noise_context(obs: Observation) -> NDArray:
    """The context of every pixel of an observation.

    Arguments:
        obs: Exposures; what they do not know of sky and correlation stays 0.

    Returns:
        Shape :math:`(E, C, D)`, in the order of `CHANNELS`; 0 where masked.
    """
    context = np.zeros((obs.n_exposures, len(CHANNELS), obs.wavelength.size), np.float32)
    context[:, 0] = _snr(obs)
    if obs.correlation is not None:
        context[:, 1:4] = np.stack(_correlations(obs.correlation), 1)
    if obs.sky is not None:
        context[:, 4] = _sky(obs.sky)
    context[:, 5] = _scatter(obs)
    return np.where(obs.mask[:, None], 0.0, context)
