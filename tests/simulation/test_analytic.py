"""The laws of the embedded grid: its microphysics against closed forms, its spectra against what stars do."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expn, wofz

from bayesden.errors import InputError
from bayesden.simulation.grids.analytic import PFS_AXES, SDSS_AXES, analytic_grid, analytic_nodes, cache_file
from bayesden.simulation.grids.atmosphere import DEPTHS, adiabatic_gradient, build, grey_temperature
from bayesden.simulation.grids.bands import Bands, franck_condon
from bayesden.simulation.grids.continuum import continuum
from bayesden.simulation.grids.elements import BOLTZMANN, LINE_CONSTANT, SYMBOLS, abundances, partition
from bayesden.simulation.grids.emergent import emergent_flux, planck
from bayesden.simulation.grids.equilibrium import MOLECULES, saha, solve
from bayesden.simulation.grids.hydrogen_lines import oscillator, stark_profile
from bayesden.simulation.grids.line_list import LINES, read_lines
from bayesden.simulation.grids.metal_lines import voigt
from bayesden.simulation.grids.synthesis import Synthesis

SUN = abundances(np.zeros(1), np.zeros(1))
STEP = 2e-5


def wavelengths(low, high, step=STEP):
    return low * np.exp(np.arange(int(np.log(high / low) / step) + 1) * step)


def spectra(wavelength, teff=(4500.0,), logg=(2.0,), feh=(0.0,), alpha_fe=(0.0,)):
    axes = {"teff_K": teff, "logg": logg, "feh": feh, "alpha_fe": alpha_fe}
    return analytic_nodes(axes, np.log10(wavelength)).reshape(-1, len(wavelength)).astype(float)


def equivalent_width(wavelength, flux, low, high):
    """In Å, against a straight line through the fluxes around both ends."""
    inside = (wavelength > low) & (wavelength < high)
    ends = [flux[..., np.abs(wavelength - w) < 1.0].mean(-1) for w in (low, high)]
    share = (wavelength[inside] - low) / (high - low)
    level = ends[0][..., None] * (1 - share) + ends[1][..., None] * share
    return ((1 - flux[..., inside] / level) * np.gradient(wavelength[inside])).sum(-1)


def gas_at(temperature, pressure, abundance=SUN):
    temperature, pressure = np.broadcast_arrays(np.atleast_1d(temperature).astype(float), pressure)
    return solve(temperature, pressure, np.broadcast_to(abundance, (len(temperature), len(SYMBOLS))))


def test_partition_functions_start_at_the_ground_level() -> None:
    cold = np.array([50.0])
    for symbol, weight in {"H": 2, "Na": 2, "Mg": 1, "Ca": 1, "K": 2}.items():
        assert partition(symbol, 1, cold) == pytest.approx(weight)
    assert partition("Fe", 1, np.array([5000.0])) == pytest.approx(27.0, rel=0.05)  # Irwin (1981)
    assert partition("Ca", 2, np.array([5000.0])) == pytest.approx(2.2, rel=0.05)


def test_saha_of_hydrogen_is_the_textbook_number() -> None:
    temperature = np.array([5000.0, 10000.0, 15000.0])
    closed = 2.4146e15 * temperature**1.5 * np.exp(-157802 / temperature)  # statistical weights 2 and 1
    excited = partition("H", 1, temperature) / 2
    assert saha("H", 1, temperature) * excited == pytest.approx(closed, rel=2e-3)


def test_pure_hydrogen_ionises_as_the_quadratic_says() -> None:
    pure = np.zeros((1, len(SYMBOLS)))
    pure[0, 0] = 1
    temperature, pressure = np.array([7000.0, 10000.0, 14000.0]), 1e3
    gas = gas_at(temperature, pressure, pure)
    x = gas.of("H", 2) / (gas.of("H", 1) + gas.of("H", 2))
    law = saha("H", 1, temperature) * BOLTZMANN * temperature / pressure
    assert x == pytest.approx(np.sqrt(law / (1 + law)), rel=1e-3)


@pytest.mark.parametrize("temperature", [2500.0, 3500.0, 5000.0, 8000.0, 15000.0])
def test_gas_conserves_nuclei_charge_and_pressure(temperature) -> None:
    pressure = 1e4
    gas = gas_at(temperature, pressure)
    charge = (gas.ions * np.arange(3)).sum((1, 2))
    assert charge == pytest.approx(gas.electrons, rel=1e-2)
    particles = gas.ions.sum((1, 2)) + gas.electrons + sum(gas.molecules.values())
    assert particles * BOLTZMANN * temperature == pytest.approx(pressure, rel=2e-3)
    nuclei = {symbol: gas.ions[:, i].sum() for i, symbol in enumerate(SYMBOLS)}
    for name, molecule in MOLECULES.items():
        for atom in molecule.atoms:
            nuclei[atom] = nuclei[atom] + gas.molecules[name].item()
    for symbol in ("He", "Ti", "Mg", "Fe"):
        expected = SUN[0, SYMBOLS.index(symbol)] * nuclei["H"]
        assert nuclei[symbol] == pytest.approx(expected, rel=2e-3)


def test_titanium_oxide_needs_cold_gas_and_oxygen_that_carbon_left() -> None:
    share = [
        gas.molecules["TiO"].item() / gas.density.item() for gas in (gas_at(t, 1e5) for t in (2500.0, 3500.0, 4500.0))
    ]
    assert share[0] > share[1] > 100 * share[2]
    carbon_rich = SUN.copy()
    carbon_rich[0, SYMBOLS.index("C")] = 2 * SUN[0, SYMBOLS.index("O")]
    assert gas_at(2800.0, 1e4, carbon_rich).molecules["TiO"] < 1e-2 * gas_at(2800.0, 1e4).molecules["TiO"]


def test_adiabatic_gradient_of_an_inert_gas_is_two_fifths_and_falls_in_ionisation() -> None:
    gradient = adiabatic_gradient(gas_at([5000.0, 12000.0, 1200.0], [1e3, 1e5, 1e7]))
    assert gradient[0] == pytest.approx(0.4, abs=0.01)
    assert gradient[1] < 0.2
    assert gradient[2] == pytest.approx((0.5 + 0.085) / (1.75 + 0.2125), abs=0.01)  # diatomic, with helium


def test_continuum_is_negative_hydrogen_in_cool_stars_and_jumps_in_hot_ones() -> None:
    cool = continuum(np.array([8500.0, 16400.0, 3644.9, 3645.1]), gas_at(5000.0, 1e5))[0]
    assert cool[0] > 1.5 * cool[1]  # maximum and minimum of the ion
    assert cool[2] == pytest.approx(cool[3], rel=2e-3)  # the two fits meet
    hot = continuum(np.array([3500.0, 4200.0]), gas_at(10000.0, 1e2))[0]
    assert hot[0] > 5 * hot[1]  # Balmer jump


@pytest.mark.parametrize("a", [1e-4, 1e-2, 0.1, 0.19, 0.5, 3.0])
def test_voigt_is_scipys(a) -> None:
    v = np.linspace(-25, 25, 4001)
    ours = voigt(np.array([a]), v[None])[0]
    exact = wofz(v + 1j * a).real
    assert np.allclose(ours, exact, rtol=2e-3, atol=1e-7)
    assert np.trapezoid(exact, v) + 2 * a / np.sqrt(np.pi) / 25 == pytest.approx(np.sqrt(np.pi), rel=2e-2)


@pytest.mark.parametrize("ratio", [1e-3, 0.3, 1.0, 10.0, 300.0])
def test_stark_profile_is_normalised_and_has_holtsmarks_wing(ratio) -> None:
    unit = np.array([[1.0]])
    half = np.concatenate([[0], np.geomspace(1e-5, 1e6, 40001)])
    profile = stark_profile(half, unit * ratio, unit)[0]
    assert 2 * np.trapezoid(profile, half) == pytest.approx(1, rel=2e-3)
    assert profile[-1] == pytest.approx(1.5 * 1e6**-2.5, rel=1e-2)


def test_oscillator_strengths_go_on_smoothly() -> None:
    for n in (2, 3):
        scaled = [oscillator(n, m) * m**3 * (1 - (n / m) ** 2) ** 3 for m in range(n + 5, 30)]
        assert np.ptp(scaled) < 0.05 * np.mean(scaled)


def test_line_opacity_integrates_to_the_strengths() -> None:
    wavelength = wavelengths(8660.0, 8720.0)
    synthesis = Synthesis.on(np.log10(wavelength))
    gas = gas_at(4500.0, 1e4)
    opacity = synthesis.lines.opacity(gas, np.zeros(1))[0].astype(float)
    lines = synthesis.lines
    inside = (lines.x > synthesis.lattice[0]) & (lines.x < synthesis.lattice[-1])
    stimulated = 1 - np.exp(-1.43878e8 / np.exp(lines.x) / 4500)
    strength = LINE_CONSTANT * np.exp(lines.x) * 1e-8 * lines._populations(gas)[0] * stimulated / gas.density
    assert np.trapezoid(opacity, synthesis.lattice) == pytest.approx(strength[inside].sum(), rel=0.03)


def test_line_list_is_sound() -> None:
    species, kind, table = read_lines()
    assert len(species) == len(LINES) and len(table) > 600 and kind.max() == len(LINES) - 1
    assert ((table[:, 0] > 3600) & (table[:, 0] < 9100)).all() and (table[:, 2] >= 0).all()
    for wavelength in (8500.36, 8544.44, 8664.52, 7667.01, 8185.51, 8809.18, 5891.58, 3934.78):  # vacuum
        assert np.abs(table[:, 0] - wavelength).min() < 0.02


@pytest.mark.parametrize("displacement", [0.1, 0.9])
def test_franck_condon_factors_sum_to_one(displacement) -> None:
    assert sum(franck_condon(upper, 1, displacement) for upper in range(30)) == pytest.approx(1)


def test_bands_have_heads_shaded_as_in_nature() -> None:
    edges = np.arange(np.log(4700), np.log(7300), 5e-4)
    wavelength = np.exp((edges[1:] + edges[:-1]) / 2)
    bands = Bands.averaged(edges)

    def mean(name, low, high):
        return bands.table[bands.names.index(name), 3, (wavelength > low) & (wavelength < high)].mean()

    assert mean("TiO", 7060, 7085) > 4 * mean("TiO", 7030, 7052)  # γ, to the red
    assert mean("MgH", 5185, 5210) > 2 * mean("MgH", 5217, 5240)  # to the violet


def test_eddington_barbier_is_exact_for_a_linear_source() -> None:
    depth = np.logspace(-5, 1.7, 33)
    opacity = np.full((33, 3), 2.0) * np.array([0.5, 1, 3])  # relative to a mean of 2
    source = 1 + 3 * depth[:, None] * np.array([0.5, 1, 3])
    flux = emergent_flux(source, opacity, np.full(33, 2.0), depth)
    assert flux == pytest.approx(np.pi * (1 + 3 * 2 / 3), rel=2e-3)
    assert emergent_flux(np.ones((33, 3)), opacity, np.full(33, 2.0), depth) == pytest.approx(np.pi, rel=1e-5)


def test_formal_solution_is_the_integral_over_the_exponential_integral() -> None:
    depth = np.logspace(-5, 1.7, 33)
    flux = emergent_flux(depth[:, None] ** 0.5 + 0.2, np.ones((33, 1)), np.ones(33), depth)
    exact = 2 * np.pi * quad(lambda t: (t**0.5 + 0.2) * expn(2, t), 0, 60, points=[0.1, 1], limit=200)[0]
    assert flux.item() == pytest.approx(exact, rel=1e-2)


def test_cell_averages_conserve_equivalent_widths() -> None:
    fine, coarse = (np.log10(8680) + (np.arange(n) + 0.5) * k * 1e-5 / np.log(10) for n, k in ((200, 1), (40, 5)))
    one, other = Synthesis.on(fine), Synthesis.on(coarse)
    line = [np.exp(-(((s.lattice - np.log(8691)) / 7e-6) ** 2)) for s in (one, other)]
    small, large = (s.average(1 - f) for s, f in zip((one, other), line, strict=True))
    assert small.reshape(40, 5).mean(1) == pytest.approx(large, abs=1e-6)
    assert (1 - small).sum() * 1e-5 == pytest.approx(7e-6 * np.sqrt(np.pi), rel=1e-2)
    assert one.average(one.lattice) == pytest.approx(fine * np.log(10), abs=1e-9)


def test_atmosphere_is_grey_and_in_hydrostatic_equilibrium() -> None:
    assert grey_temperature(6000.0, 2 / 3) == pytest.approx(6000, rel=0.01)
    sun = build(np.array([5777.0]), np.array([4.44]), SUN)
    z = np.searchsorted(DEPTHS, 0.5)
    slope = np.log(sun.pressure[0, z + 1] / sun.pressure[0, z - 1]) / np.log(DEPTHS[z + 1] / DEPTHS[z - 1])
    assert slope * sun.pressure[0, z] * sun.opacity[0, z] / DEPTHS[z] == pytest.approx(10**4.44, rel=0.05)
    assert (
        4.8 < np.log10(np.interp(2 / 3, DEPTHS, sun.pressure[0])) < 5.2
    )  # 1.0e5 dyn/cm² in model atmospheres of the Sun


def test_effective_temperature_is_that_of_the_light() -> None:
    wavelength = wavelengths(3600, 10400, 2e-4)
    for teff, flux in zip((5500.0, 9000.0), spectra(wavelength, (5500.0, 9000.0), (4.0,)), strict=True):
        black = np.pi * planck(wavelength, np.array([teff]))[0]
        recovered = teff * (np.trapezoid(flux, wavelength) / np.trapezoid(black, wavelength)) ** 0.25
        assert recovered == pytest.approx(teff, rel=0.05)


def test_balmer_lines_peak_near_a0() -> None:
    teff = np.array([5000.0, 6500.0, 8000.0, 9000.0, 10000.0, 11000.0])
    wavelength = wavelengths(4740, 4990, 5e-5)
    width = equivalent_width(wavelength, spectra(wavelength, teff, (4.0,)), 4765, 4960)
    assert 8500 <= teff[width.argmax()] <= 10500
    assert width[0] < 0.3 * width.max() and 8 < width.max() < 25


def test_gravity_broadens_balmer_wings_of_hot_and_sodium_of_cool_stars() -> None:
    wavelength = wavelengths(4740, 4990, 5e-5)
    width = equivalent_width(wavelength, spectra(wavelength, (10000.0,), (2.0, 3.0, 4.0)), 4765, 4960)
    assert (np.diff(width) > 1).all()
    wavelength = wavelengths(8140, 8240)
    width = equivalent_width(wavelength, spectra(wavelength, (4000.0,), (2.0, 3.5, 5.0)), 8180, 8202)
    assert (np.diff(width) > 0.1).all()


def test_triplet_deepens_with_metallicity_and_alpha_and_in_giants() -> None:
    wavelength = wavelengths(8500, 8710)

    def triplet(**parameters):
        return equivalent_width(wavelength, spectra(wavelength, (5000.0,), **parameters), 8524, 8565)

    metal = triplet(feh=(-2.5, -1.5, -0.5, 0.5))
    assert (np.diff(metal) > 0.2).all() and metal[0] > 0.2 and metal[-1] < 10
    assert (np.diff(triplet(alpha_fe=(-0.25, 0.0, 0.5))) > 0.1).all()
    gravity = triplet(logg=(1.0, 4.5))
    assert gravity[0] > gravity[1]


def test_alpha_deepens_magnesium_and_leaves_iron() -> None:
    wavelength = wavelengths(8670, 8830)
    flux = spectra(wavelength, (4750.0,), alpha_fe=(0.0, 0.5))
    magnesium = equivalent_width(wavelength, flux, 8806.5, 8812)
    iron = equivalent_width(wavelength, flux, 8688.5, 8693.5)
    assert magnesium[1] > 1.15 * magnesium[0]
    assert iron[1] == pytest.approx(iron[0], rel=0.08)


def test_titanium_oxide_sets_in_below_4000_kelvin() -> None:
    wavelength = wavelengths(7020, 7180)

    def depth(flux):
        inside, outside = (wavelength > 7130) & (wavelength < 7160), (wavelength > 7035) & (wavelength < 7053)
        return 1 - flux[:, inside].mean(1) / flux[:, outside].mean(1)

    cooling = depth(spectra(wavelength, (3500.0, 3750.0, 4000.0, 5000.0), (4.5,)))
    assert cooling[0] > 0.3 and cooling[0] > cooling[1] + 0.05 > cooling[2] + 0.1
    assert cooling[2] < 0.2 and abs(cooling[3]) < 0.05
    metal = depth(spectra(wavelength, (3500.0,), (4.5,), (-2.0, -1.0, 0.0)))
    assert (np.diff(metal) > 0.02).all()
    alpha = depth(spectra(wavelength, (3750.0,), (4.5,), (0.0,), (-0.25, 0.0, 0.5)))
    assert (np.diff(alpha) > 0.02).all()


def test_nodes_do_not_depend_on_their_neighbours() -> None:
    wavelength = wavelengths(8600, 8650)
    block = spectra(wavelength, (4000.0, 4500.0), (1.0, 4.0), (-1.0, 0.0), (0.0, 0.4)).reshape(2, 2, 2, 2, -1)
    alone = spectra(wavelength, (4500.0,), (1.0,), (0.0,), (0.4,))[0]
    assert block[1, 0, 1, 1] == pytest.approx(alone, rel=1e-5)
    assert len(np.unique(block.reshape(16, -1)[:, 100])) == 16


# The grid and its cache

AXES = {"teff_K": (4000.0, 4500.0), "logg": (2.0, 3.0), "feh": (-0.5, 0.0), "alpha_fe": (0.0, 0.25)}
SMALL = AXES | {"teff_K": (4500.0,), "logg": (2.0,)}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BAYESDEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_grid_interpolates_and_is_kept_on_disk(folder) -> None:
    done = []
    grid = analytic_grid((8600, 8620), axes=AXES, progress=lambda n, total: done.append((n, total)))
    assert done[-1] == (16, 16) and len(list(folder.iterdir())) == 1
    again = analytic_grid((8600, 8620), axes=AXES, progress=lambda n, total: done.append((n, total)))
    assert len(done) == 16 and again.nodes.equal(grid.nodes)
    middle = grid.flux(grid.axes["teff_K"].new_tensor([[4250.0, 2.5, -0.25, 0.1, -1]]))
    assert grid.nodes.min() < middle.min() and middle.max() < grid.nodes.max()


def test_damaged_cache_is_computed_again(folder) -> None:
    grid = analytic_grid((8600, 8610), axes=SMALL)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    broken = bytearray(content)
    broken[len(content) // 2] ^= 0xFF
    for damage in (content[: len(content) // 2], b"not a zip", bytes(broken)):
        path.write_bytes(damage)
        assert analytic_grid((8600, 8610), axes=SMALL).nodes.equal(grid.nodes)
        assert path.read_bytes() == content


def test_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BAYESDEN_CACHE", str(tmp_path / "file"))
    assert analytic_grid((8600, 8605), axes=SMALL).nodes.isfinite().all()


def test_cache_name_depends_on_axes_and_wavelengths(folder) -> None:
    loglam = np.log10(8600) + np.arange(10) * 1e-5
    names = {cache_file(axes, x) for axes in (AXES, PFS_AXES, SDSS_AXES) for x in (loglam, loglam + 1e-5)}
    assert len(names) == 6 and all(name.parent == folder for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"teff_K": (4000,)}}, "axes: expected teff_K, logg, feh, alpha_fe, got teff_K"),
        ({"axes": AXES | {"teff_K": (4500, 4000)}}, "teff_K: expected ascending values"),
        ({"axes": AXES | {"teff_K": (2000, 4000)}}, "teff_K: expected 3000 to 11000"),
        ({"axes": AXES | {"feh": (np.nan, 0)}}, "feh: expected"),
        ({"wavelength": (9000, 8000)}, "wavelength: expected two ascending values"),
        ({"wavelength": (1000, 8000)}, "wavelength: expected"),
        ({"step": 0.0}, "step: expected"),
    ],
)
def test_what_cannot_be_computed_is_refused(change, message) -> None:
    with pytest.raises(InputError, match=message):
        analytic_grid(**{"axes": AXES, "cache": False} | change)
