r"""Opacity of atomic lines with Voigt profiles.

In :math:`x = \ln\lambda` a line of strength :math:`S = \frac{\pi e^2}{m c^2}\lambda\, f n_\mathrm{low} (1 - e^{-h\nu/kT})` has

.. math:: \kappa\rho = S\,\frac{c}{\sqrt\pi\,b}\,H(a, v), \qquad v = \frac{c\,(x - x_0)}{b}, \quad
    a = \frac{\Gamma\lambda}{4\pi b}, \quad b^2 = \frac{2kT}{m} + \xi^2,

with Voigt's function H (Faddeeva's, real part) and :math:`\Gamma` the sum of natural, Stark and van der Waals damping:
:math:`10^8\,\mathrm{s}^{-1}`; :math:`10^{-8} n_*^5 n_e` (Kurucz); Unsöld's :math:`17\,C_6^{2/5} v^{3/5} n` with
:math:`C_6` from the radii of the two levels. The :math:`1/v^2` wings of all lines are one matrix product:

.. math:: \kappa\rho = \sum_l \Big[S_l \frac{a_l b_l}{\pi c}\Big]\,W(x - x_l), \qquad
    W(\Delta) = \Delta^{-2} \text{ beyond } \Delta_0, \quad (2 - \Delta^2/\Delta_0^2)/\Delta_0^2 \text{ within},

and only within :math:`\pm\Delta_0` is the difference between Voigt's function and this wing computed.

References:
    Gray (2005), The Observation and Analysis of Stellar Photospheres, chapter 11; Unsöld (1955), Physik der Sternatmosphären.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import dawsn, wofz

from .elements import BOLTZMANN, BOLTZMANN_EV, ELEMENTS, HC_OVER_K, LINE_CONSTANT, MASS_UNIT, C, partition
from .equilibrium import Gas
from .line_list import read_lines

__all__ = ["CORE", "MetalLines", "voigt"]

CORE = 6.5e-5  # Δ0, half width of the windows around line centres in ln λ: 19 km/s
MICROTURBULENCE = 2e5  # ξ, cm/s
NATURAL = 1e8  # 1/s
FAINT = 1e-3  # of the continuous opacity: lines that peak below it at all depths have no core
CUTOFF = 0.03  # end of the far wings, in ln λ
BLOCK = 4096  # lattice points in one matrix of wings


def _series() -> tuple[NDArray, NDArray]:
    """The coefficients of a and a³ in Voigt's function, on a table of v."""
    v = np.arange(0, TABLE_END + 2 * TABLE_STEP, TABLE_STEP)
    f = dawsn(v)
    first = -2 / np.sqrt(np.pi) * (1 - 2 * v * f)
    third = -2 / np.sqrt(np.pi) * (2 / 3 * (1 - v * v) - 2 * v * (1 - 2 / 3 * v * v) * f)
    return first.astype(np.float32), third.astype(np.float32)


TABLE_STEP, TABLE_END = 0.005, 30.0
FIRST, THIRD = _series()
SMALL = 0.2  # up to this a the series in a serves


def voigt(a: NDArray, v: NDArray) -> NDArray:
    r"""Voigt's function :math:`H(a, v)`, :math:`\int H\,dv = \sqrt\pi`, single precision.

    For small a it is Harris' (1948) series :math:`e^{-v^2} [1 + a^2 (1 - 2v^2)] + a H_1(v) + a^3 H_3(v)`, good to 0.1 % or 2e-4,
    else the real part of Faddeeva's function.

    Arguments:
        a: Shape :math:`(R,)`.
        v: Shape :math:`(R, P)`.
    """
    a, v = a.astype(np.float32)[:, None], np.abs(v.astype(np.float32))
    place = np.minimum(v, np.float32(TABLE_END)) * np.float32(1 / TABLE_STEP)
    index = place.astype(np.int32)
    share = place - index
    odd = [np.take(t, index) * (1 - share) + np.take(t, index + 1) * share for t in (FIRST, THIRD)]
    square = np.minimum(v * v, np.float32(80))
    out = np.exp(-square) * (1 + a * a * (1 - 2 * square)) + a * (odd[0] + a * a * odd[1])
    large = a[:, 0] > SMALL
    out[large] = wofz(v[large] + 1j * a[large]).real
    return out


def _wing(distance: NDArray) -> NDArray:
    """W at distances from a line in ln λ, any shape."""
    square = distance**2
    far = np.where(square < CUTOFF**2, 1 / np.maximum(square, CORE**2), 0.0)
    return np.where(square > CORE**2, far, (2 - square / CORE**2) / CORE**2)


