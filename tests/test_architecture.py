"""The house rules of the package, read from its syntax tree: layers, fences, no cycles, nothing unpickled."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "bayesden"

# Stations in the order that data walks through them; a file imports only from its own layer and those below.
LAYERS = {
    **dict.fromkeys(("errors", "heap", "names", "device", "spectrum", "chains", "measurement", "posterior"), 0),
    **dict.fromkeys(("io", "model", "simulation"), 1),
    **dict.fromkeys(("train", "infer"), 2),
    **dict.fromkeys(("evaluate", "survey", "report", "installation"), 3),
    **dict.fromkeys(("cli", "__main__"), 4),
    "__init__": 5,  # the public names; nothing inside the package may import it
}

# Where each optional or replaceable dependency is met: module prefixes. The longest matching name decides.
FENCES = {
    "astropy": ("io",),
    "astropy.units": ("io", "simulation.effects"),  # the extinction laws want a unit on their wavelengths
    "dust_extinction": ("simulation.effects",),
    "h5py": ("simulation.store", "simulation.stored"),
    "pyro": ("model.joint", "infer"),
    "nflows": ("model.noiseflow", "model.local_autoregressive", "model.flow_prior", "model.student_t"),
    "matplotlib": ("report",),
    "bokeh": ("report.page_figures",),
    "jinja2": ("report.html",),
    "arviz": ("io.inference_data",),
    "specutils": ("io.spectrum1d",),
    "dask": ("survey",),
    "urllib3": ("io.download",),
    "astroquery": ("io.download.skyserver",),
    "distributed": ("survey.cluster",),
    "pyarrow": ("survey.manifest",),
    "typer": ("cli",),
    "rich": ("cli",),
    "packaging": ("installation",),
    "baselines": (),
    "tests": (),
}

PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name below the package ("io.sdss"; a package's __init__ is the package itself)."""

    name: str
    is_package: bool
    tree: ast.Module

    @property
    def station(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") and part != "__init__" for part in self.name.split("."))


@dataclass(frozen=True)
class Import:
    """One imported module, absolute; `line` is where."""

    target: str
    line: int


def load(package: Path) -> dict[str, Module]:
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package and len(parts) > 1 else parts)
        modules[name] = Module(name, is_package, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return modules


def imports(module: Module, modules: dict[str, Module], package: str) -> Iterator[Import]:
    """Every import in a file, in functions too; a relative one as "bayesden.io.sdss", the root as "bayesden"."""
    own = [package] if module.name == "__init__" else [package, *module.name.split(".")]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - (1 if module.is_package else 0)
            base = [] if node.level == 0 else own[: len(own) - up]
            base = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                is_module = submodule.removeprefix(f"{package}.") in modules or base.partition(".")[0] != package
                yield Import(submodule if is_module else base, node.lineno)


def check_imports(modules: dict[str, Module], package: str) -> Iterator[str]:
    files: dict[str, set[str]] = {}
    stations: dict[str, set[str]] = {}
    for module in modules.values():
        layer = LAYERS.get(module.station)
        if layer is None:
            yield f"{module.name}: has no layer; add {module.station!r} to LAYERS"
            continue
        for target, line in {(i.target, i.line) for i in imports(module, modules, package)}:
            where = f"{module.name}:{line}"
            if target.partition(".")[0] != package:
                yield from check_fence(module, target, where)
            elif target == package:
                yield f"{where}: imports the package root"
            else:
                inner = target.removeprefix(f"{package}.")
                while inner not in modules and "." in inner:
                    inner = inner.rpartition(".")[0]
                station = inner.partition(".")[0]
                if LAYERS.get(station, 0) > layer:
                    yield f"{where}: layer {layer} imports {inner} of layer {LAYERS[station]}"
                files.setdefault(module.name, set()).add(inner)
                if station != module.station:
                    stations.setdefault(module.station, set()).add(station)
    for graph in (files, stations):
        try:
            tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            yield "import cycle: " + " -> ".join(error.args[1])


def check_fence(module: Module, target: str, where: str) -> Iterator[str]:
    library = target.partition(".")[0]
    if library in PICKLERS:
        yield f"{where}: imports {library}, which unpickles"
    fence = max((name for name in FENCES if is_within(target, name)), key=len, default=None)
    if fence is not None and not any(is_within(module.name, home) for home in FENCES[fence]):
        yield f"{where}: imports {fence}, which belongs in {' or '.join(FENCES[fence]) or 'no file of the package'}"


def is_within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def check_pickle(module: Module) -> Iterator[str]:
    """No call that could run code from a file: torch.load, read_pickle, numpy's load unless it refuses objects."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"torch", "numpy"}:
            names = {alias.name for alias in node.names} & {"load"}
            yield from (f"{module.name}:{node.lineno}: imports {node.module}.{name} by itself" for name in names)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        refuses = any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords)
        allows = any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
        unsafe = called == "torch.load" or called.endswith("read_pickle") or called.endswith("param_store().load")
        if unsafe or allows or (called in {"np.load", "numpy.load"} and not refuses):
            yield f"{module.name}:{node.lineno}: {called} can unpickle"


def check_face(module: Module) -> Iterator[str]:
    """A docstring everywhere, and `__all__` in each public file that defines or gathers names."""
    if module.name.rpartition(".")[2] in {"utils", "util", "helpers", "misc", "common"}:
        yield f"{module.name}: is named after nothing; name it after what it holds"
    if not ast.get_docstring(module.tree):
        yield f"{module.name}: has no module docstring"
    names = {target.id for node in module.tree.body for target in assigned(node)}
    holds = any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for n in module.tree.body)
    if module.is_public and holds and "__all__" not in names:
        yield f"{module.name}: has no __all__"


def assigned(node: ast.stmt) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def violations(package: Path) -> list[str]:
    modules = load(package)
    found = list(check_imports(modules, package.name))
    for module in modules.values():
        found += [*check_pickle(module), *check_face(module)]
    return found


def test_package_keeps_its_rules() -> None:
    assert len(load(PACKAGE)) > 5, "the checker did not find the package"
    assert violations(PACKAGE) == []


CLEAN = {
    "__init__": '"""Root."""\nfrom .io import read\n__all__ = ["read"]\n',
    "errors": '"""Errors."""\n__all__ = []\n',
    "spectrum": '"""Data."""\nfrom .errors import Error\n__all__ = []\n',
    "io.__init__": '"""Files."""\nfrom .sdss import read\n__all__ = ["read"]\n',
    "io.sdss": '"""SDSS."""\nfrom astropy.io import fits\nfrom ..spectrum import Observation\n__all__ = ["read"]\n',
    "simulation.effects": '"""Stars."""\nfrom astropy import units\nfrom dust_extinction import averages\n__all__ = []\n',
    "infer.__init__": '"""Engines."""\n',
    "infer.map": '"""MAP."""\nimport pyro\nfrom ..io import read\n__all__ = []\n',
}

BAD = {
    "upwards": ("io.sdss", "from ..infer.map import denoise", "layer 1 imports infer.map of layer 2"),
    "upwards, by package": ("io.sdss", "from ..infer import map", "layer 1 imports infer.map of layer 2"),
    "upwards, in a function": ("io.sdss", "def f():\n    from ..infer import map", "layer 1 imports infer.map"),
    "root, relative": ("io.sdss", "from .. import read", "imports the package root"),
    "root, absolute": ("io.sdss", "import bad", "imports the package root"),
    "cycle of files": ("io.formats", "from .sdss import read", "import cycle"),
    "cycle of stations": ("io.formats", "from ..model.names import x", "import cycle"),
    "fence": ("io.sdss", "import pyro.infer", "imports pyro, which belongs in model.joint or infer"),
    "fence, of a part": ("io.sdss", "from nflows.flows import Flow", "imports nflows, which belongs in"),
    "fence, beside the exception": (
        "simulation.effects",
        "from astropy.io import fits",
        "imports astropy, which belongs",
    ),
    "no layer": ("iota", "", "has no layer"),
    "reverse of baselines": ("io.sdss", "from baselines import wiener", "no file of the package"),
    "pickle": ("io.sdss", "import pickle", "unpickles"),
    "torch.load": ("io.sdss", "import torch\nx = torch.load('f', weights_only=True)", "torch.load can unpickle"),
    "load by itself": ("io.sdss", "from torch import load", "imports torch.load by itself"),
    "numpy, default": ("io.sdss", "import numpy as np\nx = np.load('f')", "np.load can unpickle"),
    "numpy, allowed": ("io.sdss", "import numpy as np\nx = np.load('f', allow_pickle=True)", "np.load can unpickle"),
    "utils": ("io.utils", "", "named after nothing"),
}
EXTRA = {  # what closes each cycle
    "cycle of files": {"io.sdss": "from .formats import x"},
    "cycle of stations": {"model.names": "", "model.other": "from ..io.sdss import read"},
}


def write(root: Path, sources: dict[str, str]) -> Path:
    for name, text in sources.items():
        path = root / "bad" / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "bad"


def test_checker_accepts_a_clean_package(tmp_path: Path) -> None:
    assert violations(write(tmp_path, CLEAN)) == []


@pytest.mark.parametrize("case", BAD)
def test_checker_finds_planted_violation(tmp_path: Path, case: str) -> None:
    name, line, message = BAD[case]
    empty = '"""Planted."""\n__all__ = []\n'
    planted = {n: CLEAN.get(n, empty) + text + "\n" for n, text in {name: line, **EXTRA.get(case, {})}.items()}
    found = violations(write(tmp_path, CLEAN | planted))
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("text", "message"), [("x = 1\n", "no module docstring"), ('"""Doc."""\nimport math\n', "has no __all__")]
)
def test_checker_asks_for_docstring_and_all(tmp_path: Path, text: str, message: str) -> None:
    found = violations(write(tmp_path, CLEAN | {"io.sdss": text}))
    assert any(message in line for line in found), found
