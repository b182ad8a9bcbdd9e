"""Spec files of every generation give the same exposures, joined by inverse variance, with nothing imputed."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from bayesden.errors import InputError
from bayesden.io import read, resample
from bayesden.io.sppixmask import BAD, SPPIXMASK
from bayesden.spectrum import ARM_BLUE, ARM_RED, Grid, Observation

STYLES = ("sdss", "boss")


def same(one, two):
    for key in ("flux", "ivar", "mask", "arm"):
        np.testing.assert_array_equal(getattr(one, key), getattr(two, key))


def edit(path, change):
    """Rewrite a file after changing its HDUs in place."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize("style", STYLES)
def test_exposures_are_paired_by_number_and_resampled(spec, truth, style):
    obs = read(spec(style=style, facts={"SUBCLASS": "G2", "Z": 1e-4}))
    assert obs.flux.shape == (3, 2048)
    assert [exposure.name for exposure in obs.exposures] == ["00000101", "00000102", "00000103"]
    assert [len(exposure.arms) for exposure in obs.exposures] == [2, 1, 2]
    assert obs.exposures[1].arms == ("r1-00000102-00000099-00000098",)
    assert (obs.meta["subclass"], obs.meta["z"], obs.meta["class"]) == ("G2", 1e-4, "STAR")
    assert obs.flux_unit == "1E-17 erg/cm^2/s/Ang"
    good = ~obs.mask
    np.testing.assert_allclose(obs.flux[good], np.broadcast_to(truth(obs.wavelength), good.shape)[good], rtol=1e-4)


def test_arm_bits_tell_what_each_pixel_was_made_from(spec):
    obs = read(spec())
    wave = obs.wavelength
    assert (obs.arm[0][wave < 5800] == ARM_BLUE).all()
    assert (obs.arm[0][(wave > 5830) & (wave < 6300)] == ARM_BLUE | ARM_RED).all()
    assert (obs.arm[0][wave > 6320] == ARM_RED).all()
    assert obs.mask[1][wave < 5800].all()
    assert not obs.mask[1][wave > 5830].any()
    assert (obs.arm[obs.mask] == 0).all()


def test_arms_are_joined_by_inverse_variance(spec, arm):
    """The twin: each arm of the file resampled alone, as a user's own arrays."""
    red = arm("r1", 7, scale=1.1)
    path = spec(content=[arm("b1", 7), replace(red, ivar=red.ivar / 8)])
    obs, alone = read(path), []
    with fits.open(path) as hdus:
        for hdu in hdus[4:]:
            flux, loglam, ivar = (hdu.data[key].astype(float) for key in ("flux", "loglam", "ivar"))
            alone.append(resample(Observation(10.0**loglam, flux, ivar), obs.grid))
    weight = alone[0].ivar + alone[1].ivar
    mean = (alone[0].flux * alone[0].ivar + alone[1].flux * alone[1].ivar) / np.where(weight > 0, weight, 1)
    np.testing.assert_allclose(obs.ivar, weight, rtol=1e-12)
    np.testing.assert_allclose(obs.flux, mean, rtol=1e-12)
    overlap = obs.arm == ARM_BLUE | ARM_RED
    unweighted = (alone[0].flux + alone[1].flux) / 2
    assert np.abs(obs.flux - unweighted)[overlap].min() > 0.1


def test_a_bad_pixel_of_one_arm_leaves_the_other(spec, arm):
    blue, red = arm("b1", 7), arm("r1", 7)
    near = np.abs(10**blue.loglam - 6000) < 10
    spoilt = replace(blue, flux=np.where(near, 1e30, blue.flux), ivar=np.where(near, 0.0, blue.ivar))
    obs, alone = read(spec("a.fits", [spoilt, red])), read(spec("b.fits", [red]))
    at = np.abs(obs.wavelength - 6000) < 8
    assert (obs.arm[0, at] == ARM_RED).all()
    np.testing.assert_array_equal(obs.flux[0, at], alone.flux[0, at])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("upper_case", [True, False])