@dataclass(frozen=True, eq=False)
class MetalLines:
    """The lines of the list on a lattice of wavelengths.

    Arguments:
        species: Element and ionisation stage, by number.
        kind: Number of each line's species, shape :math:`(L,)`.
        x: Logarithm of the wavelength in Å, shape :math:`(L,)`.
        strength: gf, shape :math:`(L,)`.
        energy: Of the lower level, eV, shape :math:`(L,)`.
        start: Index of the first lattice point of each window, shape :math:`(L,)`.
        inside: Distance from the line over the window, ln λ, shape :math:`(L, P)`.
        wings: W of the lines near each block of the lattice, single precision: the lines, the points, and the matrix.
    """

    species: list[tuple[str, int]]
    kind: NDArray
    x: NDArray
    strength: NDArray
    energy: NDArray
    start: NDArray
    inside: NDArray
    wings: list[tuple[slice, slice, NDArray]]

    @classmethod
    def on(cls, lattice: NDArray, points: int, step: float) -> "MetalLines":
        """The lines that matter on a lattice of ln λ (W,), where each has a window of `points` values in equal steps."""
        species, kind, table = read_lines(np.exp(lattice[0] - CUTOFF), np.exp(lattice[-1] + CUTOFF))
        order = table[:, 0].argsort()
        kind, table = kind[order], table[order]
        x = np.log(table[:, 0])
        start = np.clip(np.searchsorted(lattice, x - step / 2) - points // 2, 0, len(lattice) - points)
        window = lattice[start[:, None] + np.arange(points)]
        whole = np.abs(window[:, points // 2] - x) < step  # not so for lines beyond the ends
        inside = np.where(whole[:, None], window - x[:, None], np.inf)
        wings = []
        for first in range(0, len(lattice), BLOCK):
            points = slice(first, min(first + BLOCK, len(lattice)))
            ends = np.searchsorted(x, [lattice[points][0] - CUTOFF, lattice[points][-1] + CUTOFF])
            near = slice(*ends.tolist())
            wings.append((near, points, _wing(lattice[points] - x[near, None]).astype(np.float32)))
        return cls(species, kind, x, 10 ** table[:, 1], table[:, 2], start, inside, wings)

    def _populations(self, gas: Gas) -> NDArray:
        """Atoms in the lower level times its share of gf, cm⁻³, shape (M, L)."""
        ground = [gas.of(name, stage) / partition(name, stage, gas.temperature) for name, stage in self.species]
        return np.stack(ground, -1)[:, self.kind] * self.strength * np.exp(-self._beta(gas) * self.energy)

    @staticmethod
    def _beta(gas: Gas) -> NDArray:
        return 1 / (BOLTZMANN_EV * gas.temperature[:, None])

    def _damping(self, gas: Gas) -> NDArray:
        """Γ, 1/s, shape (M, L)."""
        stage = np.array([s for _, s in self.species])[self.kind]
        mass = np.array([ELEMENTS[name].mass for name, _ in self.species])[self.kind]
        limit = np.array([ELEMENTS[name].ionisation_eV[s - 1] for name, s in self.species])[self.kind]
        upper = np.maximum(limit - self.energy - 12398.42 / np.exp(self.x), 0.3)  # eV below the limit
        radii = 4.08e-33 * 2.5 * stage**2 * 13.6**2 * (upper**-2.0 - np.maximum(limit - self.energy, 0.3) ** -2.0)
        speed = np.sqrt(8 * BOLTZMANN * gas.temperature[:, None] / (np.pi * MASS_UNIT) * (1 / 1.008 + 1 / mass))
        perturbers = (gas.of("H", 1) + 0.42 * gas.of("He", 1) + 0.85 * gas.molecules["H2"])[:, None]
        waals = 17 * np.maximum(radii, 1e-34) ** 0.4 * speed**0.6 * perturbers
        stark = 1e-8 * (13.6 * stage**2 / upper) ** 2.5 * gas.electrons[:, None]
        return NATURAL + waals + stark

    def opacity(self, gas: Gas, background: NDArray) -> NDArray:
        """Opacity of all lines, cm²/g, single precision, shape (M, W).

        Arguments:
            gas: M conditions.
            background: Continuous opacity, cm²/g, shape :math:`(M,)`: the cores of lines far below it are left out.
        """
        wavelength = np.exp(self.x) * 1e-8
        mass = np.array([ELEMENTS[name].mass for name, _ in self.species])[self.kind] * MASS_UNIT
        width = np.sqrt(2 * BOLTZMANN * gas.temperature[:, None] / mass + MICROTURBULENCE**2)
        stimulated = -np.expm1(-HC_OVER_K / np.multiply.outer(gas.temperature, wavelength))
        strength = LINE_CONSTANT * wavelength * self._populations(gas) * stimulated / gas.density[:, None]
        a = self._damping(gas) * wavelength / (4 * np.pi * width)
        far = strength * a * width / (np.pi * C)
        peak = strength * C / (np.sqrt(np.pi) * width)
        out = np.empty((len(gas.temperature), self.wings[-1][1].stop), np.float32)
        for near, points, matrix in self.wings:
            out[:, points] = far[:, near].astype(np.float32) @ matrix
        for line in np.flatnonzero((peak > FAINT * background[:, None]).any(0)):
            window = slice(self.start[line], self.start[line] + self.inside.shape[1])
            out[:, window] += self._core(line, peak[:, line], a[:, line], width[:, line], far[:, line])
        return out

    def _core(self, line: int, peak: NDArray, a: NDArray, width: NDArray, far: NDArray) -> NDArray:
        """Voigt's function less the wing in the window of one line, shape (M, P)."""
        within = np.abs(self.inside[line]) < CORE
        distance = np.where(within, self.inside[line], 0.0)
        profile = voigt(a, np.multiply.outer(C / width, distance))
        wing = np.multiply.outer(far, _wing(distance)).astype(np.float32)
        value = peak.astype(np.float32)[:, None] * profile - wing
        return value * within
