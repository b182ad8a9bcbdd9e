"""The Tab key: what shells are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from bayesden.cli.completion import WINDOW_NAMES, windows
from bayesden.report import WINDOWS


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bayesden pl", ["plot"]),
        ("bayesden plot a.fits --zoom Ca", ["CaHK", "CaT"]),
        ("bayesden plot a.fits --kind lo", ["loo-pit"]),
        ("bayesden plot a.fits --size ", ["column", "page"]),
        ("bayesden denoise a.fits --model s", ["sdss-10class"]),
        ("bayesden denoise a.fits --model ./", []),  # files are the shell's to offer
        ("bayesden denoise a", []),
    ],
)
def test_bash_is_offered(words: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.fits").touch()
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_BAYESDEN_COMPLETE": "complete_bash"}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", "from bayesden.cli import main; main([])"]
    ran = subprocess.run(
        command, env={"PYTHONPATH": str(root), **environment}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == offered and ran.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str, bayesden, monkeypatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ran = bayesden("--show-completion", shell)
    assert ran.status == 0 and "_BAYESDEN_COMPLETE" in ran.out and shell in ran.out + "bash"


def test_windows_are_those_of_the_figures() -> None:
    assert tuple(WINDOWS) == WINDOW_NAMES
    assert windows("h") == ["Hdelta", "Hbeta", "Halpha"]
