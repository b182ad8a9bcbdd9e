"""Whether an installation works: versions, extras, device, threads, the shipped model, the cache, and a fit of known outcome."""

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from packaging.markers import default_environment
from packaging.requirements import Requirement

from .errors import BayesdenError
from .infer.denoise import denoise
from .model.checkpoint import load_model
from .model.joint import Parameters, SpectrumModel
from .simulation.grids.analytic import cache_folder
from .spectrum import Observation

__all__ = ["EXTRAS", "Check", "Status", "check_installation", "check_threads", "self_test"]

Status = Literal["ok", "absent", "warning", "failed"]
EXTRAS = {  # what each adds
    "arviz": "ArviZ: InferenceData, R-hat, netCDF files of --mcmc",
    "report": "bayesden report: results as one interactive page",
    "specutils": "to_spectrum and from_spectrum, for Specviz",
    "survey": "the manifest of a run as Parquet",
    "dask": "--scheduler: runs on a cluster",
    "fetch": "queries of SDSS's catalogue",
    "baselines": "other denoisers: python -m baselines, from a checkout",
    "galaxy": "galaxies of test bed B4; ppxf's licence allows non-commercial use only",
}
PYTHONS = ((3, 11), (3, 14))  # the first that works, the first that does not
STAR = "G"  # class of the star of the self-test
FIT = {  # what its fit gives, and how far another processor's arithmetic may move it
    "velocity_kms": (3.08, 0.1),
    "velocity_sigma_kms": (2.60, 0.03),
    "ebv": (0.1978, 0.002),
    "relative_sigma": (0.00326, 0.00003),
}


@dataclass(frozen=True)
class Check:
    """What was found of one thing.

    Arguments:
        name: What was checked.
        status: 'ok'; 'absent', something optional; 'warning', it works but not as well as it could; or 'failed'.
        found: In a few words, with what to do where something is wrong.
    """

    name: str
    status: Status
    found: str


def check_installation() -> Iterator[Check]:
    """Check everything, the quick things first.

    Yields:
        A finding as soon as it is known; the last, a fit, takes a few seconds.

    Example:
        >>> next(check_installation()).name
        'Python'
    """
    yield _python()
    needed, extras = _requirements()
    yield _packages(needed)
    yield from (_extra(name, found) for name, found in extras.items())
    yield _device()
    yield check_threads(torch.get_num_threads(), available_cpus(), os.environ.get("OMP_NUM_THREADS"))
    yield _cache()
    try:
        model = load_model()
    except BayesdenError as error:
        yield Check("model", "failed", f"{error}: install bayesden again")
        return
    yield Check("model", "ok", f"{model.card['name']}, SHA-256 {model.card['sha256'][:12]}... (verified)")
    yield self_test(model)


def _python() -> Check:
    first, end = PYTHONS
    good = first <= sys.version_info[:2] < end
    wanted = "" if good else f": expected {first[0]}.{first[1]} to {end[0]}.{end[1] - 1}"
    return Check("Python", "ok" if good else "failed", sys.version.split()[0] + wanted)


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What the package needs, and each extra besides, as its metadata say."""
    try:
        listed = [Requirement(text) for text in requires("bayesden") or ()]
    except PackageNotFoundError:
        return [], {}
    extras = {
        name: [r for r in listed if r.marker and r.marker.evaluate({**default_environment(), "extra": name})]
        for name in EXTRAS
    }
    plain = [r for r in listed if r.marker is None or r.marker.evaluate({**default_environment(), "extra": ""})]
    return plain, {name: [r for r in found if r not in plain] for name, found in extras.items()}


def _troubles(needed: list[Requirement]) -> Iterator[str]:
    """Packages that are missing or of another version."""
    for requirement in needed:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} {found}: expected {requirement.specifier}"


def _packages(needed: list[Requirement]) -> Check:
    if not needed:
        return Check("packages", "warning", "bayesden is used from a folder and not installed: pip install .")
    if troubles := list(_troubles(needed)):
        return Check("packages", "failed", f"{', '.join(troubles)}: pip install --upgrade bayesden")
    shown = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "astropy", "pyro-ppl"))
    return Check("packages", "ok", f"bayesden {version('bayesden')}; {len(needed)} it needs, among them {shown}")


def _extra(name: str, needed: list[Requirement]) -> Check:
    troubles, adds = list(_troubles(needed)), EXTRAS[name]
    if not needed or not troubles:
        return Check(f"extra {name}", "ok", adds)
    missing = all(trouble.endswith("is missing") for trouble in troubles)
    found = f"{adds}: {', '.join(troubles)}: pip install 'bayesden[{name}]'"
    return Check(f"extra {name}", "absent" if missing else "warning", found)


def _device() -> Check:
    if not torch.cuda.is_available():
        return Check("device", "ok", f"cpu ({available_cpus()} CPUs); no GPU that torch {torch.__version__} can use")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Check("device", "ok", f"cpu ({available_cpus()} CPUs), and with --device cuda: {names}")


def available_cpus() -> int:
    """CPUs that this process may use: what a scheduler or a container allows counts, not what the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return allowed


