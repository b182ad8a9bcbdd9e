r"""Balmer and Paschen lines.

A line n → m is broadened by the linear Stark effect. With :math:`F_0 = 1.25\times10^{-9} n_e^{2/3}`,
:math:`K_{nm} = 5.5\times10^{-5} (nm)^4 / (m^2 - n^2)` and
:math:`\beta = |\Delta\lambda| / (F_0 K_{nm})` its quasi-static profile is taken as

.. math:: S(\beta) = \frac{A}{1 + (\beta/\beta_0)^{5/2}}, \qquad A\,\beta_0^{5/2} = \tfrac32,

whose wing is Holtsmark's for ions and electrons together. Where the Doppler width exceeds the Stark width the inner part is
smoothed over it, and a Gaussian takes what is missing from the norm. Collisions with hydrogen add a Lorentzian
(Barklem, Piskunov & O'Mara 2000), which is what broadens Hα in the Sun. The line dissolves with its upper level.

References:
    Edmonds, Schlüter & Wells (1967), MmRAS 71, 271; Hubeny, Hummer & Lanz (1994), A&A 282, 151;
    Barklem, Piskunov & O'Mara (2000), A&A 363, 1091; Wiese, Smith & Glennon (1966), NSRDS-NBS 4 (oscillator strengths).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma

from .continuum import RYDBERG_A, hydrogen_level, survival
from .elements import BOLTZMANN, HC_OVER_K, LINE_CONSTANT, MASS_UNIT, C
from .equilibrium import Gas

__all__ = ["REACH", "HydrogenLines", "oscillator", "stark_profile", "wavelengths"]

REACH = 0.06  # how far from its centre a line counts, in ln λ
LAST = 32  # highest upper level
STEP = 5e-5  # of the nodes between line centres, in ln λ
FAINT = 1e-3  # of the continuous opacity: lines whose centres stay below it at all depths are left out
OSCILLATORS = {
    2: (0.6407, 0.1193, 0.04467, 0.02209, 0.01270, 0.008036, 0.005429, 0.003851, 0.002835, 0.002151),
    3: (0.8421, 0.1506, 0.05584, 0.02768, 0.01604, 0.01023, 0.006980, 0.004996, 0.003711, 0.002839),
}
SELF_BROADENING = {(2, 3): (1180, 0.677), (2, 4): (2320, 0.455), (2, 5): (4208, 0.380)}  # cross-section in a0², α
NORM = 2 * np.pi / 2.5 / np.sin(np.pi / 2.5)  # of 1 / (1 + |y|^2.5)


def oscillator(n: int, m: int) -> float:
    """Absorption oscillator strength; beyond the table it falls as Kramers' does."""
    table = OSCILLATORS[n]
    last = n + len(table)
    if m <= last:
        return table[m - n - 1]
    return table[-1] * (last / m) ** 3 * ((1 / n**2 - 1 / last**2) / (1 / n**2 - 1 / m**2)) ** 3


def wavelengths(low_A: float, high_A: float) -> list[tuple[int, int, float]]:
    """Lower level, upper level and vacuum wavelength in Å of the lines between two wavelengths."""
    lines = [(n, m, RYDBERG_A / (1 / n**2 - 1 / m**2)) for n in OSCILLATORS for m in range(n + 1, LAST + 1)]
    return [line for line in lines if low_A < line[2] < high_A]


def stark_profile(offset: NDArray, doppler: NDArray, unit: NDArray) -> NDArray:
    r"""Profile of a line, normalised to 1 over its offsets from the centre.

    Arguments:
        offset: Shape :math:`(W,)`, any unit of wavelength.
        doppler: Doppler width b, same unit, shape :math:`(M, 1)`.
        unit: :math:`F_0 K_{nm}`, same unit, shape :math:`(M, 1)`.
    """
    knee = (1.5 * NORM) ** (2 / 3)  # β0 of the pure Stark profile: A β0 NORM = 1
    soft = (knee**2.5 + (1.5 * doppler / unit) ** 2.5) ** 0.4
    share = (knee / soft) ** 1.5
    z = np.abs(offset) / (unit * soft)
    stark = 1.5 * soft**-2.5 / (1 + z * z * np.sqrt(z)) / unit
    core = np.exp(-np.minimum((offset / doppler) ** 2, 80.0)) / (np.sqrt(np.pi) * doppler)
    return (1 - share) * core + stark


