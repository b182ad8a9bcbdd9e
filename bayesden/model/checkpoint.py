"""Model files: one safetensors file whose header holds a JSON document. Loading is strict and never unpickles."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import ModelError, OutputError
from ..spectrum import Grid
from .class_prior import ClassPrior
from .generator import build_generator
from .joint import SpectrumModel
from .latent_prior import KDEPrior
from .noiseflow import NoiseFlow
from .nuisance import Nuisance

__all__ = ["DEFAULT_MODEL", "FORMAT", "load_model", "read_header", "save_model"]

FORMAT = 1
DEFAULT_MODEL = "sdss-10class"


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_model(model: SpectrumModel, path: str | Path) -> None:
    """Write a model to one file, whole or not at all.

    Raises:
        OutputError: if the folder cannot be written.
    """
    path = Path(path)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    tensors["wavelength"] = torch.tensor(model.grid.wavelength)
    header = {
        "format": FORMAT,
        "classes": model.classes,
        "generator": model.generator.config,
        "latent_prior": model.latent_prior.config,
        "noise": model.noise.config,
        "nuisance": asdict(model.nuisance),
        "card": model.card,
        "sha256": _checksum(tensors),
    }
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(save(tensors, metadata={"bayesden": json.dumps(header)}))
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def _find(name: str | Path | None) -> Path:
    """A path as given, or the file of a shipped model."""
    path = Path(name or DEFAULT_MODEL)
    if path.is_file():
        return path
    shipped = Path(str(resources.files("bayesden") / "pretrained"))
    if (shipped / f"{path}.safetensors").is_file():
        return shipped / f"{path}.safetensors"
    known = sorted(p.stem for p in shipped.glob("*.safetensors"))
    found = "a folder" if path.is_dir() else "nothing"
    raise ModelError(f"{path}: expected a model file or one of {', '.join(known) or 'no shipped models'}, found {found}")


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("bayesden")
            if text is None:
                raise ModelError(f"{path}: expected a bayesden model, got a safetensors file without its header")
            header = json.loads(text)
            if header.get("format") != FORMAT:
                raise ModelError(f"{path}: expected model format {FORMAT}, got {header.get('format')}")
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (SafetensorError, OSError, json.JSONDecodeError, AttributeError) as error:
        raise ModelError(f"{path}: expected a model file, got one that is damaged or of another kind ({error})") from None


def read_header(name: str | Path | None = None) -> dict:
    """The JSON document of a model file: format, classes, configuration, card and checksum.

    Raises:
        ModelError: if the file is missing or not a model of this format.
    """
    return _read(_find(name))[0]


def load_model(name: str | Path | None = None, device: str | torch.device = "cpu") -> SpectrumModel:
    """Load a model.

    Arguments:
        name: The name of a shipped model or the path of a model file; the default model if None.
        device: Where to put it.

    Returns:
        The model, in evaluation mode; `model.card` says what it was trained on.

    Raises:
        ModelError: if the file is missing, truncated, of another format version, or its checksum or shapes are wrong.

    Example:
        >>> load_model().grid.size
        2048
    """
    path = _find(name)
    header, tensors = _read(path)
    checksum = _checksum(tensors)
    if checksum != header.get("sha256"):
        raise ModelError(f"{path}: expected checksum {header.get('sha256')}, got {checksum}")
    try:
        model = SpectrumModel(
            grid=Grid(tensors.pop("wavelength").numpy()),
            class_prior=ClassPrior(tuple(header["classes"])),
            generator=build_generator(header["generator"]),
            latent_prior=KDEPrior(**header["latent_prior"]),
            noise=NoiseFlow(**header["noise"]),
            nuisance=Nuisance(**header["nuisance"]),
            discrepancy=torch.zeros_like(tensors["discrepancy"]),
            spread=torch.zeros_like(tensors["spread"]),
            card={**header["card"], "name": path.stem, "sha256": checksum},
        )
        model.load_state_dict(tensors, strict=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path}: expected a complete model, got one that cannot be built ({reason})") from None
    return model.eval().requires_grad_(False).to(device)
