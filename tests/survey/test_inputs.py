"""From what a user names to files."""

from pathlib import Path

import pytest

from bayesden.errors import InputError
from bayesden.survey.inputs import find_inputs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b/spec-2.fits",
        "b/spec-1.fits.gz",
        "a.fits",
        "b/c/spec-3.FITS",
        "b/notes.md",
        "out/a.fits",
        "[x].fits",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(tree: Path, *words: object) -> list[str]:
    paths = find_inputs([str(word) for word in words], tree / "out")
    assert all(Path(path).is_absolute() for path in paths)
    return [str(Path(path).relative_to(tree)) for path in paths]


def test_a_folder_is_searched_in_order_and_without_the_results(tree):
    assert found(tree, tree) == ["[x].fits", "a.fits", "b/spec-1.fits.gz", "b/spec-2.fits", "b/c/spec-3.FITS"]


def test_globs_are_expanded_unless_there_is_such_a_file(tree):
    assert found(tree, tree / "b" / "spec-*") == ["b/spec-1.fits.gz", "b/spec-2.fits"]
    assert found(tree, tree / "**" / "spec-3.*") == ["b/c/spec-3.FITS"]
    assert found(tree, tree / "[x].fits") == ["[x].fits"]


def test_a_list_holds_files_folders_and_globs(tree, monkeypatch):
    monkeypatch.chdir(tree)
    (tree / "list.txt").write_text("# stars\n\na.fits\n  b  \nb/c/*.FITS\nnone.fits\n")
    expected = ["a.fits", "b/spec-1.fits.gz", "b/spec-2.fits", "b/c/spec-3.FITS", "none.fits"]
    assert found(tree, "list.txt") == found(tree, "@list.txt") == expected
    with pytest.raises(InputError, match=r"none\.txt: expected a file"):
        find_inputs(["@none.txt"], tree / "out")


def test_each_file_comes_once_and_a_missing_one_stays(tree):
    assert found(tree, tree / "a.fits", tree / "b" / ".." / "a.fits", tree / "gone.fits", tree / "a.fits") == [
        "a.fits",
        "gone.fits",
    ]


def test_what_holds_no_spectrum_stays_itself(tree):
    (tree / "empty").mkdir()
    assert found(tree, tree / "empty", tree / "*.none") == ["empty", "*.none"]
