"""One call for a whole run: from what a user names to results, manifest and summary."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ..errors import InputError
from ..infer.threads import use_threads
from ..io.files import remove_parts
from .agenda import Agenda
from .cluster import process_on_cluster
from .inputs import find_inputs
from .job import Job
from .journal import JOURNAL, Journal
from .manifest import MANIFEST, write_manifest
from .pipeline import Outcome, Station, load_job_model, process
from .plan import Chunk, Item, plan
from .rows import DONE, Row, failed_row
from .workers import process_in_workers

__all__ = ["LOG", "Options", "Summary", "run_survey"]

LOG = "denoise.log"
CHUNK, TABLE_CHUNK = 32, 256  # spectra of one chunk, and of one table
FEW = 4  # of a chunk for local workers that fit one by one, so that they end together
EVERY_S = 60.0  # how often the log says how far it is
NAMED = 10  # failed files that the summary names

Report = Callable[[Row | None, int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a run is done, which no result depends on.

    Arguments:
        resume: Whether the last run in the folder goes on.
        overwrite: Whether results that are there may be replaced.
        workers: Processes of this machine; 0 for none but this one.
        scheduler: Address of a dask scheduler, or ''.
        chunk: Spectra of a chunk; 0 for 4 if local workers fit them one by one, else 32, or as many as make a batch; 256 in a
            table.
    """

    resume: bool = False
    overwrite: bool = False
    workers: int = 0
    scheduler: str = ""
    chunk: int = 0


@dataclass
class Summary:
    """What a run came to.

    Arguments:
        total: Spectra that were named.
        before: Those of them that an interrupted run had settled.
        failed: How many have no result.
        named: The first of those.
        flags: How many have each flag.
        seconds: How long the run took.
        busy: Seconds of all processes together spent reading, fitting and writing.
        manifest: The table, or the journal where there is no package to write one with.
    """

    total: int = 0
    before: int = 0
    failed: int = 0
    named: list[str] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    busy: Counter[str] = field(default_factory=Counter)
    manifest: Path = Path()

    def __str__(self) -> str:
        work = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in self.busy.items()) or "nothing to do"
        return (
            f"{self.total - self.failed} of {self.total} spectra have results; {self.total - self.before} of this run in "
            f"{self.seconds:.0f} s ({work}); flags: {self.flag_counts}; manifest: {self.manifest}"
        )

    @property
    def flag_counts(self) -> str:
        """How many have each flag, in words."""
        return ", ".join(f"{name} {count}" for name, count in sorted(self.flags.items())) or "none"


def run_survey(
    job: Job,
    words: Sequence[str],
    out: Path,
    options: Options | None = None,
    *,
    report: Report = lambda row, done, total: None,
) -> Summary:
    """Denoise all spectra that are named; each ends as a row of the manifest, with a result or a reason.

    Arguments:
        job: What to do with each.
        words: Files, folders, globs and lists (`find_inputs`).
        out: Folder of the results, which exists.
        options: How to go about it.
        report: Called with every row, and with None at first, how many of the run are settled, and how many there are.

    Returns:
        The summary.

    Raises:
        BayesdenError: if model, options or inputs cannot be used, or results can no longer be written. What was done until
            then is kept, and `resume` continues.
    """
    options, start = options or Options(), time.monotonic()
    if options.workers and options.scheduler:
        raise InputError("expected workers of this machine or a scheduler's, got both")
    classes = load_job_model(job).classes
    inputs = find_inputs(words, out)
    if not inputs:
        raise InputError("expected at least one spectrum, got an empty list")
    journal = Journal(out, job, classes, resume=options.resume)
    try:
        if options.resume:
            remove_parts(out)
        with _log_file(out / LOG):
            run = _Run(job, out, options, journal, inputs, report)
            try:
                run.go()
            except BaseException as error:
                logger.error("stopped at %d of %d: %s", len(run.settled), len(inputs), error or type(error).__name__)
                raise
            run.summary.manifest = _finish(out)
            run.summary.seconds = time.monotonic() - start
            logger.info("ended: %s", run.summary)
    finally:
        journal.close()
    return run.summary


