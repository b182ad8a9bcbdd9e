"""`python -m baselines`: compare denoisers on the same spectra, real or made, and what an unknown star is."""

import argparse
import sys

from bayesden.errors import BayesdenError

from . import compare, exposures, latents, support


def main() -> int:
    """Parse the command line and run one command; the exit status is 0, or 2 if the input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m baselines", description=__doc__)
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("compare", help="real noise on known truth (test bed B1)", description=compare.__doc__)
    sub.add_argument("--library", required=True, help="library file made by `bayesden library`")
    sub.add_argument("--noise", action="append", required=True, help="spec file of a star that no model's noise knows")
    sub.add_argument("--model", action="append", default=[], help="name or path of a trained model; may be repeated")
    sub.add_argument(
        "--split", choices=("validation", "test"), default="test", help="whose spectra; choose on validation"
    )
    sub.add_argument("--conditions", choices=tuple(compare.CONDITIONS), default="all", help="S/N, exposures and gaps")
    sub.add_argument("--per-class", type=int, default=30, help="spectra of each class")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", default="out/b1", help="folder for the tables and the figure")
    sub.set_defaults(run=compare.run)
    sub = commands.add_parser("support", help="the statistic behind OUT_OF_SUPPORT", description=support.__doc__)
    sub.add_argument("--library", required=True, help="library file made by `bayesden library`")
    sub.add_argument("--noise", action="append", required=True, help="spec file; may be repeated")
    sub.add_argument("--model", default=None, help="name or path of a trained model; the shipped one by default")
    sub.add_argument("--split", choices=("validation", "test"), default="validation", help="whose spectra")
    sub.add_argument("--per-class", type=int, default=20, help="spectra of each class")
    sub.add_argument("--seed", type=int, default=0)
    sub.set_defaults(run=support.run)
    sub = commands.add_parser(
        "exposures", help="real stars' exposures predict each other (test bed B2)", description=exposures.__doc__
    )
    sub.add_argument("files", nargs="+", metavar="FILE", help="spec file with more exposures than are fitted")
    sub.add_argument("--model", action="append", default=[], help="name or path of a trained model; may be repeated")
    sub.add_argument("--fit", default="1,2", metavar="E,E", help="how many exposures to fit")
    sub.add_argument("--choices", type=int, default=4, help="choices of the fitted exposures, at random")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", default="out/b2", help="folder for the tables")
    sub.set_defaults(run=exposures.run)
    sub = commands.add_parser(
        "latents", help="latents, priors and volume term by held-out likelihood", description=latents.__doc__
    )
    sub.add_argument("--library", required=True, help="library file that the models' generators were trained on")
    sub.add_argument("--model", action="append", required=True, help="name or path of a trained model; may be repeated")
    sub.add_argument("--snr", action="append", type=float, help="of the noise; may be repeated; 20 and 50 by default")
    sub.add_argument("--per-class", type=int, default=20, help="validation spectra of each class")
    sub.add_argument("--draws", type=int, default=256, help="of the latents of each spectrum")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", default="out/latents", help="folder for latents.md and latents.json")
    sub.set_defaults(run=latents.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except BayesdenError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
