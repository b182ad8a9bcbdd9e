"""Model files: one safetensors file whose header holds a JSON document. Loading is strict and never unpickles.

A file holds either a whole `SpectrumModel` or one trained part of it (generator, latent prior, noise), so that the steps of
the workflow can be run, kept and repeated one by one.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import ModelError
from ..io.files import write_bytes
from ..spectrum import Grid
from .class_prior import ClassPrior
from .generator import build_generator
from .joint import SpectrumModel
from .noiseflow import NoiseFlow
from .nuisance import Nuisance
from .prior_kinds import build_latent_prior
from .rest_frame import RestFrame

__all__ = ["DEFAULT_MODEL", "FORMAT", "PARTS", "load_model", "load_part", "read_header", "save_model", "save_part"]

FORMAT = 2
DEFAULT_MODEL = "sdss-10class"
MAX_BYTES = 2**31  # of a model file; the shipped one has a few MB
SPARE = 4  # how many times the numbers of a file what its header asks for may take, before it is refused
PARTS: dict[str, Callable[[dict], nn.Module]] = {
    "generator": build_generator,
    "latent_prior": build_latent_prior,
    "noise": lambda config: NoiseFlow(**config),
}

# what classes raise on a configuration that is not theirs; torch's own refusals are RuntimeErrors
BUILD_ERRORS = (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError, ZeroDivisionError)


def _checksum(header: dict, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of everything that a file says: header (without this sum) and tensors."""
    header = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write(path: str | Path, header: dict, tensors: dict[str, Tensor]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = json.loads(json.dumps({"format": FORMAT, **header}))  # as it will be read: the checksum is of this
    header["sha256"] = _checksum(header, tensors)
    write_bytes(Path(path), save(tensors, metadata={"bayesden": json.dumps(header)}), overwrite=True)


def save_model(model: SpectrumModel, path: str | Path) -> None:
    """Write a model to one file, whole or not at all.

    Raises:
        OutputError: if the folder cannot be written.
    """
    header = {
        "content": "model",
        "classes": model.classes,
        "generator": model.generator.config,
        "latent_prior": model.latent_prior.config,
        "noise": model.noise.config,
        "nuisance": asdict(model.nuisance),
        "volume": model.volume,
        "frame": None if model.frame is None else model.frame.config,
        "card": model.card,
    }
    _write(path, header, {**model.state_dict(), "wavelength": torch.tensor(model.grid.wavelength)})


def save_part(content: str, part: nn.Module, path: str | Path, card: dict | None = None) -> None:
    """Write one part of a model: `content` is 'generator', 'latent_prior' or 'noise'.

    Raises:
        OutputError: if the folder cannot be written.
    """
    _write(path, {"content": content, content: part.config, "card": dict(card or {})}, part.state_dict())


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
    raise ModelError(
        f"{path}: expected a model file or one of {', '.join(known) or 'no shipped models'}, found {found}"
    )


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ModelError(f"{path}: expected a model file of at most {MAX_BYTES:,} bytes, got {size:,}")
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("bayesden", "null"))
            if not isinstance(header, dict):
                raise ModelError(f"{path}: expected a bayesden model, got a safetensors file without its header")
            if header.get("format") != FORMAT:
                raise ModelError(f"{path}: expected model format {FORMAT}, got {header.get('format')}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{path}: expected a model file, got one that is damaged or of another kind ({error})"
        ) from None
    checksum = _checksum(header, tensors)
    if checksum != header.get("sha256"):
        raise ModelError(f"{path}: expected checksum {header.get('sha256')}, got {checksum}")
    return header, tensors


def read_header(name: str | Path | None = None) -> dict:
    """The JSON document of a model file: format, content, configuration, card and checksum.

    Raises:
        ModelError: if the file is missing, damaged, or not a model of this format.
    """
    return _read(_find(name))[0]


def _expect(path: Path, header: dict, content: str) -> None:
    if header.get("content") != content:
        raise ModelError(
            f"{path}: expected a file that holds a {content}, got one that holds a {header.get('content')}"
        )


def _reason(error: Exception) -> str:
    return f"one that cannot be built ({' '.join(str(error).split())[:300]})"


def _load_state(path: Path, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"{path}: expected a complete model, got other tensors ({reason})") from None


def _names(classes: list) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes: expected names, got {classes!r:.60}")
    return tuple(classes)


def _build(content: str, header: dict, tensors: dict[str, Tensor]) -> nn.Module:
    """A part as its configuration says, unless that asks for far more memory than the file has numbers to fill.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: if it cannot be built.
    """
    with torch.device("meta"):  # without memory
        wanted = sum(value.numel() for value in PARTS[content](header[content]).state_dict().values())
    found = sum(value.numel() for value in tensors.values())
    if wanted > SPARE * found:
        raise ValueError(f"the {content} is configured for {wanted:,} numbers, the file has {found:,}")
    return PARTS[content](header[content])


def load_part(content: str, path: str | Path) -> nn.Module:
    """Load a part that `save_part` wrote.

    Raises:
        ModelError: if the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    header, tensors = _read(_find(path))
    _expect(path, header, content)
    try:
        part = _build(content, header, tensors)
    except BUILD_ERRORS as error:
        raise ModelError(f"{path}: expected a complete {content}, got {_reason(error)}") from None
    _load_state(path, part, tensors)
    return part.eval().requires_grad_(False)


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
    _expect(path, header, "model")
    try:
        grid = Grid(tensors.pop("wavelength").numpy())
        model = SpectrumModel(
            grid=grid,
            class_prior=ClassPrior(_names(header["classes"])),
            **{content: _build(content, header, tensors) for content in PARTS},
            nuisance=Nuisance(**header["nuisance"]),
            volume=bool(header["volume"]),
            discrepancy=torch.zeros_like(tensors["discrepancy"]),
            spread=torch.zeros_like(tensors["spread"]),
            frame=None if header.get("frame") is None else RestFrame(grid, **header["frame"]),
            factors=torch.zeros_like(tensors["factors"]) if "factors" in tensors else None,
            card={**header["card"], "name": path.stem, "sha256": header["sha256"]},
        )
    except BUILD_ERRORS as error:
        raise ModelError(f"{path}: expected a complete model, got {_reason(error)}") from None
    _load_state(path, model, tensors)
    return model.eval().requires_grad_(False).to(device)
