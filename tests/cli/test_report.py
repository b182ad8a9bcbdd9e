"""`bayesden report`."""

import pytest

from bayesden.cli.app import _line
from bayesden.cli.report import MAX_MB
from bayesden.io import write_posterior, write_posteriors
from bayesden.report import html
from tests.twin import twin


@pytest.fixture
def results(tmp_path):
    """A folder with a result, a table of two more, a file that is none, and one that is not looked at."""
    folder = tmp_path / "out"
    (folder / "more").mkdir(parents=True)
    write_posterior(twin(name="one"), folder / "one.fits")
    tables = [twin(name=name, draws=None, chains=None) for name in ("two", "three")]
    write_posteriors(tables, folder / "more" / "chunk-000000.fits")
    (folder / "text.fits").write_text("hello")
    (folder / "manifest.jsonl").write_text("{}")
    return folder


def test_one_result(bayesden, results, model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = bayesden("report", "out/one.fits", "--model", model_file)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert ran == (0, f"report.html: 1 spectrum, {len(text.encode()) / 1e6:.1f} MB\n", "")
    assert '"file": ["out/one.fits"]' in text and "could not be read" not in text


def test_a_folder_with_a_table_and_a_file_that_cannot_be_read(bayesden, results, model_file, tmp_path):
    page = tmp_path / "new" / "page.html"
    ran = bayesden("report", results, results / "one.fits", "--model", model_file, "-o", page, "--title", "Night <1>")
    assert ran.status == 1 and ran.out.startswith(f"{page}: 3 spectra, ")
    named, summary = ran.err.splitlines()
    assert named.startswith(f"error: {results / 'text.fits'}: expected a FITS file") and summary.endswith(
        "1 of 3 files failed"
    )
    text = page.read_text("utf-8")
    assert '"name": ["one", "two", "three"]' in text and "<title>Night &lt;1&gt;</title>" in text
    assert f"<li>{results / 'text.fits'}: expected a FITS file" in text


def test_a_page_that_exists_is_replaced_only_with_overwrite(bayesden, results, model_file, tmp_path):
    page, words = tmp_path / "page.html", ("report", results / "one.fits", "--model", model_file, "--out")
    page.write_text("mine")
    ran = bayesden(*words, page)
    assert ran.status == 2 and "--overwrite" in ran.err and len(ran.err.splitlines()) == 1
    assert page.read_text() == "mine"
    assert bayesden(*words, page, "--overwrite").status == 0
    first = page.read_bytes()
    assert bayesden(*words, page, "--overwrite").status == 0 and page.read_bytes() == first


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("text.fits",), "expected at least one result to show, found none in 1 file"),
        (("missing",), "expected at least one result to show"),
        (("one.fits", "--out", "page.fits"), "expected a name that ends in .html"),
        (("one.fits", "--model", "nothing"), "expected a model file"),
        (("one.fits", "--max-mb", "1"), "expected more than 2 MB"),
    ],
)
def test_what_cannot_be_done_is_status_2_and_leaves_nothing(
    bayesden, results, model_file, monkeypatch, words, expected
):
    monkeypatch.chdir(results)
    model = () if "--model" in words else ("--model", model_file)
    ran = bayesden("report", *words, *model)
    assert ran.status == 2 and expected in ran.err.splitlines()[-1] and "Traceback" not in ran.err
    assert not list(results.glob("*.html"))


def test_what_is_left_out_is_said(bayesden, results, model_file, tmp_path):
    ran = bayesden("report", results / "more", "--model", model_file, "-o", tmp_path / "p.html", "--max-mb", 2.0005)
    assert ran.status == 0
    assert ran.out.splitlines()[1:] == ["2 of them, the last, in the table only, to keep below --max-mb"]


def test_a_missing_bokeh_is_one_line():
    assert _line(ModuleNotFoundError(name="bokeh.embed")) == "this needs the package bokeh: install bayesden[report]"
    assert MAX_MB == html.MAX_MB
