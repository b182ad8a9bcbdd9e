"""Downloads from the archives: many files in parallel, each whole, checked and resumable, or a reason why not."""

from .connections import Manners
from .queue import Outcome, fetch
from .transfer import Download

__all__ = ["Download", "Manners", "Outcome", "fetch"]
