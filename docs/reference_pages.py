"""The part of the reference that is written when the docs are built: the pages of `--help`, and readable signatures.

A line `<!-- commands -->` of a page becomes one section for each command of the program: what its help page says, and a
list of its arguments and options as the help page names and describes them.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike, NDArray
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from bayesden.cli.app import app as program

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__all__ = ["command_page", "commands", "setup"]

MARK = "<!-- commands -->"
NAME = "bayesden"
SHORT = {"NDArray": NDArray, "ArrayLike": ArrayLike}  # what these stand for is half a page


def commands() -> dict[str, TyperCommand]:
    """The program's commands by name, in the order of its help page."""
    group = get_command(program)
    return {name: group.commands[name] for name in group.list_commands(group.context_class(group))}


def command_page() -> str:
    """All help pages as Markdown: the program's own, then a section for each command."""
    group = get_command(program)
    context = group.context_class(group, info_name=NAME, **group.context_settings)
    sections = [_section(group, context, NAME)]
    for name, command in commands().items():
        inner = command.context_class(command, info_name=name, parent=context, **command.context_settings)
        sections.append(_section(command, inner, f"{NAME} {name}"))
    return "\n\n".join(sections)


def _section(command: TyperCommand | TyperGroup, context: object, title: str) -> str:
    usage = " ".join([title, *command.collect_usage_pieces(context)])
    parts = [f"## {title}", f"```text\n{usage}\n```", *_paragraphs(command.help or "")]
    for heading, kind in (("Arguments", "argument"), ("Options", "option")):
        records = [p.get_help_record(context) for p in command.get_params(context) if p.param_type_name == kind]
        if rows := [record for record in records if record]:
            parts += [f"**{heading}**", *(f"{_code(name)}\n: {_prose(text)}" for name, text in rows)]
    return "\n\n".join(parts)


def _paragraphs(text: str) -> Iterator[str]:
    r"""Prose, and what stands under a ``\b`` as it is: commands as shell, the rest as plain text."""
    for block in re.split(r"\n\s*\n", text.strip()):
        mark, _, verbatim = block.partition("\n")
        if mark != "\b":
            yield _prose(" ".join(block.split()))
            continue
        lines = [line.removeprefix("  ") for line in verbatim.splitlines()]
        yield "\n".join([f"```{'bash' if lines[0].startswith(NAME) else 'text'}", *lines, "```"])


def _code(text: str) -> str:
    return f"`{text}`"


def _prose(text: str) -> str:
    """Text in which only `code` between backticks means anything; options and file names become code too."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else _escape(piece) for piece in pieces)


def _escape(text: str) -> str:
    text = re.sub(r"([\\*_<>$\[\]{}|#@^~])", r"\\\1", text)
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*", lambda found: _code(found[0]), text)


def _insert(app: "Sphinx", page: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, command_page())


def _shorten(app: "Sphinx", what: str, name: str, obj: object, options: object, signature: str, returns: str) -> tuple:
    from sphinx.util.typing import stringify_annotation

    texts = [(text or "").replace("<factory>", "{}") for text in (signature, returns)]
    for short, kind in SHORT.items():
        texts = [text.replace(stringify_annotation(kind, "smart"), short) for text in texts]
    return tuple(text or None for text in texts)


def setup(app: "Sphinx") -> dict[str, bool]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("source-read", _insert)
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
