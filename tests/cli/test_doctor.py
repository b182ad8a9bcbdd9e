"""`bayesden doctor` finds what is wrong, and nothing where nothing is."""

import json
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest

from bayesden import installation
from bayesden.errors import ModelError
from bayesden.installation import Check, check_installation, check_threads, self_test
from bayesden.model.checkpoint import load_model


def found(name: str) -> Check:
    return next(check for check in check_installation() if check.name == name)


def test_this_installation_works(bayesden):
    ran = bayesden("doctor", "--json")
    document = json.loads(ran.out)
    status = {check["name"]: check["status"] for check in document["checks"]}
    assert ran.status == 0 and document["works"] and ran.err == ""
    assert {status[name] for name in ("Python", "packages", "device", "model", "self-test")} == {"ok"}
    assert {f"extra {name}" for name in installation.EXTRAS} <= set(status)


def test_lines_and_verdict(bayesden, monkeypatch):
    checks = [Check("one", "ok", "fine"), Check("two", "absent", "not here"), Check("three", "warning", "slow")]
    monkeypatch.setattr(installation, "check_installation", lambda: iter(checks))
    ran = bayesden("doctor")
    assert ran.status == 0 and ran.out.splitlines()[-1] == "bayesden works; 1 warning"
    assert ran.out.splitlines()[1].split() == ["-", "two", "not", "here"]
    checks.append(Check("four", "failed", "gone"))
    ran = bayesden("doctor")
    assert ran.status == 1 and "bayesden does not work: four; 1 warning" in ran.out


def test_missing_and_old_packages_are_named(monkeypatch):
    known = {"torch": "1.0", "astropy": "6.1"}

    def version(name: str) -> str:
        if name not in known:
            raise PackageNotFoundError(name)
        return known[name]

    listed = [
        "torch>=2.6",
        "astropy>=6.1",
        "scipy>=1.12",
        "pyarrow>=16; extra == 'survey'",
        "arviz<0.24; extra == 'arviz'",
    ]
    monkeypatch.setattr(installation, "version", version)
    monkeypatch.setattr(installation, "requires", lambda name: listed)
    check = found("packages")
    assert check.status == "failed" and "torch 1.0: expected >=2.6, scipy is missing" in check.found
    absent = found("extra survey")
    assert absent.status == "absent" and absent.found.endswith("pyarrow is missing: pip install 'bayesden[survey]'")
    known["arviz"] = "1.0"
    old = found("extra arviz")
    assert old.status == "warning" and "arviz 1.0: expected <0.24" in old.found


def test_a_folder_that_is_not_installed_is_said(monkeypatch):
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "requires", missing)
    assert found("packages") == Check("packages", "warning", found("packages").found)
    assert "not installed" in found("packages").found


@pytest.mark.parametrize(
    ("threads", "cpus", "named", "status", "says"),
    [
        (1, 2, "1", "ok", "1 on 2 CPUs, OMP_NUM_THREADS 1"),
        (64, 2, "64", "warning", "more threads than CPUs wait for each other: OMP_NUM_THREADS=1"),
        (2, 2, None, "ok", "not set; with --workers"),
        (1, 1, None, "ok", "1 on 1 CPU, OMP_NUM_THREADS not set"),
    ],
)
def test_threads(threads, cpus, named, status, says):
    check = check_threads(threads, cpus, named)
    assert check.status == status and says in check.found


def test_python_cache_and_model(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    assert found("Python").status == "failed" and "expected 3.11 to 3.13" in found("Python").found
    (tmp_path / "file").touch()
    monkeypatch.setenv("BAYESDEN_CACHE", str(tmp_path / "file"))
    assert found("cache").status == "warning" and "BAYESDEN_CACHE" in found("cache").found

    def damaged() -> None:
        raise ModelError("sdss-10class: expected checksum a, got b")

    monkeypatch.setattr(installation, "load_model", damaged)
    names = [check.name for check in check_installation()]
    assert names[-1] == "model" and found("model").status == "failed"  # nothing to fit with


def test_other_numbers_fail_the_self_test():
    model = load_model()
    assert self_test(model).status == "ok"
    model.nuisance = replace(model.nuisance, velocity_sd_kms=1.0)  # a prior that pulls the velocity to 0
    check = self_test(model)
    assert check.status == "failed" and "velocity_kms: expected 3.08 ± 0.1, got" in check.found
