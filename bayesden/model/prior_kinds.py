"""All kinds of latent priors, by name."""

from ..errors import ModelError
from .flow_prior import FlowPrior
from .kernel_prior import KDEPrior
from .latent_prior import LatentPrior
from .local_kde import LocalKDEPrior

__all__ = ["PRIORS", "build_latent_prior"]

PRIORS: dict[str, type[LatentPrior]] = {cls.kind: cls for cls in (KDEPrior, LocalKDEPrior, FlowPrior)}


def build_latent_prior(config: dict) -> LatentPrior:
    """Build an empty latent prior from its `config`.

    Raises:
        ModelError: if the kind is not known.
    """
    config = dict(config)
    kind = config.pop("kind", None)
    if kind not in PRIORS:
        raise ModelError(f"latent prior kind: expected one of {', '.join(PRIORS)}, got {kind!r}")
    return PRIORS[kind](**config)