def test_case_of_names_does_not_matter(spec, style, upper_case):
    reference, path = read(spec("a.fits", style=style)), spec("b.fits", style=style, upper_case=upper_case)
    same(read(path), reference)

    def lower(hdus):
        for hdu in hdus[1:]:
            hdu.header["EXTNAME"] = hdu.header["EXTNAME"].lower()

    same(read(edit(path, lower)), reference)


@pytest.mark.parametrize("style", STYLES)
def test_stripped_exposure_headers_fall_back_to_the_primary_list(spec, style):
    reference, stripped = read(spec("a.fits", style=style)), read(spec("b.fits", style=style, exposure_headers=False))
    same(stripped, reference)
    assert stripped.exposures == reference.exposures


def test_without_any_name_each_table_stands_for_itself(spec):
    def forget(hdus):
        for key in [key for key in hdus[0].header if key.startswith("EXPID")]:
            del hdus[0].header[key]

    obs = read(edit(spec(exposure_headers=False), forget))
    assert obs.n_exposures == 5  # no pairing is guessed
    assert [sorted(set(row) - {0}) for row in obs.arm.tolist()] == [[ARM_BLUE]] * 2 + [[ARM_RED]] * 3


def test_the_sdss1_blue_arms_may_run_from_red_to_blue(spec):
    path = spec(style="sdss")
    with fits.open(path) as hdus:
        assert np.diff(hdus[4].data["loglam"])[0] < 0
    same(read(path), read(spec("boss.fits", style="boss")))


def test_sdss_v_exposures_are_joined_already(spec, truth):
    obs = read(spec(style="sdss-v", plate=15000, mjd=59146, fiber=27021597911984196))
    assert [exposure.name for exposure in obs.exposures] == ["59146-00", "59146-01", "59146-02"]
    assert (obs.meta["plate"], obs.meta["object_id"]) == (15000, 27021597911984196)
    good = ~obs.mask
    np.testing.assert_allclose(obs.flux[good], np.broadcast_to(truth(obs.wavelength), good.shape)[good], rtol=1e-4)
    assert (obs.arm[0][obs.wavelength < 5590] == ARM_BLUE).all()
    assert (obs.arm[0][obs.wavelength > 6410] == ARM_RED).all()
    assert obs.mask[1][obs.wavelength < 5800].all()


@pytest.mark.parametrize("style", [*STYLES, "sdss-v"])
def test_a_lite_file_is_its_coadd(spec, arms, style):
    from bayesden.io.sdss_write import coadd_arms

    path = spec(content=[], coadd=coadd_arms(arms), style=style)
    obs = read(path)
    assert obs.n_exposures == 1
    assert obs.exposures[0].arms == ("COADD",)
    np.testing.assert_array_equal(read(spec("full.fits", style=style)).coadd()[0] != 0, obs.coadd()[0] != 0)


@pytest.mark.parametrize("name", SPPIXMASK)
@pytest.mark.parametrize("policy", ["and", "or", "none"])
def test_defects_are_masked_and_warnings_are_not(spec, arm, name, policy):
    blue = arm("b1", 7)
    hit = np.abs(10**blue.loglam - 5000) < 5
    path = spec(content=[replace(blue, mask=np.where(hit, 1 << SPPIXMASK[name], 0))])
    obs = read(path, mask_policy=policy)
    masked = obs.mask[0, np.abs(obs.wavelength - 5000) < 4]
    assert masked.all() if policy != "none" and BAD >> SPPIXMASK[name] & 1 else not masked.any()


def test_cosmic_rays_are_defects_and_bright_sky_is_not():
    assert BAD >> SPPIXMASK["COMBINEREJ"] & 1
    assert BAD >> SPPIXMASK["BADSKYCHI"] & 1
    assert not BAD >> SPPIXMASK["BRIGHTSKY"] & 1


