"""Pál & Dobos (2024), figures 4 and 5, and with a line that no star has 10 and 11: one star by every method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .palette import TRUTH, style_of

__all__ = ["describe", "one_star"]

TRIPLET_A = (8460.0, 8720.0)
RUNNING = 15  # pixels: the relative errors of the whole spectrum are running means of their size


def describe(star: Mapping[str, float]) -> str:
    """A title: what the star is and how well it is seen."""
    values = (star[key] for key in ("teff_K", "logg", "feh", "snr"))
    return "Teff = {:.0f} K, log g = {:.1f}, [Fe/H] = {:+.2f}, S/N = {:.0f}".format(*values)


def _errors(truth: NDArray, flux: NDArray) -> str:
    """Mean and maximum of the relative error, and the Kullback-Leibler divergence, in words."""
    error = np.abs(flux - truth) / truth
    p, q = (np.clip(x, 1e-6, None) / np.clip(x, 1e-6, None).sum() for x in (truth, flux))
    divergence = (p * np.log(p / q)).sum()
    return f"|R| mean {100 * error.mean():.2f} %, max {100 * error.max():.0f} %, KL {divergence:.1e}"


def one_star(
    wavelength: NDArray,
    truth: NDArray,
    noisy: NDArray,
    shown: Mapping[str, NDArray],
    title: str,
    path: Path,
    *,
    usual: NDArray | None = None,
) -> None:
    """Draw a star and its denoised spectra, with the relative errors below; at the right around the calcium triplet.

    Arguments:
        wavelength: Shape (D,), vacuum Å.
        truth: The noiseless spectrum, same shape.
        noisy: What was seen, same shape.
        shown: Denoised spectra by method, each of the same shape; `coadd` is not drawn.
        title: Of the figure.
        path: Where to.
        usual: The noiseless spectrum without the line that was put in, if one was.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", height_ratios=(3, 2), width_ratios=(3, 2))
    near = (wavelength > TRIPLET_A[0]) & (wavelength < TRIPLET_A[1])
    styles = {k: {"color": v["color"], "lw": 1.1} for k, v in style_of(shown).items() if k != "coadd"}
    for (top, bottom), where in zip(axes.T, (slice(None), near), strict=True):
        x = wavelength[where]
        top.plot(x, noisy[where], color="0.82", lw=0.6, label="noisy", zorder=0)
        top.plot(x, truth[where], color=TRUTH, lw=1.6, label="noiseless", zorder=1)
        if usual is not None:
            top.plot(x, usual[where], color="0.45", lw=1.2, ls="--", label="noiseless, without the line", zorder=1)
        for name, style in styles.items():
            top.plot(x, shown[name][where], label=f"{name}: {_errors(truth, shown[name])}", **style)
        bottom.set(xlabel="vacuum wavelength, Å", ylim=(1e-4, 1.5), yscale="log")
        bottom.grid(alpha=0.25)
    for name, style in styles.items():
        absolute = np.abs(shown[name] - truth)
        smooth = np.convolve(absolute / truth, np.ones(RUNNING) / RUNNING, "same")
        axes[1, 0].plot(wavelength, smooth, **style)
        axes[1, 1].plot(wavelength[near], (absolute / truth)[near], **style)
        axes[1, 1].plot(wavelength[near], absolute[near], **{**style, "lw": 0.6, "ls": ":"})
    low, high = np.quantile(truth, (0, 1))
    axes[0, 0].set(ylim=(low - 0.35 * (high - low), high + 0.35 * (high - low)), ylabel="flux")
    axes[0, 1].set(ylim=(truth[near].min() - 0.1, truth[near].max() + 0.1), title="calcium triplet")
    axes[1, 0].set_ylabel(f"|R|, running mean of {RUNNING} pixels")
    axes[1, 1].set_ylabel("|R|; dotted: |E|")
    figure.suptitle(title)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=100)
