"""`python -m baselines`: compare denoisers on the same spectra, real or made; lines and stars that a model does not know."""

import argparse
import sys

from bayesden.errors import BayesdenError

from . import (
    compare,
    coverage,
    efficiency,
    exposures,
    injection,
    latents,
    lost_lines,
    null_test,
    simulated_model,
    support,
    train,
)
from .galaxies import library as galaxies
from .galaxies import model as galaxy_model

COMMANDS = {
    "train": (train, "train a network that a paper describes"),
    "compare": (compare, "every method on the same spectra, real noise or simulated (test beds B1, B3, B4, B5)"),
    "coverage": (coverage, "how often the truth is inside the intervals of our engines (test bed B1)"),
    "efficiency": (efficiency, "the Cramér-Rao bound over what is achieved"),
    "exposures": (exposures, "real stars' exposures predict each other (test bed B2)"),
    "injection": (injection, "lines that the model lacks (test bed B5)"),
    "lines": (lost_lines, "what becomes of lines that a denoiser does not know (figure 10 of Pál & Dobos 2024)"),
    "null-test": (null_test, "does denoising help to measure a star? (Gebran et al. 2025)"),
    "latents": (latents, "latents, priors and volume term by held-out likelihood"),
    "simulated-model": (simulated_model, "our model for simulated stars (test bed B3)"),
    "galaxies": (galaxies, "galaxies to train on (test bed B4)"),
    "galaxy-model": (galaxy_model, "our model for galaxies (test bed B4)"),
    "support": (support, "the distributions behind OUT_OF_SUPPORT"),
}


def main() -> int:
    """Parse the command line and run one command; the exit status is 0, or 2 if the input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m baselines", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except BayesdenError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
