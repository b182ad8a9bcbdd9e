r"""Ionisation and molecules of a gas in local thermodynamic equilibrium.

Ionisation follows Saha's equation,

.. math:: \frac{n_{j+1} n_e}{n_j} = 2 \left(\frac{2\pi m_e k T}{h^2}\right)^{3/2} \frac{U_{j+1}}{U_j} e^{-\chi_j / kT},

diatomic molecules the same law for masses: with the reduced mass :math:`\mu`, the dissociation energy :math:`D_0` and the
partition function of a rigid rotor and harmonic oscillator,

.. math:: K_{AB} = \frac{n_{AB}}{n_A n_B}
    = \left(\frac{h^2}{2\pi\mu kT}\right)^{3/2} \frac{Q_{AB}}{U_A U_B}\, e^{D_0/kT}, \qquad
    Q_{AB} = \frac{g\,kT}{\varsigma\, hc B\,(1 - e^{-hc\omega/kT})}.

Pressure is shared by atoms, ions, electrons and H₂; the rarer molecules only bind their atoms.

References:
    Mihalas (1978), Stellar Atmospheres, chapter 5; Huber & Herzberg (1979), Constants of Diatomic Molecules.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .elements import (
    BOLTZMANN,
    BOLTZMANN_EV,
    ELECTRON_MASS,
    ELEMENTS,
    HC_OVER_K,
    MASS_UNIT,
    PLANCK,
    SYMBOLS,
    partition,
)

__all__ = ["MOLECULES", "Diatomic", "Gas", "association", "saha", "solve"]


@dataclass(frozen=True)
class Diatomic:
    """A diatomic molecule.

    Arguments:
        atoms: Its two elements.
        dissociation_eV: From its lowest level.
        vibration: Wave number of the vibration, cm⁻¹.
        rotation: Rotational constant, cm⁻¹.
        states: Statistical weights and energies, in cm⁻¹, of its low electronic states.
    """

    atoms: tuple[str, str]
    dissociation_eV: float
    vibration: float
    rotation: float
    states: tuple[tuple[float, float], ...]

    def partition(self, temperature: NDArray) -> NDArray:
        """Q, of the shape of the temperature in K."""
        x = HC_OVER_K / temperature
        electronic = sum(g * np.exp(-x * energy) for g, energy in self.states)
        rotation = 1 / (x * self.rotation * (2 if self.atoms[0] == self.atoms[1] else 1))
        return electronic * rotation / -np.expm1(-x * self.vibration)


MOLECULES = {
    "H2": Diatomic(("H", "H"), 4.478, 4401.2, 60.85, ((1, 0),)),
    "CO": Diatomic(("C", "O"), 11.09, 2169.8, 1.931, ((1, 0),)),
    "OH": Diatomic(("O", "H"), 4.392, 3737.8, 18.91, ((4, 70),)),
    "CH": Diatomic(("C", "H"), 3.465, 2858.5, 14.457, ((4, 14), (4, 5900))),
    "CN": Diatomic(("C", "N"), 7.72, 2068.6, 1.900, ((2, 0), (4, 9245))),
    "N2": Diatomic(("N", "N"), 9.759, 2358.6, 1.998, ((1, 0),)),
    "TiO": Diatomic(("Ti", "O"), 6.87, 1009.0, 0.5354, ((6, 100), (2, 3448), (1, 5660))),
    "MgH": Diatomic(("Mg", "H"), 1.285, 1495.2, 5.826, ((2, 0),)),
    "CaH": Diatomic(("Ca", "H"), 1.70, 1298.3, 4.277, ((2, 0),)),
}
WATER = (27.88, 14.51, 9.285, (3657.0, 1595.0, 3756.0), 9.511)  # rotation and vibration in cm⁻¹, energy in eV


@dataclass(frozen=True, eq=False)
class Gas:
    """Number densities, in cm⁻³, of a gas at M temperatures and pressures.

    Arguments:
        temperature: In K, shape :math:`(M,)`.
        electrons: Free electrons, shape :math:`(M,)`.
        ions: Free atoms by element and stage, shape :math:`(M, A, 3)`.
        molecules: By name, each of shape :math:`(M,)`.
        density: Mass density, g/cm³, shape :math:`(M,)`.
    """

    temperature: NDArray
    electrons: NDArray
    ions: NDArray
    molecules: dict[str, NDArray]
    density: NDArray

    def of(self, symbol: str, stage: int) -> NDArray:
        """Density of an element in an ionisation stage (1 = neutral), shape (M,)."""
        return self.ions[:, SYMBOLS.index(symbol), stage - 1]


def saha(symbol: str, stage: int, temperature: NDArray) -> NDArray:
    r"""Saha's :math:`n_{j+1} n_e / n_j`, cm⁻³, from an ionisation stage (1 = neutral); shape of the temperature in K."""
    thermal = 2 * (2 * np.pi * ELECTRON_MASS * BOLTZMANN * temperature / PLANCK**2) ** 1.5
    ratio = partition(symbol, stage + 1, temperature) / partition(symbol, stage, temperature)
    return thermal * ratio * np.exp(-ELEMENTS[symbol].ionisation_eV[stage - 1] / (BOLTZMANN_EV * temperature))


def association(name: str, temperature: NDArray) -> NDArray:
    r""":math:`K_{AB} = n_{AB} / (n_A n_B)` of a molecule, cm³, shape of the temperature in K."""
    molecule = MOLECULES[name]
    a, b = (ELEMENTS[atom].mass * MASS_UNIT for atom in molecule.atoms)
    thermal = (PLANCK**2 / (2 * np.pi * (a * b / (a + b)) * BOLTZMANN * temperature)) ** 1.5
    atoms = partition(molecule.atoms[0], 1, temperature) * partition(molecule.atoms[1], 1, temperature)
    energy = np.exp(molecule.dissociation_eV / (BOLTZMANN_EV * temperature))
    return thermal * molecule.partition(temperature) / atoms * energy


