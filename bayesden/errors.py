"""The errors that a user can cause, one class for each thing that can be wrong.

Each message is one line that names the file (where there is one), what was expected, and what came.
"""

__all__ = ["BayesdenError", "FetchError", "InputError", "ModelError", "OutputError"]


class BayesdenError(ValueError):
    """Anything that is the input's fault and not the program's."""


class InputError(BayesdenError):
    """A spectrum, library or argument that cannot be used."""


class FetchError(BayesdenError):
    """A download that did not come, or came damaged."""


class ModelError(BayesdenError):
    """A model file that cannot be used: truncated, of another version, or with a wrong checksum."""


class OutputError(BayesdenError):
    """A place that cannot be written."""
