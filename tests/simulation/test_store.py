import resource
import signal

import h5py
import numpy as np
import pytest
import torch

from bayesden.errors import InputError, OutputError
from bayesden.simulation import store
from bayesden.simulation.simulator import Simulator
from bayesden.simulation.store import read_simulation, write_simulation


@pytest.fixture
def whole(simulator, tmp_path):
    path = tmp_path / "whole.h5"
    write_simulation(path, simulator, 150, chunk=64)
    return path


def same(first, second):
    a, b = read_simulation(first), read_simulation(second)
    equal = all(torch.equal(getattr(a, key), getattr(b, key)) for key in store.TENSORS)
    return equal and np.array_equal(a.parameters, b.parameters)


def test_round_trip_is_exact(simulator, whole):
    made, read = simulator.observe(torch.arange(64)), read_simulation(whole, 0, 64)
    for key in store.TENSORS:
        assert torch.equal(getattr(made, key), getattr(read, key))
    assert np.array_equal(made.parameters, read.parameters)
    assert len(read_simulation(whole)) == 150
    assert not whole.with_name("whole.h5.parts").exists()


def test_file_says_what_it_is(whole):
    with h5py.File(whole) as file:
        configuration = file.attrs["configuration"]
        assert file["flux"].chunks == (64, 2, 300) and file["flux"].compression == "gzip"
    for word in ('"seed": 3', '"grid": "lines"', '"instrument": "plain"', "median flux"):
        assert word in configuration


@pytest.mark.parametrize("stop_after", [1, 2])
def test_interrupted_run_resumes_to_the_same_file(simulator, whole, tmp_path, stop_after):
    class Stop(Exception):
        pass

    def interrupt(done, total):
        if done >= 64 * stop_after:
            raise Stop

    path = tmp_path / "cut.h5"
    with pytest.raises(Stop):
        write_simulation(path, simulator, 150, chunk=64, progress=interrupt)
    assert not path.exists()
    made = []
    original = Simulator.stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulator, "stream", lambda self, n, **o: made.append(o["start"]) or original(self, n, **o))
        write_simulation(path, simulator, 150, chunk=64, resume=True)
    assert made == [64, 128][stop_after - 1 :]
    assert same(path, whole)


def test_broken_parts_are_made_again(simulator, whole, tmp_path):
    path = tmp_path / "cut.h5"
    folder = tmp_path / "cut.h5.parts"
    folder.mkdir()
    configuration = store._configuration(simulator, 150, 64, {})
    for number, start in enumerate((0, 64)):
        arrays = store._arrays(simulator.observe(torch.arange(start, start + 64)))
        store._write_part(folder / f"{number:06d}.h5", arrays, configuration)
    part = folder / "000000.h5"
    part.write_bytes(part.read_bytes()[:-5000])  # cut short
    with h5py.File(folder / "000001.h5", "r+") as file:
        file["flux"][3, 0, 5] = 1e6  # whole, but not what was written
    write_simulation(path, simulator, 150, chunk=64, resume=True)
    assert same(path, whole)


def test_finished_file_cut_short_or_changed_is_mended(simulator, whole, tmp_path):
    short = tmp_path / "short.h5"
    short.write_bytes(whole.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"short\.h5: expected 'bayesden simulation 1', got a file that is damaged"):
        read_simulation(short)
    write_simulation(short, simulator, 150, chunk=64, resume=True)
    assert same(short, whole)
    with h5py.File(short, "r+") as file:
        file["clean"][70, 0] = -1.0
    made = []
    original = Simulator.stream
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simulator, "stream", lambda self, n, **o: made.append(o["start"]) or original(self, n, **o))
        write_simulation(short, simulator, 150, chunk=64, resume=True)
    assert made == [64]
    assert same(short, whole)


def test_resuming_with_another_configuration_is_refused(simulator, whole):
    other = Simulator(simulator.grid, simulator.instrument, seed=5)
    with pytest.raises(InputError, match="expected a run with seed = 3 to resume, got seed = 5"):
        write_simulation(whole, other, 150, chunk=64, resume=True)


def test_a_file_is_not_replaced_unasked(simulator, whole):
    with pytest.raises(OutputError, match="the file exists"):
        write_simulation(whole, simulator, 10)
    write_simulation(whole, simulator, 10, overwrite=True)
    assert len(read_simulation(whole)) == 10


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(simulator, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match="expected a place that can be written, got: File too large"):
            write_simulation(tmp_path / "full.h5", simulator, 150, chunk=64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
    write_simulation(tmp_path / "full.h5", simulator, 150, chunk=64, resume=True)
    assert len(read_simulation(tmp_path / "full.h5")) == 150


def test_bad_requests_are_one_line(simulator, whole, tmp_path):
    with pytest.raises(InputError, match="at least one spectrum"):
        write_simulation(tmp_path / "none.h5", simulator, 0)
    with pytest.raises(InputError, match="expected rows within 0 to 150, got 100 to 200"):
        read_simulation(whole, 100, 200)
    with pytest.raises(InputError, match="found no file"):
        read_simulation(tmp_path / "none.h5")
    with pytest.raises(OutputError, match="expected a place that can be written"):
        write_simulation(tmp_path / "no" / "folder.h5", simulator, 5)
