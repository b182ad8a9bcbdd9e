"""What is published holds what it should, and nothing else."""

import re
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import bayesden

ROOT = Path(__file__).resolve().parent.parent
TOP = {"bayesden", "baselines", "tests", "docs", "data", ".ci"}

pytest.importorskip("hatchling", reason="hatchling builds sdist and wheel: make venv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hatchling.builders.sdist import SdistBuilder

    return Path(next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("sdist")))))


def sources(folder: str) -> set[str]:
    """Files of a folder that are in the repository's care."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not {"__pycache__", "_build"} & set(path.parts)}


def test_the_wheel_is_the_package_with_its_model_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name for name in names if name.startswith("bayesden/")}
    assert package == sources("bayesden")
    assert {"bayesden/py.typed", "bayesden/pretrained/sdss-10class.safetensors"} <= package
    rest = {name.partition("/")[0] for name in names - package}
    assert rest == {f"bayesden-{bayesden.__version__}.dist-info"}
    assert wheel.stat().st_size < 20e6


def test_metadata_are_those_of_the_project(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folder = f"bayesden-{bayesden.__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    assert metadata["Name"] == "bayesden" and metadata["Version"] == bayesden.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert "bayesden = bayesden.cli:main" in scripts
    assert {"arviz", "report", "specutils", "survey", "dask", "fetch"} <= set(metadata.get_all("Provides-Extra"))


def test_the_sdist_has_what_its_tests_and_docs_need(sdist):
    with tarfile.open(sdist) as archive:
        members = [name.partition("/")[2] for name in archive.getnames()]
    for folder in ("bayesden", "baselines", "tests", "data"):
        assert sources(folder) <= set(members), folder
    files = {"pyproject.toml", "Makefile", "constraints.txt", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md"}
    assert files <= set(members) and {"docs/conf.py", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md"} <= set(members)
    folders = {name.partition("/")[0] for name in members if "/" in name}
    assert folders == TOP and not [name for name in members if "_build/" in name or name.endswith(".pyc")]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == bayesden.__version__
    assert re.search(rf"^version: {re.escape(bayesden.__version__)}$", citation, re.M)
    assert bayesden.__version__ in (ROOT / "CHANGELOG.md").read_text()
