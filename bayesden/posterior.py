"""What every engine and every baseline returns: the posterior of the noise-free spectrum of one star."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from .chains import Chains
from .errors import InputError
from .measurement import Measurement

__all__ = ["FLAGS", "Feature", "Posterior"]

FLAGS = ("OUT_OF_SUPPORT", "NOT_CONVERGED", "FEATURE_NOT_IN_MODEL", "LOW_INFORMATION")


def _frozen(values: NDArray | None) -> NDArray | None:
    if values is None:
        return None
    array = np.array(values)
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Feature:
    r"""A line in the data that the fitted model lacks.

    Arguments:
        wavelength_A: Its centre, vacuum Å.
        equivalent_width_A: Its area over the denoised flux around it, Å; positive in absorption and in emission.
        sigma_A: Standard deviation of the equivalent width: noise, fitted parameters and the model's own discrepancy.
        significance: Amplitude over its standard deviation, positive.
        p_value: Probability that a spectrum which the model can make shows a line as significant anywhere.
        width_kms: Full width at half maximum of the profile that fits best, km/s.
        kind: 'absorption' or 'emission'.
        near: What is known to be there: a stellar line, a line of the night sky, a band of the Earth's air; or ''.
        terrestrial: Whether that is of the night sky or the air, so that the line is hardly the star's.

    Example:
        >>> [line.wavelength_A for line in post.features if not line.terrestrial]
        []
    """

    wavelength_A: float
    equivalent_width_A: float
    sigma_A: float
    significance: float
    p_value: float
    width_kms: float
    kind: str
    near: str = ""
    terrestrial: bool = False


@dataclass(frozen=True, eq=False)
class Posterior:
    r"""The posterior of one star's noise-free flux.

    Arguments:
        wavelength: Pixel centres, shape :math:`(D,)`, vacuum Å.
        flux: Posterior mean (or mode, for a point estimate), shape :math:`(D,)`, in `flux_unit`.
        sigma: Posterior standard deviation of the noise-free flux, generator error included, shape :math:`(D,)`;
            NaN where a method has none.
        residual_z: Whitened residuals of the data under the fitted model, shape :math:`(E, D)`, NaN where masked.
        prior_fraction: Posterior over prior standard deviation, shape :math:`(D,)`; 1 = the data said nothing here.
        class_prob: Probability of each class; empty for methods without classes.
        latent: Latent vector :math:`(L,)`, or draws of it :math:`(S, L)`; None for methods without latents.
        draws: Draws of the flux, shape :math:`(S, D)`, or None.
        factors: Rows F of the low-rank part of the flux's covariance :math:`F^\top F + \mathrm{diag}(v)`, shape
            :math:`(R, D)`, or None; v is what `sigma` has besides, `unshared_variance`.
        chains: Draws of the parameters, in the order of `draws`, chain by chain; or None.
        flags: Named quality bits, each one of `FLAGS`.
        features: Lines in the data that the model lacks, the most significant first.
        data_flux, data_ivar: What was fitted, shape :math:`(E, D)`, in `flux_unit`; `data_ivar` is 0 where masked.
        method: The engine's or baseline's name.
        name: The object's name.
        flux_unit: Unit of the flux, as FITS writes it.
        meta: Further facts (strings and numbers): objective, iterations, amplitude, model, seed, input file, ...

    Raises:
        InputError: if a shape is not that of `wavelength`, or a flag is not one of `FLAGS`.

    Example:
        >>> post.flux.shape, post.residual_z.shape, post.best_class, sorted(post.flags)
        ((2048,), (4, 2048), 'K', [])
    """

    wavelength: NDArray
    flux: NDArray
    sigma: NDArray
    residual_z: NDArray
    prior_fraction: NDArray
    class_prob: Mapping[str, float] = field(default_factory=dict)
    latent: NDArray | None = None
    draws: NDArray | None = None
    factors: NDArray | None = None
    chains: Chains | None = None
    flags: frozenset[str] = frozenset()
    features: tuple[Feature, ...] = ()
    data_flux: NDArray | None = None
    data_ivar: NDArray | None = None
    method: str = ""
    name: str = "spectrum"
    flux_unit: str = ""
    meta: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in (
            "wavelength",
            "flux",
            "sigma",
            "residual_z",
            "prior_fraction",
            "latent",
            "draws",
            "factors",
            "data_flux",
            "data_ivar",
        ):
            object.__setattr__(self, key, _frozen(getattr(self, key)))
        size = self.wavelength.shape
        for key in ("flux", "sigma", "prior_fraction"):
            if getattr(self, key).shape != size:
                raise InputError(f"{self.name}: {key}: expected shape {size}, got {getattr(self, key).shape}")
        unknown = set(self.flags) - set(FLAGS)
        if unknown:
            raise InputError(
                f"{self.name}: flags: expected some of {', '.join(FLAGS)}, got {', '.join(sorted(unknown))}"
            )
        object.__setattr__(self, "flags", frozenset(self.flags))
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "class_prob", MappingProxyType({k: float(v) for k, v in self.class_prob.items()}))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    @property
    def best_class(self) -> str | None:
        """The most probable class, or None for methods without classes."""
        return max(self.class_prob, key=self.class_prob.__getitem__) if self.class_prob else None

    def quantile(self, probability: float) -> NDArray:
        """Quantile of the flux at each pixel: from the draws where there are some, else normal.

        Arguments:
            probability: Between 0 and 1, exclusive.

        Returns:
            Shape :math:`(D,)`, in `flux_unit`.

        Raises:
            InputError: if the probability is not between 0 and 1.

        Example:
            >>> band = post.quantile(0.95) - post.quantile(0.05)
            >>> print(f"{np.median(band / post.sigma):.1f}")  # 3.29 if it is normal
            3.3
        """
        if not 0 < probability < 1:
            raise InputError(f"probability: expected a number between 0 and 1, got {probability}")
        if self.draws is not None:
            return np.quantile(self.draws, probability, axis=0)
        return self.flux + self.sigma * ndtri(probability)

    @property
    def unshared_variance(self) -> NDArray:
        r"""The diagonal v of the covariance besides its low-rank part, shape :math:`(D,)`, in `flux_unit` squared."""
        shared = 0.0 if self.factors is None else np.square(self.factors, dtype=float).sum(0)
        return np.maximum(np.square(self.sigma) - shared, 0.0)

    def sample(self, count: int, seed: int = 0) -> NDArray:
        """Draws of the flux: among those that there are, with repetition only if there are fewer; else normal ones.

        Arguments:
            count: How many, S.
            seed: Seed of the choice, or of the normal draws.

        Returns:
            Shape :math:`(S, D)`, in `flux_unit`.

        Raises:
            InputError: if fewer than one is asked for, or the method gives no uncertainty.

        Example:
            >>> post.sample(5).shape
            (5, 2048)
        """
        if count < 1:
            raise InputError(f"sample: expected at least one draw, got {count}")
        rng = np.random.default_rng(seed)
        if self.draws is not None:
            return self.draws[rng.choice(len(self.draws), count, replace=count > len(self.draws))]
        if not np.isfinite(self.sigma).all():
            raise InputError(f"{self.name}: sample: expected a method with uncertainties, got {self.method}")
        draws = self.flux + np.sqrt(self.unshared_variance) * rng.normal(size=(count, self.flux.size))
        return draws if self.factors is None else draws + rng.normal(size=(count, len(self.factors))) @ self.factors

    def measure(self, function: Callable[[NDArray], ArrayLike], *, count: int = 1000, seed: int = 0) -> Measurement:
        """The posterior of a function of the flux.

        Arguments:
            function: From a flux vector, shape :math:`(D,)`, in `flux_unit`, to a number or an array; `equivalent_width` and
                `colour` make such functions.
            count: Draws to use, where the posterior has none of its own: it has normal ones made then.
            seed: Their seed.

        Returns:
            What the function gives, with mean, standard deviation and intervals.

        Raises:
            InputError: if the method gives no uncertainty.

        Example:
            >>> halpha = bd.equivalent_width(post.wavelength, (6545, 6585), ((6480, 6530), (6600, 6650)))
            >>> post.measure(halpha)  # Å
            0.8... ± 0.1...
        """
        draws = self.sample(count, seed) if self.draws is None else self.draws
        return Measurement(np.array([function(draw) for draw in draws]))

    def thinned(self, count: int) -> "Posterior":
        """The same with fewer draws of the flux, evenly spaced, and predictions of as many.

        Arguments:
            count: How many at most; with 0 there are no chains either.

        Returns:
            A posterior with `draws` of shape (S', D), and the same flux and error bars.

        Example:
            >>> post.draws.shape, post.thinned(50).draws.shape, post.thinned(0).draws
            ((200, 2048), (50, 2048), None)
        """
        if not count:
            return replace(self, draws=None, chains=None)
        draws = self.draws
        if draws is not None:
            draws = draws[np.linspace(0, len(draws) - 1, min(count, len(draws))).round().astype(int)]
        return replace(self, draws=draws, chains=None if self.chains is None else self.chains.thinned(count))
