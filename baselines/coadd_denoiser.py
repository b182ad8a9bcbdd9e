"""Methods that make a point estimate of one observation after the other, from the coadd of its exposures."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import overload

from numpy.typing import NDArray

from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation

from .point_estimate import check_grid, point_estimate

__all__ = ["CoaddDenoiser"]


class CoaddDenoiser(ABC):
    """What such a method has to say: its grid, its name, and what it makes of a coadd."""

    grid: Grid

    @property
    @abstractmethod
    def _name(self) -> str:
        """The method's name."""

    @abstractmethod
    def _estimate(self, flux: NDArray, ivar: NDArray) -> tuple[NDArray, dict[str, str | float]]:
        """The clean spectrum (D,) from a noisy one (D,) with its inverse variances, and further facts."""

    @overload
    def denoise(self, observations: Observation) -> Posterior: ...
    @overload
    def denoise(self, observations: Sequence[Observation]) -> list[Posterior]: ...
    def denoise(self, observations: Observation | Sequence[Observation]) -> Posterior | list[Posterior]:
        """A point estimate of one observation, or of each of many.

        Raises:
            InputError: if an observation is on another grid.
        """
        if not isinstance(observations, Observation):
            return [self.denoise(each) for each in observations]
        check_grid(observations, self.grid, self._name)
        flux, facts = self._estimate(*observations.coadd())
        return point_estimate(observations, flux, self._name, facts)
