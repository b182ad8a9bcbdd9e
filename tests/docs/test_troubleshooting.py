"""Every message that the troubleshooting page quotes is one that the source can still print."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^`([^`\n]+)`$\n: ", PAGE, re.MULTILINE)
HOLE = "…"


def templates(tree: ast.AST) -> list[str]:
    """Every text of a file, with `…` where something is put in."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values]
            found.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


SOURCE = [
    text
    for path in sorted((ROOT / "bayesden").rglob("*.py"))
    for text in templates(ast.parse(path.read_text(encoding="utf-8")))
]


def is_said(message: str) -> bool:
    """Whether the parts of a message that never change stand in one text, or in several that are put together."""
    parts = [part.strip(" :,'()") for part in message.split(HOLE)]
    parts = [part for part in parts if len(part) > 3]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    return bool(parts) and max(map(len, parts)) > 9 and any(pattern.search(text) for text in SOURCE)


@pytest.mark.parametrize("message", QUOTED)
def test_message_is_still_said(message: str) -> None:
    assert is_said(message)


def test_page_quotes_many() -> None:
    assert len(QUOTED) > 40 and len(QUOTED) == len(set(QUOTED))


@pytest.mark.parametrize("message", ["…: expected a purple file, got …", "… got …", "…: expected a FITS file, found …"])
def test_other_message_is_not_said(message: str) -> None:
    assert not is_said(message)
