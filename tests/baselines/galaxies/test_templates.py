import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import numpy as np
import pytest

from baselines.__main__ import main
from baselines.galaxies import templates as module
from baselines.galaxies.bed import Bed
from baselines.galaxies.populations import Populations
from bayesden.errors import InputError

needs_ppxf = pytest.mark.skipif(find_spec("ppxf") is None, reason="ppxf is not installed: the optional extra 'galaxy'")


def absent(name):
    raise PackageNotFoundError(name)


def test_without_the_extra_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(module, "version", absent)
    monkeypatch.setattr(sys, "argv", ["baselines", "galaxies"])
    assert main() == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "bayesden[galaxy]" in message and "non-commercial" in message


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(module, "version", lambda name: "9.5.2")
    with pytest.raises(InputError, match=r"expected ppxf 8\.2\.6, got 9\.5\.2"):
        module.read_emiles()


@needs_ppxf
def test_populations_are_read():
    found = module.read_emiles()
    assert found.flux.shape[0] == len(found) == 150 and (found.flux > 0).all()
    assert len(np.unique(found.log_age)) == 25 and len(np.unique(found.metallicity)) == 6
    assert found.wavelength[0] < 3600 and found.wavelength[-1] > 7200
    red = found.flux[:, -100:].mean(1) / found.flux[:, :100].mean(1)
    assert (np.diff(red.reshape(6, 25)[:, ::8], axis=1) > 0).all()  # the older the redder


@needs_ppxf
@pytest.mark.filterwarnings("ignore:.*:SyntaxWarning")
def test_fits_find_the_populations_of_noiseless_galaxies(templates):
    bed = Bed.of(templates)
    fits = Populations(bed)
    weight = np.eye(len(templates))[[3, 9, 19]]
    flux = bed.spectra(weight, np.array([80.0, 150.0, 220.0]))
    np.testing.assert_allclose(fits.fit(flux, bed.sigma(flux, 100.0)), fits.means(weight), atol=0.1)
