"""Files that nobody should write, and everybody gets: spec files cut, flipped, lied about, bombed and stormed.

`cases` makes them, the same ones every time; `judge` reads them one after the other with bounded memory and time and says
which of them were not met with a result or one clear line.
"""

import gzip
import hashlib
import io
import json
import resource
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from bayesden.errors import InputError
from bayesden.io import ArmSpectrum, read, write_spec
from bayesden.spectrum import Observation

__all__ = ["Case", "cases", "judge"]

MEMORY_BYTES = 1_000_000_000  # beyond what Python and its libraries have taken at the start
CPU_S = 10.0  # for one file; a good one takes hundredths of a second
BLOCK = 2880
CAMERAS = {"b": (3.58, 3.80), "r": (3.765, 3.98)}  # log10 wavelength that they see
STYLES = ("sdss", "boss", "sdss-v", "lite")
CARDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS", "TTYPE1", "TTYPE2",
    "TFORM1", "TFORM2", "TFORM3", "EXTEND", "EXTNAME", "END", "NEXP", "EXPID01", "PLATEID", "VACUUM", "BUNIT", "COEFF0",
    "CAMERAS", "EXPOSURE",
)  # fmt: skip
VALUES = (
    "0", "-1", "1", "2", "7", "8", "999", "1000000", "9999999999999999", "-9223372036854775808", "18446744073709551616",
    "1E400", "NaN", "T", "F", "''", "'IMAGE'", "'1E'", "'0E'", "'99999999999E'", "'-5E'", "'PE(9999999)'", "'QE'", "'1X'",
    "'1C'", "'A'", "'1PA'", "'\\\x00'", "'flux'", "'../../../etc/passwd'", "'<script>alert(1)</script>'", "'$(reboot)'", "",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file: what was done to it, and its bytes."""

    name: str
    content: bytes


def good(style: str, exposures: int = 2) -> bytes:
    """A sound file with few pixels."""
    rng = np.random.default_rng(1)
    arms = []
    for camera, ends in CAMERAS.items():
        for number in range(101, 101 + exposures):
            loglam = np.arange(*ends, 1e-3)
            flux = 20 + 5 * np.sin(10**loglam / 700) + rng.normal(size=loglam.size)
            arms.append(ArmSpectrum(f"{camera}1", number, loglam, flux, np.full(loglam.size, 4.0)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "good.fits"
        write_spec(path, arms, style="boss" if style == "lite" else style, plate=1, mjd=55555, fiber=1)
        content = path.read_bytes()
    if style == "lite":
        with fits.open(io.BytesIO(content)) as hdus:
            return written(fits.HDUList(hdus[:4]))
    return content


def written(hdus: fits.HDUList) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus.writeto(content, output_verify="ignore")
    return content.getvalue()


def card(content: bytes, keyword: str, value: str, nth: int = 0) -> bytes | None:
    """The file with another value in the n-th card of a keyword; None if it has none."""
    at = -1
    for _ in range(nth + 1):
        at = content.find(keyword.ljust(8).encode(), at + 1)
        while at >= 0 and at % 80:
            at = content.find(keyword.ljust(8).encode(), at + 1)
        if at < 0:
            return None
    return content[:at] + text_card(f"{keyword:<8}= {value:>20}") + content[at + 80 :]


def cases(seed: int = 0) -> Iterator[Case]:
    """The corpus, in the same order and with the same bytes for the same seed."""
    base = {style: good(style) for style in STYLES}
    for style, content in base.items():
        yield Case(f"sound-{style}", content)
        yield Case(f"sound-{style}-zipped", gzip.compress(content, mtime=0))
    for make in (
        truncations,
        flipped_cards,
        shuffled_cards,
        flipped_bytes,
        zipped,
        wrong_columns,
        storms,
        tables,
        heads,
    ):
        yield from make(base, np.random.default_rng([seed, *make.__name__.encode()]))


def truncations(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Cut anywhere, or with a hole, or with something after the end."""
    for style, content in base.items():
        for cut in (*range(0, len(content), max(len(content) // 12, 1)), *rng.integers(0, len(content), 8)):
            yield Case(f"cut-{style}-{cut}", content[:cut])
        for at in rng.integers(0, len(content) - BLOCK, 3):
            yield Case(f"hole-{style}-{at}", content[:at] + content[at + 1 :])
            yield Case(f"missing-block-{style}-{at}", content[:at] + content[at + BLOCK :])
        yield Case(f"doubled-{style}", content + content)
        yield Case(f"zeros-after-{style}", content + bytes(5 * BLOCK))
        yield Case(f"noise-after-{style}", content + rng.bytes(BLOCK))


def flipped_cards(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """A card with a value that it must not have."""
    for keyword in CARDS:
        for value in VALUES if keyword in ("NAXIS1", "NAXIS2", "TFORM1") else rng.choice(VALUES, 9, replace=False):
            style, nth = STYLES[rng.integers(len(STYLES))], int(rng.integers(3))
            content = card(base[style], keyword, str(value), nth) or card(base[style], keyword, str(value))
            if content is not None:
                yield Case(f"card-{style}-{keyword}-{nth}-{value[:12]}", content)


def shuffled_cards(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Headers whose cards are in disorder, come twice, or are not text."""
    for number in range(40):
        content = bytearray(base["boss"])
        start = content.index(b"XTENSION") if number % 2 else 0
        places = start + 80 * np.arange(25)
        one, other = rng.choice(places, 2, replace=False)
        first, second = bytes(content[one : one + 80]), bytes(content[other : other + 80])
        content[one : one + 80] = second
        content[other : other + 80] = first if number % 3 else rng.bytes(80) if number % 4 else second
        yield Case(f"shuffled-{number}", bytes(content))


def flipped_bytes(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Bytes that are others, few or many, in headers or anywhere."""
    for number in range(120):
        style = STYLES[number % len(STYLES)]
        content = np.frombuffer(base[style], np.uint8).copy()
        reach = content.size if number % 3 else 8 * BLOCK
        places = rng.integers(0, reach, int(10 ** rng.uniform(0, 3)))
        content[places] = rng.integers(0, 256, places.size)
        yield Case(f"bytes-{style}-{number}", content.tobytes())


def zipped(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Gzip files that are cut, damaged, several in one, or bombs."""
    content = gzip.compress(base["boss"], mtime=0)
    for cut in (2, 5, 10, 18, 100, len(content) // 2, len(content) - 8, len(content) - 1):
        yield Case(f"zip-cut-{cut}", content[:cut])
    for number in range(20):
        spoilt = bytearray(content)
        spoilt[int(rng.integers(2, len(spoilt)))] ^= 1 << int(rng.integers(8))
        yield Case(f"zip-bit-{number}", bytes(spoilt))
    yield Case("zip-twice", gzip.compress(content, mtime=0))
    yield Case("zip-two-members", content + content)
    yield Case("zip-noise-after", content + rng.bytes(999))
    bomb = gzip.compress(bytes(50_000_000), 9, mtime=0)
    yield Case("bomb-zeros", bomb * 40)
    yield Case("bomb-after-a-spectrum", content + bomb * 40)
    header = base["boss"][:BLOCK]
    yield Case("bomb-blanks", gzip.compress(header[:-BLOCK] + b" " * 50_000_000, 9, mtime=0) * 40)
    yield Case("bomb-empty-members", gzip.compress(b"", mtime=0) * 200_000)


def wrong_columns(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Columns of other types, shapes, scales, and names."""
    n = 300
    sound = {"flux": np.ones(n), "loglam": np.linspace(3.6, 3.95, n), "ivar": np.ones(n), "and_mask": np.zeros(n, int)}
    plain = {key: fits.Column(key, "J" if key == "and_mask" else "E", array=value) for key, value in sound.items()}
    content = table(plain)
    for number, (name, values) in enumerate(sound.items(), 1):
        rows = np.array([values[: i % 3] for i in range(n)], dtype=object)
        for form in ("L", "B", "I", "J", "K", "D", "C", "M", "3E", "3A", "0E", "PE()", "QD()", "PJ()"):
            array = rows if form[0] in "PQ" else np.repeat("x", n) if "A" in form else values
            array = np.tile(values[:, None], 3) if form == "3E" else array
            yield Case(f"form-{name}-{form}", table(plain | {name: fits.Column(name, form, array=array)}))
        for form in ("1J", "2I", "4A", "4B", "4L", "32X", "E8", "F", "Z", "0E", "-1E", "1E(5)", "1P", "1PE(1E9)", "É"):
            yield Case(f"form-lie-{name}-{form}", with_card(content, f"TFORM{number}", f"'{form:<8}'"))
        for keyword, value in (
            ("TSCAL", "0.0"), ("TSCAL", "1E400"), ("TZERO", "1E308"), ("TZERO", "NaN"), ("TNULL", "1"), ("TNULL", "'x'"),
            ("TDIM", "'(10,30)'"), ("TDIM", "'(0,0)'"), ("TDIM", "'(-1)'"), ("TUNIT", "'<b>'"), ("TDISP", "'Z9999'"),
            ("TTYPE", "''"), ("TTYPE", "'FLUX'"), ("TTYPE", "'../flux'"), ("TTYPE", "5"), ("TTYPE", "'<b>flux</b>'"),
        ):  # fmt: skip
            yield Case(f"{keyword}{number}-{value}", with_card(content, f"{keyword}{number}", value))


def table(columns: dict[str, fits.Column]) -> bytes:
    return written(fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(list(columns.values()))]))


def with_card(content: bytes, keyword: str, value: str) -> bytes:
    """The file with a card in its last header, in place of that of the keyword or of the first blank one."""
    changed = card(content, keyword, value)
    if changed is not None:
        return changed
    end = content.rindex(b"END" + b" " * 77)
    return content[:end] + text_card(f"{keyword:<8}= {value:>20}") + content[end : end + 80] + content[end + 160 :]


def text_card(text: str) -> bytes:
    return text.encode("latin-1")[:80].ljust(80)


def storms(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Values that are not numbers, or too large, too small, too many."""
    values = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -1.0, -0.0)
    for style in ("boss", "sdss", "sdss-v"):
        with fits.open(io.BytesIO(base[style]), memmap=False) as hdus:
            for column in ("flux", "ivar", "loglam"):
                found = [hdu.data[name] for hdu in hdus[1:] for name in hdu.columns.names if name.lower() == column]
                sound = [data.copy() for data in found]
                for value in values:
                    share = float(rng.choice([0.01, 0.5, 1.0]))
                    for data, before in zip(found, sound, strict=True):
                        data[:] = np.where(rng.random(data.size) < share, np.asarray(value, data.dtype), before)
                    yield Case(f"storm-{style}-{column}-{value}-{share}", written(hdus))
                for data, before in zip(found, sound, strict=True):
                    data[:] = before


def tables(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """HDUs in another order, missing, repeated without end, or of another kind."""
    with fits.open(io.BytesIO(base["boss"]), memmap=False) as hdus:
        for number in range(12):
            order = rng.permutation(np.arange(1, len(hdus)))[: rng.integers(1, len(hdus))]
            yield Case(f"order-{number}", written(fits.HDUList([hdus[0], *(hdus[int(i)] for i in order)])))
        yield Case("exposure-twice", written(fits.HDUList([*hdus, hdus[-1].copy()])))
        empty = fits.BinTableHDU.from_columns(hdus[1].columns, nrows=0)
        yield Case("no-rows", written(fits.HDUList([hdus[0], empty])))
        image = fits.ImageHDU(np.zeros((2, 2)))
        yield Case("image-first", written(fits.HDUList([hdus[0], image, *hdus[1:]])))
        compressed = fits.CompImageHDU(np.zeros((50, 50), np.int16))
        yield Case("compressed-image", written(fits.HDUList([hdus[0], compressed])))
        names = ("flux", "loglam", "ivar")
        columns = [fits.Column(name, "E15.7", array=np.linspace(3.6, 3.9, 99), ascii=True) for name in names]
        yield Case("ascii-table", written(fits.HDUList([hdus[0], fits.TableHDU.from_columns(columns)])))
        one = written(fits.HDUList([fits.PrimaryHDU(), image]))[BLOCK:]
    yield Case("many-hdus", base["boss"] + one * 20_000)
    yield Case("random-groups", base["boss"].replace(b"EXTEND  =", b"GROUPS  =", 1))
    yield Case("only-a-header", fits.PrimaryHDU().header.tostring().encode())


def heads(base: dict[str, bytes], rng: np.random.Generator) -> Iterator[Case]:
    """Headers without end, in length or in meaning."""
    content = base["boss"]
    end = content.index(b"END" + b" " * 77)
    block = (end // BLOCK + 1) * BLOCK
    for name, text in (
        ("comments", b"COMMENT " + b"x" * 72),
        ("same-card", b"FLUXES  =                    1" + b" " * 50),
        ("continue", b"CONTINUE  'abc&'" + b" " * 64),
        ("hierarch", b"HIERARCH a b c d = 1" + b" " * 60),
        ("exposures", b"EXPID01 = 'b1-1'" + b" " * 64),
    ):
        for count in (36 * 10, 36 * 10_000):
            yield Case(f"head-{name}-{count}", content[:end] + text * count + content[end:block] + content[block:])
    for text in (
        "\xff" * 80,
        "\0" * 80,
        "\x1b[2J",
        "OBJECT  = '\xc3\xa9\n'",
        "BUNIT   = '</td><script>'",
        "BUNIT   = '\x1b[31m'",
    ):
        yield Case(f"head-text-{text[:12]!r}", content[: end - 80] + text_card(text) + content[end:])
    for number in range(10):
        yield Case(
            f"noise-{number}", b"SIMPLE  =                    T".ljust(80) + rng.bytes(int(10 ** rng.uniform(2, 5)))
        )


def _faults(observation: Observation) -> list[str]:
    """What an observation must not be, whatever it was read from."""
    faults = []
    for key in ("flux", "ivar", "wavelength", "sky", "correlation"):
        values = getattr(observation, key)
        if values is not None and not np.isfinite(values).all():
            faults.append(f"{key} is not finite")
    if (observation.ivar < 0).any() or (observation.ivar[observation.mask] != 0).any():
        faults.append("ivar below 0, or not 0 where masked")
    if observation.mask.all():
        faults.append("no usable pixel")
    return faults


class _TooLong(BaseException):
    """No `except Exception` may keep it."""


def _stop(*_: object) -> None:
    raise _TooLong


def judge(every: int = 1, reader: Callable[[Path], Observation] = read) -> dict:
    """Read every n-th file of the corpus, with bounded memory and time.

    Returns:
        How many were read and refused; `wrong`: the names of those that were met with anything else, and why; `corpus`:
        the checksum of all files of the corpus.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _stop)
    report = {"read": 0, "refused": 0, "slowest": ("", 0.0), "wrong": {}}
    with tempfile.TemporaryDirectory() as folder:
        path, corpus = Path(folder) / "hostile.fits", hashlib.sha256()
        for number, case in enumerate(cases()):
            corpus.update(case.name.encode() + case.content)
            if number % every == 0:
                path.write_bytes(case.content)
                _judge_one(case.name, path, reader, report)
    return report | {"corpus": corpus.hexdigest()}


def _judge_one(name: str, path: Path, reader: Callable[[Path], Observation], report: dict) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            faults = _faults(reader(path))
            report["read"] += 1
        except InputError as error:
            text = str(error)
            clear = path.name in text and "\n" not in text and len(text) < 600 and text.isprintable()
            faults = [] if clear and "MemoryError" not in text else [f"unclear: {text[:200]!r}"]
            report["refused"] += 1
        except (Exception, _TooLong) as error:
            faults = [f"{type(error).__name__}: {error}"]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    faults += [f"warns: {warning.message}" for warning in warned[:1]]
    took = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    if took > report["slowest"][1]:
        report["slowest"] = (name, took)
    if faults:
        report["wrong"][name] = faults


if __name__ == "__main__":
    print(json.dumps(judge(int(sys.argv[1]) if len(sys.argv) > 1 else 1)))
