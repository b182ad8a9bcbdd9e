"""A posterior that was written and read is the same one, bit by bit."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from bayesden.chains import Chains
from bayesden.errors import InputError, OutputError
from bayesden.io import read_posterior, write_posterior
from bayesden.posterior import Feature, Posterior
from tests.twin import twin

D, E, S = 64, 3, 7
WAVE = np.linspace(4000.0, 9000.0, D)


FEATURES = (
    Feature(6564.1, 1 / 3, 0.05, 6.6, 5e-324, 210.5, "emission", "Hα"),
    Feature(5579.0, np.nan, np.inf, 5.0, 1e-6, 150.0, "absorption", "sky [O I] 5579", True),
)


def posterior(**changes):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((E, D))
    z[0, 5:9] = np.nan
    values = {
        "wavelength": WAVE,
        "flux": rng.normal(size=D),
        "sigma": rng.uniform(size=D),
        "residual_z": z,
        "prior_fraction": rng.uniform(size=D),
        "class_prob": {"F": 0.1 + 0.2, "A": 0.7, "WD": 0.0},
        "latent": rng.normal(size=(S, 3)),
        "draws": rng.normal(size=(S, D)).astype(np.float32),
        "flags": frozenset({"NOT_CONVERGED", "OUT_OF_SUPPORT"}),
        "features": FEATURES,
        "data_flux": rng.normal(size=(E, D)),
        "data_ivar": rng.uniform(size=(E, D)),
        "method": "map",
        "name": "spec-1-2-3",
        "flux_unit": "1E-17 erg/cm^2/s/Ang",
        "meta": {"seed": 3, "objective": -1.5e-300, "converged": True, "file": "a.fits", "sha256": "f" * 64},
    }
    return Posterior(**values | changes)


def identical_chains(one, two):
    assert one.shape == two.shape and (one.thin, one.independent) == (two.thin, two.independent)
    pairs = [(one.parameters, two.parameters), (one.stats, two.stats)]
    pairs.append(
        tuple({k: v for k in ("log_likelihood", "predictive") if (v := getattr(x, k)) is not None} for x in (one, two))
    )
    for a, b in pairs:
        assert list(a) == list(b)
        for name in a:
            assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
            assert a[name].tobytes() == b[name].tobytes(), name


def identical(one, two):
    for field in fields(Posterior):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), field.name
            assert a.tobytes() == b.tobytes(), field.name
        elif field.name in ("meta", "class_prob"):
            assert list(a) == list(b)
            for key in a:
                assert type(a[key]) is type(b[key]), key
                assert repr(a[key]) == repr(b[key]), key
        elif field.name == "features":
            assert repr(a) == repr(b)
        else:
            assert a == b, field.name


MINIMAL = {
    "latent": None,
    "draws": None,
    "data_flux": None,
    "data_ivar": None,
    "class_prob": {},
    "flags": frozenset(),
    "features": (),
}
CASES = {
    "full": {},
    "nothing optional": MINIMAL,
    "one latent vector": {"latent": np.arange(3.0)},
    "a scalar latent": {"latent": np.array(1.5)},
    "no draws at all": {"draws": np.zeros((0, D), np.float32)},
    "no sigma": {"sigma": np.full(D, np.nan), "draws": None},
    "special numbers": {"flux": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.8e308] + [0.1] * (D - 6))},
    "single precision": {"flux": np.linspace(0, 1, D, dtype=np.float32), "wavelength": WAVE.astype(np.float32)},
    "half precision": {"sigma": np.linspace(0, 1, D).astype(np.float16)},
    "integers": {"latent": np.array([0, 2**63 - 1], np.int64)},
    "unsigned": {"latent": np.array([0, 2**32 - 1], np.uint32)},
    "truth values": {"latent": np.array([True, False])},
    "big-endian": {"flux": np.linspace(0, 1, D).astype(">f8")},
    "an uneven grid": {"wavelength": WAVE**1.01},
    "exotic texts": {
        "name": "δ Cas 'quoted' \"double\" \\ \n\t& <tag>",
        "flux_unit": "10⁻¹⁷ erg cm⁻² s⁻¹ Å⁻¹",
        "method": "",
        "meta": {"": "", " spaced ": " kept ", "ключ": "日本語 🌟", "long": "x" * 5000, "lines": "a\nb", "nul": "a\0b"},
    },
    "exotic numbers": {
        "meta": {
            "a": True,
            "b": 1,
            "c": 1.0,
            "d": -0.0,
            "e": 2**80,
            "f": 5e-324,
            "g": np.inf,
            "h": np.nan,
            "seed": 2**70,
        }
    },
    "exotic classes": {"class_prob": {"Å star": 1 / 3, "": 2 / 3, "WD ": 0.0, "x" * 200: 5e-324}},
    "one class": {"class_prob": {"A": 1.0}},
    "one feature without a name": {"features": (Feature(5000.0, 1.0, 0.1, 10.0, 0.0, 300.0, "absorption"),)},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_round_trip_is_exact(tmp_path, changes):
    post, path = posterior(**changes), tmp_path / "out.fits"
    write_posterior(post, path)
    again = read_posterior(path)
    native = {"flux": post.flux.astype(post.flux.dtype.newbyteorder("="))} if "flux" in changes else {}
    identical(posterior(**changes | native), again)


CHAINS = {
    "full": twin().chains,
    "independent draws": twin(independent=True).chains,
    "parameters only": Chains({"z": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 4, 3)}),
    "one draw": Chains({"ebv": np.array([[0.1]]), "class_index": np.array([[3]])}, {"diverging": np.array([[True]])}),
    "no exposures' terms": Chains({"z": np.ones((2, 4, 3)), "calibration": np.zeros((2, 4, 5, 0))}),
    "special numbers": Chains({"z": np.array([[np.nan, np.inf, -0.0, 5e-324]])}, {"lp": np.full((1, 4), -np.inf)}),
    "long names": Chains({"a_very_long_name_of_a_parameter": np.ones((1, 2)), "Capital": np.zeros((1, 2), np.int64)}),
}


@pytest.mark.parametrize("chains", CHAINS.values(), ids=CHAINS)
def test_chains_come_back_bit_by_bit(tmp_path, chains):
    write_posterior(posterior(chains=chains), tmp_path / "out.fits")
    again = read_posterior(tmp_path / "out.fits")
    identical_chains(chains, again.chains)
    identical(posterior(), replace(again, chains=None))
    with fits.open(tmp_path / "out.fits") as hdus:
        hdus.verify("exception")


def test_a_result_from_before_there_were_features_still_reads(tmp_path):
    write_posterior(posterior(features=()), tmp_path / "new.fits")
    with fits.open(tmp_path / "new.fits") as hdus:
        assert "FEATURES" not in hdus
        document = json.loads(hdus["META"].data["json"][0])
        assert document.pop("features") == []
        text = json.dumps(document)
        hdus["META"] = fits.BinTableHDU.from_columns(
            [fits.Column("json", f"{len(text)}A", array=np.array([text]))], name="META"
        )
        hdus.writeto(tmp_path / "old.fits")
    identical(posterior(features=()), read_posterior(tmp_path / "old.fits"))


def test_other_programs_find_the_features(tmp_path):
    write_posterior(posterior(), tmp_path / "out.fits")
    table = Table.read(tmp_path / "out.fits", hdu="FEATURES")
    assert table["wavelength_A"].unit == table["sigma_A"].unit == units.Angstrom
    assert table["width_kms"].unit == units.km / units.s
    assert table["near"].tolist() == ["H?", "sky [O I] 5579"] and table["terrestrial"].tolist() == [False, True]
    np.testing.assert_array_equal(table["significance"], [6.6, 5.0])


def test_numpy_scalars_in_meta_come_back_as_plain_ones(tmp_path):
    write_posterior(posterior(meta={"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True)}), tmp_path / "o.fits")
    assert dict(read_posterior(tmp_path / "o.fits").meta) == {"a": 0.5, "b": 3, "c": True}


def test_the_same_posterior_gives_the_same_bytes(tmp_path):
    for name in ("a.fits", "b.fits"):
        write_posterior(posterior(), tmp_path / name)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_other_programs_find_their_way(tmp_path):
    post, path = posterior(), tmp_path / "out.fits"
    write_posterior(post, path)
    table = Table.read(path, hdu="SPECTRUM")
    np.testing.assert_array_equal(table["wavelength"], post.wavelength)
    np.testing.assert_array_equal(table["flux"], post.flux)
    np.testing.assert_array_equal(table["sigma"], post.sigma)
    assert table["wavelength"].unit == units.Angstrom
    assert table["flux"].unit == 1e-17 * units.erg / units.cm**2 / units.s / units.Angstrom
    with fits.open(path) as hdus:
        hdus.verify("exception")
        wcs = WCS(hdus["FLUX"].header)
        seen = wcs.pixel_to_world_values(np.arange(D)) * wcs.wcs.cunit[0].to("Angstrom")
        np.testing.assert_allclose(seen, post.wavelength, rtol=1e-12)
        for row, probability in enumerate((0.05, 0.16, 0.5, 0.84, 0.95)):
            assert hdus["QUANTILES"].header[f"Q{row + 1}"] == probability
            np.testing.assert_allclose(hdus["QUANTILES"].data[row], post.quantile(probability), rtol=1e-6)
        head = hdus[0].header
        assert [head[key] for key in ("METHOD", "SEED", "INPUT", "INPUTSHA", "CLASS", "FLAGS")] == [
            "map",
            3,
            "a.fits",
            "f" * 64,
            "A",
            "NOT_CONVERGED,OUT_OF_SUPPORT",
        ]
        assert hdus["CLASS_PROB"].data["class"].tolist() == ["F", "A", "WD"]
        assert json.loads(hdus["META"].data["json"][0])["meta"] == dict(post.meta)


def test_an_existing_result_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "out.fits"
    write_posterior(posterior(), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"out\.fits: expected a new name"):
        write_posterior(posterior(name="other"), path)
    assert path.read_bytes() == before
    write_posterior(posterior(name="other"), path, overwrite=True)
    assert read_posterior(path).name == "other"


def test_a_failed_write_leaves_nothing(tmp_path):
    for changes in ({"meta": {"a": object()}}, {"latent": np.array([1j])}, {"latent": np.array(["x"])}):
        with pytest.raises(OutputError, match=r"out\.fits"):
            write_posterior(posterior(**changes), tmp_path / "out.fits")
    with pytest.raises(OutputError, match="existing folder"):
        write_posterior(posterior(), tmp_path / "no" / "out.fits")
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_results_are_refused(tmp_path):
    path = tmp_path / "out.fits"
    write_posterior(posterior(), path)
    content = path.read_bytes()
    spoilt = {
        "truncated": content[: len(content) // 2],
        "expected": content.replace(b"META    ", b"OTHER   "),
        "format 1, got 9": content.replace(b'"format": 1', b'"format": 9'),
        "sound FITS": content.replace(b'"format"', b"'format'"),
    }
    for text, wrong in spoilt.items():
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=text) as caught:
            read_posterior(path)
        assert "out.fits" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="found nothing of that name"):
        read_posterior(tmp_path / "none.fits")
