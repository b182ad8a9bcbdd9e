"""What a fitted spectrum lacks: lines (`features.py`), or everything (`support.py`), as flags and facts of its posterior."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..model.data import Data
from ..model.joint import SpectrumModel
from ..model.linearization import Linearization
from ..posterior import Feature
from .features import find_features
from .newton import Fit
from .support import SUPPORT_LEVEL, null_of, surprise

__all__ = ["Missing", "what_is_missing"]


@dataclass(frozen=True)
class Missing:
    """Flags, lines, and further facts.

    Arguments:
        flags: `OUT_OF_SUPPORT`, `FEATURE_NOT_IN_MODEL`, both or neither.
        features: The lines.
        meta: `support_p`, and the statistics that it is made of.
    """

    flags: frozenset[str]
    features: tuple[Feature, ...]
    meta: dict[str, float]


@torch.no_grad()
def what_is_missing(model: SpectrumModel, data: Data, fit: Fit, local: Linearization, mean: Tensor) -> Missing:
    """Look at the residuals of one spectrum about its mode.

    Arguments as in `find_features`.
    """
    found = surprise(model, data, fit, local)
    features = find_features(model, data, fit, local, mean)
    p = null_of(model).p_value(found)
    flags = {"OUT_OF_SUPPORT"} if p < SUPPORT_LEVEL else set()
    if not all(feature.terrestrial for feature in features):
        flags.add("FEATURE_NOT_IN_MODEL")
    meta = {"support_p": p} | {f"support_{key}": value for key, value in asdict(found).items()}
    return Missing(frozenset(flags), features, meta)