class _Run:
    """A run while it lasts."""

    def __init__(
        self,
        job: Job,
        out: Path,
        options: Options,
        journal: Journal,
        inputs: list[str],
        report: Report,
    ) -> None:
        self.job, self.out, self.options, self.journal = job, out.absolute(), options, journal
        self.inputs, self.report = inputs, report
        self.summary = Summary(total=len(inputs))
        self.settled = {path for path in inputs if self._is_settled(path)}
        self.summary.before = len(self.settled)
        self._count_before()
        self.said = time.monotonic()

    def _is_settled(self, path: str) -> bool:
        """Whether a run that goes on has a row of an input, and its result, if it has one."""
        result = self.journal.done.get(path)
        return result is not None and (not result or (self.out / result).is_file())

    def _count_before(self) -> None:
        for path in self.inputs:
            if path in self.settled and not self.journal.done[path]:
                self._count_failed(path)

    def _count_failed(self, path: str) -> None:
        self.summary.failed += 1
        if len(self.summary.named) < NAMED:
            self.summary.named.append(path)

    def go(self) -> None:
        """Process what is left."""
        agenda = Agenda(self._chunks())
        logger.info(
            "started: %d spectra, %d settled before, job %s", self.summary.total, len(self.settled), self.job.id
        )
        logger.info("job: %s", json.dumps(self.job.description))
        self.report(None, len(self.settled), self.summary.total)
        if not agenda:
            return
        if self.options.scheduler:
            process_on_cluster(self.job, self.out, agenda, self.options.scheduler, self.deliver, self.lost)
        elif self.options.workers:
            process_in_workers(self.job, self.out, agenda, self.options.workers, self.deliver, self.lost)
        else:
            with _as_many_threads_after():
                process(Station(self.job, self.out, torch.get_num_threads()), _all(agenda), self.deliver)

    def _chunks(self) -> Iterator[Chunk]:
        """Chunks with something left to do; of spectra that are fitted alone only those that are left."""
        options, table = self.options, self.job.form == "table"
        few = FEW if options.workers and self.job.alone else max(CHUNK, self.job.batch)
        size = options.chunk or (TABLE_CHUNK if table else few)
        how = {"table": table, "plot": self.job.plot, "resume": options.resume, "overwrite": options.overwrite}
        for chunk in plan(self.inputs, self.out, size=size, **how):
            left = tuple(item for item in chunk.items if item.input not in self.settled)
            if left and self.job.alone and not table:
                yield replace(chunk, items=left)
            elif left:
                yield chunk

    def deliver(self, outcome: Outcome) -> None:
        """Record what is new of an outcome: on disk first, then in the log and to the user."""
        if outcome.note:
            logger.warning(outcome.note)
        rows = [row for row in outcome.rows if row.input not in self.settled]
        if not rows:
            return
        self.journal.append(rows)
        for row in rows:
            self.settled.add(row.input)
            self._count(row)
            self.report(row, len(self.settled), self.summary.total)

    def lost(self, item: Item) -> None:
        """Record a spectrum that no worker survives."""
        reason = f"{item.input}: expected a spectrum that can be fitted, but every worker that tried it died"
        self.deliver(Outcome(Chunk("", (item,)), (failed_row(item.input, self.job.id, reason),)))

    def _count(self, row: Row) -> None:
        summary, timing = self.summary, row.timing
        summary.busy.update({"read": timing.read_s, "fit": timing.fit_s, "write": timing.write_s})
        summary.flags.update(filter(None, row.flags.split(",")))
        if row.status != DONE:
            self._count_failed(row.input)
            logger.error("%s\n%s", row.reason, row.trace.rstrip())
        now = time.monotonic()
        if now - self.said > EVERY_S:
            self.said = now
            logger.info("%d of %d", len(self.settled), summary.total)


def _all(agenda: Agenda) -> Iterator[Chunk]:
    while agenda:
        yield agenda.take()


def _finish(out: Path) -> Path:
    """The manifest as a table, if there is a package to write it with; else the journal."""
    try:
        write_manifest(out)
    except ImportError as error:  # not there, or broken
        logger.warning("no Parquet table: expected the package pyarrow, got: %s", error)
        return out / JOURNAL
    return out / MANIFEST


@contextmanager
def _as_many_threads_after() -> Iterator[None]:
    """Whatever the threads of torch are meanwhile."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        use_threads(1)


class _Quiet(logging.FileHandler):
    """A log on a full disk is not what to stop for."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line."""


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Messages of this package, in a file too."""
    package = logging.getLogger("bayesden")
    handler = _Quiet(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)
        with suppress(OSError):
            handler.close()
