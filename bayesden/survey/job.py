"""What is asked of every spectrum: model, method and options, in a form that travels to other processes."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..model.checkpoint import DEFAULT_MODEL, read_header

__all__ = ["Job"]

PACKAGES = ("bayesden", "numpy", "scipy", "torch", "pyro-ppl", "astropy")
NOT_IN_THE_ANSWER = ("plot",)  # may differ between a run and its continuation


@dataclass(frozen=True)
class Job:
    """What to do with each spectrum.

    Arguments:
        model: Name or path of the model, as `load_model` takes it.
        model_sha256: Its checksum.
        device: Where to compute.
        method: The engine, as `denoise` takes it.
        seed: Seed of the random numbers.
        without: Nuisances to leave out, with commas between.
        options: Further keywords of `denoise`, as pairs.
        mask_policy: Which mask marks bad pixels, as `read` takes it.
        form: 'fits', one result file for each spectrum, or 'table', one for each chunk.
        draws: Draws of the flux, and predictions, that a result file keeps of a method that draws; 0 for none, nor chains.
        plot: Whether to draw each result.
        batch: Spectra that are fitted together; 0 for one on a CPU, and as many as there is memory for elsewhere.
        precision: 'single', 'double', or 'auto': double where several are fitted together, so that none depends on its
            company.
    """

    model: str
    model_sha256: str
    device: str = "cpu"
    method: str = "map"
    seed: int = 0
    without: str = ""
    options: tuple[tuple[str, object], ...] = ()
    mask_policy: str = "and"
    form: str = "fits"
    draws: int = 200
    plot: bool = False
    batch: int = 0
    precision: str = "auto"

    @classmethod
    def of(cls, model: str | None, **choices: object) -> "Job":
        """A job for a model by its name or path, the default one if None.

        Raises:
            ModelError: if the file is missing, damaged, or not a model.
        """
        name = model or DEFAULT_MODEL
        path = str(Path(name).absolute()) if Path(name).is_file() else name  # workers may be in another folder
        return cls(path, read_header(name)["sha256"], **choices)

    @property
    def alone(self) -> bool:
        """Whether each spectrum is fitted by itself."""
        return self.batch == 1 or (self.batch == 0 and self.device == "cpu")

    @property
    def runs_chains(self) -> bool:
        """Whether the method runs Markov chains, which are kept in netCDF files."""
        return self.method in ("ensemble", "nuts")

    @property
    def double(self) -> bool:
        """Whether to compute in double precision."""
        return self.precision == "double" or (self.precision == "auto" and not self.alone)

    @cached_property
    def description(self) -> dict[str, object]:
        """All that shapes the answer, the versions of what computes it included, as JSON has it."""
        facts = {key: value for key, value in asdict(self).items() if key not in NOT_IN_THE_ANSWER}
        return json.loads(json.dumps({**facts, "versions": {name: _version(name) for name in PACKAGES}}))

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that are the same for the same description."""
        facts = {key: value for key, value in self.description.items() if key != "model"}  # its checksum says more
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
