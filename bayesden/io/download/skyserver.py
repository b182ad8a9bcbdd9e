"""Selections of spectra from SDSS's catalogue, by SQL; the one place that needs `astroquery`."""

import warnings
from collections.abc import Iterable
from math import isfinite

from ...errors import FetchError, InputError
from .sdss import SpectrumId, parse_id

__all__ = ["SELECTIONS", "near_sql", "query", "selection_sql"]

_CLASSES = "(subclass LIKE '[OBAFGKM]%' OR subclass LIKE 'CV%' OR subclass LIKE 'Carbon%' OR subclass LIKE '%WD%')"
# Signal-to-noise ratio in r, lowest and highest, and how many of a subclass come before the first that is taken.
SELECTIONS = {
    "training": (0.0, 1e6, 0),
    "test": (60.0, 1e6, 200),
    "noise": (20.0, 30.0, 0),
    "test-noise": (10.0, 20.0, 0),
}
COLUMNS = (("plate", "mjd", "fiberid"), ("field", "mjd", "catalogid"))


def selection_sql(name: str, top: int = 200) -> str:
    """SQL of the samples of Kang, He & Zhang (2021), section 2: the stars of highest r-band S/N in each subclass.

    Arguments:
        name: `training` (the best of each subclass), `test` (S/N above 60, after the first 200), `noise` (S/N 20 to 30)
            or `test-noise` (10 to 20).
        top: How many of each subclass.

    Raises:
        InputError: if there is no selection of that name.
    """
    if name not in SELECTIONS:
        raise InputError(f"selection: expected one of {', '.join(SELECTIONS)}, got {name!r}")
    low, high, skip = SELECTIONS[name]
    ranked = (
        "SELECT plate, mjd, fiberid, run2d, subclass, snMedian_r, "
        "ROW_NUMBER() OVER (PARTITION BY subclass ORDER BY snMedian_r DESC, specObjID) AS place "
        f"FROM SpecObj WHERE class = 'STAR' AND zWarning = 0 AND {_CLASSES} "
        f"AND snMedian_r BETWEEN {low:g} AND {high:g}"
    )
    return (
        f"SELECT plate, mjd, fiberid, run2d FROM ({ranked}) AS ranked "
        f"WHERE place > {skip} AND place <= {skip + int(top)} ORDER BY subclass, place"
    )


def near_sql(ra_deg: float, dec_deg: float, radius_arcsec: float) -> str:
    """SQL of all spectra about a position, repeated ones too.

    Raises:
        InputError: if that is no position on the sky, or the radius is not within 0 to 3600 arcsec.
    """
    if not (isfinite(ra_deg) and 0 <= ra_deg <= 360 and -90 <= dec_deg <= 90):
        raise InputError(f"position: expected right ascension and declination in degrees, got {ra_deg}, {dec_deg}")
    if not 0 < radius_arcsec <= 3600:
        raise InputError(f"radius: expected more than 0 and at most 3600 arcsec, got {radius_arcsec}")
    return (
        "SELECT s.plate, s.mjd, s.fiberid, s.run2d FROM SpecObjAll AS s JOIN "
        f"dbo.fGetNearbySpecObjAllEq({ra_deg:.8f}, {dec_deg:.8f}, {radius_arcsec / 60:.8f}) AS n "
        "ON s.specObjID = n.specObjID ORDER BY n.distance, s.mjd"
    )


def query(sql: str, *, release: int = 17, timeout_s: float = 600.0) -> list[SpectrumId]:
    """The spectra that a query of the SkyServer finds.

    Arguments:
        sql: With the columns plate, mjd, fiberid and if it can run2d; or field, mjd, catalogid for SDSS-V.
        release: Data release, 17 or later.
        timeout_s: How long the server may take.

    Raises:
        ModuleNotFoundError: if `astroquery` is not installed.
        InputError: if the release is too old, or the answer lacks a column.
        FetchError: if the server cannot be reached, or answers with something else than a table.
    """
    if release < 17:
        raise InputError(f"release: expected 17 or later, got {release}")
    from astroquery.exceptions import RemoteServiceError, TimeoutError
    from astroquery.sdss import SDSS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = SDSS.query_sql(sql, data_release=release, timeout=timeout_s, cache=False)
    except (OSError, RemoteServiceError, TimeoutError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FetchError(f"SkyServer DR{release}: expected a table, got {type(error).__name__}: {reason}") from None
    if table is None:
        return []
    names = {name.lower(): name for name in table.colnames}
    columns = next((columns for columns in COLUMNS if set(columns) <= set(names)), None)
    if columns is None:
        found = ", ".join(table.colnames)[:200]
        raise InputError(f"SkyServer DR{release}: expected columns {', '.join(COLUMNS[0])}, got {found}")
    keys = zip(*(table[names[column]] for column in columns), strict=True)
    runs = table[names["run2d"]] if "run2d" in names else [""] * len(table)
    return list(_unique(keys, runs))


def _unique(keys: Iterable[tuple], runs: Iterable[object]) -> dict[SpectrumId, None]:
    """Spectra in their order, each once; whatever the table holds, only numbers get through."""
    spectra = {}
    for key, run in zip(keys, runs, strict=True):
        one = parse_id("-".join(map(str, key)))
        spectra[SpectrumId(one.plate, one.mjd, one.fiber, run2d=str(run))] = None
    return spectra
