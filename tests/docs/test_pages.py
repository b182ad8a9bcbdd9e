"""What the pages tell a reader to type: Python is run, commands are parsed by the program, and run where a page says so.

Blocks of a page run in order in one namespace and one folder, which has the example spectrum (also under the names that
pages give to a reader's own), results in `out`, and a noise flow. A comment before a block (MyST: `% ...`, README:
`<!-- ... -->`) says what else holds: `not run: REASON`, or for shell `run`.
"""

import argparse
import contextlib
import io
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from typer.main import get_command

import bayesden as bd
from bayesden.cli import main
from bayesden.cli.app import app
from bayesden.model.checkpoint import save_part

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if not {"_build", "measured", "tutorials"} & set(p.parts)),
]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
BLOCK = re.compile(
    r"(?:^(?:% *|<!-- *)(?P<note>[^\n]*?)(?: *-->)?\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
SHELL = ("bash", "shell", "console")


class Block(NamedTuple):
    """One fenced block of a page."""

    line: int
    language: str
    note: str
    text: str

    @property
    def reason(self) -> str:
        return self.note.partition("not run:")[2].strip()


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text[: found.start("text")].count("\n") + 1, found["language"], found["note"] or "", found["text"])
        for found in BLOCK.finditer(text)
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a shell block, without redirections; a loop's variable has its first value."""
    text = block.text.replace("\\\n", " ")
    for name, first in re.findall(r"\bfor (\w+) in (\S+)", text):
        text = text.replace(f"${name}", first)
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if words[:1] and words[-1] == "2" and ">" in word:
                    words.pop()
                if words:
                    yield words
                words = [] if not set(word) & set("<>") else ["into"]
            elif word not in ("do", "...", "…"):
                words.append(word)


def check(words: list[str]) -> None:
    """Refuse a command that the program, the baselines, make or pip would refuse."""
    while words and re.fullmatch(r"\w+=\S*", words[0]):
        words = words[1:]
    match words:
        case ["bayesden", name, *rest] if not name.startswith("-"):
            group = get_command(app)
            assert name in group.commands, f"no command {name}"
            command = group.commands[name]
            if not {"--help", "-h"} & set(rest):
                command.make_context(name, list(rest))
        case ["python", "-m", "baselines", name, *rest] if name.islower():
            from baselines.__main__ import COMMANDS

            parser = argparse.ArgumentParser(exit_on_error=False)
            COMMANDS[name][0].add_arguments(parser)
            if "--help" not in rest:
                parser.parse_args(rest)
        case ["make", *rest]:
            targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
            assert all(word in targets for word in rest if "=" not in word), rest
        case ["pip", "install", *rest]:
            asked = {extra for word in rest for part in re.findall(r"\[([\w,]+)\]", word) for extra in part.split(",")}
            assert asked <= EXTRAS, f"no extra {asked - EXTRAS}"


@pytest.fixture
def staged(
    workplace: Path, short: Path, results: object, beginning: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> Path:
    results("out")
    shutil.copy(short, workplace / "data" / short.name)
    bd.write_netcdf(beginning.post, workplace / "out" / "example-spec.nc")
    save_part("noise", beginning.model.noise, workplace / "noise.safetensors")
    monkeypatch.setenv("MPLBACKEND", "agg")
    return workplace


def runs(page: Path) -> list[Block]:
    found = [b for b in blocks(page) if not b.reason]
    return [b for b in found if b.language == "python" or (b.language in SHELL and b.note == "run")]


@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")  # ArviZ 0.23 with Matplotlib 3.11
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")  # of a few draws
@pytest.mark.parametrize("page", [p for p in PAGES if runs(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_page_runs(page: Path, staged: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in runs(page):
        if block.language == "python":
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec"), names)
            continue
        for words in commands(block):
            assert words[0] == "bayesden", f"{page.name}:{block.line}: only the program's own commands are run"
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(words[1:]) == 0, f"{page.name}:{block.line}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_are_those_of_the_program(page: Path) -> None:
    for block in blocks(page):
        for words in commands(block) if block.language in SHELL else ():
            try:
                check(list(words))
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{page.relative_to(ROOT)}:{block.line}: {' '.join(words)}: {error}") from None


def test_blocks_that_are_not_run_say_why() -> None:
    assert all(len(block.reason) > 5 for page in PAGES for block in blocks(page) if "not run" in block.note)


@pytest.mark.parametrize(
    "line",
    [
        "bayesden denoise spec-1.fits --colour red",
        "bayesden denoise",
        "bayesden denoise spec-1.fits --mask-policy maybe > log",
        "bayesden polish spec-1.fits",
        "python -m baselines compare --colour red",
        "make coffee",
        "pip install 'bayesden[train]'",
        "test -e x || bayesden plot out.fits --samples 3",
    ],
)
def test_wrong_command_is_found(line: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        for words in commands(Block(1, "bash", "", line)):
            check(words)


def test_shell_is_cut_into_commands() -> None:
    first = "OMP_NUM_THREADS=1 bayesden fetch x 2> failed.txt || test $? -eq 1  # why\n"
    text = first + "for L in 6 8; do\n  bayesden f --d $L \\\n -o b\ndone\n"
    found = list(commands(Block(1, "bash", "", text)))
    assert ["OMP_NUM_THREADS=1", "bayesden", "fetch", "x"] in found
    assert ["bayesden", "f", "--d", "6", "-o", "b"] in found
