"""`python -m baselines`: compare denoisers on the same spectra; lines and stars that a model does not know."""

import argparse
import sys

from bayesden.errors import BayesdenError

from . import compare, injection, support


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
    sub = commands.add_parser("support", help="the p-value behind OUT_OF_SUPPORT", description=support.__doc__)
    sub.add_argument("--library", required=True, help="library file made by `bayesden library`")
    sub.add_argument("--noise", action="append", required=True, help="spec file; may be repeated")
    sub.add_argument("--model", default=None, help="name or path of a trained model; the shipped one by default")
    sub.add_argument("--split", choices=("validation", "test"), default="validation", help="whose spectra")
    sub.add_argument("--per-class", type=int, default=6, help="spectra of each class, S/N and number of exposures")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--write", help="write the model, with the null in its card, to this file")
    sub.set_defaults(run=support.run)
    sub = commands.add_parser(
        "injection", help="lines that the model lacks (test bed B5)", description=injection.__doc__
    )
    sub.add_argument("--library", required=True, help="library file made by `bayesden library`")
    sub.add_argument("--noise", action="append", required=True, help="spec file; may be repeated")
    sub.add_argument("--model", default=None, help="name or path of a trained model; the shipped one by default")
    sub.add_argument("--split", choices=("validation", "test"), default="validation", help="whose spectra")
    sub.add_argument("--per-class", type=int, default=6, help="spectra of each class and condition")
    sub.add_argument("--seed", type=int, default=0)
    sub.set_defaults(run=injection.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except BayesdenError as error:
        print(f"baselines: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
