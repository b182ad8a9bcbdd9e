"""The browser that the tests drive: the system's Chromium, or what BAYESDEN_CHROMIUM names; nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def launch() -> Iterator["Browser"]:
    """A headless browser; the test is skipped where there is none, or no playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright")
    found = next(
        (path for name in (os.environ.get("BAYESDEN_CHROMIUM"), *NAMES) if name and (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip(f"no chromium: none of {', '.join(NAMES)}, and BAYESDEN_CHROMIUM names none")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """One for all tests of a file; while it runs, asyncio has a loop in this thread, so it ends with the file."""
    with launch() as browser:
        yield browser
