"""The errors that a user can cause, one class for each thing that can be wrong.

Each message is one line that names the file (where there is one), what was expected, and what came.
"""

__all__ = [
    "BayesdenError",
    "DiskFullError",
    "FetchError",
    "InputError",
    "ModelError",
    "NumericalError",
    "OutputError",
    "describe",
]


class BayesdenError(ValueError):
    """Anything that is the input's fault and not the program's."""


class InputError(BayesdenError):
    """A spectrum, library or argument that cannot be used."""


class FetchError(BayesdenError):
    """A download that did not come, or came damaged."""


class ModelError(BayesdenError):
    """A model file that cannot be used: truncated, of another version, or with a wrong checksum."""


class NumericalError(BayesdenError):
    """A fit whose arithmetic came to something that is no number."""


class OutputError(BayesdenError):
    """A place that cannot be written."""


class DiskFullError(OutputError):
    """A place with no room left: nothing more can be written there, whatever the spectrum."""


def describe(error: Exception, subject: object = "") -> str:
    """An error as text that names its subject: ours and the system's speak for themselves, others with their type."""
    text = f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    if isinstance(error, BayesdenError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return text if str(subject) in text else f"{subject}: {text}"
