"""Names of files and texts in headers reach neither a path nor a shell nor the terminal as anything but text."""

import os

import pytest

import bayesden as bd

NAMES = (
    "$(touch pwned).fits",
    "`touch pwned`; touch pwned.fits",
    "-rf.fits",
    "<script>alert(1)<",
    "a\nb.fits",
    "\x1b[2J\x1b[31mred.fits",
    "$\\frac{$.fits",
    "%s%n{0}{x!r}.fits",
    "caf\udce9.fits",
    "'\"&|*?.fits.gz",
    "星.fits",
)  # fmt: skip
TEXTS = (
    "../../../../tmp/pwned",
    "/etc/passwd",
    "$(touch pwned)",
    "<script>alert(1)</script>",
    "{0.__class__}",
    "a;b|c&d",
)


def files_below(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_names_of_files(bayesden, star, model_file, here, tmp_path):
    paths = [star(f"in/{name}") for name in NAMES]
    if os.fsencode(paths[8].name) != b"caf\xe9.fits":
        pytest.skip("file names are not bytes here")
    ran = bayesden("denoise", *paths, "--plot", "--model", model_file, "--out", "out", "--overwrite")
    assert ran.status == 0, ran.err
    stems = [name.removesuffix(".gz").removesuffix(".fits") for name in NAMES]
    results = {path.name for path in (here / "out").iterdir()}
    assert {f"{stem}{end}" for stem in stems for end in (".fits", ".png")} <= results
    assert all(path.parts[0] == "out" for path in files_below(here))
    assert len(list((tmp_path / "in").iterdir())) == len(NAMES)
    assert (ran.out + ran.err).replace("\n", "").isprintable()
    ran = bayesden("inspect", here / "out" / f"{stems[5]}.fits")
    assert ran.status == 0 and ran.out.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", TEXTS)
def test_texts_in_headers(bayesden, star, model_file, here, text):
    facts = {"CLASS": text, "SUBCLASS": text, "OBJID": text}
    path = star("in/plain.fits", facts=facts, cards={"OBJECT": text, "RUN2D": text, "BUNIT": text, "PLUG_RA": text})
    ran = bayesden("denoise", path, "--plot", "--model", model_file, "--out", "out")
    assert (ran.status, ran.err) == (0, "")
    assert [str(name) for name in files_below(here) if name.name.startswith("plain")] == [
        "out/plain.fits",
        "out/plain.png",
    ]
    assert all(name.parts[0] == "out" for name in files_below(here))
    assert bd.read_posterior(here / "out" / "plain.fits").name == "plain"
    assert bayesden("inspect", path).status == 0


def test_a_bad_name_in_an_error_is_one_line(bayesden, model_file, here):
    ran = bayesden("inspect", "\x1b[2Jno\nsuch.fits")
    assert ran.status == 2 and ran.err.count("\n") == 1 and ran.err[:-1].isprintable()
