"""The catalogue of archives: servers, addresses and licences."""

import tomllib
from functools import cache
from importlib import resources

__all__ = ["archive"]


@cache
def archive(name: str) -> dict:
    """What `archives.toml` says of an archive: `sdss` or `bosz`."""
    text = (resources.files(__package__) / "archives.toml").read_text("utf-8")
    return tomllib.loads(text)[name]
