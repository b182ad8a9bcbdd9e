"""Maximum a posteriori (Kang et al. 2021, eq. 7) and the posterior about it in closed form; no draws."""

from collections.abc import Sequence

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..posterior import Posterior
from ..spectrum import Observation
from .located import locate
from .modes import Settings
from .summary import summarise

__all__ = ["fit_map"]


def fit_map(
    model: SpectrumModel, observations: Sequence[Observation], *, seed: int = 0, settings: Settings | None = None
) -> list[Posterior]:
    """Modes of the joint density of each star, and the posterior about them.

    Arguments:
        model: The joint density.
        observations: On the model's grid.
        seed: Seed of the starts.
        settings: Choices of the search.

    Returns:
        One posterior for each observation, in the same order.
    """
    data = Data.stack(observations, model.device, model.spread.dtype)
    stars = locate(model, data, seed=seed, settings=settings)
    return [summarise(model, obs, star, "map") for obs, star in zip(observations, stars, strict=True)]
