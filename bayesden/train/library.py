r"""The training library: clean spectra of ten classes on the model's grid, with their origin.

One function, `build_library`, makes it from either of two sources:

- a folder of SDSS spec files, by the recipe of Kang, He & Zhang (2021), section 2: the spectra of highest r-band
  signal-to-noise ratio in each subclass (`survey.py`);
- a folder of template files, from which variety is drawn (`templates.py`).

Every spectrum is normalised to mean |flux| = 1. Train, validation and test are split by a hash of the *object's* name,
so that two spectra of one object, or two draws from one template, never stand on both sides, on any machine, in any order.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io.files import replace_file
from ..model.class_prior import CLASSES
from ..spectrum import Grid
from .sources import SPLITS, Source, split_of
from .survey import spectra_from_survey
from .templates import spectra_from_templates

__all__ = ["Library", "build_library", "load_library"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Library:
    r"""N clean spectra with class and origin.

    Arguments:
        grid: The pixels.
        flux: Shape :math:`(N, D)`, float32, mean |flux| = 1.
        label: Index into `classes`, shape :math:`(N,)`.
        name: The object that each spectrum shows, shape :math:`(N,)`; decides the split.
        parameters: What was drawn for each spectrum (``v_rad_kms``, ``ebv``, ...), each of shape :math:`(N,)`.
        sources: The files that the spectra came from, with checksums.
        recipe: The arguments that built it.
        classes: Names of the classes.
    """

    grid: Grid
    flux: NDArray
    label: NDArray
    name: NDArray
    parameters: Mapping[str, NDArray] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    recipe: Mapping[str, str | int | float] = field(default_factory=dict)
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        n = len(self.label)
        if self.flux.shape != (n, self.grid.size) or len(self.name) != n:
            raise InputError(
                f"library: expected flux ({n}, {self.grid.size}) and {n} names, got {self.flux.shape} and {len(self.name)}"
            )
        if n == 0:
            raise InputError("library: expected at least one spectrum, got none")
        if self.label.dtype.kind not in "iu" or self.label.min() < 0 or self.label.max() >= len(self.classes):
            raise InputError(f"library: expected labels from 0 to {len(self.classes) - 1}, got others")
        if not np.isfinite(self.flux).all():
            raise InputError("library: expected finite flux everywhere, got NaN or infinity")

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: NDArray) -> "Library":
        """The spectra at an index or where a boolean array is True."""
        parameters = {key: value[index] for key, value in self.parameters.items()}
        return replace(
            self, flux=self.flux[index], label=self.label[index], name=self.name[index], parameters=parameters
        )

    def subset(self, split: str) -> "Library":
        """The spectra of one split: 'train', 'validation' or 'test'.

        Raises:
            InputError: if the split is not known, or empty.
        """
        if split not in SPLITS:
            raise InputError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        wanted = {name for name in np.unique(self.name).tolist() if split_of(name) == split}
        if not wanted:
            raise InputError(
                f"library: expected objects in the {split} split, got none (of {len(set(self.name))} in all)"
            )
        return self.take(np.array([name in wanted for name in self.name.tolist()]))

    def save(self, path: str | Path) -> None:
        """Write the library to one ``.npz`` file, whole or not at all.

        Raises:
            OutputError: if the folder cannot be written.
        """
        head = {
            "format": FORMAT,
            "classes": self.classes,
            "sources": [vars(source) for source in self.sources],
            "recipe": dict(self.recipe),
        }
        arrays = {f"parameter_{key}": value for key, value in self.parameters.items()}
        with replace_file(Path(path), overwrite=True) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                head=np.array(json.dumps(head)),
                wavelength=self.grid.wavelength,
                flux=self.flux,
                label=self.label,
                name=self.name,
                **arrays,
            )


def load_library(path: str | Path) -> Library:
    """Read a library file.

    Raises:
        InputError: if the file is missing, cut short, or not a library of this format version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a library file, found {'a folder' if path.is_dir() else 'nothing'}")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
            head = json.loads(str(arrays["head"]))
            if head["format"] != FORMAT:
                raise InputError(f"{path}: expected library format {FORMAT}, got {head['format']}")
            return Library(
                grid=Grid(arrays["wavelength"]),
                flux=arrays["flux"],
                label=arrays["label"],
                name=arrays["name"],
                parameters={k.removeprefix("parameter_"): v for k, v in arrays.items() if k.startswith("parameter_")},
                sources=tuple(Source(**source) for source in head["sources"]),
                recipe=head["recipe"],
                classes=tuple(head["classes"]),
            )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{path}: expected a library file written by bayesden, got something else ({error})") from None
    except Exception as error:  # zipfile and zlib have error classes of their own for a truncated archive
        raise InputError(f"{path}: expected a whole library file, got a damaged one ({error})") from None


def build_library(
    folder: str | Path,
    *,
    grid: Grid | None = None,
    per_class: int = 3000,
    seed: int = 0,
    velocity_kms: float = 300.0,
    ebv_max: float = 0.5,
    calibration: float = 0.01,
    top: int = 200,
    rest: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Library:
    """Build a training library from a folder of SDSS spec files or of template files.

    Arguments:
        folder: Holds ``spec-*.fits`` (then `top` applies), or template files as `templates.read_templates` knows them
            (then `per_class`, `seed`, `velocity_kms`, `ebv_max` and `calibration` apply).
        grid: The pixels; by default those of the paper.
        per_class: Spectra to draw for each class.
        seed: Seed of the draws.
        velocity_kms: Radial velocities are uniform within plus and minus this.
        ebv_max: E(B-V) is uniform from 0 to this.
        calibration: Standard deviation of each of three smooth flux-calibration terms.
        top: Spectra to keep of each subclass, best r-band signal-to-noise ratio first.
        rest: Whether the spectra are those of stars at rest, without dust and calibration errors; `grid` is then that of a
            `RestFrame`'s cells.
        progress: Called with (done, total).

    Returns:
        The library, all splits together.

    Raises:
        InputError: if the folder holds neither.
    """
    folder, grid = Path(folder), grid or Grid.uniform()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(f"{folder}: expected a folder of spec or template files, found {found}")
    if any(folder.rglob("spec-*.fits*")):
        recipe = {"source": "survey", "top": top, "rest": rest}
        draws = spectra_from_survey(folder, grid, top=top, rest=rest, progress=progress)
    else:
        recipe = {"seed": seed, "per_class": per_class, "rest": rest, "source": "templates"}
        seen = {"velocity_kms": velocity_kms, "ebv_max": ebv_max, "calibration": calibration}
        options = {"per_class": per_class, "seed": seed, "rest": rest, "progress": progress}
        draws = spectra_from_templates(folder, grid, **seen, **options)
        recipe |= {} if rest else seen
    return Library(grid, draws.flux, draws.label, draws.name, draws.parameters, draws.sources, recipe)
