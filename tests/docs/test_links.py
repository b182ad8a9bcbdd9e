"""The checker of links finds what is broken, and nothing else."""

import runpy
from pathlib import Path

import pytest

CHECKER = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs/check_links.py"))


def site(root: Path, link: str) -> list[str]:
    (root / "part").mkdir()
    (root / "part/other page.html").write_text('<h1 id="h&amp;1">H</h1>', encoding="utf-8")
    (root / "index.html").write_text(f'<p id="here"></p>{link}', encoding="utf-8")
    return list(CHECKER["broken"](root))


SOUND = ["part/other%20page.html", "part/other%20page.html#h%261", "#here", "#", "part", "https://example.org/x#y"]
BROKEN = {"part/none.html": "a file", "part/other%20page.html#none": "an anchor", "#none": "an anchor"}


@pytest.mark.parametrize("link", SOUND)
def test_a_sound_link_passes(tmp_path: Path, link: str) -> None:
    assert site(tmp_path, f'<a href="{link}">x</a>') == []


@pytest.mark.parametrize("link", BROKEN)
def test_a_broken_link_is_named(tmp_path: Path, link: str) -> None:
    assert site(tmp_path, f'<a href="{link}">x</a>') == [f"index.html: {link}: expected {BROKEN[link]}" + {
        "a file": ", found none", "an anchor": " of that name, found none"}[BROKEN[link]]]  # fmt: skip


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    assert site(tmp_path, '<img src="_images/none.png">') == [
        "index.html: _images/none.png: expected a file, found none"
    ]
