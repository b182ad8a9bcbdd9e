"""Many posteriors in one file: nothing is lost, and nothing is mixed up."""

import numpy as np
import pytest
from astropy.io import fits

from bayesden.errors import InputError, OutputError
from bayesden.io import read_posteriors, write_posterior, write_posteriors
from bayesden.io.results import ARRAYS
from bayesden.posterior import Feature, Posterior

D = 12
LINE = Feature(5000.0, -1.0, 0.1, 9.0, 1e-4, 120.0, "emission", near="Hβ", terrestrial=True)


def posterior(seed: int, exposures: int, **changes: object) -> Posterior:
    rng = np.random.default_rng(seed)
    fields = {
        "wavelength": np.linspace(4000.0, 5000.0, D),
        "flux": rng.normal(size=D).astype(np.float32),
        "sigma": rng.uniform(size=D),
        "residual_z": np.where(rng.random((exposures, D)) < 0.2, np.nan, 1.5),
        "prior_fraction": rng.uniform(size=D),
        "class_prob": {"A": 0.1 + seed / 10, "WD": 0.9 - seed / 10},
        "latent": rng.normal(size=3),
        "data_flux": rng.normal(size=(exposures, D)),
        "data_ivar": rng.uniform(size=(exposures, D)),
        "name": f"star-{seed}",
        "method": "map",
        "flux_unit": "1E-17 erg/cm^2/s/Ang",
        "meta": {"velocity_kms": float(seed), "file": "ä.fits", "bad": float("nan")},
    }
    return Posterior(**(fields | changes))


def assert_equal(one: Posterior, other: Posterior) -> None:
    for key in ARRAYS:
        a, b = getattr(one, key), getattr(other, key)
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)
    for key in ("class_prob", "flags", "features", "name", "method", "flux_unit"):
        assert getattr(one, key) == getattr(other, key)
    assert repr(dict(one.meta)) == repr(dict(other.meta))  # a NaN is not equal to itself


def test_the_round_trip_is_exact(tmp_path):
    posts = [
        posterior(0, 2),
        posterior(1, 5, flags={"NOT_CONVERGED", "OUT_OF_SUPPORT"}, features=(LINE, LINE)),
        posterior(2, 1, draws=np.random.default_rng(2).normal(size=(7, D)), latent=np.zeros((7, 3))),
        posterior(3, 2, latent=None, data_flux=None, data_ivar=None),
    ]
    write_posteriors(posts, tmp_path / "night.fits")
    for one, other in zip(posts, read_posteriors(tmp_path / "night.fits"), strict=True):
        assert_equal(one, other)
    write_posteriors(posts, tmp_path / "again.fits")
    assert (tmp_path / "night.fits").read_bytes() == (tmp_path / "again.fits").read_bytes()


def test_other_programs_find_their_way(tmp_path):
    posts = [posterior(i, i + 1) for i in range(4)]
    write_posteriors(posts, tmp_path / "night.fits")
    with fits.open(tmp_path / "night.fits") as hdus:
        hdus.verify("exception")
        assert hdus["FLUX"].data.shape == hdus["SIGMA"].data.shape == (4, D)
        assert hdus["DATA_FLUX"].data.shape == (10, D)
        assert [hdus["CLASS_PROB"].header[f"CLASS{k}"] for k in (1, 2)] == ["A", "WD"]
        np.testing.assert_array_equal(hdus["FLUX"].data[2], posts[2].flux)
        assert hdus["SPECTRA"].data["name"].tolist() == ["star-0", "star-1", "star-2", "star-3"]
        assert hdus["SPECTRA"].data["velocity_kms"].tolist() == [0, 1, 2, 3]


def test_what_does_not_belong_together_is_refused(tmp_path):
    path = tmp_path / "night.fits"
    one = posterior(0, 1)
    for others in (
        [],
        [one, posterior(1, 1, wavelength=np.arange(1.0, D + 1))],
        [one, posterior(1, 1, class_prob={"A": 1.0})],
        [one, posterior(1, 1, latent=np.zeros(4))],
        [posterior(1, 1, meta={"a": object()})],
    ):
        with pytest.raises(OutputError, match=r"night\.fits: .*expected"):
            write_posteriors(others, path)
    assert not list(tmp_path.iterdir())
    write_posterior(one, path)
    with pytest.raises(InputError, match="expected a table of results with an HDU SPECTRA"):
        read_posteriors(path)
