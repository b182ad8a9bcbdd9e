"""Freed memory stays with the process where glibc can be asked, and elsewhere nothing happens."""

import ctypes

import pytest

from bayesden.heap import KEPT, MMAP_THRESHOLD, SMALL, TRIM_THRESHOLD, keep_memory


def test_both_thresholds_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            asked[option] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert keep_memory()
    assert asked == {TRIM_THRESHOLD: KEPT, MMAP_THRESHOLD: SMALL}


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(name: object) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_memory()
