"""What a night does to a run of many spectra: kills at random moments, workers that die, a full disk, files that are none.

The runs are of the whole program with the shipped model, so this takes some minutes on an idle machine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

import bayesden as bd
from bayesden.errors import InputError
from bayesden.survey import read_manifest
from tests.hostile import cases

pytestmark = pytest.mark.statistical

KILLS = 20
EVERY_S = 10.0  # between the deaths of the cluster's workers
STARS = 30
FORMS = {"alone": (), "workers": ("--workers", "2"), "table": ("--format", "table", "--chunk", "7")}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "bayesden", *map(str, words)]


def denoise(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("denoise", *words), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated spec files of one and of three exposures, and one that is cut off."""
    folder = tmp_path_factory.mktemp("stars")
    how = ("--grid", "generator", "--format", "sdss")
    for seed, (exposures, count) in enumerate(((1, 20), (3, STARS - 20)), 1):
        made = folder / str(exposures)
        words = ("simulate", "sdss", "-n", count, "--exposures", exposures, "--seed", seed, "--out", made, *how)
        subprocess.run(command(*words), check=True, stdout=subprocess.DEVNULL)
        for path in sorted(made.glob("*.fits")):
            path.rename(path.with_name(f"{exposures}-{path.name}"))
    cut = folder / "1" / "1-spec-cut.fits"
    shutil.copy(next((folder / "1").glob("*.fits")), cut)
    os.truncate(cut, 20_000)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """Results and manifest; what tells of time, place and order is not in them."""
    return {path.name: path.read_bytes() for path in (*out.glob("*.fits"), out / "manifest.parquet")}


@pytest.fixture(scope="module")
def undisturbed(stars: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """What a run gives that nothing happens to, one file for each spectrum and in tables."""
    pytest.importorskip("pyarrow")
    found = {}
    for name in ("alone", "table"):
        out = tmp_path_factory.mktemp(name)
        assert denoise(stars, "--out", out, *FORMS[name]).returncode == 1
        found[name] = contents(out)
    return found


def settled(out: Path) -> list[str]:
    """The inputs that the journal has a line of; one that a kill has cut short does not count."""
    journal = out / "manifest.jsonl"
    text = journal.read_text() if journal.exists() else ""
    lines = (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return [line["input"] for line in lines if "input" in line]


def kill_within(words: Sequence[object], out: Path, seconds: float) -> bool:
    """Run the program until so many seconds after it begins to work, and kill it; whether it was still there."""
    log = out / "denoise.log"
    before = log.stat().st_size if log.exists() else 0
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (log.exists() and log.stat().st_size > before):
        time.sleep(0.01)
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


@pytest.mark.parametrize("form", FORMS)
def test_twenty_kills_change_no_bit(undisturbed, stars, tmp_path, form):
    rng, kills, runs = np.random.default_rng(7), 0, 0
    while kills < KILLS:
        out = tmp_path / str(runs)
        out.mkdir(exist_ok=True)
        words = ("denoise", stars, "--out", out, "--resume", *FORMS[form])
        if kill_within(words, out, rng.uniform(0.0, 6.0)):
            kills += 1
            if kills < KILLS:
                continue
        assert denoise(*words[1:]).returncode == 1
        assert contents(out) == undisturbed["table" if form == "table" else "alone"]
        assert len(set(settled(out))) == len(settled(out)) == STARS + 1  # nothing lost or repeated
        runs += 1
    print(f"\n{form}: {kills} kills in {runs} runs")


def test_a_cluster_whose_workers_are_killed_gives_the_same(undisturbed, stars, tmp_path):
    distributed = pytest.importorskip("distributed")
    quiet = {"dashboard_address": ":0", "silence_logs": 50}
    stop, killed = Event(), []

    def kill_in_turn(cluster: object) -> None:
        while not stop.wait(EVERY_S):
            nanny = list(cluster.workers.values())[len(killed) % 2]
            if nanny.pid is not None:
                os.kill(nanny.pid, signal.SIGKILL)
                killed.append(nanny.pid)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster:
        killer = Thread(target=kill_in_turn, args=(cluster,))
        killer.start()
        ran = denoise(stars, "--out", tmp_path, "--scheduler", cluster.scheduler_address, "--chunk", 2)
        stop.set()
        killer.join()
    assert ran.returncode == 1, ran.stderr
    assert killed, "the run ended before a worker was killed: give it more stars"
    assert contents(tmp_path) == undisturbed["alone"]
    print(f"\n{len(killed)} workers killed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    out = tmp_path / "small"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield out
    subprocess.run(["umount", out], check=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_stops_a_run_and_room_lets_it_go_on(undisturbed, stars, small_disk, form):
    words = (stars, "--out", small_disk, "--resume", *FORMS[form])
    ran = denoise(*words)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    *others, last = ran.stderr.splitlines()
    assert "No space left on device" in last and all("1-spec-cut.fits" in line for line in others)
    subprocess.run(["mount", "-o", "remount,size=256m", small_disk], check=True)
    assert denoise(*words).returncode == 1
    assert contents(small_disk) == undisturbed["table" if form == "table" else "alone"]


def refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        bd.read(path)
    except InputError:
        return True
    return False


def test_hundreds_of_broken_files_among_as_many_good_ones(stars, tmp_path):
    pytest.importorskip("pyarrow")
    folder, count = tmp_path / "files", 500
    folder.mkdir()
    bad = [case.content for case in cases() if refused(tmp_path / "tried.fits", case.content)]
    assert len(bad) >= count
    good = [path.read_bytes() for path in sorted(stars.glob("*/?-spec-sim-*.fits"))]
    order = np.random.default_rng(3).permutation(2 * count)
    for place, number in enumerate(order):
        content = bad[number] if number < count else good[number % len(good)]
        (folder / f"{'bad' if number < count else 'good'}-{place:04d}.fits").write_bytes(content)
    out = tmp_path / "out"
    ran = denoise(folder, "--out", out, "--workers", "2")
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    table = read_manifest(out).to_pandas()
    is_good = table["input"].str.contains("/good-")
    assert (table["status"] == np.where(is_good, "done", "failed")).all() and is_good.sum() == count
    assert (table.loc[~is_good, "reason"].str.len() > 20).all() and len(table) == 2 * count
    assert len(list(out.glob("*.fits"))) == count
    log = (out / "denoise.log").read_text()
    assert "a worker died" not in log


def test_a_spectrum_is_the_same_alone_in_any_batch_and_order(stars, tmp_path):
    paths = sorted(stars.glob("*/?-spec-sim-*.fits"))[::3]
    model = bd.load_model().double()
    observations = bd.read(paths, grid=model.grid)
    alone = [bd.denoise(one, model) for one in observations]
    for size, seed in ((2, 0), (5, 1), (len(paths), 2)):
        order = np.random.default_rng(seed).permutation(len(paths))
        for start in range(0, len(paths), size):
            rows = order[start : start + size]
            for row, post in zip(rows, bd.denoise([observations[row] for row in rows], model), strict=True):
                for key in ("flux", "sigma", "latent"):
                    a, b = getattr(alone[row], key), getattr(post, key)
                    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6 * np.abs(a).mean())
