"""A trained network's file: safetensors with a JSON header. Loading is strict, and nothing is unpickled."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bayesden.errors import InputError, ModelError
from bayesden.io.files import write_bytes
from bayesden.spectrum import Grid

from .network import Network
from .networks import build_network
from .preparation import Unit

__all__ = ["Weights", "checkpoint_path", "load_weights", "save_weights"]

FORMAT = 1


def checkpoint_path(path: Path) -> Path:
    """Where a training that shall end in `path` keeps its state."""
    return path.with_suffix(".ckpt")


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained network and what it is for.

    Arguments:
        network: In evaluation mode.
        config: `paper` or `budget`.
        shape: The network's arguments besides its size.
        grid: The pixels.
        instrument: `sdss`, `pfs-mr` or `galaxies`.
        unit: The unit of its flux.
        missing: Whether it was trained with missing flux.
        training: How it was trained: epochs, seconds, spectra, losses, ...
    """

    network: Network
    config: str
    shape: Mapping[str, object]
    grid: Grid
    instrument: str
    unit: Unit
    missing: bool
    training: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.network.kind} {self.config}" + (" missing" if self.missing else "")


def save_weights(weights: Weights, path: Path) -> None:
    """Write a trained network, whole or not at all.

    Raises:
        OutputError: if the folder cannot be written.
    """
    header = {
        "format": FORMAT,
        "network": weights.network.kind,
        "config": weights.config,
        "shape": dict(weights.shape),
        "instrument": weights.instrument,
        "unit": asdict(weights.unit),
        "missing": weights.missing,
        "training": dict(weights.training),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.network.state_dict().items()}
    tensors["wavelength"] = torch.tensor(weights.grid.wavelength)
    write_bytes(path, save(tensors, metadata={"baseline": json.dumps(header)}), overwrite=True)


def load_weights(path: Path, *, kind: str | None = None, instrument: str | None = None) -> Weights:
    """Read a trained network.

    Arguments:
        path: The file.
        kind: The network that is expected; any by default.
        instrument: The instrument that is expected; any by default.

    Raises:
        InputError: if there is no file, perhaps because its training is not finished.
        ModelError: if the file is damaged, of another format, architecture or instrument.
    """
    if not path.is_file():
        where = checkpoint_path(path)
        if where.is_file():
            raise InputError(f"{path}: expected a trained network, found an unfinished training (go on with --resume)")
        raise InputError(f"{path}: expected a trained network, found {'a folder' if path.is_dir() else 'nothing'}")
    header, tensors = _read(path)
    for key, wanted in (("network", kind), ("instrument", instrument)):
        if wanted is not None and header.get(key) != wanted:
            raise ModelError(f"{path}: expected weights of the {key} {wanted}, got those of {header.get(key)}")
    try:
        grid = Grid(tensors.pop("wavelength").numpy())
        network = build_network(header["network"], grid.size, header["shape"])
        network.load_state_dict(tensors, strict=True)
        rest = {key: header[key] for key in ("config", "shape", "instrument", "missing", "training")}
        return Weights(network.eval().requires_grad_(False), grid=grid, unit=Unit(**header["unit"]), **rest)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path}: expected the weights of a {header.get('network')}, got others ({reason})") from None


def _read(path: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("baseline", "null"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ModelError(f"{path}: expected the weights of a baseline, format {FORMAT}, got something else")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: expected the weights of a baseline, got a damaged file ({error})") from None
