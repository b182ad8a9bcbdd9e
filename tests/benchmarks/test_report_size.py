"""How large a report is, how long a browser takes to show it, and how long the program takes to make it.

The spectra are copies of the example's result, and of its three variants of two, six and ten exposures, under other names:
each is packed by itself, so that nothing is saved by their being alike.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bayesden import Posterior, denoise, load_model, read
from bayesden.report.html import Report
from tests.browser.conftest import launch

pytestmark = pytest.mark.benchmark

EXAMPLE = Path(__file__).resolve().parents[2] / "data" / "example-spec.fits"
TRIES = 5  # of which the best counts: the machine does other work
LOOK = """async () => {
  const time = async (act) => { const start = performance.now(); await act(); return performance.now() - start; };
  const shown = (row) => time(async () => {
    table.pick(row);
    while (document.documentElement.dataset.shown !== columns.key[row]) await new Promise((done) => setTimeout(done, 1));
  });
  const last = columns.key.length - 1;
  return {
    sort: await time(() => document.querySelector("[data-key=snr] button").click()),
    filter: await time(() => { byId("text").value = "star-1 snr>5"; byId("text").dispatchEvent(new Event("input")); }),
    next: Math.max(await shown(last), await shown(last >> 1), await shown(last >> 2)),
    bytes: performance.memory.usedJSHeapSize,
  };
}"""


@dataclass(frozen=True)
class Look:
    """Megabytes; seconds until a spectrum is shown and keys work; those to sort, filter and show another spectrum."""

    size: float
    interactive: float
    sort: float
    filter: float
    next: float


@pytest.fixture(scope="module")
def posts() -> list[Posterior]:
    """Results of the example with 2, 4, 6 and 10 exposures."""
    example, model = read(EXAMPLE), load_model()
    chosen = [np.arange(count) % example.n_exposures for count in (2, 4, 6, 10)]
    return denoise([replace(example.select(list(index)), name="star") for index in chosen], model)


def write(posts: list[Posterior], count: int, path: Path, **options: float) -> float:
    """Make a page of so many spectra; seconds."""
    start, report = time.perf_counter(), Report(load_model(), **options)
    for number in range(count):
        report.add(replace(posts[number % len(posts)], name=f"star-{number}"), f"out/star-{number}.fits")
    report.write(path)
    return time.perf_counter() - start


def look(path: Path) -> Look:
    """Open a page some times; the best of each time."""
    found = []
    with launch() as browser:
        for _ in range(TRIES):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
            ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime")
            page.wait_for_load_state()
            times = page.evaluate(LOOK)
            found.append(Look(path.stat().st_size / 1e6, *(ms / 1000 for ms in (ready, *list(times.values())[:3]))))
            page.close()
    return Look(*(min(getattr(one, name) for one in found) for name in Look.__annotations__))


def rows(looks: dict[str, Look]) -> Iterator[str]:
    yield "| spectra | MB | shown after, s | sort, ms | filter, ms | next spectrum, ms |\n|---|---|---|---|---|---|"
    for name, one in looks.items():
        times = " | ".join(f"{1000 * value:.0f}" for value in (one.sort, one.filter, one.next))
        yield f"| {name} | {one.size:.1f} | {one.interactive:.2f} | {times} |"


def test_size_and_time(posts: list[Posterior], tmp_path: Path) -> None:
    looks = {}
    for count in (1, 20, 2000):
        path = tmp_path / f"{count}.html"
        seconds = write(posts, count, path)
        looks[str(count)] = look(path)
        print(f"\n{count} spectra: {seconds:.1f} s to make, {1000 * seconds / count:.0f} ms each")
    print("\n".join(rows(looks)))
    assert looks["20"].size <= 5.0 and looks["20"].interactive <= 2.0
    assert looks["2000"].size <= 100.0 and looks["2000"].interactive <= 5.0
    assert max(looks["2000"].sort, looks["2000"].filter, looks["2000"].next) <= 1.0
