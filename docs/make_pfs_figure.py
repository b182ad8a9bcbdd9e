"""Compare the embedded PFS model with the exposure-time calculator: a figure, and the numbers of docs/pfs_mr.md.

python docs/make_pfs_figure.py --etc pfs_mr_etc_grid.npz --out docs/_static/pfs_mr.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bayesden.io.etc_table import EtcGrid, read_etc
from bayesden.report import save_figure
from bayesden.report.instrument_plots import compare, plot_comparison
from bayesden.simulation.instruments import sky
from bayesden.simulation.instruments.pfs_mr import pfs_mr

TYPICAL = (0.8, 30.0, 0.45, 90.0, 60.0, 0.125)
MAGNITUDES = (19.0, 20.0, 21.0, 22.0, 22.5)
EDGE = 0.01  # change of the transmission from pixel to pixel


def nodes(grid: EtcGrid) -> torch.Tensor:
    """All conditions of a grid, shape (B, 6)."""
    points = [
        (s, z, f, *moon)
        for s in grid.seeing_arcsec
        for z in grid.zenith_deg
        for f in grid.field_deg
        for moon in grid.moon
    ]
    return torch.tensor(points, dtype=torch.float64)


def telluric_edges() -> NDArray:
    """True where the transmission is steep, and two pixels to either side."""
    steep = np.abs(np.gradient(sky.transmission(0.0))) > EDGE
    return np.convolve(steep, np.ones(5), "same") > 0


def three(values: NDArray) -> str:
    """Minimum, median and maximum as a row of a table."""
    return " | ".join(f"{v:.3f}" for v in (values.min(), np.median(values), values.max()))


def main() -> None:
    """Print the comparison as a table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--etc", type=Path, required=True, help="npz file, table or folder of the calculator")
    parser.add_argument("--out", type=Path, required=True, help="the figure")
    arguments = parser.parse_args()
    reference, model = pfs_mr(arguments.etc), pfs_mr()
    conditions, smooth = nodes(read_etc(arguments.etc)), ~telluric_edges()
    print(f"{len(conditions)} conditions; away from telluric edges: {smooth.mean():.1%} of pixels")
    print("\n| embedded over calculator | min | median | max |\n|---|---|---|---|")
    for magnitude in MAGNITUDES:
        every = compare(reference, model, conditions, magnitude)
        snr = np.median(every.snr, -1)
        print(f"| median S/N at AB {magnitude:g} | {three(snr[1] / snr[0])} |")
    near = np.abs(every.variance[1] / every.variance[0] - 1) < 0.2
    print(f"| median noise variance (e²) | {three(np.median(every.variance[1] / every.variance[0], -1))} |")
    print(f"| pixels with noise variance within 20 %, away from edges | {three(near[:, smooth].mean(1))} |")
    print(f"| the same, all pixels | {three(near.mean(1))} |")
    flux = np.abs((every.snr[0] / every.snr[1]) ** 2 - 1) < 0.2
    print(f"| pixels with flux variance at AB 22.5 within 20 %, away from edges | {three(flux[:, smooth].mean(1))} |")
    print(f"| the same, all pixels | {three(flux.mean(1))} |")
    typical = compare(reference, model, torch.tensor([TYPICAL], dtype=torch.float64), MAGNITUDES[-1])
    save_figure(plot_comparison(typical, every), arguments.out)


if __name__ == "__main__":
    main()
