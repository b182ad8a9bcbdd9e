"""Where a posterior becomes files: the one place to add a format."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BayesdenError
from ..io import read_posterior, write_posterior, write_posteriors
from ..io.inference_data import write_netcdf
from ..posterior import Posterior
from .job import Job

__all__ = ["find_result", "stamped", "write_result", "write_table"]


def stamped(job: Job, post: Posterior) -> Posterior:
    """The same with the job's name among its facts, by which a continued run knows its own results."""
    return replace(post, meta={**post.meta, "job": job.id})


def write_result(job: Job, post: Posterior, path: Path) -> None:
    """Write one spectrum's files; the FITS file is the last, as its being there says that all are.

    Arguments:
        job: What was asked for.
        post: What came of it, stamped.
        path: The FITS file; others have its name with endings of their own.

    Raises:
        OutputError: if they cannot be written; `DiskFullError` if there is no room.
    """
    if job.plot:
        from ..report import plot_posterior, save_figure

        save_figure(plot_posterior(post), path.with_suffix(".png"))
    if job.runs_chains:
        write_netcdf(post, path.with_suffix(".nc"), overwrite=True)
    write_posterior(post.thinned(job.draws), path, overwrite=True)


def write_table(job: Job, posts: Sequence[Posterior], path: Path) -> None:
    """Write a chunk's results as one file without draws, and a figure and chains of each if the job has them.

    Raises:
        OutputError: if they cannot be written; `DiskFullError` if there is no room.
    """
    if job.plot:
        from ..report import plot_posterior, save_figure

        for row, post in enumerate(posts):
            save_figure(plot_posterior(post), path.with_name(f"{path.stem}-{row:04d}.png"))
    if job.runs_chains:
        for row, post in enumerate(posts):
            write_netcdf(post, path.with_name(f"{path.stem}-{row:04d}.nc"), overwrite=True)
    write_posteriors([post.thinned(0) for post in posts], path, overwrite=True)


def find_result(job: Job, path: Path, sha256: str) -> Posterior | None:
    """The result that is there, if it is that of this job and this input."""
    try:
        post = read_posterior(path)
    except BayesdenError:
        return None
    return post if (post.meta.get("job"), post.meta.get("sha256")) == (job.id, sha256) else None
