import resource
import signal
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
import torch

from bayesden.errors import InputError, OutputError
from bayesden.simulation import store
from bayesden.simulation.simulator import Simulator
from bayesden.simulation.store import write_simulation
from bayesden.simulation.stored import read_simulation

from .conftest import PlainInstrument, line_grid


class NoisierInstrument(PlainInstrument):
    def draw(self, uniform):
        return 2 * super().draw(uniform)


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


def test_an_unfinished_run_is_not_lost_unasked(simulator, whole, tmp_path):
    parts = tmp_path / "cut.h5.parts"
    parts.mkdir()
    (parts / "000000.h5").write_bytes(b"hours of computing")
    with pytest.raises(OutputError, match=r"cut\.h5: expected a new name, but cut\.h5\.parts has an unfinished run"):
        write_simulation(tmp_path / "cut.h5", simulator, 150, chunk=64)
    write_simulation(tmp_path / "cut.h5", simulator, 150, chunk=64, overwrite=True)
    assert same(tmp_path / "cut.h5", whole)


@pytest.mark.parametrize("change", ["axis ranges", "mode", "noise"])
def test_resuming_is_refused_where_the_spectra_would_differ(simulator, whole, change):
    other = {
        "axis ranges": (line_grid(ranges={"teff_K": (4000.0, 4500.0)}), simulator.instrument),
        "mode": (line_grid(mode="multilinear"), simulator.instrument),
        "noise": (simulator.grid, NoisierInstrument(simulator.instrument.detectors)),
    }[change]
    content = whole.read_bytes()
    with pytest.raises(
        InputError, match=r"whole\.h5: expected a run (with ranges|that makes the same spectra)"
    ) as error:
        write_simulation(whole, Simulator(*other, seed=3), 150, chunk=64, resume=True)
    assert "\n" not in str(error.value) and whole.read_bytes() == content


def test_another_kind_of_file_is_not_resumed(simulator, tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"my notes")
    with pytest.raises(InputError, match="expected 'bayesden simulation 1' to resume, got another file"):
        write_simulation(path, simulator, 150, resume=True)
    with h5py.File(path, "w") as file:
        file["mine"] = np.arange(3)
    with pytest.raises(InputError, match="expected 'bayesden simulation 1' to resume, got another file"):
        write_simulation(path, simulator, 150, resume=True)
    with h5py.File(path) as file:
        assert list(file) == ["mine"]


def test_damaged_numbers_are_not_read(whole):
    with h5py.File(whole) as file:
        place = file["clean"].id.get_chunk_info(0)
    content = bytearray(whole.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 1
    whole.write_bytes(content)
    with pytest.raises(InputError, match="expected a sound simulation file"):
        read_simulation(whole)
    assert len(read_simulation(whole, 64)) == 86  # the others are sound


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
    configuration = store._configuration(simulator, 150, 64)
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


@contextmanager
def largest_file(size):
    """No file grows beyond this: what a disk that runs full does to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(("share", "parts"), [(0.1, 0), (0.7, 3)])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(simulator, whole, tmp_path, share, parts):
    """While a chunk is written, and while they are joined."""
    path = tmp_path / "full.h5"
    with (
        largest_file(int(share * whole.stat().st_size)),
        pytest.raises(OutputError, match=r"expected a place that can be written, got: File too large$"),
    ):
        write_simulation(path, simulator, 150, chunk=64)
    assert sorted(p.name for p in tmp_path.rglob("*.*") if p.is_file()) == [
        *(f"{k:06d}.h5" for k in range(parts)),
        "whole.h5",
    ]
    assert not (tmp_path / "full.h5.parts" / "whole").exists()
    write_simulation(path, simulator, 150, chunk=64, resume=True)
    assert same(path, whole)


def test_bad_requests_are_one_line(simulator, whole, tmp_path):
    with pytest.raises(InputError, match="at least one spectrum"):
        write_simulation(tmp_path / "none.h5", simulator, 0)
    with pytest.raises(InputError, match="expected rows within 0 to 150, got 100 to 200"):
        read_simulation(whole, 100, 200)
    with pytest.raises(InputError, match="found no file"):
        read_simulation(tmp_path / "none.h5")
    with pytest.raises(OutputError, match="expected a place that can be written"):
        write_simulation(tmp_path / "no" / "folder.h5", simulator, 5)
