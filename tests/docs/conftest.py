"""What the examples of docstrings and pages start from: the example spectrum, the shipped model, and one posterior."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bayesden as bd

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "data" / "example-spec.fits"
STAND_INS = ("spec-4961-55719-0378.fits", "spec-1.fits", "spec-2.fits", "spec-lite.fits")  # as which it is there too


@pytest.fixture(scope="session")
def beginning() -> SimpleNamespace:
    """The names that examples may use without making them."""
    obs, model = bd.read(EXAMPLE), bd.load_model()
    post = bd.denoise(obs, model, method="laplace", samples=200)
    return SimpleNamespace(np=np, bd=bd, obs=obs, model=model, post=post)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example spectrum, also under the names that pages give to a reader's own file."""
    (tmp_path / "data").mkdir()
    for name in (f"data/{EXAMPLE.name}", *STAND_INS):
        shutil.copy(EXAMPLE, tmp_path / name)
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
