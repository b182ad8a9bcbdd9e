"""What every denoiser here does with one observation or many."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import overload

from numpy.typing import NDArray

from bayesden.posterior import Posterior
from bayesden.spectrum import Grid, Observation

from .point_estimate import check_grid, point_estimate

__all__ = ["CoaddDenoiser", "Denoiser"]


class Denoiser(ABC):
    """A method that works on chunks of observations."""

    chunk = 64  # observations at once: arrays that stay in the cache

    @overload
    def denoise(self, observations: Observation) -> Posterior: ...
    @overload
    def denoise(self, observations: Sequence[Observation]) -> list[Posterior]: ...
    def denoise(self, observations: Observation | Sequence[Observation]) -> Posterior | list[Posterior]:
        """The posterior of the noise-free flux of one observation, or of each of many in the same order.

        Raises:
            InputError: if an observation is on another grid, or has what the method cannot use.
        """
        if isinstance(observations, Observation):
            return self._denoise([observations])[0]
        chunks = (observations[i : i + self.chunk] for i in range(0, len(observations), self.chunk))
        return [posterior for chunk in chunks for posterior in self._denoise(chunk)]

    @abstractmethod
    def _denoise(self, observations: Sequence[Observation]) -> list[Posterior]:
        """Of a chunk."""


class CoaddDenoiser(Denoiser):
    """One that makes a point estimate of one coadd after the other: it has a grid and a name."""

    grid: Grid

    @property
    @abstractmethod
    def _name(self) -> str:
        """The method's name."""

    @abstractmethod
    def _estimate(self, flux: NDArray, ivar: NDArray) -> tuple[NDArray, dict[str, str | float]]:
        """The clean spectrum (D,) from a noisy one (D,) with its inverse variances, and further facts."""

    def _denoise(self, observations: Sequence[Observation]) -> list[Posterior]:
        posteriors = []
        for each in observations:
            check_grid(each, self.grid, f"the wavelength grid of {self._name}")
            flux, facts = self._estimate(*each.coadd())
            posteriors.append(point_estimate(each, flux, self._name, facts))
        return posteriors
