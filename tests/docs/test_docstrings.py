"""Every example of a docstring is run; every public name says what it takes, gives and refuses, with shapes and units."""

import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import bayesden
from bayesden import errors, report
from bayesden.io import read_posteriors, write_posteriors
from bayesden.io.sdss import read_sdss
from bayesden.model.joint import SpectrumModel
from bayesden.posterior import Feature
from bayesden.simulation.build import build_simulator
from bayesden.simulation.simulator import Simulation
from bayesden.spectrum import Exposure
from bayesden.survey import read_manifest

# What the public functions take and return besides, and what the pages name.
BESIDES = (
    Exposure,
    Feature,
    Simulation,
    SpectrumModel,
    build_simulator,
    read_manifest,
    read_posteriors,
    read_sdss,
    write_posteriors,
)
PUBLIC = {
    **{name: getattr(bayesden, name) for name in bayesden.__all__},
    **{name: getattr(report, name) for name in report.__all__ if callable(getattr(report, name))},
    **{thing.__name__: thing for thing in BESIDES},
}
METHODS = {
    f"{name}.{key}": value
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing) and thing is not SpectrumModel  # one of torch's, with its hundred methods
    for key, value in vars(thing).items()
    if not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, classmethod | property))
}
API = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
SECTIONS = ("Arguments", "Returns", "Yields", "Raises", "Example", "References")
NUMBERS_WITHOUT_UNIT = {"mask", "arm", "correlation", "residual_z", "prior_fraction", "latent", "parameters", "stats"}
UNIT = re.compile(r"unit|Å|km/s|mag\b|nat|likelihood|draws|any|as for")


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(bayesden.__path__, "bayesden."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


WITH_EXAMPLES = {
    test.name: test
    for module in modules()
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__)
    if test.examples
}


def plain(thing: object) -> object:
    """The function behind a property or a class method."""
    return thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)


def source(thing: object) -> str:
    """The code of a function; of a class, what runs when one is made."""
    if inspect.isclass(thing):
        return "".join(inspect.getsource(vars(thing)[m]) for m in ("__init__", "__post_init__") if is_own(thing, m))
    return inspect.getsource(thing)


def is_own(thing: type, method: str) -> bool:
    """Whether a class has it written out, not made by `dataclass`."""
    return method in vars(thing) and vars(thing)[method].__code__.co_filename == inspect.getfile(thing)


def sections(text: str) -> dict[str, str]:
    """The parts of a Google-style docstring by their titles; the first is ''."""
    parts, title = {"": ""}, ""
    for line in inspect.cleandoc(text).splitlines():
        if line.rstrip(":") in SECTIONS and line.endswith(":"):
            title = line.rstrip(":")
            parts[title] = ""
        else:
            parts[title] += line + "\n"
    return parts


def arguments(text: str) -> dict[str, str]:
    """What an Arguments section says of each name; `a, b: text` is of both."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(text)):
        names, _, meaning = entry.partition(":")
        found |= {name.strip(): meaning for name in names.split(",")}
    return found


def missing(name: str, thing: object) -> Iterator[str]:
    """What a public name's docstring leaves out."""
    said, given, thing = sections(inspect.getdoc(thing) or ""), thing, plain(thing)
    if not said[""].strip():
        yield f"{name}: has no summary"
    function, signature = not inspect.isclass(thing), inspect.signature(thing)
    described = arguments(said.get("Arguments", ""))
    for key, parameter in signature.parameters.items():
        if key in ("self", "cls", "args", "kwargs"):
            continue
        if key not in described:
            yield f"{name}: says nothing of {key}"
        elif "Array" in str(parameter.annotation) or "Tensor" in str(parameter.annotation):
            if not re.search(r"shape|\([A-Z]", described[key]):
                yield f"{name}: gives no shape of {key}"
            if key not in NUMBERS_WITHOUT_UNIT and not UNIT.search(described[key]):
                yield f"{name}: gives no unit of {key}"
    called = not isinstance(given, property)  # a property's summary says it all
    gives = function and called and signature.return_annotation not in (None, "None")
    if gives and not {"Returns", "Yields"} & set(said):
        yield f"{name}: does not say what it returns"
    raises = re.findall(r"\braise (?:errors\.)?(\w+)\(", source(thing))
    if unsaid := {error for error in raises if error in errors.__all__ and f"{error}:" not in said.get("Raises", "")}:
        yield f"{name}: raises {', '.join(sorted(unsaid))} and does not say so"
    if called and ">>>" not in said.get("Example", ""):
        yield f"{name}: has no example"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_example_is_right(name: str, beginning: SimpleNamespace, workplace: Path) -> None:
    test = WITH_EXAMPLES[name]
    test.globs = {**test.globs, **vars(beginning)}
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=report.append, clear_globs=False).failed == 0, "".join(report)


def test_no_example_is_skipped() -> None:
    skipped = [name for name, test in WITH_EXAMPLES.items() for e in test.examples if doctest.SKIP in e.options]
    assert skipped == []


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_public_name_is_described(name: str) -> None:
    assert list(missing(name, PUBLIC.get(name) or METHODS[name])) == []


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"^\.\. auto(?:function|class):: (?:[\w.]+\.)?{name}$", API, re.MULTILINE)


def test_errors_are_described() -> None:
    assert all(inspect.getdoc(getattr(errors, name)) for name in errors.__all__)


def test_gaps_are_found() -> None:
    def bare(values: "NDArray") -> int:  # noqa: F821
        """Nothing.

        Arguments:
            values: Some.
        """
        raise errors.InputError("no")

    PUBLIC["bare"] = bare
    try:
        found = " ".join(missing("bare", bare))
    finally:
        del PUBLIC["bare"]
    for gap in ("shape of values", "unit of values", "what it returns", "raises InputError", "no example"):
        assert gap in found
