"""What the examples of docstrings and pages start from: the example spectrum, the shipped model, and one posterior."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

import bayesden as bd

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "data" / "example-spec.fits"
KEPT = ("00100003", "00100004")  # exposures of the shorter one
STAND_INS = ("spec-4961-55719-0378.fits", "spec-1.fits", "spec-2.fits", "spec-lite.fits")  # as which it is there too


@pytest.fixture(scope="session")
def beginning() -> SimpleNamespace:
    """The names that examples may use without making them."""
    obs, model = bd.read(EXAMPLE), bd.load_model()
    post = bd.denoise(obs, model, method="laplace", samples=200)
    return SimpleNamespace(np=np, bd=bd, obs=obs, model=model, post=post)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with two of its exposures, one of them without its blue arm: half of the time to fit."""
    path = tmp_path_factory.mktemp("short") / EXAMPLE.name
    with fits.open(EXAMPLE) as hdus:
        kept = fits.HDUList([*hdus[:4]] + [hdu for hdu in hdus[4:] if hdu.name[3:11] in KEPT])
        listed = [card for card in kept[0].header["EXPID*"].cards if card.value[3:11] not in KEPT]
        for card in listed:
            del kept[0].header[card.keyword]
        kept.writeto(path)
    return path


@pytest.fixture
def workplace(tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example spectrum, and a shorter one under the names that pages give to a reader's own file."""
    (tmp_path / "data").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "data" / EXAMPLE.name)
    for name in STAND_INS:
        shutil.copy(short, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def results(workplace: Path, beginning: SimpleNamespace) -> Callable[[str], None]:
    """Puts the posterior's file and its chains where a page expects results."""

    def put(folder: str) -> None:
        (workplace / folder).mkdir(exist_ok=True)
        for name in ("example-spec", *(Path(stand_in).stem for stand_in in STAND_INS)):
            bd.write_posterior(beginning.post, workplace / folder / f"{name}.fits", overwrite=True)

    return put
