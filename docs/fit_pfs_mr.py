"""Fit the numbers of the embedded PFS model to runs of the exposure-time calculator.

    python docs/fit_pfs_mr.py pfs_mr_etc_grid.npz

writes the line lists `airglow.txt` and `telluric.txt` beside the model and prints the Chebyshev coefficients that stand in
`pfs_optics.py` and `sky.py`. The array file holds the calculator's tables for the red medium-resolution arm; docs/pfs_mr.md
says how they were made. Not needed to use the package.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.optimize import lsq_linear, nnls
from scipy.sparse import csr_matrix, diags_array, eye_array, hstack, vstack

from bayesden.simulation.instruments import pfs_optics as optics
from bayesden.simulation.instruments import sky
from bayesden.simulation.instruments.pfs_response import SKY_CROSSTALK, electrons_per_flux

HOME = Path(sky.__file__).parent
SOURCE = """# {what}
# Effective lines, fitted to runs of the PFS exposure-time calculator (pfsspecsim 2.0, MIT licence, commit aac84fa2) by
# docs/fit_pfs_mr.py: blends within half a resolution element are one line.
# vacuum wavelength in nm, {unit}, species
"""
WINDOW, MARGIN = 160, 40  # pixels that non-negative least squares solves at a time, and beside them
MERGE_PIX, SHIFT_PIX = 1.6, 0.3
OXYGEN_NM = (757.0, 775.0)
BLUE_PIX = 0.40  # how far the calculator's transmission table lies to the blue
NOISE_E2 = 82.0  # detector noise, e² a pixel


def design(pixels: NDArray, boxes: int) -> csr_matrix:
    """Profiles of lines at fractional pixels, shape (D, N)."""
    rows, columns, values = [], [], []
    for column, pixel in enumerate(pixels):
        index, profile = optics.line_profile(float(pixel), boxes=boxes)
        inside = (index >= 0) & (index < optics.PIXELS)
        rows.append(index[inside])
        columns.append(np.full(inside.sum(), column))
        values.append(profile[inside])
    where = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(values), where), (optics.PIXELS, len(pixels)))


def dense_lines(data: NDArray, sigma: NDArray, boxes: int) -> NDArray:
    """Non-negative strengths every third of a pixel, window by window: rows of (pixel, strength)."""
    found = []
    for start in range(0, optics.PIXELS, WINDOW):
        low, high = max(start - MARGIN, 0), min(start + WINDOW + MARGIN, optics.PIXELS)
        pixels = np.arange(low - 12, high + 12, 1 / 3)
        matrix = design(pixels, boxes)[low:high].toarray() / sigma[low:high, None]
        strength, _ = nnls(matrix, data[low:high] / sigma[low:high], maxiter=20 * len(pixels))
        first = start if start else -np.inf
        last = start + WINDOW if start + WINDOW < optics.PIXELS else np.inf
        keep = (strength > 0) & (pixels >= first) & (pixels < last)
        found.append(np.stack([pixels, strength], 1)[keep])
    return np.concatenate(found)


def merge(lines: NDArray) -> NDArray:
    """Replace the closest pair by its centroid until none is closer than `MERGE_PIX`."""
    lines = lines[np.argsort(lines[:, 0])]
    while len(lines) > 1 and (gap := np.diff(lines[:, 0])).min() < MERGE_PIX:
        i = int(gap.argmin())
        pixel = np.average(lines[i : i + 2, 0], weights=lines[i : i + 2, 1])
        lines[i] = pixel, lines[i : i + 2, 1].sum()
        lines = np.delete(lines, i + 1, 0)
    return lines


def refine(lines: NDArray, data: NDArray, sigma: NDArray, boxes: int) -> NDArray:
    """One step of least squares in positions and strengths, strengths not negative, shifts short."""
    pixels, strength = lines.T
    n, e, white = len(lines), 0.05, diags_array(1 / sigma)
    slope = (design(pixels + e, boxes) - design(pixels - e, boxes)) / (2 * e) @ diags_array(strength)
    jacobian = hstack([white @ design(pixels, boxes), white @ slope])
    ridge = hstack([csr_matrix((n, n)), SHIFT_PIX * eye_array(n)])
    bounds = np.repeat([0, -SHIFT_PIX], n), np.repeat([np.inf, SHIFT_PIX], n)
    target = np.concatenate([data / sigma, np.zeros(n)])
    fit = lsq_linear(vstack([jacobian, ridge]).tocsr(), target, bounds, lsmr_tol="auto", max_iter=60)
    lines = np.stack([pixels + fit.x[n:], fit.x[:n]], 1)
    return lines[lines[:, 1] > 1e-9]


def find_lines(data: NDArray, sigma: NDArray, *, boxes: int, faintest: float) -> NDArray:
    """The line list of a spectrum without continuum: wavelengths and strengths, shape (2, N)."""
    lines = merge(dense_lines(data, sigma, boxes))
    lines = lines[lines[:, 1] > faintest]
    for _ in range(3):
        lines = refine(lines, data, sigma, boxes)
    lines = lines[lines[:, 1] > faintest]
    return np.stack([optics.WAVELENGTH_NM[0] + optics.STEP_NM * lines[:, 0], lines[:, 1]])


def fit_continuum(light: NDArray) -> NDArray:
    """A smooth curve along the gaps between lines: the lowest twentieth of each 10 nm."""
    bins = np.array_split(np.arange(optics.PIXELS), 17)
    low = [b[np.argsort(light[b])[2 : len(b) // 20]] for b in bins]
    x = np.concatenate(low)
    return chebyshev.chebfit((optics.WAVELENGTH_NM[x] - 797.5) / 87.5, np.log(light[x]), 4)


def write(name: str, what: str, unit: str, lines: list[tuple[float, float, str]]) -> None:
    """Write a line list beside the model."""
    text = "".join(f"{w:.4f} {s:.3g} {species}\n" for w, s, species in lines)
    (HOME / f"{name}.txt").write_text(SOURCE.format(what=what, unit=unit) + text, encoding="utf-8")
    print(f"{name}.txt: {len(lines)} lines")


def coefficients(name: str, values: NDArray) -> None:
    """Print Chebyshev coefficients as they stand in the source."""
    print(f"{name} = ({', '.join(f'{v:.6g}' for v in values)})")


def main() -> None:
    """Fit efficiency, line-spread function, absorption, continuum and airglow, in this order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the calculator's arrays (npz)")
    with np.load(parser.parse_args().file, allow_pickle=False) as arrays:
        table = {name: arrays[name].astype(float) for name in arrays.files if arrays[name].dtype.kind == "f"}
    wavelength, zero = optics.WAVELENGTH_NM, np.zeros(1)
    unit = (wavelength - 797.5) / 87.5

    above = table["atm_transmission"][0, 0, 0, 0]  # zenith, field centre, no moon; seeing 1.1"
    fraction = optics.fibre_fraction(table["seeing_arcsec"][2:3], zero, wavelength)
    flux = table["conversion_factor"][2, 0, 0, 0] * 1e-17 * (10 * wavelength) ** 2 / 2.99792458e18
    bare = electrons_per_flux(900.0) * wavelength * optics.collecting_area(0.0) * fraction * above
    eta = chebyshev.chebfit(unit, flux / bare, 16)
    coefficients("EFFICIENCY", eta)
    sigma = np.sqrt(table["lsf_gauss_sigma_nm"] ** 2 - optics.STEP_NM**2 / 12)
    coefficients("LSF_SIGMA_NM", chebyshev.chebfit((table["lsf_wavelength_nm"] - 797.5) / 87.5, sigma, 6))

    absorbed = 1 - above / 10 ** (-0.4 * sky.extinction(wavelength))
    bands = find_lines(absorbed, np.full(optics.PIXELS, 0.01), boxes=2, faintest=0.02)
    bands[0] += BLUE_PIX * optics.STEP_NM
    species = np.where((bands[0] > OXYGEN_NM[0]) & (bands[0] < OXYGEN_NM[1]), "O2", "H2O")
    write(
        "telluric",
        "Telluric absorption",
        "equivalent width at the zenith in pixels of 0.0427246 nm",
        [*zip(*bands, species, strict=True)],
    )

    counts = table["sky_e"][0, 0, 0, 0]
    gain = 900 * optics.collecting_area(0.0) * optics.fibre_area(0.0) * chebyshev.chebval(unit, eta) * SKY_CROSSTALK
    shifted = np.interp(np.arange(optics.PIXELS) + 0.5, np.arange(optics.PIXELS), above)
    smooth = fit_continuum(counts / gain / shifted / optics.STEP_NM)
    coefficients("CONTINUUM", smooth)
    lines = counts / gain - optics.STEP_NM * shifted * np.exp(chebyshev.chebval(unit, smooth))
    dimmed = 10 ** (-0.4 * sky.extinction(wavelength))
    airglow = find_lines(lines / dimmed, np.sqrt(counts + NOISE_E2) / gain, boxes=1, faintest=0.005)
    write(
        "airglow",
        "Airglow",
        "photons/s/m²/arcsec² at the zenith above the atmosphere",
        [(w, s, "sky") for w, s in airglow.T],
    )


if __name__ == "__main__":
    main()
