"""What `bayesden inspect` says of a run's files: folders and tables of results, manifests, chains."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from .console import say

__all__ = ["show_chains", "show_facts", "show_parquet", "show_run", "show_table_of_results"]

REASONS = 5  # that are named
SECONDS = {"reading": "read_s", "fitting": "fit_s", "writing": "write_s"}


def show_facts(facts: Mapping[str, object]) -> None:
    """Names and values, those that are known."""
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, known), default=0)
    for name, value in known.items():
        say(f"  {name:<{width}}  {value}")


def _counts(counter: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def show_run(path: Path) -> None:
    """A folder of results, or one of its two manifests."""
    from ..survey.overview import overview

    view = overview(path)
    total = view.status.total()
    say(
        f"{path}: {'results' if path.is_dir() else 'the manifest'} of a run, {total} spectr{'um' if total == 1 else 'a'}"
    )
    made = {
        name: ", ".join(sorted(str(value) for value in values if value is not None))
        for name, values in view.runs.items()
    }
    show_facts(
        {
            "status": ", ".join(f"{count} {name}" for name, count in view.status.most_common()),
            "classes": _counts(view.classes),
            "flags": _counts(view.flags) or "none",
            **{name: made.get(name) for name in ("method", "model", "device", "seed")},
        }
    )
    for reason, count in view.reasons.most_common(REASONS):
        say(f"  {count} x {reason}")


def show_parquet(path: Path) -> None:
    """A manifest, or the timing beside it."""
    from ..survey.manifest import TIMING, read_rows

    if path.name != TIMING:
        show_run(path)
        return
    rows = list(read_rows(path, (*SECONDS.values(), "host")))
    say(f"{path}: the timing of a run, {len(rows)} spectr{'um' if len(rows) == 1 else 'a'}")
    hosts = ", ".join(sorted({row["host"] for row in rows if row["host"]}))
    total = {word: f"{sum(row[key] for row in rows):.1f} s" for word, key in SECONDS.items()}
    show_facts({**total, "hosts": hosts})


def show_table_of_results(path: Path) -> None:
    """Many results in one file."""
    from ..io import read_posteriors

    posts = read_posteriors(path)
    if not posts:
        raise InputError(f"{path}: expected a table of results, got one without any")
    grid, flags = posts[0].wavelength, Counter(flag for post in posts for flag in post.flags)
    say(f"{path}: a table of {len(posts)} results of bayesden")
    show_facts(
        {
            "objects": ", ".join(post.name for post in posts[:3]) + ", ..." * (len(posts) > 3),
            "method": ", ".join(sorted({post.method for post in posts})),
            "model": ", ".join(sorted({str(post.meta["model"]) for post in posts if "model" in post.meta})),
            "classes": _counts(Counter(post.best_class for post in posts if post.best_class)),
            "flags": _counts(flags) or "none",
            "pixels": f"{grid.size}, {grid[0]:.0f} to {grid[-1]:.0f} Angstrom, vacuum",
            "flux unit": posts[0].flux_unit,
            "draws": None if posts[0].draws is None else len(posts[0].draws),
        }
    )


def show_chains(path: Path) -> None:
    """Draws of all parameters, as ArviZ has them."""
    from ..io.inference_data import read_chains

    facts = read_chains(path)
    sizes = facts["sizes"]
    say(f"{path}: chains of {facts.get('name', 'a star')}, for ArviZ")
    show_facts(
        {
            "chains": f"{sizes.get('chain')} of {sizes.get('draw')} draws",
            "method": facts.get("method"),
            "model": facts.get("model"),
            "parameters": ", ".join(facts["parameters"]),
            "groups": ", ".join(facts["groups"]),
            "worth": None
            if "r_hat" not in facts
            else f"R-hat {facts['r_hat']:.3f}, effective draws {facts['ess_bulk']:.0f}",
            "seed": facts.get("seed"),
        }
    )
