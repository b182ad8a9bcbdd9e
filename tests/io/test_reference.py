"""The six real spec files of the reference data."""

import numpy as np
import pytest
from astropy.io import fits

from bayesden.io import read
from bayesden.spectrum import ARM_BLUE, ARM_RED

FILES = {
    "spec-0618-52049-0372": 6,
    "spec-1079-52621-0509": 4,
    "spec-3764-55514-0972": 4,
    "spec-4961-55719-0378": 7,
    "spec-5047-55833-0936": 5,
    "spec-7332-56683-0788": 14,
}
every_file = pytest.mark.parametrize(("name", "exposures"), FILES.items(), ids=FILES)


@every_file
def test_all_exposures_with_both_arms(survey_folder, name, exposures):
    obs = read(survey_folder / f"{name}.fits")
    assert obs.n_exposures == exposures
    assert (obs.name, obs.meta["class"], obs.meta["plate"]) == (name, "STAR", int(name[5:9]))
    for exposure, arm, mask in zip(obs.exposures, obs.arm, obs.mask, strict=True):
        assert [arms[0] for arms in exposure.arms] == ["b", "r"]
        assert all(exposure.name in arms for arms in exposure.arms)
        assert (arm[~mask & (obs.wavelength < 5750)] == ARM_BLUE).all()
        assert (arm[~mask & (obs.wavelength > 6400)] == ARM_RED).all()
        assert (arm == ARM_BLUE | ARM_RED).any()
    assert obs.mask.mean() < 0.06
    assert list(obs.exposures) == sorted(obs.exposures, key=lambda exposure: exposure.name)


@every_file
def test_the_mean_of_the_exposures_is_the_surveys_coadd(survey_folder, name, exposures):
    obs = read(survey_folder / f"{name}.fits")
    flux, ivar = obs.coadd()
    with fits.open(survey_folder / f"{name}.fits") as hdus:
        data = hdus[1].data
        survey = np.interp(obs.wavelength, 10.0 ** data["loglam"].astype(float), data["flux"])
    z = ((flux - survey) * np.sqrt(ivar))[ivar > 0]
    assert np.median(np.abs(z)) < 1.0
    assert abs(np.median(z)) < 0.3


@every_file
def test_masked_exposures_agree_with_each_other(survey_folder, name, exposures):
    """No cosmic ray and no 5577 A residual is left; with the survey's masks ignored, there are."""
    worst = {}
    for policy in ("and", "none"):
        obs = read(survey_folder / f"{name}.fits", mask_policy=policy)
        masked = np.ma.array(obs.flux, mask=obs.mask)
        z = (masked - np.ma.median(masked, axis=0)) * np.sqrt(obs.ivar)
        worst[policy] = float(np.abs(z).max())
    assert worst["and"] < 12 < worst["none"]


def test_faint_and_bright_stars_are_told_apart(survey_folder):
    snr = {obs.name: obs.snr for obs in read([survey_folder / f"{name}.fits" for name in FILES])}
    assert min(snr, key=snr.get) == "spec-3764-55514-0972"
    assert snr["spec-3764-55514-0972"] < 3
    assert min(value for name, value in snr.items() if "3764" not in name) > 20