def check_threads(threads: int, cpus: int, named: str | None) -> Check:
    """Whether threads wait for each other.

    Arguments:
        threads: Of torch.
        cpus: That there are.
        named: OMP_NUM_THREADS, if it is set.
    """
    found = f"{threads} on {cpus} CPU{'s' * (cpus > 1)}, OMP_NUM_THREADS {'not set' if named is None else named}"
    if threads > cpus:
        return Check("threads", "warning", f"{found}: more threads than CPUs wait for each other: OMP_NUM_THREADS=1")
    if named is None and threads > 1:
        return Check("threads", "ok", f"{found}; with --workers, or on a machine that others use, OMP_NUM_THREADS=1")
    return Check("threads", "ok", found)


def _cache() -> Check:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check("cache", "ok", f"{folder} can be written")
    except OSError as error:
        return Check(
            "cache", "warning", f"{folder}: {error.strerror or error}: name another folder with BAYESDEN_CACHE"
        )


def _star(model: SpectrumModel) -> Observation:
    """A star that the model knows: the first library spectrum of a class, at rest, at S/N 30 in two exposures."""
    label = torch.tensor([model.classes.index(STAR)])
    z = model.latent_prior.latents(int(label))[:1]
    none = z.new_zeros(1, 0, 0)
    detail, foreground = z.new_zeros(1, model.rank), z.new_zeros(1, model.foreground)
    with torch.no_grad():
        truth = model.star(Parameters(z, z.new_zeros(1), none, label, detail, foreground))[0].double().numpy()
    sigma = np.full((2, truth.size), np.median(truth) / 30)
    noisy = truth + sigma * np.random.default_rng(0).standard_normal(sigma.shape)
    return Observation(model.grid.wavelength, noisy, sigma**-2.0, name="self-test")


def self_test(model: SpectrumModel) -> Check:
    """Fit a star of known truth with the shipped model; the numbers must be those that were found when it was made.

    Arguments:
        model: The shipped one.
    """
    post = denoise(_star(model), model, seed=0)
    found = {**post.meta, "relative_sigma": float(np.median(post.sigma / post.flux))}
    wrong = [
        f"{name}: expected {wanted} ± {allowed}, got {float(found[name]):.4g}"
        for name, (wanted, allowed) in FIT.items()
        if not abs(float(found[name]) - wanted) <= allowed
    ]
    if post.best_class != STAR:
        wrong.insert(0, f"class: expected {STAR}, got {post.best_class}")
    if wrong:
        return Check("self-test", "failed", f"{'; '.join(wrong)}: these packages compute something else")
    velocity = f"velocity {found['velocity_kms']:.2f} ± {found['velocity_sigma_kms']:.2f} km/s"
    return Check("self-test", "ok", f"a star of known truth at S/N 30: class {STAR}, {velocity}, all as expected")