@pytest.mark.parametrize("style", ["boss", "sdss-v"])
def test_and_or_and_none_choose_the_mask_of_a_coadd(spec, arms, style):
    from bayesden.io.sdss_write import coadd_arms

    coadd = coadd_arms(arms)
    wave, bit = 10**coadd.loglam, 1 << SPPIXMASK["COMBINEREJ"]
    every, some = np.abs(wave - 5000) < 5, np.abs(wave - 7000) < 5
    coadd = replace(coadd, mask=np.where(every, bit, 0), or_mask=np.where(every | some, bit, 0))
    path = spec(content=[], coadd=coadd, style=style)
    for policy, expected in (("and", (True, False)), ("or", (True, True)), ("none", (False, False))):
        obs = read(path, mask_policy=policy)
        assert tuple(obs.mask[0, np.abs(obs.wavelength - at).argmin()] for at in (5000, 7000)) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_masked_under_every_policy(spec, arm, value):
    blue = arm("b1", 7)
    near, far = (np.abs(10**blue.loglam - at) < 5 for at in (5000, 5500))
    spoilt = replace(blue, flux=np.where(near, value, blue.flux), ivar=np.where(far, value, blue.ivar))
    obs = read(spec(content=[spoilt]), mask_policy="none")
    assert obs.mask[0, np.abs(obs.wavelength - 5000).argmin()]
    assert obs.mask[0, np.abs(obs.wavelength - 5500).argmin()]
    assert np.isfinite(obs.flux).all()


def test_an_exposure_without_a_good_pixel_is_left_out(spec, arms):
    dead = [replace(a, ivar=0 * a.ivar) if a.exposure == 101 else a for a in arms]
    assert [exposure.name for exposure in read(spec(content=dead)).exposures] == ["00000102", "00000103"]
    blue_grid = read(spec("b.fits"), grid=Grid.uniform(4000, 5500, 400))
    assert [exposure.name for exposure in blue_grid.exposures] == ["00000101", "00000103"]


def test_order_is_by_number_not_by_place(spec, arms):
    def shuffle(hdus):
        last = [hdus.pop() for _ in range(5)]
        hdus.extend(last)

    same(read(edit(spec("a.fits"), shuffle)), read(spec("b.fits")))


def test_many_files_and_their_checksums(spec, arm):
    paths = [spec("a.fits"), str(spec("b.fits", [arm("r1", 9)]))]
    both = read(paths)
    assert [obs.name for obs in both] == ["a", "b"]
    assert both[0].meta["sha256"] == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    zipped = paths[0].with_suffix(".fits.gz")
    zipped.write_bytes(gzip.compress(paths[0].read_bytes()))
    same(read(zipped), both[0])
    assert read(zipped).name == "a"


def test_reading_twice_gives_the_same_and_another_grid_is_obeyed(spec):
    path, grid = spec(), Grid.uniform(4500, 8000, 300)
    same(read(path, grid=grid), read(path, grid=grid))
    assert read(path, grid=grid).grid == grid


def test_the_same_camera_twice_is_refused(spec, arms):
    with pytest.raises(InputError, match="expected each camera once per exposure"):
        spec(content=[*arms, arms[0]])

    def double(hdus):
        hdus.append(hdus[4].copy())

    with pytest.raises(InputError, match=r"HDU 9 .*expected a new exposure, got that of HDU 4"):
        read(edit(spec(), double))


def test_the_sky_is_read_where_a_file_has_it(spec):
    def brighten(hdus):
        for number in range(4, len(hdus)):
            hdus[number].data["sky"] = 10 ** hdus[number].data["loglam"] / 1000

    path = spec()
    assert read(path).sky[~read(path).mask].max() == pytest.approx(1.0)  # as the writer has it
    obs = read(edit(path, brighten))
    good = ~obs.mask
    np.testing.assert_allclose(obs.sky[good], np.broadcast_to(obs.wavelength / 1000, good.shape)[good], rtol=1e-3)
    assert (obs.sky[~good] == 0).all()

    def forget(hdus):
        for number in range(1, len(hdus)):
            columns = hdus[number].columns
            if "sky" in columns.names:
                kept = fits.BinTableHDU.from_columns(columns.del_col("sky"), name=hdus[number].name)
                hdus[number] = kept

    assert read(edit(path, forget)).sky is None


def test_correlation_is_smaller_where_two_arms_are_joined(spec):
    obs = read(spec())
    both, alone = obs.arm[0] == ARM_BLUE | ARM_RED, obs.arm[0] == ARM_RED
    assert 0.03 < obs.correlation[0][both].mean() < obs.correlation[0][alone].mean() < 0.3
