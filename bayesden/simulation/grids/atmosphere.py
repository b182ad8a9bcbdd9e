r"""Grey, plane-parallel atmospheres in hydrostatic equilibrium.

.. math:: T^4 = \tfrac34 T_\mathrm{eff}^4\,[\tau + q(\tau)], \qquad
    q(\tau) \approx 0.7104 - 0.1331\,e^{-3.4488\,\tau}, \qquad
    \frac{dP}{d\tau} = \frac{g}{\kappa_R(T, P)},

with Hopf's function q and the Rosseland mean of the opacity of continuum and molecular bands. Where that law is steeper
than the adiabat, convection carries what it can, at most :math:`\tfrac52 P v` with v three tenths of the speed of sound, and
the gradient lies between the two by that share: cool dwarfs are convective from where their light comes, giants and A stars
hardly.

References:
    Mihalas (1978), Stellar Atmospheres, section 3-3.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .bands import Bands
from .continuum import continuum
from .elements import HC_OVER_K
from .equilibrium import Gas, solve

__all__ = ["DEPTHS", "Atmospheres", "adiabatic_gradient", "build", "grey_temperature", "planck_slope", "rosseland"]

STEFAN = 5.670374e-5  # erg/s/cm²/K⁴
SPEED = 0.3  # of convection, in units of the speed of sound
DEPTHS = np.logspace(-5, 1.6, 29)  # Rosseland optical depths
MEAN_EDGES = np.linspace(np.log(1e3), np.log(1e5), 65)  # cells in ln λ (Å) for the Rosseland mean
MEAN_WAVELENGTHS = np.exp((MEAN_EDGES[1:] + MEAN_EDGES[:-1]) / 2)


@dataclass(frozen=True, eq=False)
class Atmospheres:
    """M atmospheres on the depths `DEPTHS`.

    Arguments:
        temperature: In K, shape :math:`(M, Z)`.
        pressure: Gas pressure, dyn/cm², shape :math:`(M, Z)`.
        opacity: Rosseland mean, cm²/g, shape :math:`(M, Z)`.
        abundance: Atoms per hydrogen atom, shape :math:`(M, A)`.
    """

    temperature: NDArray
    pressure: NDArray
    opacity: NDArray
    abundance: NDArray

    def gas(self, index: int) -> Gas:
        """The composition of one of them at all depths."""
        shape = (len(DEPTHS), self.abundance.shape[1])
        return solve(self.temperature[index], self.pressure[index], np.broadcast_to(self.abundance[index], shape))


def grey_temperature(teff: NDArray, depth: NDArray | float) -> NDArray:
    """Temperature in K at a Rosseland optical depth; effective temperature in K (broadcast)."""
    hopf = 0.7104 - 0.1331 * np.exp(-3.4488 * np.asarray(depth))
    return teff * (0.75 * (depth + hopf)) ** 0.25


def planck_slope(wavelength: NDArray, temperature: NDArray) -> NDArray:
    r""":math:`\partial B_\lambda / \partial T` up to a factor, shape (M, W), from Å and K."""
    x = np.minimum(HC_OVER_K * 1e8 / np.multiply.outer(temperature, wavelength), 200.0)
    return wavelength**-6.0 * np.exp(x) / np.expm1(x) ** 2 / temperature[:, None] ** 2


def rosseland(gas: Gas, bands: Bands) -> NDArray:
    r"""Rosseland mean of the opacity of continuum and bands, cm²/g, shape (M,); the bands averaged over `MEAN_EDGES`."""
    weight = planck_slope(MEAN_WAVELENGTHS, gas.temperature) * MEAN_WAVELENGTHS  # per logarithm of the wavelength
    return weight.sum(1) / (weight / (continuum(MEAN_WAVELENGTHS, gas) + bands.opacity(gas))).sum(1)


@cache
def _mean_bands() -> Bands:
    return Bands.averaged(MEAN_EDGES)


def adiabatic_gradient(gas: Gas) -> NDArray:
    r""":math:`(d\ln T / d\ln P)_\mathrm{ad}` of hydrogen that dissociates and ionises, with helium, shape (M,).

    With atoms a share y of neutral hydrogen and ions a share x of all, the enthalpies of both reactions over kT being
    :math:`\varphi_y, \varphi_x`, it is :math:`(N + A\varphi_y + B\varphi_x) / (c + A\varphi_y^2 + B\varphi_x^2)`,
    :math:`A = y(1 - y^2)/4`, :math:`B = x(1 - x^2)/2`, N the particles and c the heat capacity over k, per nucleus of hydrogen.
    """
    pairs, atoms, ions = 2 * gas.molecules["H2"], gas.of("H", 1), gas.of("H", 2)
    y, x = atoms / (pairs + atoms), ions / (pairs + atoms + ions)
    breaking, ionising = 1.5 + 51965.0 / gas.temperature, 2.5 + 157800.0 / gas.temperature
    a, b = y * (1 - y * y) / 4 * (1 - x), x * (1 - x * x) / 2
    particles = (1 - x) * (1 + y) / 2 + 2 * x + 0.085
    heat = (1 - x) * (2.5 * y + 1.75 * (1 - y)) + 5 * x + 0.2125
    return (particles + a * breaking + b * ionising) / (heat + a * breaking**2 + b * ionising**2)


def _convective(gas: Gas, pressure: NDArray, radiative: NDArray, teff: NDArray) -> NDArray:
    """Gradient where both radiation and convection carry the flux: adiabatic if the gas can carry all of it."""
    adiabatic = adiabatic_gradient(gas)
    largest = 2.5 * pressure * SPEED * np.sqrt(5 / 3 * pressure / gas.density)
    mixed = adiabatic + (radiative - adiabatic) / (1 + largest / (STEFAN * teff**4))
    return np.where(radiative > adiabatic, mixed, radiative)


def build(teff: NDArray, logg: NDArray, abundance: NDArray) -> Atmospheres:
    """Integrate hydrostatic equilibrium downwards, by Heun's method in the logarithms.

    Arguments:
        teff: Effective temperatures, K, shape :math:`(M,)`.
        logg: Logarithms of the gravity in cm/s², shape :math:`(M,)`.
        abundance: Atoms per hydrogen atom, shape :math:`(M, A)`.
    """
    grey = grey_temperature(teff[:, None], DEPTHS)
    temperature, gravity, bands = grey.copy(), 10.0**logg, _mean_bands()
    pressure, opacity = np.empty_like(grey), np.empty_like(grey)
    pressure[:, 0] = 1e2 * np.sqrt(gravity / 1e4)
    for _ in range(
        12
    ):  # at the top P = g τ / κ, with κ nearly proportional to P: the square root of the step converges
        gas = solve(grey[:, 0], pressure[:, 0], abundance)
        opacity[:, 0] = rosseland(gas, bands)
        pressure[:, 0] = np.sqrt(pressure[:, 0] * gravity * DEPTHS[0] / opacity[:, 0])
    step = np.log(DEPTHS[1] / DEPTHS[0])
    for z in range(len(DEPTHS) - 1):
        slope = np.minimum(gravity * DEPTHS[z] / (opacity[:, z] * pressure[:, z]), 2.0)
        radiative = np.log(grey[:, z + 1] / grey[:, z]) / (step * slope)
        gradient = _convective(gas, pressure[:, z], radiative, teff)
        guess = pressure[:, z] * np.exp(step * slope)
        temperature[:, z + 1] = temperature[:, z] * np.exp(gradient * step * slope)
        there = gravity * DEPTHS[z + 1] / (rosseland(solve(temperature[:, z + 1], guess, abundance), bands) * guess)
        pressure[:, z + 1] = pressure[:, z] * np.exp(step * (slope + np.minimum(there, 2.0)) / 2)
        gas = solve(temperature[:, z + 1], pressure[:, z + 1], abundance)
        opacity[:, z + 1] = rosseland(gas, bands)
    return Atmospheres(temperature, pressure, opacity, abundance)
