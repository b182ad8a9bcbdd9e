"""SDSS spectra: their names in all the ways people write them, and their addresses in the Science Archive Server."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..files import open_fits, read_text
from .archives import archive
from .transfer import Download

__all__ = ["SpectrumId", "check_spec", "parse_id", "read_ids", "spec_download"]

FIRST_BOSS_PLATE = 3510
LAST_FIBER = 1000  # greater numbers are catalogue numbers of SDSS-V
_NAME = re.compile(r"(?:spec-)?0*(\d{1,6})[-,\s]\s*(\d{5})[-,\s]\s*0*(\d{1,19})(?:\.fits)?", re.ASCII)
_SUM = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


@dataclass(frozen=True)
class SpectrumId:
    """A spectrum of SDSS.

    Arguments:
        plate: Its plate; its field in SDSS-V.
        mjd: Modified Julian date.
        fiber: Its fiber, 1 to 1000; in SDSS-V its catalogue number, which is greater.
        run2d: The reduction, where known.
        sha256: The file's checksum, where known.
    """

    plate: int
    mjd: int
    fiber: int
    run2d: str = ""
    sha256: str | None = None

    @property
    def is_sdss_v(self) -> bool:
        """Whether the spectrum is named as SDSS-V does."""
        return self.fiber > LAST_FIBER


def parse_id(text: str) -> SpectrumId:
    """The spectrum of a text such as ``4961-55719-378``, ``4961,55719,378`` or ``spec-4961-55719-0378.fits``.

    Raises:
        InputError: if it is none of these.

    Example:
        >>> parse_id("spec-0618-52049-0372.fits")
        SpectrumId(plate=618, mjd=52049, fiber=372, run2d='', sha256=None)
    """
    if match := _NAME.fullmatch(text.strip()):
        return SpectrumId(*map(int, match.groups()))
    raise InputError(f"{text.strip()[:80]!r}: expected PLATE-MJD-FIBER, such as 4961-55719-378, got something else")


def read_ids(path: Path) -> list[SpectrumId]:
    """The spectra of a list, one a line; what `sha256sum` prints of such files is a list too, with checksums.

    Raises:
        InputError: naming the file and the line that names no spectrum.
    """
    return list(_ids(path, read_text(path).splitlines()))


def _ids(path: Path, lines: Iterable[str]) -> Iterator[SpectrumId]:
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text or (number == 1 and re.match(r"(plate|field)\b", text, re.IGNORECASE)):
            continue
        match = _SUM.fullmatch(text)
        try:
            one = parse_id(match[2].rpartition("/")[2] if match else text)
        except InputError as error:
            raise InputError(f"{path}: line {number}: {error}") from None
        yield SpectrumId(one.plate, one.mjd, one.fiber, sha256=match[1].lower() if match else None)


def spec_download(spectrum: SpectrumId, folder: Path, *, release: int = 19, server: str | None = None) -> Download:
    """The download of a spectrum's full file, with its exposures.

    SDSS-I to SDSS-IV are taken from DR17, their last release. Where the reduction of an SDSS-I or SDSS-II spectrum is
    not known, its addresses are those of all three.

    Arguments:
        spectrum: Which.
        folder: Where its file shall be.
        release: Data release of an SDSS-V spectrum.
        server: Another server with the same tree.

    Raises:
        InputError: if the release has no SDSS-V spectra that are known here.
    """
    tree = archive("sdss")
    if spectrum.is_sdss_v:
        known = tree["sdss_v"]
        if str(release) not in known:
            releases = " or ".join(known)
            raise InputError(f"release: expected {releases} for spectra of SDSS-V, got {release}")
        paths = [_fill(known[str(release)]["path"], spectrum, known[str(release)]["run2d"])]
    elif spectrum.run2d in tree["legacy"] or (not spectrum.run2d and spectrum.plate < FIRST_BOSS_PLATE):
        runs = [spectrum.run2d] if spectrum.run2d else tree["legacy"]
        paths = [_fill(tree["legacy_path"], spectrum, run2d) for run2d in runs]
    else:
        paths = [_fill(tree["boss_path"], spectrum, tree["boss"])]
    base = (server or tree["server"]).rstrip("/")
    return Download(tuple(f"{base}/{path}" for path in paths), folder, spectrum.sha256)


def _fill(path: str, spectrum: SpectrumId, run2d: str) -> str:
    names = {"plate": spectrum.plate, "field": spectrum.plate, "fiber": spectrum.fiber, "catalogid": spectrum.fiber}
    return path.format(mjd=spectrum.mjd, run2d=run2d, **names)


def check_spec(path: Path) -> None:
    """See that a file is a complete FITS file.

    Raises:
        InputError: if not.
    """
    with open_fits(path):
        pass
