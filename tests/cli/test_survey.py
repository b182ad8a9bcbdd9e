"""Runs of many spectra: interrupted, shared among processes, in other batches and other files, always the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import bayesden as bd
from bayesden.errors import BayesdenError
from bayesden.io import read_posteriors
from bayesden.survey import Job, Options, Row, read_manifest, run_survey

ROOT = Path(bd.__file__).parents[1]
STARS = 12


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stars with one to three exposures, and of two files that are none."""
    from tests.cli.conftest import write_star

    folder = tmp_path_factory.mktemp("stars")
    for i in range(STARS):
        write_star(folder / f"spec-{i:02d}.fits", label=i % 10, exposures=1 + i % 3, seed=i)
    (folder / "spec-03a.fits").write_text("no spectrum")
    shutil.copy(folder / "spec-00.fits", folder / "spec-09a.fits")
    os.truncate(folder / "spec-09a.fits", 20000)
    return folder


def run(
    model: Path,
    stars: Path | Sequence[Path],
    out: Path,
    *,
    report: Callable[[Row | None, int, int], None] = lambda row, done, total: None,
    how: Options | None = None,
    **choices: object,
) -> Path:
    out.mkdir(exist_ok=True)
    words = [str(stars)] if isinstance(stars, Path) else [str(path) for path in stars]
    run_survey(Job.of(str(model), **choices), words, out, how, report=report)
    return out


