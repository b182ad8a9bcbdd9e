"""Arguments that several commands share."""

from argparse import ArgumentParser

__all__ = ["add_bed", "add_model", "add_models", "add_seed"]


def add_bed(parser: ArgumentParser, *, split: str, per_class: int, white: bool = False, required: bool = True) -> None:
    """The library, the noise, which spectra, and how many of each class."""
    parser.add_argument("--library", required=required, help="library file made by `bayesden library`")
    text = "spec file of a star whose noise is taken; may be repeated" + ("; white noise without one" if white else "")
    parser.add_argument("--noise", action="append", required=not white, help=text)
    text = "whose spectra; choose on validation"
    parser.add_argument("--split", choices=("validation", "test"), default=split, help=text)
    parser.add_argument("--per-class", type=int, default=per_class, help="spectra of each class and condition")


def add_model(parser: ArgumentParser) -> None:
    """One model."""
    parser.add_argument("--model", help="name or path of a trained model; the shipped one by default")


def add_models(parser: ArgumentParser, *, required: bool = False) -> None:
    """Several models."""
    text = "name or path of a trained model; may be repeated"
    parser.add_argument("--model", action="append", default=None if required else [], required=required, help=text)


def add_seed(parser: ArgumentParser) -> None:
    """The seed of all draws."""
    parser.add_argument("--seed", type=int, default=0)
