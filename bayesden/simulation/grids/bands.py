r"""Electronic bands of diatomic molecules.

A system of oscillator strength f has a band v' → v'' at the origin :math:`\nu_0 = T + G'(v') - G''(v'')`, whose share is the
Franck-Condon factor of two displaced harmonic oscillators, with :math:`s = \mu\omega\,\delta r^2 / 2\hbar`,

.. math:: q_{v'v''} = e^{-s}\, s^{n-m}\, \frac{m!}{n!} \big[L_m^{n-m}(s)\big]^2, \qquad m = \min(v', v''),\; n = \max(v', v'').

Within the band a rigid rotor has its lines at :math:`\nu_0 + (B' + B'') j + (B' - B'') j^2` (P: j = -J, R: j = J + 1) and
:math:`\nu_0 + (B' - B'') J (J + 1)` (Q): with B' < B'' they turn back at a head and the band is shaded to the red. The lines are
Gaussians of 4 km/s: heads and shading are right, the places of single lines are not.

References:
    Herzberg (1950), Spectra of Diatomic Molecules; Huber & Herzberg (1979), Constants of Diatomic Molecules; Jørgensen
    (1994), A&A 284, 179 and Allard, Hauschildt & Schwenke (2000), ApJ 540, 1005 (TiO).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import eval_genlaguerre, factorial

from .elements import HC_OVER_K, LINE_CONSTANT
from .equilibrium import MOLECULES, Gas

__all__ = ["SYSTEMS", "Bands", "System", "franck_condon"]

TEMPERATURES = np.array([1500.0, 2000, 2500, 3000, 3500, 4000, 5000, 6500, 9000])
SPREAD = 1.4e-5  # standard deviation of a rotational line, in ln λ: 4 km/s
BIN = 3.5e-6  # in ln λ
SATURATION = 0.35  # of all strengths: lines 4 km/s wide instead of 1.6 saturate too late
VIBRATIONS = 6
ROTATIONS = np.arange(0, 260)


@dataclass(frozen=True)
class System:
    r"""An electronic transition.

    Arguments:
        molecule: Its name.
        strength: Electronic oscillator strength f.
        origin: Wave number of the 0-0 band, cm⁻¹; of each of its sub-bands, where the spin splits it.
        lower: Statistical weight and energy of the lower state, ω, ωx and B, cm⁻¹.
        upper: ω, ωx and B of the upper state, cm⁻¹.
        displacement: Huang-Rhys s, from the difference of the two bond lengths.
        parallel: True where Λ does not change, and there is no Q branch.
    """

    molecule: str
    strength: float
    origin: tuple[float, ...]
    lower: tuple[float, float, float, float, float]
    upper: tuple[float, float, float]
    displacement: float
    parallel: bool = False


TRIPLET = (6, 100.0, 1009.0, 4.50, 0.5354)  # X³Δ of TiO
SINGLET = (2, 3448.0, 1018.3, 4.52, 0.5376)  # a¹Δ
SYSTEMS = (
    System("TiO", 0.106, (19341.0,), TRIPLET, (838.3, 4.76, 0.4899), 0.92, parallel=True),  # α: C³Δ, 5167
    System("TiO", 0.125, (17840.0,), SINGLET, (917.6, 4.56, 0.5230), 0.08),  # β: c¹Φ, 5598
    System("TiO", 0.0935, (16224.0, 16149.0, 16076.0), TRIPLET, (868.0, 4.0, 0.5062), 0.29),  # γ': B³Π, 6159
    System("TiO", 0.092, (14163.0, 14094.0, 14020.0), TRIPLET, (867.8, 3.94, 0.5074), 0.32),  # γ: A³Φ, 7054
    System("TiO", 0.048, (11273.0,), SINGLET, (919.8, 4.28, 0.5134), 0.24),  # δ: b¹Π, 8860
    System("TiO", 0.003, (11847.0, 11832.0, 11818.0), TRIPLET, (912.0, 4.2, 0.5155), 0.14),  # ε: E³Π, 8432
    System("MgH", 0.16, (19288.0, 19253.0), (2, 0.0, 1495.2, 31.9, 5.826), (1599.5, 32.5, 6.191), 0.06),  # A²Π, 5211
    System("CaH", 0.16, (14450.0, 14375.0), (2, 0.0, 1298.3, 19.1, 4.277), (1333.0, 20.0, 4.348), 0.02),  # A²Π, 6946
    System("CaH", 0.06, (15755.0,), (2, 0.0, 1298.3, 19.1, 4.277), (1285.0, 20.0, 4.497), 0.10, parallel=True),  # B²Σ
    System("CH", 0.0052, (23217.0,), (4, 14.0, 2858.5, 63.0, 14.457), (2930.7, 96.7, 14.934), 0.02),  # A²Δ: the G band
    System("CN", 0.0068, (9140.0, 9090.0), (2, 0.0, 2068.6, 13.1, 1.8997), (1812.5, 12.6, 1.7151), 0.69),  # A²Π, red
    System(
        "CN", 0.033, (25798.0,), (2, 0.0, 2068.6, 13.1, 1.8997), (2163.9, 20.2, 1.973), 0.06, parallel=True
    ),  # violet
)


@cache
def franck_condon(upper: int, lower: int, displacement: float) -> float:
    """Overlap of two vibrational states, squared; over all upper states it sums to 1."""
    m, n = min(upper, lower), max(upper, lower)
    poly = eval_genlaguerre(m, n - m, displacement)
    return float(np.exp(-displacement) * displacement ** (n - m) * factorial(m) / factorial(n) * poly**2)


def _vibration(level: int, omega: float, anharmonic: float) -> float:
    return level * omega - level * (level + 1) * anharmonic


def _rotation(system: System, temperature: float) -> tuple[NDArray, NDArray]:
    """Offsets from the origin in cm⁻¹ and shares of the rotational lines."""
    below, above = system.lower[4], system.upper[2]
    population = (2 * ROTATIONS + 1) * np.exp(-HC_OVER_K / temperature * below * ROTATIONS * (ROTATIONS + 1))
    q_branch = 0.0 if system.parallel else 0.5
    j = np.concatenate([-ROTATIONS, ROTATIONS + 1])
    turning = (above + below) * j + (above - below) * j.astype(float) ** 2
    offset = np.concatenate([turning, (above - below) * ROTATIONS * (ROTATIONS + 1.0)])
    share = np.concatenate([np.tile((1 - q_branch) / 2 * population, 2), q_branch * population])
    return offset, share / share.sum()


def _cross_section(system: System, temperature: float, edges: NDArray) -> NDArray:
    """Cross-section per molecule, cm², in bins of ln λ (W,)."""
    weight, energy, omega, anharmonic, _ = system.lower
    x = HC_OVER_K / temperature
    molecule = MOLECULES[system.molecule]
    levels = sum(g * np.exp(-x * e) for g, e in molecule.states) / -np.expm1(-x * molecule.vibration)
    offset, share = _rotation(system, temperature)
    offset, share = offset[share > 1e-7], share[share > 1e-7]
    out = np.zeros(len(edges) - 1)
    for lower in range(VIBRATIONS):
        height = _vibration(lower, omega, anharmonic)
        population = weight * np.exp(-x * (energy + height)) / levels
        for upper in range(VIBRATIONS):
            shift = _vibration(upper, *system.upper[:2]) - height
            f = SATURATION * system.strength * franck_condon(upper, lower, system.displacement) / len(system.origin)
            for origin in system.origin:
                number = np.maximum(origin + shift + offset, 1.0)
                if number.min() > 1e8 * np.exp(-edges[0]) or number.max() < 1e8 * np.exp(-edges[-1]):
                    continue
                bins = np.floor((-np.log(number * 1e-8) - edges[0]) / (edges[1] - edges[0])).astype(int)
                inside = (bins >= 0) & (bins < len(out))
                out += np.bincount(bins[inside], (population * f * share / number)[inside], len(out))
    return LINE_CONSTANT * out / (edges[1] - edges[0])


def _names() -> tuple[str, ...]:
    return tuple(dict.fromkeys(system.molecule for system in SYSTEMS))


def _gather(edges: NDArray, finish: Callable[[NDArray], NDArray]) -> NDArray:
    """Cross-sections (X, T, W) of all molecules in bins of ln λ, each finished by a function of one spectrum."""
    table = []
    for name in _names():
        systems = [system for system in SYSTEMS if system.molecule == name]
        table.append([finish(sum(_cross_section(s, t, edges) for s in systems)) for t in TEMPERATURES])
    return np.array(table, np.float32)


@dataclass(frozen=True, eq=False)
class Bands:
    """Cross-sections of all molecules on a lattice of wavelengths.

    Arguments:
        names: Molecules, in the order of the table.
        table: Cross-section per molecule, cm², at each of `TEMPERATURES`, shape :math:`(X, T, W)`.
    """

    names: tuple[str, ...]
    table: NDArray

    @classmethod
    def on(cls, lattice: NDArray) -> "Bands":
        """Cross-sections on a lattice of ln λ (Å), shape (W,)."""
        edges = np.arange(lattice[0] - 8 * SPREAD, lattice[-1] + 8 * SPREAD + BIN, BIN)
        centres = (edges[1:] + edges[:-1]) / 2
        smooth = _gather(edges, lambda total: np.interp(lattice, centres, gaussian_filter1d(total, SPREAD / BIN)))
        return cls(_names(), smooth)

    @classmethod
    def averaged(cls, edges: NDArray) -> "Bands":
        """Averages of the cross-sections over wide cells with uniform edges in ln λ (Å), shape (W + 1,)."""
        return cls(_names(), _gather(edges, lambda total: total))

    def opacity(self, gas: Gas) -> NDArray:
        """Opacity of all bands, cm²/g, single precision, shape (M, W)."""
        t = np.interp(gas.temperature, TEMPERATURES, np.arange(len(TEMPERATURES)))
        weight = np.maximum(1 - np.abs(t[:, None] - np.arange(len(TEMPERATURES))), 0)
        column = np.stack([gas.molecules[name] / gas.density for name in self.names], -1)
        amounts = (column[:, :, None] * weight[:, None, :]).reshape(len(t), -1)
        return amounts.astype(np.float32) @ self.table.reshape(-1, self.table.shape[-1])
