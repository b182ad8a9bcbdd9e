"""Chains are data: frozen, and their own."""

import numpy as np
import pytest

from bayesden.chains import Chains


def test_arrays_are_frozen_copies():
    values = np.zeros((2, 5, 3))
    chains = Chains({"z": values}, {"lp": np.zeros((2, 5))}, np.zeros((2, 5, 1, 4)), np.zeros((2, 5, 1, 9)))
    values[:] = 1
    assert chains.shape == (2, 5) and not chains.parameters["z"].any()
    for array in (chains.parameters["z"], chains.stats["lp"], chains.log_likelihood, chains.predictive):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        chains.parameters["z"] = values


def test_what_was_not_asked_for_is_not_there():
    chains = Chains({"z": np.zeros((1, 1, 2))})
    assert chains.log_likelihood is None and chains.predictive is None and dict(chains.stats) == {}
    assert chains.thin == 1 and not chains.independent
