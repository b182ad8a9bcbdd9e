"""Many spectra, and nothing lost: from a list of files to results, a manifest and a log, on one core or a cluster.

A run is cut into *chunks* of files (`plan.py`). Whoever processes a chunk, this process, a local worker (`workers.py`) or one
of a dask cluster (`cluster.py`), reads ahead, fits and writes at the same time (`pipeline.py`) and sends back one *row* for
each spectrum. Rows are kept in an append-only journal (`journal.py`), which becomes a Parquet table at the end
(`manifest.py`). After an interruption the journal and the results on disk say what is left.
"""

from .job import Job
from .manifest import read_manifest
from .rows import Row
from .runner import Options, Summary, run_survey

__all__ = ["Job", "Options", "Row", "Summary", "read_manifest", "run_survey"]
