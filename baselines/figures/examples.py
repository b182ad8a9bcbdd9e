"""Kang et al. (2021), figures 7, 8 and 11 to 14: spectra before and after, a row for each, denoised by every method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..conditions import Condition
from ..der_snr import der_snr
from .palette import TRUTH, style_of

__all__ = ["Example", "examples"]

NOT_DRAWN = ("coadd", "smoothing", "wavelet")  # they follow the noise, and hide the others


@dataclass(frozen=True, eq=False)
class Example:
    """One spectrum of a test bed with what the methods made of it.

    Arguments:
        condition: What was done to it.
        spectral_class: Of the star.
        wavelength: Shape (D,), Å.
        truth: The clean spectrum, same shape.
        data: The mean of the exposures, same shape; 0 where nothing was measured.
        denoised: By method, each of the same shape.
    """

    condition: Condition
    spectral_class: str
    wavelength: NDArray
    truth: NDArray
    data: NDArray
    denoised: Mapping[str, NDArray]


def examples(shown: Sequence[Example], path: Path) -> None:
    """Draw spectra: truth and data, truth and what the methods found, and the difference of the two with their losses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(19, 2.5 * len(shown) + 0.5), layout="constrained")
    axes = figure.subplots(len(shown), 3, sharex=True, squeeze=False)
    names = dict.fromkeys(n for e in shown for n in e.denoised if n.split()[0] not in NOT_DRAWN)
    styles = {name: {"color": style["color"]} for name, style in style_of(names).items()}
    drawn = {}
    for (left, middle, right), each in zip(axes, shown, strict=True):
        low, high = np.quantile(each.truth, (0, 1))
        margin = 0.3 * max(high - low, 0.2)
        left.plot(each.wavelength, each.data, color="0.75", lw=0.6)
        ratio = der_snr(each.data[None])[0]
        left.set_title(f"{each.spectral_class}: {each.condition}; DER_SNR {ratio:.1f}", fontsize="medium")
        words = []
        for name in (n for n in styles if n in each.denoised):
            flux, ours = each.denoised[name], name.startswith("bayesden")
            style = {"lw": 1.2 if ours else 0.8, "zorder": 2 + ours, **styles[name]}
            (drawn[name],) = middle.plot(each.wavelength, flux, **style)
            right.plot(each.wavelength, flux - each.truth, **style)
            words.append(f"{name.split()[0]} {np.square(flux - each.truth).mean():.1e}")
        right.set_title("loss: " + ", ".join(words), fontsize="small")
        right.set_ylim(-margin / 2, margin / 2)
        for axis in (left, middle):
            axis.plot(each.wavelength, each.truth, color=TRUTH, lw=0.9, zorder=2.5)
            axis.set_ylim(min(low - margin, -0.02), high + margin)
    for axis in axes[-1]:
        axis.set_xlabel("vacuum wavelength, Å")
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=6, frameon=False)
    for axis, name in zip(axes[0], ("seen", "denoised", "denoised minus truth"), strict=True):
        axis.annotate(name, (0.01, 0.97), xycoords="axes fraction", va="top", fontsize="medium")
    figure.savefig(path, dpi=70)
