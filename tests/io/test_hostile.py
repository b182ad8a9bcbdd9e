"""Files that are made to break the reader: each gives an observation or one clear line, within bounds of memory and time."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.hostile import cases

ROOT = Path(__file__).resolve().parents[2]


@cache
def judged(every: int) -> dict:
    """Read every n-th file of the corpus in a process whose memory is bounded."""
    command = [sys.executable, "-m", "tests.hostile", str(every)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def test_the_corpus_is_large_and_always_the_same():
    names, corpus = [], hashlib.sha256()
    for case in cases():
        names.append(case.name)
        corpus.update(case.name.encode() + case.content)
    assert corpus.hexdigest() == judged(every=8)["corpus"]  # that of another process
    assert len(set(names)) == len(names) > 800


def test_a_part_of_the_corpus():
    report = judged(every=8)
    assert report["wrong"] == {}
    assert report["read"] > 20 and report["refused"] > 50  # neither all is refused, nor everything taken


@pytest.mark.statistical
def test_the_whole_corpus():
    report = judged(every=1)
    assert report["wrong"] == {}
    assert report["read"] > 200 and report["refused"] > 400
