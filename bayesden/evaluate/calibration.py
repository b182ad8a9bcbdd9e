r"""A calibration certificate for the engines: on stars that the model drew itself, are the posteriors right?

Each simulated star (`in_model.py`) is fitted by every engine, and of its draws are kept only the places of the truth among
them, for four tests:

- *SBC* (`sbc.py`) of class, latents, nuisances, amplitude, some pixels and means over bands of pixels;
- *coverage* of the flux (`coverage.py`), of all stars, by class and by signal-to-noise ratio;
- *TARP* of the flux as a vector (`tarp.py`);
- *PIT* of one more exposure of each star, which the engine has not seen (`exposures.py`).

Each test is also made of two posteriors that are wrong on purpose (`controls.py`). An engine is calibrated if it passes all four
tests and both controls fail every one of them; where a control passes, there were too few simulations to tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..infer.engines import ENGINES, check_draws
from ..infer.located import locate
from ..model.data import Data
from ..model.joint import SpectrumModel
from ..spectrum import Observation
from .in_model import at_snr, plain_template, simulate, template_data
from .kept import Kept
from .places import Places, places_of

__all__ = ["Plan", "calibrate"]

CHUNK_EXPOSURES = 32  # of all stars fitted together: bounds the memory, and what is lost when a run is stopped
OTHERS = 64  # stars whose flux the references of TARP come from


@dataclass(frozen=True)
class Plan:
    """What is simulated, and how it is fitted.

    Arguments:
        simulations: Stars, at least: as many for each condition.
        snr: Median signal-to-noise ratios of an exposure.
        exposures: Exposures of each star.
        samples: Draws of each star, at least.
        chains: Chains of each star.
        seed: Seed of everything.

    Raises:
        InputError: if there is nothing to simulate or to draw.
    """

    simulations: int = 300
    snr: tuple[float, ...] = (5.0, 10.0, 20.0)
    exposures: int = 1
    samples: int = 400
    chains: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("simulations", self.simulations), ("exposures", self.exposures)):
            if value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")
        if not self.snr or not all(0 < value < np.inf for value in self.snr):
            raise InputError(f"snr: expected positive numbers, got {list(self.snr)}")
        check_draws(self.samples, self.chains, "none")


def calibrate(
    model: SpectrumModel,
    methods: Sequence[str],
    plan: Plan,
    *,
    templates: Sequence[Observation] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    kept: Kept | None = None,
) -> dict[str, Places]:
    """Simulate stars, fit them with every engine and see where the truth stands.

    Arguments:
        model: The joint density.
        methods: Names of engines (`ENGINES`).
        plan: What is simulated.
        templates: Whose errors, masks and arms the exposures have, on the model's grid, with as many exposures or more;
            by default a plain one. They take turns.
        progress: Called with stars done and stars in all.
        kept: Batches of this plan that are done already, and a place for those to come.

    Raises:
        InputError: if a method is not known, or a template has too few exposures.
    """
    for method in methods:
        if method not in ENGINES:
            raise InputError(f"method: expected one of {', '.join(ENGINES)}, got {method!r}")
    cells = _cells(model, plan, templates)
    each, size = -(-plan.simulations // len(cells)), max(1, CHUNK_EXPOSURES // plan.exposures)
    parts = {method: [] for method in methods}
    for number in range(len(cells)):
        for start in range(0, each, size):
            found = {method: kept.load(method, number, start) if kept else None for method in methods}
            missing = [method for method in methods if found[method] is None]
            if missing:
                count = min(size, each - start)
                for method, places in _batch(model, missing, plan, cells[number], number, start, count).items():
                    found[method] = places
                    if kept:
                        kept.save(places, method, number, start)
            for method in methods:
                parts[method].append(found[method])
            progress(number * each + min(start + size, each), each * len(cells))
    return {method: Places.join(found) for method, found in parts.items()}


def _batch(
    model: SpectrumModel,
    methods: Sequence[str],
    plan: Plan,
    cell: tuple[float, Data],
    number: int,
    start: int,
    count: int,
) -> dict[str, Places]:
    """Places of some stars of one condition."""
    snr, template = cell
    seed = _seed(plan, number, start)
    others = simulate(model, template, OTHERS, seed=_seed(plan, number, -1))
    stars = simulate(model, template, count, seed=seed)
    located, found = locate(model, stars.data, seed=plan.seed), {}
    for method in methods:
        draws = ENGINES[method](model, located, samples=plan.samples, chains=plan.chains, seed=plan.seed)
        found[method] = places_of(model, stars, located, draws, others.flux, snr=snr, seed=seed)
    return found


def _seed(plan: Plan, cell: int, start: int) -> int:
    """A seed of each batch."""
    return int(np.random.SeedSequence([plan.seed, cell, start + 1]).generate_state(1)[0])


def _cells(model: SpectrumModel, plan: Plan, templates: Sequence[Observation]) -> list[tuple[float, Data]]:
    """Conditions: each signal-to-noise ratio with each template."""
    templates = list(templates) or [plain_template(model.grid, plan.exposures, plan.seed)]
    for template in templates:
        if template.n_exposures < plan.exposures:
            came = f"{template.n_exposures} exposures"
            raise InputError(f"{template.name}: expected {plan.exposures} exposures or more, got {came}")
    few = [template.select(slice(plan.exposures)) for template in templates]
    return [(snr, template_data(at_snr(one, snr), model.device)) for snr in plan.snr for one in few]
