"""Results as one web page that needs nothing else: a table of all, and figures of the one that is chosen.

The page is small for what it holds: each spectrum's arrays are packed (`packing.py`), and unpacked when it is chosen. It
opens no connection: a policy in its head forbids that, and lets no script run but the two whose checksums it names, so that
no text of a file can become one. The same results give the same bytes.
"""

import base64
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader

from ..errors import InputError
from ..infer.line_table import AIR, NIGHT_SKY, STELLAR
from ..io.files import write_bytes
from ..model.joint import SpectrumModel
from ..posterior import FLAGS, Posterior
from .contents import COLUMNS, core_arrays, details_of, exposure_arrays, row_of, text_of
from .labels import STELLAR_LINES
from .latent_plot import LIBRARY, class_styles
from .packing import pack
from .page_figures import bokeh_script, latent_figures, spectrum_figures
from .palette import DARK, LIGHT
from .view import WINDOWS, View

__all__ = ["MAX_MB", "Report"]

MAX_MB = 100.0
MB = 1_000_000
FRAME = 2 * MB  # the page without spectra: Bokeh, and the library's latents
SCRIPTS = ("decode.js", "table.js", "figures.js", "latents.js", "details.js", "page.js")
MARKS = {"o": "circle", "^": "triangle", "s": "square", "D": "diamond", "v": "inverted_triangle"}
ON_DARK = (0.3, 1.0)  # the part of the scale of classes that stands out there
LATENT_STEP = 1e-3
PAGE = Path(__file__).parent / "page"


class Report:
    """Results, given one after the other, and the page of them all.

    Single exposures are left out of the whole page once it would be larger than it may be; then spectra, from the first on
    that has no room, are rows of the table only.

    Arguments:
        model: The model that results were made with, whose library's latents are drawn behind a star's; or None.
        max_mb: How large the page may be, in 10^6 bytes.

    Raises:
        InputError: if that is less than the page without spectra.

    Example:
        >>> from bayesden.report.html import Report
        >>> report = Report(bd.load_model())
        >>> report.add(post, "out/example-spec.fits")
        >>> report.write("report.html")
    """

    def __init__(self, model: SpectrumModel | None = None, *, max_mb: float = MAX_MB) -> None:
        if not max_mb * MB > FRAME:
            raise InputError(f"report: expected more than {FRAME / MB:g} MB for a page, got {max_mb:g}")
        self.model, self.room = model, max_mb * MB - FRAME
        self.rows: list[tuple] = []
        self.failures: list[tuple[str, str]] = []
        self._cores: list[str] = []
        self._singles: list[str] = []
        self._keys: set[str] = set()
        self._used = self._used_by_singles = 0
        self.thinned = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def drawn(self) -> int:
        """How many of the results have their figure on the page."""
        return len(self._cores)

    def add(self, post: Posterior, file: str) -> None:
        """Take one result.

        Arguments:
            post: The result.
            file: What to call its file.
        """
        view = View.of(post)
        row = row_of(post, view, text_of(file))
        core, single = "", ""
        if self.drawn == len(self.rows):
            core = pack(details_of(post, view) | {"latent_note": self._latent_note(post)}, core_arrays(post, view))
            single = "" if self.thinned else pack({}, exposure_arrays(view))
        self.rows.append((self._key(row[COLUMNS.index("name")]), *row))  # here nothing can fail any more
        self._used += len(json.dumps(self.rows[-1]))
        if core:
            self._keep(core, single)

    def fail(self, file: str, reason: str) -> None:
        """Take a file that is none, with the reason."""
        self.failures.append((text_of(file), text_of(reason)))

    def write(self, path: str | Path, *, title: str = "bayesden report", overwrite: bool = False) -> None:
        """Write the page, whole or not at all.

        Raises:
            OutputError: if the file exists, or the place cannot be written.
        """
        page = Environment(loader=FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        page.policies["json.dumps_kwargs"] = {
            "allow_nan": False
        }  # and in our order, on which Bokeh's references depend
        scripts = [bokeh_script(), "\n".join((PAGE / name).read_text("utf-8") for name in SCRIPTS)]
        text = page.get_template("report.html").render(
            title=text_of(title),
            light=LIGHT,
            dark=DARK,
            style=(PAGE / "report.css").read_text("utf-8"),
            scripts=scripts,
            policy=" ".join(_checksum(script) for script in scripts),
            index=self._index(),
            figures=self._figures(),
            library=self._library(),
            cores=self._cores,
            singles=self._singles,
            failures=self.failures,
            windows=list(WINDOWS),
            version=_version(),
        )
        write_bytes(Path(path), text.encode(), overwrite=overwrite)

    def _key(self, name: str) -> str:
        """A name for links that no other result has."""
        key = next(key for n in count(1) if (key := name if n == 1 else f"{name}~{n}") not in self._keys)
        self._keys.add(key)
        return key

    def _keep(self, core: str, single: str) -> None:
        if self._used + len(core) > self.room:
            return
        self._cores.append(core)
        self._used += len(core)
        if not self.thinned:
            self._singles.append(single)
            self._used_by_singles += len(single)
            if self._used + self._used_by_singles > self.room:
                self.thinned, self._singles = True, []

    def _latent_note(self, post: Posterior) -> str:
        """Why the library's latents are not drawn behind a star's; '' if they are."""
        if post.latent is None:
            return f"The method {text_of(post.method)} has no latents."
        if self.model is None:
            return "The page was made without a model, whose library would be here."
        made_with, offered = post.meta.get("model_sha256"), self.model.card.get("sha256")
        size = self.model.generator.latent_dim
        if (made_with and offered and made_with != offered) or np.shape(post.latent)[-1] != size or size < 2:
            named = text_of(post.meta.get("model", "another"))
            return f"The result was made with another model, {named}; --model names it when the page is made."
        return ""

    def _index(self) -> dict:
        """What the page's script needs of all spectra together."""
        main = {line for lines in STELLAR_LINES.values() for line in lines}
        return {
            "columns": {name: [row[i] for row in self.rows] for i, name in enumerate(("key", *COLUMNS))},
            "drawn": self.drawn,
            "thinned": self.thinned,
            "flags": FLAGS,
            "windows": WINDOWS,
            "lines": [(name, line, line in main) for name, line in STELLAR.items()],
            "sky": list(NIGHT_SKY.items()),
            "air": [(name, *ends) for name, ends in AIR.items()],
        }

    def _figures(self) -> dict:
        size = 0 if self.model is None else self.model.generator.latent_dim
        return {"spectrum": spectrum_figures(), "latents": latent_figures(size) if size > 1 else []}

    def _library(self) -> str:
        """The training library's latents, as far as they are drawn."""
        if self.model is None:
            return ""
        latents = [self.model.latent_prior.latents(k)[:LIBRARY].cpu().numpy() for k in range(len(self.model.classes))]
        on_page, on_dark = class_styles(self.model.classes), class_styles(self.model.classes, ON_DARK)
        classes = [
            {"name": text_of(name), "mark": MARKS[mark], "light": light, "dark": on_dark[name][0], "count": len(points)}
            for (name, (light, mark)), points in zip(on_page.items(), latents, strict=True)
        ]
        return pack({"classes": classes}, {"latents": (np.concatenate(latents).astype(float).T, LATENT_STEP)})


def _checksum(script: str) -> str:
    """A script as the policy of a page names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _version() -> str:
    try:
        return version("bayesden")
    except PackageNotFoundError:
        return ""
