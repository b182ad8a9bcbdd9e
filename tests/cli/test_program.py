"""The program as a whole: its pages, its options, its exit status, and what it does not do."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bayesden.cli
from bayesden.cli.app import COMMANDS, _line
from bayesden.cli.console import complain
from bayesden.cli.options import GeneratorKind, MaskPolicy, NoiseKind, PriorKind, RecipeName
from bayesden.cli.plot import FIGURES, Size
from bayesden.io.sppixmask import MASK_POLICIES
from bayesden.model.generator import build_generator
from bayesden.model.noiseflow import KINDS
from bayesden.model.prior_kinds import build_latent_prior
from bayesden.report import save, style
from bayesden.train.workflow import RECIPES

ROOT = Path(bayesden.cli.__file__).parents[2]


def python(code: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_to_work_from(bayesden, command):
    ran = bayesden(command, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert f"Usage: bayesden {command}" in ran.out
    assert "Exit status: 0" in ran.out and "\b" not in ran.out
    page, options = ran.out.split("Options:")
    examples = re.findall(rf"^ +bayesden {command} .*?(?<!\\)$", page, re.M | re.S)
    assert examples
    for option in re.findall(r"--[\w-]+", " ".join(examples)):
        assert option in options


def test_the_first_page_names_every_command(bayesden):
    for words in ((), ("--help",), ("-h",)):
        ran = bayesden(*words)
        assert (ran.status, ran.err) == (0, "")
        assert all(re.search(rf"^  {command} ", ran.out, re.M) for command in COMMANDS)


def test_version(bayesden):
    ran = bayesden("--version")
    assert ran.status == 0 and ran.out.startswith("bayesden")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("denois",), "No such command 'denois'"),
        (("--frobnicate",), "No such option: --frobnicate"),
        (("denoise",), "Missing argument 'FILE'"),
        (("fit-prior", "library.npz"), "Missing option '--generator'"),
        (("fit-generator", "library.npz", "--kind", "gan"), "'gan' is not one of 'basis', 'conv'"),
        (("fit-noise", "a.fits", "--kind", "white"), "'white' is not one of 'robust', 'kang2021'"),
        (("fit-prior", "l.npz", "--generator", "g", "--kind", "gmm"), "'gmm' is not one of 'local-kde', 'kde'"),
        (("train", "library.npz", "--recipe", "best"), "'best' is not one of 'default', 'kang2021'"),
        (("fit-generator", "library.npz", "--epochs", "0"), "--epochs"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(bayesden, words, expected):
    ran = bayesden(*words)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1 and expected in ran.err and "--help)" in ran.err


def test_choices_are_those_of_the_library():
    assert tuple(MaskPolicy) == MASK_POLICIES
    assert set(NoiseKind) == set(KINDS)
    assert set(RecipeName) == set(RECIPES)
    assert set(FIGURES) == set(save.FORMATS) and set(Size) == set(style.SIZES)
    for kind in PriorKind:
        assert build_latent_prior({"kind": kind.value, "counts": [2], "latent_dim": 1}).kind == kind
    for kind in GeneratorKind:
        assert build_generator({"kind": kind.value, "size": 128, "latent_dim": 2}).kind == kind


def test_importing_the_program_loads_nothing_heavy():
    """The package's root is left out, for it decides by itself what it loads."""
    code = """
import sys, types
root = sys.modules["bayesden"] = types.ModuleType("bayesden")
root.__path__ = [sys.argv[1]]
import bayesden.cli
print(sorted({"torch", "numpy", "astropy", "matplotlib", "pyro", "scipy"} & set(sys.modules)))
"""
    ran = python(code, ROOT / "bayesden")
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_loading_the_model_and_its_engines_does_not_import_compilers():
    """What none of it needs, and what each costs a second of start-up."""
    code = """
import sys
from bayesden.model.checkpoint import load_model
from bayesden.survey import run_survey
load_model()
print(sorted({"torch._dynamo", "sympy", "scipy.stats", "arviz", "distributed", "pandas"} & set(sys.modules)))
"""
    ran = python(code)
    assert (ran.stderr, ran.stdout) == ("", "[]\n")


def test_exit_status_of_the_process(tmp_path):
    command = [sys.executable, "-m", "bayesden", "inspect", str(tmp_path / "caf\udce9")]
    ran = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(b"error: ") and ran.stderr.count(b"\n") == 1


def test_debug_shows_where(bayesden, tmp_path):
    quiet = bayesden("inspect", tmp_path)
    loud = bayesden("inspect", tmp_path, "--debug")
    assert quiet.status == loud.status == 2
    assert "Traceback" not in quiet.err and "Traceback" in loud.err
    assert loud.err.splitlines()[-1] == quiet.err.strip()


def test_a_bug_of_ours_is_one_line_too(capsys):
    complain(_line(RuntimeError("a matrix\n  of 3 lines\n")))
    assert capsys.readouterr().err == "error: unexpected RuntimeError: a matrix of 3 lines (--debug shows where)\n"


@pytest.fixture
def interrupt():
    """Ctrl-C a second from now; a background job starts with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, signal.raise_signal, [signal.SIGINT])
    timer.start()
    yield
    timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_an_interrupt_is_quiet_and_leaves_nothing(bayesden, library_file, tmp_path, interrupt):
    ran = bayesden("fit-generator", library_file, "--epochs", 5000, "--out", tmp_path / "generator.safetensors")
    assert ran == (130, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_an_interrupted_run_says_how_to_go_on(bayesden, tmp_path, interrupt):
    ran = bayesden("simulate", "sdss", "-n", 100_000, "--grid", "generator", "--out", tmp_path / "many.h5")
    assert ran == (130, "", "error: interrupted: the same command with --resume goes on\n")


def test_a_missing_extra_is_named():
    assert _line(ModuleNotFoundError(name="arviz.data")) == "this needs the package arviz: install bayesden[arviz]"
