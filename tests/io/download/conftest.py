"""A server on this machine."""

from collections.abc import Iterator

import pytest

from tests.webserver import Site, serve


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as one:
        yield one
