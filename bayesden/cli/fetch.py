"""`bayesden fetch`: spectra of SDSS and models of the BOSZ grid from their archives."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .console import complain, progress, say
from .options import check_folder
from .simulate import parse_ranges

if TYPE_CHECKING:
    from ..io.download import Download, Outcome
    from ..io.download.sdss import SpectrumId

__all__ = ["fetch"]

NAMED = 20  # files that are not in the archive or failed, one line each; the rest is counted


class Archive(StrEnum):
    """Names of the archives."""

    SDSS = "sdss"
    BOSZ = "bosz"


class Selection(StrEnum):
    """Names of `io.download.skyserver.SELECTIONS`."""

    TRAINING = "training"
    TEST = "test"
    NOISE = "noise"
    TEST_NOISE = "test-noise"


def fetch(
    archive: Annotated[Archive, typer.Argument(metavar="sdss|bosz", help="The archive.")],
    spectra: Annotated[
        list[str] | None,
        typer.Argument(metavar="PLATE-MJD-FIBER", help="sdss: spectra, such as 4961-55719-378.", show_default=False),
    ] = None,
    listing: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="sdss: a list of spectra, one a line, or output of sha256sum."),
    ] = None,
    near: Annotated[
        list[str] | None,
        typer.Option(metavar="RA,DEC", help="sdss: spectra about a position, degrees; may be repeated."),
    ] = None,
    radius: Annotated[float, typer.Option(metavar="ARCSEC", help="sdss: how far about it.")] = 3.0,
    sql: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="sdss: a query with the columns plate, mjd, fiberid and, if it can, run2d."),
    ] = None,
    selection: Annotated[
        Selection | None,
        typer.Option(help="sdss: a sample of stars as Kang et al. (2021) selected them.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="sdss: how many stars of each subclass it has.")] = 200,
    release: Annotated[
        int | None,
        typer.Option(
            min=17,
            metavar="N",
            help="sdss: data release of the queries, and of SDSS-V spectra.  [default: 17, and 19]",
            show_default=False,
        ),
    ] = None,
    resolution: Annotated[int, typer.Option(metavar="R", help="bosz: resolution.")] = 50000,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=LOW:HIGH",
            help="bosz: teff_K, logg, feh, alpha_fe, carbon_fe or vturb_kms of the models; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the files; made if missing.  [default: sdss, bosz]"
        ),
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Files at a time.")] = 4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch files that exist again.")] = False,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Another server with the archive's tree of files.")
    ] = None,
) -> int:
    """Run `bayesden fetch`; `pages.py` has what it says of itself."""
    out = out or Path(archive.value)
    if archive == Archive.BOSZ:
        _check_unused({"spectra": spectra, "--list": listing, "--near": near, "--sql": sql, "--selection": selection})
        from ..io.download.bosz import bosz_downloads

        downloads = bosz_downloads(out, resolution, parse_ranges(ranges or ()), server=mirror)
    else:
        _check_unused({"--range": ranges})
        from ..io.download.sdss import parse_id, read_ids, spec_download

        wanted = [parse_id(text) for text in spectra or ()] + (read_ids(listing) if listing else [])
        wanted += _query(_queries(near or (), radius, sql, selection, top), release or 17)
        if not wanted:
            raise InputError("expected spectra by name, --list, --near, --sql or --selection, found none")
        downloads = [spec_download(one, out, release=release or 19, server=mirror) for one in wanted]
    check_folder(out)
    return _close(archive, _fetch(downloads, connections, overwrite, archive), out)


def _check_unused(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value:
            raise InputError(f"{name}: belongs to the other archive")


def _queries(near: list[str], radius: float, sql: str | None, selection: Selection | None, top: int) -> list[str]:
    from ..io.download.skyserver import near_sql, selection_sql

    queries = [near_sql(*_position(text), radius) for text in near]
    queries += [sql] if sql else []
    return queries + ([selection_sql(selection.value, top)] if selection else [])


def _position(text: str) -> tuple[float, float]:
    try:
        ra_deg, dec_deg = (float(word) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected RA,DEC in degrees, got {text!r}", param_hint="--near") from None
    return ra_deg, dec_deg


def _query(queries: list[str], release: int) -> list["SpectrumId"]:
    from ..io.download.skyserver import query

    spectra = []
    for sql in queries:
        found = query(sql, release=release)
        say(f"{len(found)} spectra found in DR{release}")
        spectra += found
    return spectra


def _fetch(downloads: list["Download"], connections: int, overwrite: bool, archive: Archive) -> list["Outcome"]:
    """Fetch, with a line for each file that did not come; gaps of the grid are only counted."""
    from ..io.download import Manners
    from ..io.download import fetch as fetch_files

    outcomes, quiet = [], {"fetched", "kept"} | ({"absent"} if archive == Archive.BOSZ else set())
    with progress() as report:
        running = fetch_files(
            downloads, check=_checker(archive), manners=Manners(connections=connections), overwrite=overwrite
        )
        for done, outcome in enumerate(running, 1):
            report("fetch", done, len(downloads))
            outcomes.append(outcome)
            if outcome.status not in quiet and sum(o.status not in quiet for o in outcomes) <= NAMED:
                complain(outcome.reason)
    return outcomes


def _checker(archive: Archive) -> Callable[[Path], None]:
    from ..io.download.bosz import check_text
    from ..io.download.sdss import check_spec

    return check_spec if archive == Archive.SDSS else check_text


def _close(archive: Archive, outcomes: list["Outcome"], out: Path) -> int:
    from ..io.download.archives import archive as catalogue

    count = Counter(outcome.status for outcome in outcomes)
    gaps = "gaps of the grid" if archive == Archive.BOSZ else "not in the archive"
    facts = [f"{count['fetched']} files fetched into {out}"]
    facts += [f"{count['kept']} there already"] if count["kept"] else []
    facts += [f"{count['absent']} {gaps}"] if count["absent"] else []
    facts += [f"{count['failed']} failed"] if count["failed"] else []
    say(", ".join(facts))
    say(f"licence: {catalogue(archive.value)['licence']}")
    there = count["fetched"] + count["kept"]
    return int(bool(count["failed"]) or there == 0 or (archive == Archive.SDSS and bool(count["absent"])))
