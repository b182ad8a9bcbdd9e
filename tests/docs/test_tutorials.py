"""The tutorials without running them, which `make docs` does: they parse, fit the page, and name only what exists."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

import bayesden
from bayesden.cli.app import app

FOLDER = Path(__file__).resolve().parents[2] / "docs/tutorials"
TUTORIALS = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
WIDTH = 110  # characters that a page shows without scrolling
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.M | re.S)


def cells(path: Path) -> list[str]:
    return CELL.findall(path.read_text(encoding="utf-8"))


def python(path: Path) -> list[ast.Module]:
    return [ast.parse(cell) for cell in cells(path) if not cell.startswith("%%")]


def shell(path: Path) -> list[list[str]]:
    """The commands of this package in a notebook's shell cells, without redirections."""
    lines = [
        line for cell in cells(path) if cell.startswith("%%bash\n") for line in cell.replace("\\\n", "").split("\n")
    ]
    lines = [re.split(r"\s(?:2?>|\|\||&)", line)[0] for line in lines if line.startswith("bayesden ")]
    return [shlex.split(line)[1:] for line in lines]


def test_there_are_seven_and_the_index_has_them_all() -> None:
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert len(TUTORIALS) == 7
    for path in TUTORIALS:
        assert f"]({path.name})" in index and f"\n{path.stem}\n" in index, path.stem
    assert not list(FOLDER.rglob("*.ipynb")), "notebooks are text here; outputs are made when the pages are"


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_a_notebook_that_fits_the_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n")
    assert f"{{nb-download}}`{path.stem}.ipynb`" in text, "the link to the notebook"
    assert len(cells(path)) == text.count("{code-cell}") > 5
    assert python(path)
    for cell in cells(path):
        assert not re.search(r"(?<![\w.:/])/(?:work|tmp|home|usr|root)/", cell), "an absolute path"
        assert max(map(len, cell.splitlines())) <= WIDTH, max(cell.splitlines(), key=len)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_name_of_the_package_in_a_tutorial_exists(path: Path) -> None:
    for node in (node for tree in python(path) for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in ("bayesden", "baselines"):
            module = importlib.import_module(node.module)
            assert [a.name for a in node.names if not hasattr(module, a.name)] == [], node.module
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "bd":
            assert node.attr in bayesden.__all__


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_command_in_a_tutorial_has_the_options_that_it_uses(path: Path) -> None:
    commands = typer.main.get_command(app).commands
    for name, *words in shell(path):
        known = {option for p in commands[name].params for option in (*p.opts, *p.secondary_opts)}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known, f"bayesden {name}: {used - known}"
