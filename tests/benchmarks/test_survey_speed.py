"""What a run costs beyond the inference: start-up, reading and writing, memory, and what a second worker brings.

BAYESDEN_BENCH_SPECTRA says how many simulated spectrum files (200 by default), seven in ten of one exposure, the others of
four, in even mixture; BAYESDEN_BENCH_FOLDER where they are made, or were. Wall times mean something on an idle machine only;
processor times suffer less from other work.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

KINDS = ((1, 0.7), (4, 0.3))  # exposures, and their share of the files
SPECTRA = int(os.environ.get("BAYESDEN_BENCH_SPECTRA", "200"))


@dataclass(frozen=True)
class Run:
    """Seconds to the first result and to the end, processor time of all processes, peak memory of the largest in MB, and
    seconds of work, kind by kind.
    """

    spectra: int
    first: float
    wall: float
    processor: float
    memory: float
    work: dict[str, float]


def bayesden(*words: object) -> tuple[float, float, float]:
    """Wall time and processor time, s, its workers' included, and peak resident memory, MB, of the program."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bayesden", *map(str, words)], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Simulated spectra, those of one and of four exposures mixed."""
    folder = Path(os.environ.get("BAYESDEN_BENCH_FOLDER") or tmp_path_factory.mktemp("spectra"))
    placed = []
    for seed, (exposures, share) in enumerate(KINDS, 1):
        count, part = round(share * SPECTRA), folder / f"{exposures}-exposures"
        if len(list(part.glob("*.fits"))) < count:
            how = ("--grid", "generator", "--format", "sdss", "--overwrite", "--seed", seed)
            bayesden("simulate", "sdss", "-n", count, "--exposures", exposures, "--out", part, *how)
            for path in part.glob("spec-*.fits"):
                path.rename(path.with_name(f"{exposures}-{path.name}"))
        placed += [(i / count, path) for i, path in enumerate(sorted(part.glob("*.fits"))[:count])]
    return [path for _, path in sorted(placed)]


def run(files: list[Path], out: Path, *words: object) -> Run:
    out.mkdir()
    began = datetime.now(UTC)
    (out / "list.txt").write_text("\n".join(map(str, files)))
    wall, processor, memory = bayesden("denoise", out / "list.txt", "--out", out, *words)
    timings = [json.loads(line)["timing"] for line in (out / "manifest.jsonl").read_text().splitlines()[1:]]
    work = {kind: sum(t[f"{kind}_s"] for t in timings) for kind in ("read", "fit", "write")}
    first = (min(datetime.fromisoformat(t["finished"]) for t in timings) - began).total_seconds()
    return Run(len(files), first, wall, processor, memory, work)


def report(name: str, one: Run) -> None:
    work = ", ".join(f"{kind} {seconds / one.spectra * 1000:.0f} ms" for kind, seconds in one.work.items())
    rate, share = one.spectra / one.wall, one.work["fit"] / one.wall
    print(
        f"\n{name}: {one.spectra} spectra in {one.wall:.1f} s, {rate:.2f} a second, {one.processor:.1f} s of processors, "
        f"{one.memory:.0f} MB; a spectrum: {work}; fitting {100 * share:.0f} % of the wall time",
        flush=True,
    )


def test_the_program_starts_soon(files: list[Path], tmp_path: Path) -> None:
    helped, *_ = bayesden("denoise", "--help")
    one = run(files[:1], tmp_path / "one")
    print(f"\nhelp {helped:.2f} s, import to first result {one.first:.2f} s, to the end {one.wall:.2f} s", flush=True)
    assert helped < 1.0 and one.first < 6.0


def test_cost_is_linear_and_memory_constant(files: list[Path], tmp_path: Path) -> None:
    start = run(files[:1], tmp_path / "one")
    counts = [n for n in (10, 100, 1000, 10_000) if n < SPECTRA] + [SPECTRA]
    runs = [run(files[:n], tmp_path / str(n)) for n in counts]
    each = [(one.processor - start.processor) / (one.spectra - 1) for one in runs]
    for one, seconds in zip(runs, each, strict=True):
        report(f"{one.spectra} spectra", one)
        print(f"beyond start-up {seconds:.4f} s of processor a spectrum")
    few, many = runs[-2:]
    print(f"memory of {many.spectra} spectra x {many.memory / few.memory:.3f} that of {few.spectra}")
    assert max(each) / min(each) < 1.1
    assert many.memory / few.memory < 1.1
    assert many.work["fit"] / many.wall > 0.75  # it computes, and hardly waits for files


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_second_worker_brings_its_share(files: list[Path], tmp_path: Path) -> None:
    one, two = (run(files, tmp_path / str(n), "--workers", n) for n in (1, 2))
    report("one worker", one)
    report("two workers", two)
    print(f"two workers x {one.wall / two.wall:.2f}; by processor time alone x {2 * one.processor / two.processor:.2f}")
    assert one.wall / two.wall > 1.6
