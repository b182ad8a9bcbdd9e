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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

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
    for number, cell in enumerate(cells):
        for start in range(0, each, size):
            found = {method: kept.load(method, number, start) if kept else None for method in methods}
            missing = [method for method in methods if found[method] is None]
            for method, places in cell.fit(missing, start, min(size, each - start)):
                found[method] = places
                if kept:
                    kept.save(places, method, number, start)
            for method in methods:
                parts[method].append(found[method])
            progress(number * each + min(start + size, each), each * len(cells))
    return {method: Places.join(found) for method, found in parts.items()}


@dataclass(frozen=True, eq=False)
class _Cell:
    """One condition: a signal-to-noise ratio with a template, and its number."""

    model: SpectrumModel
    plan: Plan
    number: int
    snr: float
    template: Data

    def _seed(self, start: int) -> int:
        """A seed of each batch."""
        return int(np.random.SeedSequence([self.plan.seed, self.number, start + 1]).generate_state(1)[0])

    @cached_property
    def _others(self) -> Tensor:
        """Flux of other stars, (N, D)."""
        return simulate(self.model, self.template, OTHERS, seed=self._seed(-1)).flux

    def fit(self, methods: Sequence[str], start: int, count: int) -> Iterator[tuple[str, Places]]:
        """Simulate a batch of stars, and their places by each method."""
        if not methods:
            return
        model, plan, seed = self.model, self.plan, self._seed(start)
        stars = simulate(model, self.template, count, seed=seed)
        located = locate(model, stars.data, seed=plan.seed)
        for method in methods:
            draws = ENGINES[method](model, located, samples=plan.samples, chains=plan.chains, seed=plan.seed)
            yield method, places_of(model, stars, located, draws, self._others, snr=self.snr, seed=seed)


def _cells(model: SpectrumModel, plan: Plan, templates: Sequence[Observation]) -> list[_Cell]:
    """Conditions: each signal-to-noise ratio with each template."""
    templates = list(templates) or [plain_template(model.grid, plan.exposures, plan.seed)]
    for template in templates:
        if template.n_exposures < plan.exposures:
            came = f"{template.n_exposures} exposures"
            raise InputError(f"{template.name}: expected {plan.exposures} exposures or more, got {came}")
    few = [template.select(slice(plan.exposures)) for template in templates]
    pairs = [(snr, template_data(at_snr(one, snr), model.device)) for snr in plan.snr for one in few]
    return [_Cell(model, plan, number, *pair) for number, pair in enumerate(pairs)]
