r"""Continuous opacity: the negative hydrogen ion, hydrogen, and scattering taken as absorption.

- H⁻ bound-free and free-free: the fits of John (1988), stimulated emission included.
- H bound-free: Kramers' cross-section :math:`\sigma_n = 2.815\times10^{29} / (n^5 \nu^3)`. Levels dissolve in the field of
  the ions around: level n survives with probability :math:`w_n = \exp[-(n/n_m)^{7.5}]`,
  :math:`n_m` after Inglis & Teller (1939). What is dissolved absorbs as continuum beyond the edge (Däppen, Anderson & Mihalas
  1987), so that the higher lines merge into the Balmer and Paschen jumps.
- H free-free: Kramers, Gaunt factor 1. Thomson; Rayleigh of H and H₂ (Dalgarno).
- Water in the infrared, five broad bands of round strength: it closes the infrared window of cool dwarfs for the Rosseland
  mean.
- A veil, which stands for the many weak lines that no compact list holds: per atom of iron
  :math:`\sigma_0\,(\lambda/4000\,Å)^{-5.5} e^{-1.2\,\mathrm{eV}/kT}`, its three numbers chosen so that dwarfs of 4500
  to 6000 K have the slope that SDSS spectra of K and G dwarfs have between 4000 and 6500 Å. It is empirical.

References:
    John (1988), A&A 193, 189; Inglis & Teller (1939), ApJ 90, 439; Däppen, Anderson & Mihalas (1987), ApJ 319, 195;
    Dalgarno & Williams (1962), ApJ 136, 690; Gray (2005), The Observation and Analysis of Stellar Photospheres, chapter 8.
"""

import numpy as np
from numpy.typing import NDArray

from .elements import BOLTZMANN, BOLTZMANN_EV, HC_OVER_K, PLANCK, C
from .equilibrium import Gas

__all__ = ["RYDBERG_A", "continuum", "hydrogen_level", "survival"]

RYDBERG_A = 911.7633  # edge of the ground level, vacuum Å
RYDBERG_K = 157887.5  # its energy over k
LEVELS = 12
THRESHOLD = 1.6419  # µm, of the negative ion
WATER_FLOOR = 1e-21  # cm², beyond 1.06 µm
WATER_WIDTH = 0.08  # in ln λ
WATER_BANDS = ((1.14, 5e-22), (1.40, 4e-21), (1.87, 1e-20), (2.70, 5e-20), (6.30, 5e-20))  # µm, cm²
VEIL = (7e-20, 5.5, 1.2)  # σ0 in cm², power of the wavelength, energy in eV
BOUND = (152.519, 49.534, -118.858, 92.536, -34.194, 4.982)
FREE_RED = (  # beyond 0.3645 µm: for n = 2 to 6, coefficients of λ², 1, 1/λ, ... 1/λ⁴
    (2483.346, 285.827, -2054.291, 2827.776, -1341.537, 208.952),
    (-3449.889, -1158.382, 8746.523, -11485.632, 5303.609, -812.939),
    (2200.040, 2427.719, -13651.105, 16755.524, -7510.494, 1132.738),
    (-696.271, -1841.400, 8624.970, -10051.530, 4400.067, -655.020),
    (88.283, 444.517, -1863.864, 2095.288, -901.788, 132.985),
)
FREE_BLUE = (  # below it: for n = 1 to 4
    (518.1021, -734.8666, 1021.1775, -479.0721, 93.1373, -6.4285),
    (473.2636, 1443.4137, -1977.3395, 922.3575, -178.9275, 12.3600),
    (-482.2089, -737.1616, 1096.8827, -521.1341, 101.7963, -7.0571),
    (115.5291, 169.6374, -245.6490, 114.2430, -21.9972, 1.5097),
)


def _negative_ion(wavelength: NDArray, temperature: NDArray) -> NDArray:
    """H⁻ per neutral atom and electron pressure, cm⁴/dyn, shape (M, W); the wavelength in µm."""
    x = np.sqrt(np.maximum(1 / wavelength - 1 / THRESHOLD, 0))
    cross = 1e-18 * wavelength**3 * x**3 * sum(c * x**n for n, c in enumerate(BOUND))
    kT = HC_OVER_K * 1e4 / temperature[:, None]
    bound = 0.750 * temperature[:, None] ** -2.5 * np.exp(kT / THRESHOLD) * -np.expm1(-kT / wavelength) * cross
    powers = np.stack([wavelength**2, *(wavelength**-n for n in range(5))])
    theta = np.sqrt(5040 / temperature)[:, None]
    red = sum(theta ** (n + 1) * (np.array(row) @ powers) for n, row in enumerate(FREE_RED, 2))
    blue = sum(theta ** (n + 1) * (np.array(row) @ powers) for n, row in enumerate(FREE_BLUE, 1))
    return bound + 1e-29 * np.where(wavelength > 0.3645, red, blue)


