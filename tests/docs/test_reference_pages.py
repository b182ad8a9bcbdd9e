"""The command reference holds every command and every option of the program, in the words of its help pages."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
from reference_pages import MARK, command_page, commands

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = dict(re.findall(r"^## bayesden (\S+)\n(.*?)(?=^## |\Z)", command_page(), re.MULTILINE | re.DOTALL))


def test_page_has_the_mark() -> None:
    assert (DOCS / "reference" / "commands.md").read_text(encoding="utf-8").count(MARK) == 1


def test_every_command_has_a_section() -> None:
    assert list(SECTIONS) == list(commands())


@pytest.mark.parametrize("name", commands())
def test_every_option_is_described(name: str) -> None:
    headings = re.findall(r"^`([^`\n]+)`\n: \S", SECTIONS[name], re.MULTILINE)
    words = {word.rstrip(",") for heading in headings for word in heading.split()}
    for parameter in commands()[name].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            assert not option.startswith("-") or option in words, f"{name}: {option} is not on the page"
        if parameter.param_type_name == "argument":
            assert any(not heading.startswith("-") for heading in headings), f"{name}: no arguments on the page"


@pytest.mark.parametrize("name", commands())
def test_the_words_are_those_of_the_help_page(name: str) -> None:
    plain = re.sub(r"\\(?=[\W_])|[`\s]", "", SECTIONS[name])
    for parameter in commands()[name].params:
        if text := getattr(parameter, "help", None):
            assert re.sub(r"[`\\\s]", "", text).split("[default")[0] in plain


def test_default_values_and_markup_survive() -> None:
    assert r"\[default: 200; x\>=0\]" in SECTIONS["denoise"]
    assert "`-o, --out DIR`" in SECTIONS["denoise"]
    assert "OUT\\_OF\\_SUPPORT" in SECTIONS["denoise"]
