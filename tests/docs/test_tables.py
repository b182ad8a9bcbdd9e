"""Tables that repeat what pyproject.toml says: extras on the install page, dependencies in the design record."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DESIGN = (ROOT / "docs" / "reference" / "design.md").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
MODULES = {"pyro-ppl": "pyro"}  # where the module is not called as the package


def package(requirement: str) -> str:
    return re.match(r"[\w-]+", requirement)[0]


REQUIRED = {package(line) for line in PROJECT["dependencies"]}
OPTIONAL = {
    (package(line), extra)
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
    if package(line) != PROJECT["name"]
}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins so."""
    body = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in body]


def imported(path: Path) -> set[str]:
    """The packages that a file imports."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
    return {name.partition(".")[0] for name in names}


PACKAGE = ROOT / "bayesden"
IMPORTS = {str(path.relative_to(PACKAGE)): imported(path) for path in sorted(PACKAGE.rglob("*.py"))}


def importers(module: str) -> list[str]:
    """The files of the package that import a module, as they are written in the table."""
    return [file for file, modules in IMPORTS.items() if module in modules]


def test_extras() -> None:
    named = [row[0].strip("`") for row in rows(INSTALL, "| extra |")]
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])


def test_every_dependency_has_its_reason() -> None:
    assert {row[0].strip("`") for row in rows(DESIGN, "| package | for, ")} == REQUIRED
    assert {(row[0].strip("`"), row[1].strip("`")) for row in rows(DESIGN, "| package | extra |")} == OPTIONAL


@pytest.mark.parametrize(
    "name, places",
    [
        (row[0].strip("`"), row[-1])
        for head in ("| package | for, ", "| package | extra |")
        for row in rows(DESIGN, head)
    ],
)
def test_dependency_is_met_where_it_says(name: str, places: str) -> None:
    where = tuple(re.findall(r"`([^`]+)`", places))
    files = importers(MODULES.get(name, name.replace("-", "_")))
    if places != "everywhere":
        assert [file for file in files if not file.startswith(where)] == []


def test_importers_are_found() -> None:
    assert importers("arviz") == ["io/inference_data.py"]
    assert "model/joint.py" in importers("pyro")


MEASURED = ("baselines", "benchmarks", "calibration", "claims", "galaxies", "quality")
COMMAND = re.compile(r"make (bench|statistical|test|demo)|bayesden [a-z-]+ |python -m baselines")


@pytest.mark.parametrize("name", MEASURED)
def test_measured_numbers_have_their_command(name: str) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for section in re.split(r"^(?=##? )", text, flags=re.MULTILINE):
        rows = re.findall(r"^\|.*[\d.]+(?:e-?\d+)? (?:%|\|).*$|^```\{include\}", section, re.MULTILINE)
        assert not rows or COMMAND.search(section), f"{name}: {section.splitlines()[0]}: {rows[0]}"