def _self_broadening(n: int, m: int, gas: Gas) -> NDArray:
    """Half width at half maximum of Δλ/λ times c/λ: the collisional width over 4π, 1/s, shape (M,)."""
    if (n, m) not in SELF_BROADENING:
        return np.zeros_like(gas.temperature)
    cross, alpha = SELF_BROADENING[n, m]
    speed = np.sqrt(8 * BOLTZMANN * gas.temperature / (np.pi * MASS_UNIT) * (2 / 1.008))
    rate = (4 / np.pi) ** (alpha / 2) * gamma(2 - alpha / 2) * cross * 2.8003e-17 * speed * (speed / 1e6) ** -alpha
    return 2 * rate * gas.of("H", 1) / (4 * np.pi)


@dataclass(frozen=True, eq=False)
class HydrogenLines:
    """The lines of hydrogen, on few wavelengths from which straight lines lead to all others.

    Arguments:
        lines: Lower level, upper level and wavelength in Å of each.
        nodes: ln λ (Å), shape :math:`(K,)`.
    """

    lines: list[tuple[int, int, float]]
    nodes: NDArray

    @classmethod
    def on(cls, low: float, high: float) -> "HydrogenLines":
        """The lines that matter between two values of ln λ."""
        lines = wavelengths(np.exp(low - REACH), np.exp(high + REACH))
        inner = np.arange(-15, 16) * 1e-5
        cores = [np.log(centre) + inner for _, _, centre in lines if low < np.log(centre) < high]
        nodes = np.concatenate([np.arange(low, high + STEP, STEP), *cores])
        return cls(lines, np.unique(nodes[(nodes >= low) & (nodes <= high + STEP)]))

    def opacity(self, gas: Gas, background: NDArray) -> NDArray:
        """Opacity of all lines at the nodes, cm²/g, single precision, shape (M, K).

        Arguments:
            gas: M conditions.
            background: Continuous opacity, cm²/g, shape :math:`(M,)`: lines far below it are left out.
        """
        out = np.zeros((len(gas.temperature), len(self.nodes)), np.float32)
        for n, m, centre in self.lines:
            strength, doppler, unit, half = self._shape(n, m, centre, gas)
            if (strength / doppler > FAINT * background).any():
                near = np.abs(self.nodes - np.log(centre)) < REACH
                offset = (self.nodes[near] - np.log(centre)).astype(np.float32)
                b, u, h = (x.astype(np.float32)[:, None] for x in (doppler, unit, half))
                profile = stark_profile(offset, b, u) + h / np.float32(np.pi) / (offset**2 + h * h + b * b)
                out[:, near] += strength.astype(np.float32)[:, None] * profile
        return out

    @staticmethod
    def _shape(n: int, m: int, centre: float, gas: Gas) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Strength in cm²/g; widths in ln λ: Doppler, unit of the Stark profile, collisional; each (M,)."""
        field = 1.25e-9 * gas.electrons ** (2 / 3)
        unit = field * 5.5e-5 * (n * m) ** 4 / (m * m - n * n) / centre
        doppler = np.sqrt(2 * BOLTZMANN * gas.temperature / (1.008 * MASS_UNIT) + 4e10) / C
        half = _self_broadening(n, m, gas) * centre * 1e-8 / C
        stimulated = -np.expm1(-HC_OVER_K * 1e8 / (centre * gas.temperature))
        absorbers = hydrogen_level(n, gas) * survival(m, gas.electrons) * stimulated / gas.density
        return LINE_CONSTANT * centre * 1e-8 * oscillator(n, m) * absorbers, doppler, unit, half
