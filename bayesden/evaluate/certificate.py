"""The verdict of the tests of calibration, as a card: numbers and texts by name, ready for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from .calibration import Plan
from .controls import CONTROLS, wrong_transform
from .coverage import coverage_curve, covered, groups_of
from .exposures import LEVELS, pit_shares
from .places import VERSIONS, Places
from .sbc import Uniformity, uniformity
from .tarp import REFERENCES, expected_coverage

__all__ = ["TESTS", "certificate", "verdicts"]

TESTS = ("sbc", "coverage", "tarp", "pit")
CURVE = np.linspace(0.05, 0.95, 19)
ALL = "all"
BINS = 20  # of a histogram of ranks
PIT_TESTED = 4  # pixels of a left-out exposure, of which the star's error, which they share, is a small part


def certificate(places: Mapping[str, Places], classes: Sequence[str], plan: Plan, facts: Mapping[str, str]) -> dict:
    """The card.

    Arguments:
        places: Of every engine.
        classes: Names of the model's classes.
        plan: What was simulated.
        facts: More to note, such as the model's name and checksum.

    Returns:
        By engine, the tests' numbers, whether each test was passed, and by which controls (`calibrated`, `passed`,
        `controls_passed`).
    """
    engines = {method: _engine(found, classes) for method, found in places.items()}
    stars = {"simulations": len(next(iter(places.values())).label)}
    return {**facts, **asdict(plan), **stars, "snr": list(plan.snr), "engines": engines}


def _engine(places: Places, classes: Sequence[str]) -> dict:
    masks, flux = _masks(places, classes), places.flux["posterior"]
    verdict = {version: _passes(places, version, masks) for version in VERSIONS}
    passed = verdict.pop("posterior")
    escaped = {control: [test for test in TESTS if found[test]] for control, found in verdict.items()}
    return {
        "calibrated": all(passed.values()) and not any(escaped.values()),
        "passed": passed,
        "controls_passed": escaped,
        "sbc": _sbc(places, masks),
        "coverage": {
            "groups": _coverage(flux, masks),
            "true_classes": _coverage(flux, _by_class(places.label, classes)),
            "levels": CURVE.tolist(),
            "within": {v: coverage_curve(places.flux[v], CURVE).tolist() for v in VERSIONS},
        },
        "tarp": _tarp(places),
        "pit": _pit(places),
    }


def _masks(places: Places, classes: Sequence[str]) -> dict[str, NDArray]:
    """Who is in a group: all, each class that was found, each signal-to-noise ratio.

    By what the data say, so that a right posterior is calibrated in each; by the true class it need not be.
    """
    by_snr = {f"S/N {value:g}": places.snr == value for value in np.unique(places.snr)}
    return {ALL: np.ones(len(places.label), bool), **_by_class(places.found, classes), **by_snr}


def _by_class(label: NDArray, classes: Sequence[str]) -> dict[str, NDArray]:
    return {name: label == k for k, name in enumerate(classes)}


def _coverage(u: NDArray, masks: Mapping[str, NDArray]) -> dict:
    return {name: asdict(group) for name, group in groups_of(u, masks).items()}


def _passes(places: Places, version: str, masks: Mapping[str, NDArray]) -> dict[str, bool]:
    """Which tests a version of the posterior passes."""
    return {
        "sbc": uniformity(places.u[version], places.names).passed,
        "coverage": covered(groups_of(places.flux[version], masks)),
        "tarp": uniformity(places.tarp[version], REFERENCES).passed,
        "pit": _pit_uniformity(places, version).passed,
    }


def _transform(places: Places, version: str) -> NDArray:
    """Transforms of the left-out exposures of stars that have any, under a version of the prediction."""
    pit = places.pit[np.isfinite(places.pit[:, 0])]
    return pit if version not in CONTROLS else wrong_transform(pit, version)


def _pit_uniformity(places: Places, version: str) -> Uniformity:
    return uniformity(_transform(places, version)[:, :PIT_TESTED].reshape(-1, 1), ("pixel",))


def _sbc(places: Places, masks: Mapping[str, NDArray]) -> dict:
    """Probabilities, histograms, and by group the quantity that is furthest from uniform."""
    found, u = uniformity(places.u["posterior"], places.names), places.u["posterior"]
    edges = np.linspace(0, 1, BINS + 1)
    groups = {}
    for group, mask in masks.items():
        if group != ALL and mask.any():
            name, p = uniformity(u[mask], places.names).worst
            groups[group] = {"stars": int(mask.sum()), "worst": name, "p": p}
    return {
        "worst": found.worst[0],
        "p": found.worst[1],
        "p_bias": found.p_bias,
        "p_spread": found.p_spread,
        "histogram": {name: np.histogram(row, edges)[0].tolist() for name, row in zip(places.names, u.T, strict=True)},
        "groups": groups,
    }


def _tarp(places: Places) -> dict:
    found = uniformity(places.tarp["posterior"], REFERENCES)
    curves = {
        version: {name: expected_coverage(f, CURVE).tolist() for name, f in zip(REFERENCES, values.T, strict=True)}
        for version, values in places.tarp.items()
    }
    return {"p_bias": found.p_bias, "p_spread": found.p_spread, "levels": CURVE.tolist(), "coverage": curves}


def _pit(places: Places) -> dict:
    found = _pit_uniformity(places, "posterior")
    return {
        "p_bias": found.p_bias["pixel"],
        "p_spread": found.p_spread["pixel"],
        "levels": list(LEVELS),
        "below": {version: pit_shares(_transform(places, version), LEVELS).tolist() for version in VERSIONS},
        "curve": {version: pit_shares(_transform(places, version), CURVE).tolist() for version in VERSIONS},
    }


def verdicts(card: Mapping) -> list[str]:
    """One line for every engine: what it failed, or which controls passed what."""
    lines = []
    for method, engine in card["engines"].items():
        failed = [test for test, passed in engine["passed"].items() if not passed]
        blind = [
            f"{control} passes {', '.join(tests)}" for control, tests in engine["controls_passed"].items() if tests
        ]
        if engine["calibrated"]:
            lines.append(f"{method}: calibrated; both controls fail every test")
        else:
            words = [f"fails {', '.join(failed)}"] if failed else ["passes every test"]
            lines.append(
                f"{method}: {'; '.join([*words, *(f'control {b}: too few simulations to tell' for b in blind)])}"
            )
    return lines
