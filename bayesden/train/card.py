"""The card of a trained model, as a page to read: what it is, what it was trained on, and what was measured."""

from collections.abc import Mapping
from pathlib import Path

from ..io.files import write_bytes
from ..model.checkpoint import read_header

__all__ = ["card_page", "write_card"]


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]


def _flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings as (dotted name, value) rows."""
    rows: list[tuple[str, object]] = []
    for name, value in settings.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return rows


def card_page(name: str, header: Mapping) -> str:
    """A Markdown page from a model file's header.

    Arguments:
        name: The model's name.
        header: As `read_header` gives it.
    """
    card = header["card"]
    scores = card.get("scores", {})
    reconstruction = scores.get("reconstruction", {})
    other = [(key, value) for key, value in _flat(scores) if not key.startswith("reconstruction.")]
    sources = [(s["name"], s["licence"], f"`{s['sha256']}`") for s in card.get("sources", [])]
    medians = [tuple(f"{value:.2e}" for value in reconstruction.values())]
    sections = [
        [f"# {name}", "", f"Classes: {', '.join(header['classes'])}. Checksum: `{header['sha256']}`."],
        ["Licence: " + card.get("licence", "not stated") + "."],
        ["## Recipe", "", *_table(("setting", "value"), _flat(card.get("recipe", {})))],
        ["## Training library", "", *_table(("setting", "value"), _flat(card.get("library", {})))],
        ["## Sources", "", *_table(("file", "licence", "sha256"), sources)],
        ["## Held-out scores", "", "Median over the test split of the mean squared error of G(E(s)), mean |flux| = 1:"],
        _table(tuple(reconstruction), medians),
        ["Noise, on validation exposures:", "", *_table(("figure", "value"), [(k, f"{v:.4g}") for k, v in other])],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def write_card(path: str | Path) -> Path:
    """Write the card of a model file beside it, with the suffix ``.md``.

    Raises:
        ModelError: if it is not a model file.
        OutputError: if the folder cannot be written.
    """
    path = Path(path)
    page = path.with_suffix(".md")
    write_bytes(page, card_page(path.stem, read_header(path)).encode(), overwrite=True)
    return page