@pytest.fixture(scope="module")
def undisturbed(model_file: Path, stars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run gives that nothing happens to."""
    return run(model_file, stars, tmp_path_factory.mktemp("undisturbed"))


def contents(out: Path) -> dict[str, bytes]:
    """Results and manifest; what tells of time, place and order is not in them."""
    return {path.name: path.read_bytes() for path in (*out.glob("*.fits"), *out.glob("manifest.parquet"))}


def assert_same(one: Path, other: Path) -> None:
    assert contents(one) == contents(other)
    lines = [line for line in (other / "manifest.jsonl").read_text().splitlines() if '"input"' in line]
    assert len({json.loads(line)["input"] for line in lines}) == len(lines) == STARS + 2  # nothing lost or repeated


def assert_close(one: bd.Posterior, other: bd.Posterior) -> None:
    for key in ("flux", "sigma", "prior_fraction", "latent", "residual_z"):
        a, b = getattr(one, key), getattr(other, key)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.nanmean(np.abs(a)))
    for name, probability in one.class_prob.items():
        assert other.class_prob[name] == pytest.approx(probability, rel=1e-5, abs=1e-9)
    assert one.flags == other.flags


def test_a_run_settles_every_spectrum(undisturbed, stars):
    pytest.importorskip("pyarrow")
    table = read_manifest(undisturbed).to_pandas()
    assert table["input"].tolist() == sorted(str(path) for path in stars.iterdir())
    failed = table[table["status"] == "failed"]
    assert [Path(path).name for path in failed["input"]] == ["spec-03a.fits", "spec-09a.fits"]
    assert "expected a FITS file" in failed["reason"].iloc[0] and "truncated" in failed["reason"].iloc[1]
    assert (table["sha256"].str.len() == 64).all()
    for row in table[table["status"] == "done"].itertuples():
        post = bd.read_posterior(undisturbed / row.result)
        assert (post.best_class, len(post.residual_z), post.meta["sha256"]) == (
            row.best_class,
            row.exposures,
            row.sha256,
        )
        assert row.snr == post.meta["snr"] and row.prob_M == post.class_prob["M"]
    log = (undisturbed / "denoise.log").read_text()
    assert "started: 14 spectra" in log and "Traceback" in log and "ended" in log


def kill_when(out: Path, results: int, words: list[str]) -> None:
    """Start the program and kill it, without a chance to clean up, when it has written so many results."""
    process = subprocess.Popen([sys.executable, "-m", "bayesden", *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(list(out.glob("*.fits"))) < results and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_run_goes_on_to_the_same_end(undisturbed, bayesden, stars, model_file, tmp_path):
    words = ["denoise", str(stars), "--model", str(model_file), "--out", str(tmp_path)]
    for results, more in ((2, []), (7, ["--resume", "--workers", "1"])):
        kill_when(tmp_path, results, [*words, *more])
        assert len(list(tmp_path.glob("*.fits"))) < STARS
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.fits")}
    ran = bayesden(*words, "--resume")
    assert ran.status == 1 and "12 of 14 spectra denoised" in ran.out and "2 of 14 files failed" in ran.err
    assert_same(undisturbed, tmp_path)
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())  # nothing was done twice
    before = (tmp_path / "manifest.jsonl").read_bytes()
    again = bayesden(*words, "--resume")
    assert again.status == 1 and "12 of 14 spectra denoised" in again.out
    assert (tmp_path / "manifest.jsonl").read_bytes() == before


def test_a_killed_run_of_chains_goes_on_to_the_same_draws(bayesden, stars, model_file, tmp_path):
    """Star by star: chains that were under way when it was killed begin anew, with the same seed."""
    files = [str(stars / f"spec-{i:02d}.fits") for i in range(3)]
    draws = ["--mcmc", "--samples", "40", "--chains", "2"]
    words = ["denoise", *files, "--model", str(model_file), *draws]
    killed, whole = (tmp_path / name for name in ("killed", "whole"))
    killed.mkdir()
    kill_when(killed, 1, [*words, "--out", str(killed)])
    assert 0 < len(list(killed.glob("*.fits"))) < 3
    assert bayesden(*words, "--out", killed, "--resume").status == 0
    assert bayesden(*words, "--out", whole).status == 0
    assert contents(killed) == contents(whole)
    assert sorted(path.name for path in killed.glob("*.nc")) == ["spec-00.nc", "spec-01.nc", "spec-02.nc"]


def test_a_folder_with_results_is_touched_only_if_asked_for(bayesden, stars, model_file, tmp_path):
    words = ["denoise", stars / "spec-00.fits", "--model", model_file, "--out", tmp_path]
    assert bayesden(*words).status == 0
    before = contents(tmp_path)
    refused = bayesden(*words)
    assert refused.status == 1 and "exists already; --overwrite replaces it" in refused.err
    assert contents(tmp_path) == before  # the manifest still has the result
    assert bayesden(*words, "--resume").status == 0
    other = bayesden(*words, "--resume", "--seed", "5")
    assert (other.status, other.out) == (2, "") and "(seed)" in other.err
    assert bayesden(*words, "--overwrite").status == 0
    assert contents(tmp_path) == before
    more = bayesden("denoise", stars / "spec-01.fits", "--model", model_file, "--out", tmp_path)
    assert more.status == 0 and set(contents(tmp_path)) == {*before, "spec-01.fits"}


def test_workers_give_the_same_and_may_die(undisturbed, stars, model_file, tmp_path):
    killed = []

    def kill_one(row: Row | None, done: int, total: int) -> None:
        if row and not killed and row.status == "done":
            killed.append(row.timing.process)
            os.kill(row.timing.process, signal.SIGKILL)

    run(model_file, stars, tmp_path, report=kill_one, how=Options(workers=2, chunk=3))
    assert killed and killed[0] != os.getpid()
    assert_same(undisturbed, tmp_path)
    assert "a worker died (exit status -9)" in (tmp_path / "denoise.log").read_text()


def test_a_cluster_gives_the_same_and_its_workers_may_die(undisturbed, stars, model_file, tmp_path):
    distributed = pytest.importorskip("distributed")
    killed = []

    def kill_one(row: Row | None, done: int, total: int) -> None:
        if row and not killed:
            killed.append(row.timing.process)
            os.kill(row.timing.process, signal.SIGKILL)

    quiet = {"dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **quiet) as cluster:
        how = Options(scheduler=cluster.scheduler_address, chunk=3)
        run(model_file, stars, tmp_path, report=kill_one, how=how)
    assert killed and killed[0] != os.getpid()
    assert_same(undisturbed, tmp_path)


def test_a_cluster_that_goes_away_is_one_line_and_the_run_goes_on_elsewhere(
    undisturbed, stars, model_file, tmp_path, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("bayesden.survey.cluster.PATIENCE_S", 2.0)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:

        def end(row: Row | None, done: int, total: int) -> None:
            if row:
                cluster.close()

        how = Options(scheduler=cluster.scheduler_address, chunk=3)
        with pytest.raises(BayesdenError, match="expected a scheduler that stays"):
            run(model_file, stars, tmp_path, report=end, how=how)
    assert "ERROR stopped at" in (tmp_path / "denoise.log").read_text().splitlines()[-1]
    run(model_file, stars, tmp_path, how=Options(resume=True))
    assert_same(undisturbed, tmp_path)


def test_a_spectrum_does_not_depend_on_its_company(stars, model_file, tmp_path):
    paths = sorted(stars.glob("spec-??.fits"))
    alone = run(model_file, paths, tmp_path / "alone", precision="double")
    together = run(model_file, paths, tmp_path / "together", batch=3)
    shuffled = run(model_file, paths[::-1], tmp_path / "shuffled", batch=2, how=Options(chunk=5))
    for path in paths:
        one, *others = (bd.read_posterior(out / path.name) for out in (alone, together, shuffled))
        for other in others:
            assert_close(one, other)


def test_a_table_holds_the_same_results(undisturbed, bayesden, stars, model_file, tmp_path):
    words = ("denoise", stars, "--model", model_file, "--out", tmp_path, "--format", "table", "--chunk", 6)
    assert bayesden(*words).status == 1
    names = sorted(path.name for path in tmp_path.glob("*.fits"))
    assert names == ["chunk-000000.fits", "chunk-000001.fits", "chunk-000002.fits"]
    posts = {(name, row): post for name in names for row, post in enumerate(read_posteriors(tmp_path / name))}
    assert len(posts) == STARS
    for post in posts.values():
        single = bd.read_posterior(undisturbed / f"{post.name}.fits")
        np.testing.assert_array_equal(post.flux, single.flux)
        assert {**single.meta, "job": post.meta["job"]} == dict(post.meta)
    if (tmp_path / "manifest.parquet").exists():
        table = read_manifest(tmp_path).to_pandas()
        for row in table[table["status"] == "done"].itertuples():
            assert posts[row.result, row.row].name == row.name
    before = contents(tmp_path)
    assert "exists already" in bayesden(*words).err and contents(tmp_path) == before
    assert bayesden(*words, "--resume").status == 1 and contents(tmp_path) == before


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(undisturbed, bayesden, stars, model_file, tmp_path):
    out = tmp_path / "small"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    words = ("denoise", stars, "--model", model_file, "--out", out)
    try:
        ran = bayesden(*words)
        assert ran.status == 2 and "No space left on device" in ran.err.splitlines()[-1]
        assert "Traceback" not in ran.err and len(list(out.glob("*.fits"))) < STARS
        subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        assert bayesden(*words, "--resume").status == 1
        assert_same(undisturbed, out)
    finally:
        subprocess.run(["umount", out], check=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), "got both"),
        (("--workers", "0"), "--workers"),
        (("--format", "hdf5"), "'hdf5' is not one of 'fits', 'table'"),
        (("@none.txt",), "none.txt: expected a file"),
    ],
)
def test_what_cannot_be_done_is_one_line(bayesden, stars, model_file, tmp_path, words, expected):
    ran = bayesden("denoise", stars, "--model", model_file, "--out", tmp_path / "out", *words)
    assert (ran.status, ran.out) == (2, "") and len(ran.err.splitlines()) == 1 and expected in ran.err
