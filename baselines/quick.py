"""A library that needs no data: spectra that the shipped model draws."""

from collections.abc import Sequence
from itertools import count, islice

import numpy as np
import torch

from bayesden.model.checkpoint import load_model
from bayesden.simulation.example import draw_star
from bayesden.train.library import Library
from bayesden.train.sources import split_of

__all__ = ["made_up_library"]

WANTED = {"train": 12, "validation": 4, "test": 4}  # stars of each class


@torch.no_grad()
def made_up_library(*, classes: Sequence[str] | None = None, seed: int = 0) -> Library:
    """A few stars of each class and split, velocity and dust included.

    They are the shipped model's own idea of stars: fit to show that a comparison runs, and unfit to compare with.

    Arguments:
        classes: Of the model's classes; all by default.
        seed: Of the draws.
    """
    model, random = load_model(), torch.Generator().manual_seed(seed)
    names, label, flux = [], [], []
    chosen_classes = tuple(classes or model.classes)
    for k, name in enumerate(chosen_classes):
        for split, wanted in WANTED.items():
            numbered = (f"made up/{name} {i}" for i in count())
            chosen = list(islice((star for star in numbered if split_of(star) == split), wanted))
            names += chosen
            label += [k] * wanted
            flux += [draw_star(model, name, random) for _ in chosen]
    return Library(model.grid, np.array(flux, np.float32), np.array(label), np.array(names), classes=chosen_classes)
