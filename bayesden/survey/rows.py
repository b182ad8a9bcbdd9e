"""What is remembered of each spectrum: one row of the manifest."""

import math
import os
import socket
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..errors import describe
from ..posterior import Posterior

__all__ = ["DONE", "FAILED", "REFUSED", "Row", "Timing", "failed_row", "finished_row", "refused_row"]

DONE, FAILED, REFUSED = "done", "failed", "refused"
FACTS = ("velocity_kms", "velocity_sigma_kms", "ebv", "ebv_sigma", "support_p", "ra_deg", "dec_deg")


@dataclass(frozen=True)
class Timing:
    """What differs from run to run, and is therefore kept apart from the row: seconds, where, and when.

    `fit_cpu_s` is the processor's time of the thread that fits, which a busy machine stretches less than `fit_s`.
    """

    read_s: float = 0.0
    fit_s: float = 0.0
    fit_cpu_s: float = 0.0
    write_s: float = 0.0
    host: str = ""
    process: int = 0
    finished: str = ""

    @classmethod
    def now(cls, read_s: float = 0.0, fit_s: float = 0.0, fit_cpu_s: float = 0.0, write_s: float = 0.0) -> "Timing":
        """Of this process, at this time; in seconds, to the tenth of a millisecond."""
        seconds = (round(value, 4) for value in (read_s, fit_s, fit_cpu_s, write_s))
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        return cls(*seconds, socket.gethostname(), os.getpid(), stamp)


@dataclass(frozen=True)
class Row:
    """One spectrum's outcome.

    Arguments:
        input: Absolute path of the file.
        job: `Job.id` of the run.
        status: 'done', 'failed', or 'refused': not tried, as its result would have replaced something.
        reason: Why there is no result, or ''.
        result: The result's file name, in the folder of the manifest; '' if there is none.
        row: Which spectrum of that file.
        name: The object's name.
        sha256: Checksum of the input; '' if it could not be read.
        flags: Quality flags with commas between.
        best_class: The most probable class.
        class_prob: Probability of each class.
        exposures: Their number.
        snr: Signal-to-noise ratio per pixel of all of them.
        facts: Velocity, E(B-V), their errors, support, coordinates: those of `FACTS` that the result has.
        timing: Not part of what two runs have in common.
        trace: Traceback of an error, for the log.
    """

    input: str
    job: str
    status: str
    reason: str = ""
    result: str = ""
    row: int = 0
    name: str = ""
    sha256: str = ""
    flags: str = ""
    best_class: str = ""
    class_prob: dict[str, float] = field(default_factory=dict)
    exposures: int = 0
    snr: float | None = None
    facts: dict[str, float] = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    trace: str = ""


def finished_row(path: str, job: str, post: Posterior, result: str, row: int, timing: Timing) -> Row:
    """The row of a result; the same for one that was just computed and one that was read again."""
    facts = {key: value for key in FACTS if (value := _number(post.meta.get(key))) is not None}
    return Row(
        path,
        job,
        DONE,
        result=result,
        row=row,
        name=post.name,
        sha256=str(post.meta.get("sha256", "")),
        flags=",".join(sorted(post.flags)),
        best_class=post.best_class or "",
        class_prob=dict(post.class_prob),
        exposures=len(post.residual_z),
        snr=_number(post.meta.get("snr")),
        facts=facts,
        timing=timing,
    )


def refused_row(path: str, job: str, reason: str) -> Row:
    """The row of a spectrum that was not tried."""
    return Row(path, job, REFUSED, reason, timing=Timing.now())


def failed_row(path: str, job: str, error: Exception | str, *, sha256: str = "", timing: Timing | None = None) -> Row:
    """The row of a spectrum without a result."""
    reason, trace = error, ""
    if isinstance(error, Exception):
        reason, trace = describe(error, path), "".join(traceback.format_exception(error))
    reason = " ".join(str(reason).split())
    return Row(path, job, FAILED, reason, sha256=sha256, timing=timing or Timing.now(), trace=trace)


def _number(value: object) -> float | None:
    """A finite number, or None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