def _water(temperature: NDArray) -> NDArray:
    r""":math:`n_{H_2O} / (n_H^2 n_O)`, cm⁶."""
    a, b, c, modes, energy = WATER
    x = HC_OVER_K / temperature
    rotation = np.sqrt(np.pi / (a * b * c * x**3)) / 2
    vibration = 1 / np.prod([-np.expm1(-x * mode) for mode in modes], axis=0)
    h, o = ELEMENTS["H"].mass * MASS_UNIT, ELEMENTS["O"].mass * MASS_UNIT
    thermal = (PLANCK**2 / (2 * np.pi * BOLTZMANN * temperature)) ** 3 * ((2 * h + o) / (h * h * o)) ** 1.5
    atoms = partition("H", 1, temperature) ** 2 * partition("O", 1, temperature)
    return thermal * rotation * vibration / atoms * np.exp(energy / (BOLTZMANN_EV * temperature))


def _positive_root(a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    """The x > 0 with a x² + b x = c, free of cancellation."""
    return 2 * c / (b + np.sqrt(b * b + 4 * a * c))


def _ionisation(temperature: NDArray) -> tuple[NDArray, NDArray]:
    """Saha factors of all elements for both steps, each (M, A)."""
    steps = [np.stack([saha(symbol, stage, temperature) for symbol in SYMBOLS], -1) for stage in (1, 2)]
    return steps[0], steps[1]


def solve(temperature: NDArray, pressure: NDArray, abundance: NDArray) -> Gas:
    """The composition of a gas.

    The electron density is found by bisection of its logarithm: what the ions set free falls with it.

    Arguments:
        temperature: In K, shape :math:`(M,)`.
        pressure: Gas pressure, dyn/cm², shape :math:`(M,)`.
        abundance: Atoms per hydrogen atom, shape :math:`(M, A)`; see `abundances`.
    """
    total = pressure / (BOLTZMANN * temperature)
    first, second = _ionisation(temperature)
    pairs = association("H2", temperature)
    others = abundance[:, 1:].sum(1)

    def balance(electrons: NDArray) -> tuple[NDArray, NDArray]:
        one = first / electrons[:, None]
        two = one * second / electrons[:, None]
        charge = (one + 2 * two) / (1 + one + two)
        ionised = one[:, 0]
        linear, square = (1 + ionised) * (1 + others), pairs * (1 + 2 * others)
        neutral = _positive_root(square, linear, np.maximum(total - electrons, 1e-12 * total))
        nuclei = neutral * (1 + ionised) + 2 * pairs * neutral**2
        free = neutral * ionised + nuclei * (abundance * charge)[:, 1:].sum(1)
        return free, nuclei

    low, high = np.log(total) - 40, np.log(total)
    for _ in range(36):
        middle = (low + high) / 2
        more = balance(np.exp(middle))[0] > np.exp(middle)
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    electrons = np.exp((low + high) / 2)
    return _compose(temperature, electrons, balance(electrons)[1], abundance, first, second)


def _compose(
    temperature: NDArray, electrons: NDArray, nuclei: NDArray, abundance: NDArray, first: NDArray, second: NDArray
) -> Gas:
    """Densities of atoms, ions and molecules for known electrons and hydrogen nuclei."""
    one = first / electrons[:, None]
    stages = np.stack([np.ones_like(one), one, one * second / electrons[:, None]], -1)
    atoms = nuclei[:, None] * abundance
    bound = dict(zip(SYMBOLS, stages.sum(-1).T, strict=True))  # nuclei per free neutral atom, molecules not counted
    there = dict(zip(SYMBOLS, atoms.T, strict=True))
    k = {name: association(name, temperature) for name in MOLECULES}
    h = _positive_root(2 * k["H2"], bound["H"], there["H"])
    carbon = bound["C"] + k["CH"] * h
    water = _water(temperature) * h * h
    oxygen = bound["O"] + k["OH"] * h + water
    # O and C share in CO: with n_C = C / (carbon + K n_O), oxygen n_O (carbon + K n_O) + K n_O C = O (carbon + K n_O)
    free = {"H": h, "N": _positive_root(2 * k["N2"], bound["N"], there["N"])}
    linear = oxygen * carbon + k["CO"] * (there["C"] - there["O"])
    free["O"] = _signed_root(k["CO"] * oxygen, linear, carbon * there["O"])
    free["C"] = there["C"] / (carbon + k["CO"] * free["O"])
    free["Ti"] = there["Ti"] / (bound["Ti"] + k["TiO"] * free["O"])
    for metal in ("Mg", "Ca"):
        free[metal] = there[metal] / (bound[metal] + k[f"{metal}H"] * h)
    neutral = np.stack([free.get(symbol, there[symbol] / bound[symbol]) for symbol in SYMBOLS], -1)
    molecules = {name: k[name] * free[m.atoms[0]] * free[m.atoms[1]] for name, m in MOLECULES.items()}
    molecules["H2O"] = water * free["O"]
    mass = atoms @ np.array([element.mass for element in ELEMENTS.values()]) * MASS_UNIT
    return Gas(temperature, electrons, neutral[..., None] * stages, molecules, mass)


def _signed_root(a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    """The x > 0 with a x² + b x = c for b of either sign."""
    root = np.sqrt(b * b + 4 * a * c)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b > 0, 2 * c / (b + root), (root - b) / (2 * a))
