"""The instrument `sdss`: exact noise, files that read back the same, and spectra that do not depend on their batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

from bayesden.errors import BayesdenError, InputError
from bayesden.io import read
from bayesden.io.resample import overlap_matrix
from bayesden.io.sppixmask import BAD, SPPIXMASK
from bayesden.model.noiseflow import NoiseFlow
from bayesden.model.residuals import NoiseSamples, residuals
from bayesden.simulation.grids.rectangular import RectangularGrid
from bayesden.simulation.instruments.protocol import Exposures
from bayesden.simulation.instruments.sdss import Effects, Sdss
from bayesden.simulation.instruments.sdss_camera import Band
from bayesden.simulation.instruments.sdss_noise import FlowNoise, RealNoise
from bayesden.simulation.random import Random
from bayesden.simulation.simulator import Simulator
from bayesden.spectrum import Grid
from tests.elsewhere import NAME, elsewhere

BATCH = 24
NIGHT = (1.5, 1.0, 1.15, 1.0, 0.0, 1.0)  # median conditions


@pytest.fixture(scope="module")
def sdss():
    return Sdss(exposures=2)


def star_on(instrument, level=20.0, batch=BATCH):
    """A reddish star with lines."""
    arms = []
    for detector in instrument.detectors:
        x = detector.wavelength
        depth = sum(torch.exp(-0.5 * ((x - line) / 4) ** 2) for line in (4863.0, 5893.0, 6564.6, 8544.4))
        arms.append((level * (x / 6000) ** 0.5 * (1 - 0.4 * depth)).float().expand(batch, -1))
    return arms


def night(batch=BATCH, **changes):
    values = dict(zip(Sdss.conditions, NIGHT, strict=True)) | changes
    return torch.tensor([list(values.values())]).double().expand(batch, -1)


def observe(instrument, level=20.0, batch=BATCH, seed=0, **changes):
    arms = star_on(instrument, level, batch)
    seen = instrument.expose(arms, night(batch, **changes), Random(seed), torch.arange(batch))
    return seen, instrument.project(arms)[:, None]


@pytest.mark.parametrize("level", [1.0, 30.0])
@pytest.mark.parametrize("effects", [Effects.none(), replace(Effects.none(), sky_residual=0.05)], ids=["counts", "sky"])
def test_chi_square_of_the_noise_is_one(sdss, level, effects):
    seen, clean = observe(replace(sdss, effects=effects), level)
    z = ((seen.flux - clean) / seen.sigma)[~seen.mask]
    assert not seen.mask.any()
    assert float(z.square().mean()) == pytest.approx(1.0, abs=5 * (2 / len(z)) ** 0.5 * (1 + 5 * effects.sky_residual))
    assert float(z.mean()) == pytest.approx(0.0, abs=5 / len(z) ** 0.5)


def test_chi_square_notices_an_effect_that_sigma_does_not_have(sdss):
    effects = replace(Effects.none(), calibration_arm=0.03)
    seen, clean = observe(replace(sdss, effects=effects), 30.0)
    assert float(((seen.flux - clean) / seen.sigma).square().mean()) > 1.2


def test_chi_square_holds_pixel_by_pixel_where_correlated_sky_residuals_lead(sdss):
    instrument = replace(sdss, effects=replace(Effects.none(), sky_residual=0.05), exposures=8)
    seen, clean = observe(instrument, 1.0, 64)
    z = (seen.flux - clean) / seen.sigma
    near = (instrument.wavelength - 8829.6).abs().argsort()[:3]
    quiet = (instrument.wavelength > 6400) & (instrument.wavelength < 6450)
    assert float(z[..., near].square().mean()) == pytest.approx(1.0, abs=0.15)
    neighbours = [float((z[..., i - 1] * z[..., i]).mean()) for i in (near.max(), quiet.nonzero().max())]
    assert neighbours[0] > 0.4  # over the line-spread function
    assert abs(neighbours[1]) < 0.3  # what sharing a native pixel leaves


def test_native_pixels_are_uncorrelated_between_lines(sdss):
    instrument = replace(sdss, effects=Effects.none(), exposures=8)
    arms = star_on(instrument, 5.0)
    for flux, seen in zip(arms, instrument.expose_cameras(arms, night(), Random(0), torch.arange(BATCH)), strict=True):
        z = (seen.flux - flux[:, None]) / seen.sigma
        lag = float((z[..., 1:] * z[..., :-1]).mean())
        assert lag == pytest.approx(0.0, abs=5 / z.numel() ** 0.5)


def test_a_spectrum_does_not_depend_on_its_batch(sdss):
    index = torch.arange(7)
    arms, random = star_on(sdss, batch=7), Random(3)
    conditions = sdss.draw(random.uniform("conditions", index, sdss.uniforms))
    whole = sdss.expose(arms, conditions, random, index)
    some = torch.tensor([5, 2])
    part = sdss.expose([flux[some] for flux in arms], conditions[some], random, index[some])
    assert torch.equal(part.mask, whole.mask[some])
    for key in ("flux", "ivar", "sigma"):
        torch.testing.assert_close(getattr(part, key), getattr(whole, key)[some], rtol=1e-4, atol=1e-4)
    other = sdss.expose(arms, conditions, Random(4), index)
    assert not torch.allclose(other.flux, whole.flux, rtol=1e-2)


def test_written_file_reads_back_as_the_same_exposures(sdss, tmp_path):
    path, index = tmp_path / "spec.fits", torch.tensor([11])
    arms, conditions = star_on(sdss, batch=1), night(1, moon=3.0)
    seen = sdss.expose(arms, conditions, Random(0), index)
    sdss.write(path, arms, conditions, Random(0), index, facts={"SUBCLASS": "K"})
    observation = read(path)
    assert observation.meta["subclass"] == "K"
    assert 0 < observation.mask.sum() < 0.1 * observation.mask.size
    assert np.array_equal(observation.mask, seen.mask[0].numpy())
    np.testing.assert_allclose(observation.flux, seen.flux[0], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(observation.ivar, seen.ivar[0], rtol=1e-4)


def test_written_file_has_the_truth(sdss, tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    path, arms = tmp_path / "spec.fits", star_on(sdss, batch=1)
    sdss.write(path, arms, night(1), Random(0), torch.tensor([0]))
    coadd = fits.getdata(path, 1)
    inside = (coadd["loglam"] > np.log10(4000)) & (coadd["loglam"] < np.log10(9000))
    clean = np.interp(10.0 ** coadd["loglam"][inside], sdss.wavelength.numpy(), sdss.project(arms)[0].numpy())
    np.testing.assert_allclose(coadd["model"][inside], clean, rtol=0.04)  # other pixels in the lines
    quiet = (coadd["loglam"][inside] > np.log10(6700)) & (coadd["loglam"][inside] < np.log10(8300))
    np.testing.assert_allclose(coadd["model"][inside][quiet], clean[quiet], rtol=1e-4)


def test_cameras_agree_in_their_overlap_and_cover_the_grid(sdss):
    blue, red = sdss.cameras
    assert blue.first == 0
    assert red.first + len(red.nearest) == len(sdss.wavelength)
    seen, clean = observe(replace(sdss, effects=Effects.none()), 1e4)
    inside = (sdss.wavelength > 5900) & (sdss.wavelength < 6300)
    np.testing.assert_allclose(seen.flux[..., inside].mean((0, 1)), clean[0, 0, inside], rtol=0.002)


def test_two_cameras_are_better_than_one(sdss):
    both = replace(sdss, effects=Effects.none())
    inside = (sdss.wavelength > 5900) & (sdss.wavelength < 6300)
    alone = []
    for camera, flux in zip(sdss.cameras, star_on(sdss, 5.0), strict=True):
        seen = replace(both, cameras=(camera,)).expose([flux], night(), Random(0), torch.arange(BATCH))
        alone.append(seen.sigma[0, 0, inside])
    ratio = observe(both, 5.0)[0].sigma[0, 0, inside] / torch.minimum(*alone)
    assert (ratio < 1.0).all()
    assert float(ratio.min()) == pytest.approx(0.5**0.5, abs=0.02)


def test_band_is_the_readers_resampling(sdss):
    camera = sdss.cameras[1]
    share = overlap_matrix(Grid(10.0 ** camera.loglam.numpy()), Grid(sdss.wavelength.numpy()))
    share = share[camera.first : camera.first + len(camera.nearest)]
    x = torch.rand(3, camera.size)
    torch.testing.assert_close(
        Band.of(share)(x).double(), torch.from_numpy(share @ x.numpy().T).T, rtol=1e-5, atol=1e-6
    )


def snr(instrument, level, **changes):
    seen, clean = observe(instrument, level, 4, **changes)
    return float((clean / seen.sigma).median())


def test_signal_to_noise_scales_as_counting_does(sdss):
    instrument = replace(sdss, effects=Effects.none())
    faint, bright = snr(instrument, 0.02) / snr(instrument, 0.01), snr(instrument, 4e4) / snr(instrument, 1e4)
    assert faint == pytest.approx(
        2.0, rel=0.01
    )  # the sky and the electronics lead: ten times the flux is ten times S/N
    assert bright == pytest.approx(2.0, rel=0.01)  # the star leads: four times the flux
    assert snr(instrument, 5.0, seeing_arcsec=3.0) < 0.6 * snr(instrument, 5.0)
    assert snr(instrument, 5.0, moon=15.0) < 0.8 * snr(instrument, 5.0)
    assert snr(instrument, 5.0, airmass=1.5) < snr(instrument, 5.0)


def test_pipeline_adds_three_percent_of_a_bright_star(sdss):
    seen, clean = observe(replace(sdss, effects=Effects.none()), 3000.0, 2)
    inside = sdss.wavelength < 5800
    share = overlap_matrix(Grid(10.0 ** sdss.cameras[0].loglam.numpy()), Grid(sdss.wavelength.numpy()))
    pixels = torch.from_numpy(share.power(2).sum(1))[inside]  # independent pixels: the floor shrinks too
    floor = (seen.ivar**-1 - seen.sigma**2)[0, 0, inside].sqrt() / clean[0, 0, inside]
    torch.testing.assert_close(floor.double(), 0.03 * pixels.sqrt(), rtol=0.02, atol=0)


def test_masked_pixels_are_those_with_defects(sdss):
    arms, conditions, index = star_on(sdss), night(), torch.arange(BATCH)
    for camera, seen in zip(sdss.cameras, sdss.expose_cameras(arms, conditions, Random(0), index), strict=True):
        lost = (seen.bits & (1 << SPPIXMASK["FULLREJECT"] | 1 << SPPIXMASK["NODATA"])) != 0
        assert torch.equal(seen.ivar == 0, lost)
        rejected = (seen.bits & (1 << SPPIXMASK["FULLREJECT"]) != 0).float().mean()
        assert float(rejected) == pytest.approx(3.7 * camera.facts.rejected, rel=0.35)
        columns = (seen.bits & (1 << SPPIXMASK["NODATA"])) != 0
        assert torch.equal(columns[:, 0], columns[:, 1])  # the detector's, so in every exposure
        assert columns.any()
    effects = replace(sdss.effects, cosmic_rays=False, bad_columns=False, sky_rejected=0.0)
    for seen in replace(sdss, effects=effects).expose_cameras(arms, conditions, Random(0), index):
        assert not (seen.bits & BAD).any()


def test_bright_cosmic_rays_are_flagged_but_for_the_missed(sdss):
    def hits(missed):
        instrument = replace(sdss, effects=replace(Effects.none(), cosmic_rays=True, missed=missed))
        arms = star_on(instrument, batch=60)
        seen = instrument.expose_cameras(arms, night(60), Random(0), torch.arange(60))[1]
        z = (seen.flux - arms[1][:, None]) / seen.sigma
        return (z > 12) & (seen.ivar > 0), (seen.bits & (1 << SPPIXMASK["COMBINEREJ"])) != 0

    found, flagged = hits(0.0)
    assert found.sum() > 20
    assert flagged[found].all()
    found, flagged = hits(1.0)
    assert flagged[found].float().mean() < 0.1


def test_every_condition_is_drawn(sdss):
    drawn = sdss.draw(Random(0).uniform("conditions", torch.arange(500), sdss.uniforms))
    assert drawn.shape == (500, len(sdss.conditions))
    assert bool((drawn[:, :4] > 0).all() & (drawn >= 0).all())
    assert float((drawn[:, 4] > 0).double().mean()) == pytest.approx(0.4, abs=0.06)


def test_flow_gives_its_own_noise_to_the_simulated_errors(sdss):
    flow = NoiseFlow("robust", size=2048)
    instrument = Sdss(exposures=2, noise=flow, effects=Effects.none(), cameras=sdss.cameras)
    seen, clean = observe(instrument, batch=6)
    again, _ = observe(instrument, batch=3)
    torch.testing.assert_close(seen.flux[:3], again.flux, rtol=1e-4, atol=1e-4)
    eps = (seen.flux - clean).view(-1, 2048)
    xi, _ = flow.flow._transform(eps, seen.ivar.view(-1, 2048))
    drawn = FlowNoise(flow)._base(Random(0), torch.arange(6), 4096).view(-1, 2048)
    torch.testing.assert_close(xi, drawn, rtol=1e-2, atol=1e-2)


def real_noise(stars=2, exposures=3):
    rng = np.random.default_rng(0)
    rows, grid = stars * exposures, Grid.uniform()
    ivar = np.repeat(10.0 ** np.arange(stars), exposures)[:, None] * np.ones((rows, grid.size))
    mask = rng.uniform(size=ivar.shape) < 0.02
    eps = np.where(mask, 0.0, rng.standard_t(5, ivar.shape) / np.sqrt(ivar))
    names = tuple(f"star-{i}" for i in range(stars) for _ in range(exposures))
    return NoiseSamples(grid.wavelength, eps, np.where(mask, 0.0, ivar), mask, np.zeros(mask.shape, np.uint8), names)


def test_real_noise_is_that_of_the_exposures_of_one_star(sdss):
    samples = real_noise()
    source = RealNoise.of(samples, Grid.uniform())
    rows = source.rows(Random(0), torch.arange(40), 3)
    assert all(set(row) in ({0, 1, 2}, {3, 4, 5}) for row in rows.tolist())
    assert len({tuple(row) for row in rows.tolist()}) > 5
    instrument = Sdss(exposures=3, effects=Effects.none(), cameras=sdss.cameras, source=source)
    seen, clean = observe(instrument, batch=40)
    z, real = (seen.flux - clean) * seen.ivar.sqrt(), samples.eps * np.sqrt(samples.ivar)
    np.testing.assert_allclose(torch.where(seen.mask, 0.0, z), real[rows.numpy()], atol=1e-2)
    computed, _ = observe(replace(instrument, source=None), batch=40)
    for e in range(3):
        level = [float((clean[:, 0] * s.ivar[:, e].sqrt())[~s.mask[:, e]].median()) for s in (seen, computed)]
        assert level[0] == pytest.approx(level[1], rel=0.02)


def test_real_noise_has_the_tails_of_the_files(sdss, sdss_files):
    samples = residuals(read(sdss_files[0], mask_policy="none"))  # cosmic rays and all
    source = RealNoise.of(samples, Grid.uniform())
    instrument = replace(sdss, exposures=len(samples), effects=Effects.none(), source=source)
    seen, clean = observe(instrument, batch=1)
    drawn = ((seen.flux - clean) * seen.ivar.sqrt())[~seen.mask].numpy()
    real = (samples.eps * np.sqrt(samples.ivar))[~samples.mask]
    assert kurtosis(drawn) == pytest.approx(kurtosis(real), rel=1e-2)
    computed, truth = observe(replace(instrument, source=None), batch=1)
    plain = ((computed.flux - truth) * computed.ivar.sqrt())[~computed.mask].numpy()
    assert abs(kurtosis(plain)) < 0.5 < 20 < kurtosis(drawn)


def test_files_give_the_real_noise(sdss, sdss_files):
    instrument = Sdss(exposures=2, noise="real", files=sdss_files[:2], cameras=sdss.cameras)
    seen, _ = observe(instrument, batch=3)
    assert len(instrument.source.count) == 2
    assert torch.isfinite(seen.flux).all()
    assert 0 < seen.mask.float().mean() < 0.1


def test_simulator_can_observe_with_it(sdss):
    loglam = torch.arange(np.log10(3900), np.log10(9150), 2e-5, dtype=torch.double)
    nodes = (10**loglam / 6000)[None] ** torch.tensor([[-1.0], [0.0]]).double()
    grid = RectangularGrid("slope", "a test", "1", loglam, {"slope": torch.tensor([-1.0, 0.0]).double()}, nodes)
    simulation = Simulator(grid, sdss, ranges={"magnitude": (18.0, 18.0)}).observe(torch.arange(3))
    assert simulation.flux.shape == (3, 2, 2048)
    assert set(sdss.conditions) <= set(simulation.parameters.dtype.names)
    assert (simulation.parameters["snr"] > 3).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposures": 0}, "exposures: expected at least 1, got 0"),
        ({"noise": "real"}, "expected files with real exposures, got none"),
        ({"files": ["a.fits"]}, "files: expected none with noise physical, got 1"),
        ({"noise": NoiseFlow("robust", size=64)}, "expected a noise flow of 2048 pixels, got one of 64"),
        ({"noise": "no-such-file"}, "no-such-file: expected a model file"),
    ],
)
def test_bad_options_say_what_was_expected(sdss, options, message):
    with pytest.raises(BayesdenError, match=message):
        Sdss(cameras=sdss.cameras, **options)


def test_bad_effects_and_files_say_what_was_expected(sdss, tmp_path):
    with pytest.raises(InputError, match="missed: expected a number from 0 to 1, got 2"):
        Effects(missed=2)
    arms = star_on(sdss, batch=2)
    with pytest.raises(InputError, match="expected one spectrum for a file, got 2"):
        sdss.write(tmp_path / "two.fits", arms, night(2), Random(0), torch.arange(2))
    real = replace(sdss, source=RealNoise.of(real_noise(), Grid.uniform()))
    with pytest.raises(InputError, match="expected noise 'physical'"):
        real.write(tmp_path / "real.fits", [flux[:1] for flux in arms], night(1), Random(0), torch.arange(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("real", [False, True])
def test_an_accelerator_gives_the_same_exposures(sdss, real):
    instrument = replace(sdss, source=RealNoise.of(real_noise(), Grid.uniform()) if real else None)
    arms, index = star_on(instrument, batch=2), torch.arange(2)
    here = instrument.expose(arms, night(2), Random(0), index)
    with elsewhere():
        arms, conditions = [flux.to(NAME) for flux in arms], night(2).to(NAME)
        there = instrument.to(NAME).expose(arms, conditions, Random(0), index.to(NAME))
        assert there.flux.device.type == NAME
        flux, mask = there.flux.cpu(), there.mask.cpu()
    torch.testing.assert_close(flux, here.flux, rtol=1e-5, atol=1e-5)
    assert torch.equal(mask, here.mask)


def test_a_flow_gives_the_same_noise_on_an_accelerator():
    source, index = FlowNoise(NoiseFlow("robust", size=32)), torch.arange(2)
    flux, mask = torch.ones(2, 2, 32), torch.rand(2, 2, 32) < 0.1
    seen = (flux, torch.where(mask, 0.0, 4 * flux), mask, 0.5 * flux)
    here = source(Exposures(*seen), Random(0), index)
    with elsewhere():
        there = source.to(NAME)(Exposures(*(x.to(NAME) for x in seen)), Random(0), index.to(NAME)).flux.cpu()
    torch.testing.assert_close(there, here.flux, rtol=1e-5, atol=1e-5)


def test_projection_is_linear_with_an_exact_tangent(sdss):
    arms = [flux.clone() for flux in star_on(sdss, batch=2)]
    value, tangent = torch.func.jvp(lambda *flux: sdss.project(flux), tuple(arms), tuple(2 * flux for flux in arms))
    torch.testing.assert_close(tangent, 2 * value)
    torch.testing.assert_close(sdss.project([torch.ones(1, c.size) for c in sdss.cameras]), torch.ones(1, 2048))
