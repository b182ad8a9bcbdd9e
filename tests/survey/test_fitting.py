"""What one spectrum, or too little memory, does to the others."""

from dataclasses import dataclass

import pytest
import torch

from bayesden.survey.ahead import ahead
from bayesden.survey.fitting import Fitter


@dataclass(frozen=True)
class Spectrum:
    name: str


def spectra(*names: str) -> list[Spectrum]:
    return [Spectrum(name) for name in names]


def test_a_spectrum_that_breaks_a_batch_costs_itself_only():
    """Also a spectrum that cannot be in a batch with others gets its result, and order is kept."""

    def infer(batch: list[Spectrum]) -> list[str]:
        if len(batch) > 1 and any(s.name == "lonely" for s in batch):
            raise ValueError
        if any(s.name == "cursed" for s in batch):
            raise RuntimeError("no\nluck")
        return [f"posterior of {s.name}" for s in batch]

    names = [f"star-{i}" for i in range(40)]
    names[5], names[7] = "cursed", "lonely"
    done = Fitter(infer, most=16)(spectra(*names))
    assert isinstance(done.pop(5), RuntimeError)
    assert done == [f"posterior of {name}" for name in names if name != "cursed"]


OUT_OF_MEMORY = {
    "python": MemoryError(),
    "gpu": torch.OutOfMemoryError("CUDA out of memory"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_batches_are_halved_until_they_fit_and_stay_so(kind):
    tried = []

    def infer(batch: list[Spectrum]) -> list[str]:
        tried.append(len(batch))
        if len(batch) > 3:
            raise OUT_OF_MEMORY[kind]
        return [s.name for s in batch]

    fit, names = Fitter(infer, most=100), [f"star-{i}" for i in range(12)]
    assert fit(spectra(*names)) == names and tried == [12, 6, 3, 3, 3, 3]
    assert fit(spectra(*names[:4])) == names[:4] and tried[6:] == [3, 1]


def test_a_spectrum_too_large_for_memory_is_the_only_one_without_a_result():
    def infer(batch: list[Spectrum]) -> list[str]:
        if any(s.name == "huge" for s in batch):
            raise MemoryError
        return [s.name for s in batch]

    done = Fitter(infer, most=4)(spectra("a", "b", "huge", "c", "d"))
    assert isinstance(done.pop(2), MemoryError) and done == ["a", "b", "c", "d"]


def test_reading_ahead_keeps_order_errors_and_bounds():
    started = []
    with ahead((started.append(i) or i for i in range(100)), 2) as items:
        assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert len(started) <= 7

    def broken() -> object:
        yield 1
        raise KeyError("two")

    with ahead(broken(), 2) as items, pytest.raises(KeyError, match="two"):
        list(items)
