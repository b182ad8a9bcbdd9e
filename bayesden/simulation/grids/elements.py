r"""Chemical elements: masses, solar abundances, ionisation energies and low energy levels; constants in cgs units.

The partition function of an atom or ion is the sum over its low terms,

.. math:: U(T) = \sum_i g_i\, e^{-E_i / kT},

which holds as long as the levels near the ionisation limit are not populated: to a few percent below 10,000 K.

References:
    Asplund et al. (2009), ARA&A 47, 481 (abundances); Kramida et al., NIST Atomic Spectra Database (energies).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALPHA",
    "BOLTZMANN",
    "BOLTZMANN_EV",
    "ELECTRON_MASS",
    "ELEMENTS",
    "HC_OVER_K",
    "LINE_CONSTANT",
    "MASS_UNIT",
    "PLANCK",
    "SYMBOLS",
    "C",
    "Element",
    "abundances",
    "partition",
]  # fmt: skip

C = 2.99792458e10  # cm/s
PLANCK = 6.62607015e-27  # erg s
BOLTZMANN = 1.380649e-16  # erg/K
BOLTZMANN_EV = 8.617333e-5  # eV/K
MASS_UNIT = 1.66053907e-24  # g
ELECTRON_MASS = 9.1093837e-28  # g
HC_OVER_K = PLANCK * C / BOLTZMANN  # cm K
LINE_CONSTANT = 8.8528e-13  # pi e^2 / (m c^2), cm


@dataclass(frozen=True)
class Element:
    """An element in its three lowest ionisation stages.

    Arguments:
        mass: Atomic mass in units of 1.66e-24 g.
        abundance: Solar number of atoms, as 12 + log10 relative to hydrogen.
        ionisation_eV: Energies that take it from stage 1 to 2, and from 2 to 3.
        levels: For each stage, statistical weights and energies in eV of its low terms.
    """

    mass: float
    abundance: float
    ionisation_eV: tuple[float, float]
    levels: tuple[tuple[tuple[float, float], ...], ...]


# fmt: off
ELEMENTS = {
    "H": Element(1.008, 12.00, (13.598, np.inf), (((2, 0), (8, 10.2)), ((1, 0),), ((1, 0),))),
    "He": Element(4.003, 10.93, (24.587, 54.418), (((1, 0),), ((2, 0),), ((1, 0),))),
    "C": Element(12.011, 8.43, (11.260, 24.383), (
        ((9, .004), (5, 1.264), (1, 2.684), (5, 4.18)), ((6, .005), (12, 5.33)), ((1, 0),))),
    "N": Element(14.007, 7.83, (14.534, 29.601), (
        ((4, 0), (10, 2.384), (6, 3.576)), ((9, .01), (5, 1.899), (1, 4.05)), ((6, .01),))),
    "O": Element(15.999, 8.69, (13.618, 35.121), (((9, .01), (5, 1.967), (1, 4.19)), ((4, 0), (10, 3.32)), ((9, .02),))),
    "Na": Element(22.990, 6.24, (5.139, 47.286), (
        ((2, 0), (6, 2.104), (2, 3.19), (10, 3.617), (6, 3.75)), ((1, 0),), ((6, .06),))),
    "Mg": Element(24.305, 7.60, (7.646, 15.035), (
        ((1, 0), (9, 2.714), (3, 4.346), (3, 5.108)), ((2, 0), (6, 4.43)), ((1, 0),))),
    "Al": Element(26.982, 6.45, (5.986, 18.829), (
        ((6, .01), (2, 3.14), (12, 3.6), (10, 4.02)), ((1, 0), (9, 4.64)), ((2, 0),))),
    "Si": Element(28.086, 7.51, (8.152, 16.346), (
        ((9, .02), (5, .781), (1, 1.909), (5, 4.13)), ((6, .024), (12, 5.3)), ((1, 0),))),
    "S": Element(32.06, 7.12, (10.360, 23.338), (
        ((9, .03), (5, 1.145), (1, 2.75)), ((4, 0), (10, 1.84), (6, 3.04)), ((9, .06),))),
    "K": Element(39.098, 5.03, (4.341, 31.63), (((2, 0), (6, 1.615), (2, 2.607), (10, 2.67)), ((1, 0),), ((6, .1),))),
    "Ca": Element(40.078, 6.34, (6.113, 11.872), (
        ((1, 0), (9, 1.89), (15, 2.52), (5, 2.709), (3, 2.933), (12, 3.9)), ((2, 0), (10, 1.697), (6, 3.14)), ((1, 0),))),
    "Ti": Element(47.867, 4.95, (6.828, 13.576), (
        ((21, .03), (35, .83), (5, .9), (9, 1.05), (9, 1.5), (15, 1.74), (27, 1.88), (105, 2.1), (46, 2.35)),
        ((28, .03), (28, .13), (14, .59), (10, 1.08), (18, 1.12), (12, 1.17), (12, 1.24), (22, 1.57), (40, 2.0)),
        ((21, .03), (14, 1.1)))),
    "V": Element(50.942, 3.93, (6.746, 14.66), (
        ((28, .04), (30, .29), (20, 1.06), (28, 1.19), (40, 1.9), (90, 2.3)), ((25, .03), (35, .36), (21, 1.1), (60, 1.7)),
        ((28, .04),))),
    "Cr": Element(51.996, 5.64, (6.767, 16.486), (
        ((7, 0), (5, .941), (25, 1.0), (33, 2.6), (21, 2.9), (60, 3.1)), ((6, 0), (30, 1.5), (20, 2.45), (36, 2.54)),
        ((25, .05),))),
    "Mn": Element(54.938, 5.43, (7.434, 15.640), (
        ((6, 0), (30, 2.14), (24, 2.3), (20, 2.9), (18, 3.08)), ((7, 0), (5, 1.174), (25, 1.8)), ((6, 0),))),
    "Fe": Element(55.845, 7.50, (7.902, 16.199), (
        ((25, .05), (35, .95), (21, 1.52), (15, 2.19), (9, 2.36), (68, 2.42), (48, 2.65), (49, 2.84), (60, 3.1), (150, 3.6)),
        ((30, .05), (28, .30), (20, 1.04), (12, 1.68), (18, 1.98), (6, 2.28), (44, 2.56), (78, 2.73), (36, 3.17), (50, 3.4)),
        ((25, .06), (60, 2.9)))),
    "Ni": Element(58.693, 6.22, (7.640, 18.169), (
        ((21, .10), (15, .10), (5, .42), (5, 1.68), (9, 1.9), (1, 1.83), (60, 3.4)),
        ((10, .07), (28, 1.16), (14, 1.72), (30, 2.9)),
        ((21, .1),))),
    "Sr": Element(87.62, 2.87, (5.695, 11.030), (((1, 0), (9, 1.82), (15, 2.27)), ((2, 0), (10, 1.82), (6, 2.99)), ((1, 0),))),
    "Ba": Element(137.33, 2.18, (5.212, 10.004), (
        ((1, 0), (15, 1.15), (5, 1.41), (9, 1.57)), ((2, 0), (10, .66), (6, 2.6)), ((1, 0),))),
}
# fmt: on
SYMBOLS = tuple(ELEMENTS)
ALPHA = ("O", "Mg", "Si", "S", "Ca", "Ti")


def abundances(feh: NDArray, alpha_fe: NDArray) -> NDArray:
    """Number of atoms per hydrogen atom.

    Arguments:
        feh: [Fe/H], shape :math:`(M,)`: scales everything beyond helium.
        alpha_fe: [α/Fe], shape :math:`(M,)`: on top of it, scales O, Mg, Si, S, Ca and Ti.

    Returns:
        Shape :math:`(M, A)`, elements in the order of `SYMBOLS`.
    """
    solar = np.array([element.abundance - 12 for element in ELEMENTS.values()])
    metal = np.array([symbol not in ("H", "He") for symbol in SYMBOLS])
    alpha = np.array([symbol in ALPHA for symbol in SYMBOLS])
    return 10 ** (solar + np.multiply.outer(feh, metal) + np.multiply.outer(alpha_fe, alpha))


def partition(symbol: str, stage: int, temperature: NDArray) -> NDArray:
    """Partition function of an element in an ionisation stage (1 = neutral), shape of the temperature in K."""
    weight, energy = np.array(ELEMENTS[symbol].levels[stage - 1]).T
    return (weight * np.exp(-energy / (BOLTZMANN_EV * temperature[..., None]))).sum(-1)
