"""The card of a trained model, as a page to read: what it is, what it was trained on, and what was measured."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from ..io.files import write_bytes
from ..model.checkpoint import read_header

__all__ = ["card_page", "read_scores", "write_card"]


def _table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)]


def _flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings as (dotted name, value) rows."""
    rows: list[tuple[str, object]] = []
    for name, value in settings.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return rows


def _is_table(score: object) -> bool:
    return isinstance(score, Mapping) and bool(score) and all(isinstance(row, Mapping) for row in score.values())


def _title(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _comparisons(scores: Mapping[str, Mapping]) -> list[list[str]]:
    """A section for each score that has rows of columns, such as candidates by what they were compared on."""
    sections = []
    for name, rows in scores.items():
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        cells = [(key, *(f"{row[c]:.6g}" if c in row else "" for c in columns)) for key, row in rows.items()]
        sections += [[_title(name) + ":", "", *_table(("", *columns), cells)]]
    return sections


def _calibration(found: Mapping | None) -> list[list[str]]:
    """What `bayesden evaluate` found, if it was stored."""
    if found is None:
        return []
    rows = []
    for method, engine in found["engines"].items():
        share = engine["coverage"]["groups"]["all"]["share"]
        verdict = ("passed" if passed else "failed" for passed in engine["passed"].values())
        rows.append((method, *(f"{100 * value:.1f}" for value in share.values()), *verdict))
        columns = ("engine", *share, *engine["passed"])
    snr = ", ".join(f"{value:g}" for value in found["snr"])
    text = f"{found['simulations']} stars drawn from the model itself, S/N {snr}; coverage of the flux in percent, and tests:"
    return [["## Calibration", "", text], _table(columns, rows)]


def card_page(name: str, header: Mapping) -> str:
    """A Markdown page from a model file's header.

    Arguments:
        name: The model's name.
        header: As `read_header` gives it.
    """
    card = header["card"]
    scores = card.get("scores", {})
    reconstruction = scores.get("reconstruction", {})
    tables = {key: rows for key, rows in scores.items() if _is_table(rows)}
    other = _flat({key: value for key, value in scores.items() if key not in ("reconstruction", *tables)})
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
        *_comparisons(tables),
        *_calibration(card.get("calibration")),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def read_scores(path: Path) -> dict:
    """Scores for a card from a JSON file: numbers, or tables of rows of columns of numbers.

    Raises:
        InputError: if the file holds something else.
    """
    try:
        scores = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected scores as JSON, got a file that cannot be read ({error})") from None
    numbers = [value for _, value in _flat(scores)] if isinstance(scores, dict) else [None]
    if not all(isinstance(value, int | float) for value in numbers):
        raise InputError(f"{path}: expected scores by name, numbers or tables of them, got something else")
    return scores


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