def survival(level: NDArray | float, electrons: NDArray) -> NDArray:
    r"""Probability that a level of hydrogen is not dissolved: principal quantum number, electrons in cm⁻³ (broadcast)."""
    last = 10 ** ((23.26 - np.log10(electrons)) / 7.5)
    return np.exp(-((level / last) ** 7.5))


def hydrogen_level(level: int, gas: Gas) -> NDArray:
    """Atoms of hydrogen in a level, cm⁻³, shape (M,)."""
    return gas.of("H", 1) * level**2 * np.exp(-RYDBERG_K * (1 - level**-2) / gas.temperature)


def _hydrogen(wavelength: NDArray, gas: Gas) -> NDArray:
    """H bound-free and free-free, cm⁻¹, shape (M, W); the wavelength in Å."""
    frequency = C * 1e8 / wavelength
    stimulated = -np.expm1(-PLANCK * frequency / (BOLTZMANN * gas.temperature[:, None]))
    out = 3.692e8 * (gas.electrons * gas.of("H", 2) / np.sqrt(gas.temperature))[:, None] / frequency**3
    for n in range(1, LEVELS + 1):
        inverse = 1 / n**2 - RYDBERG_A / wavelength  # 1/n*²: the level that a photon short of the edge leads to
        upper = np.where(inverse > 0, 1 / np.sqrt(np.maximum(inverse, 1e-6)), 1e3)
        dissolved = np.where(upper > n + 1, 1 - survival(upper, gas.electrons[:, None]), 0.0)
        open_share = np.where(inverse <= 0, 1.0, dissolved)
        out = out + hydrogen_level(n, gas)[:, None] * open_share * (2.815e29 / n**5) / frequency**3
    return out * stimulated


def _scattering(wavelength: NDArray, gas: Gas) -> NDArray:
    """Thomson and Rayleigh scattering, cm⁻¹, shape (M, W); the wavelength in Å."""
    x = 1 / np.maximum(wavelength, 1300.0) ** 2  # the series end short of Lyman α
    atoms = x**2 * (5.799e-13 + x * (1.422e-6 + x * 2.784))
    pairs = x**2 * (8.14e-13 + x * (1.28e-6 + x * 1.61))
    rayleigh = np.multiply.outer(gas.of("H", 1), atoms) + np.multiply.outer(gas.molecules["H2"], pairs)
    return rayleigh + 6.6524e-25 * gas.electrons[:, None]


def _water(wavelength: NDArray) -> NDArray:
    """Cross-section of a molecule of water, cm², shape (W,); the wavelength in µm."""
    offset = np.log(np.divide.outer(wavelength, [centre for centre, _ in WATER_BANDS])) / WATER_WIDTH
    bands = np.exp(-(offset**2) / 2) @ np.array([size for _, size in WATER_BANDS])
    return bands + np.where(wavelength > 1.06, WATER_FLOOR, 0.0)


def _veil(wavelength: NDArray, gas: Gas) -> NDArray:
    """Weak lines of the iron group, cm⁻¹, shape (M, W); the wavelength in Å."""
    size, power, energy = VEIL
    iron = sum(gas.of("Fe", stage) for stage in (1, 2, 3)) * np.exp(-energy / (BOLTZMANN_EV * gas.temperature))
    return np.multiply.outer(iron, size * (np.maximum(wavelength, 2500.0) / 4000) ** -power)


def continuum(wavelength: NDArray, gas: Gas) -> NDArray:
    """Opacity without lines.

    Arguments:
        wavelength: Vacuum Å, shape :math:`(W,)`.
        gas: M conditions.

    Returns:
        Shape :math:`(M, W)`, cm²/g.
    """
    wavelength = np.asarray(wavelength, float)
    pressure = gas.electrons * BOLTZMANN * gas.temperature
    ion = _negative_ion(wavelength * 1e-4, gas.temperature) * (gas.of("H", 1) * pressure)[:, None]
    water = np.multiply.outer(gas.molecules["H2O"], _water(wavelength * 1e-4))
    atoms = _hydrogen(wavelength, gas) + _scattering(wavelength, gas) + _veil(wavelength, gas)
    return (ion + water + atoms) / gas.density[:, None]
