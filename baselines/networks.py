"""The networks by name."""

from bayesden.errors import InputError

from .conv_dae import ConvDae
from .dense_dae import DenseDae
from .eut import Eut
from .network import Network
from .recipe import Recipe
from .unet import UNet

__all__ = ["NETWORKS", "build_network", "recipe_of"]

NETWORKS: dict[str, type[Network]] = {network.kind: network for network in (ConvDae, DenseDae, UNet, Eut)}


def build_network(kind: str, size: int, shape: dict) -> Network:
    """An untrained network by its name.

    Raises:
        InputError: if the name is not known.
    """
    if kind not in NETWORKS:
        raise InputError(f"network: expected one of {', '.join(NETWORKS)}, got {kind!r}")
    return NETWORKS[kind](size, **{key: tuple(v) if isinstance(v, list) else v for key, v in shape.items()})


def recipe_of(kind: str, config: str) -> Recipe:
    """How to train a network: `paper` or `budget`.

    Raises:
        InputError: if the name or the configuration is not known.
    """
    if kind not in NETWORKS:
        raise InputError(f"network: expected one of {', '.join(NETWORKS)}, got {kind!r}")
    recipes = NETWORKS[kind].recipes
    if config not in recipes:
        raise InputError(f"config: expected one of {', '.join(recipes)}, got {config!r}")
    return recipes[config]
