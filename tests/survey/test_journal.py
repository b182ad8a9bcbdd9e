"""What is safe on disk, whatever happens to the process."""

from dataclasses import replace

import pytest

from bayesden.errors import InputError, OutputError
from bayesden.survey.job import Job
from bayesden.survey.journal import JOURNAL, Journal, read_lines
from bayesden.survey.manifest import read_manifest, write_manifest
from bayesden.survey.rows import Row, Timing, failed_row

JOB = Job("model", "0" * 64)
CLASSES = ("A", "M")


def row(name: str, **changes: object) -> Row:
    facts = {"class_prob": {"A": 0.25, "M": 0.75}, "best_class": "M", "facts": {"velocity_kms": -3.5}, "snr": 12.0}
    done = Row(f"/data/{name}.fits", JOB.id, "done", result=f"{name}.fits", name=name, exposures=2, **facts)
    return replace(done, **changes)


def journal(folder, job: Job = JOB, *, resume: bool = False) -> Journal:
    return Journal(folder, job, CLASSES, resume=resume)


def test_rows_are_known_again(tmp_path):
    first = journal(tmp_path)
    first.append([row("a"), failed_row("/data/b.fits", JOB.id, "no\nluck")])
    first.close()
    again = journal(tmp_path, resume=True)
    assert again.done == {"/data/a.fits": "a.fits", "/data/b.fits": ""}
    again.close()
    fresh = journal(tmp_path)  # another run in the same folder
    assert fresh.done == {}
    fresh.close()


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_line_is_dropped_and_nothing_else(tmp_path, cut):
    first = journal(tmp_path)
    first.append([row("a")])
    size = first.path.stat().st_size
    first.append([row("b")])
    first.close()
    with first.path.open("r+b") as file:
        file.truncate(size + cut)
    again = journal(tmp_path, resume=True)
    assert list(again.done) == ["/data/a.fits"] and again.path.stat().st_size == size
    again.append([row("c")])
    again.close()
    assert [line["input"] for line in read_lines(first.path) if "input" in line] == ["/data/a.fits", "/data/c.fits"]


def test_one_run_at_a_time_and_only_the_same_one_goes_on(tmp_path):
    first = journal(tmp_path)
    with pytest.raises(OutputError, match="another run writes there"):
        journal(tmp_path)
    first.close()
    with pytest.raises(InputError, match=r"got others \(seed\); --overwrite starts anew"):
        journal(tmp_path, replace(JOB, seed=1), resume=True)
    journal(tmp_path, replace(JOB, plot=True), resume=True).close()


def test_a_foreign_journal_is_one_line(tmp_path):
    (tmp_path / JOURNAL).write_text("spectra\n")
    with pytest.raises(InputError, match=r"manifest\.jsonl: expected one JSON document a line"):
        journal(tmp_path, resume=True)


def test_the_manifest_does_not_depend_on_order_time_or_pieces(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [row("a"), row("b", flags="NOT_CONVERGED"), failed_row("/data/c.fits", JOB.id, "no luck", sha256="f")]
    for folder, order, seconds in (("one", (0, 1, 2), 1.0), ("two", (2, 0, 1), 2.0)):
        (tmp_path / folder).mkdir()
        for number, i in enumerate(order):
            part = journal(tmp_path / folder, resume=number > 0)
            part.append([replace(rows[i], timing=Timing.now(fit_s=seconds))])
            part.close()
        write_manifest(tmp_path / folder)
    one, two = ((tmp_path / folder / "manifest.parquet").read_bytes() for folder in ("one", "two"))
    assert one == two
    table = read_manifest(tmp_path / "one").to_pandas()
    assert table["input"].tolist() == ["/data/a.fits", "/data/b.fits", "/data/c.fits"]
    assert table["status"].tolist() == ["done", "done", "failed"] and table["reason"].tolist() == ["", "", "no luck"]
    assert table["prob_M"][0] == 0.75 and table["velocity_kms"][0] == -3.5 and table["flags"][1] == "NOT_CONVERGED"
    assert table["seed"].tolist() == [0] * 3 and table["version_numpy"].notna().all()


def test_a_later_row_of_an_input_counts(tmp_path):
    pytest.importorskip("pyarrow")
    for job, snr in ((JOB, 1.0), (replace(JOB, seed=1), 2.0)):
        part = journal(tmp_path, job)
        part.append([row("a", snr=snr, job=job.id)])
        part.close()
    write_manifest(tmp_path)
    table = read_manifest(tmp_path).to_pandas()
    assert (table["snr"].tolist(), table["seed"].tolist()) == ([2.0], [1])
    with pytest.raises(InputError, match="expected a manifest"):
        read_manifest(tmp_path / "none")
