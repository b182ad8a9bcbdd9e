"""Take the picture of docs/howto/report.md: a report of the example and of stars that the shipped model makes up.

python docs/make_report_figure.py --out docs/_static/report.png

Wants playwright, and a Chromium that the system has.
"""

import argparse
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from bayesden.cli import main as bayesden

EXAMPLE = Path(__file__).resolve().parents[1] / "data" / "example-spec.fits"
STARS, SEED = 4, 3
COLOURS = 256  # half of the bytes, and nobody sees it
SIZE = {"width": 1180, "height": 1120}


def make_report(folder: Path) -> Path:
    """The page, of results that are made here."""
    page, stars, results = folder / "report.html", folder / "stars", folder / "out"
    simulate = (
        "simulate",
        "sdss",
        "-n",
        STARS,
        "--grid",
        "generator",
        "--format",
        "sdss",
        "--seed",
        SEED,
        "--out",
        stars,
    )
    for words in (simulate, ("denoise", EXAMPLE, stars, "--map", "--out", results), ("report", results, "--out", page)):
        if bayesden([str(word) for word in words]):
            raise SystemExit(f"bayesden {words[0]} failed")
    return page


def take_picture(page: Path, picture: Path, chromium: str) -> None:
    """What a reader sees of the example."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=SIZE)
        tab.goto(f"{page.as_uri()}#example-spec")
        tab.wait_for_selector("html[data-ready]", state="attached")
        tab.wait_for_timeout(1000)
        content = tab.screenshot()
        browser.close()
    Image.open(BytesIO(content)).convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE).save(
        picture, optimize=True
    )


def main() -> None:
    """Make the report and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        take_picture(make_report(Path(folder)), arguments.out, arguments.chromium)


if __name__ == "__main__":
    main()
