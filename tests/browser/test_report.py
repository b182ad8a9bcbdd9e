"""The report in a real browser: it draws, zooms, sorts, filters; by mouse, keyboard, ear, in the dark and on paper.

Without playwright or a Chromium (`conftest.py`) these tests are skipped by name.
"""

import re
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest

from bayesden.io import read_posterior
from bayesden.posterior import Feature
from bayesden.report.contents import text_of
from bayesden.report.html import Report
from bayesden.report.packing import pack
from tests.conftest import build_toy_model
from tests.hostile_texts import HOSTILE
from tests.twin import D, twin

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")

LINES = (
    Feature(5000.0, 0.5, 0.1, 6.0, 1e-6, 200.0, "absorption", "Hβ"),
    Feature(7600.0, 0.5, 0.1, 5.0, 1e-5, 200.0, "emission", "air O2 (A)", terrestrial=True),
)
UNRESERVED = "!*'()-._~"  # of encodeURIComponent
STARS = [  # name, class, S/N, velocity, support, flags, lines
    ("alpha", "A", 30.0, -190.0, 0.9, (), ()),
    ("beta", "G", 4.0, 12.0, 0.5, ("LOW_INFORMATION",), ()),
    ("gamma", "G", 80.0, 250.0, 1e-6, ("OUT_OF_SUPPORT", "FEATURE_NOT_IN_MODEL"), LINES),
    ("delta", "M", 11.0, None, None, (), ()),
]


def star(number, name, best, snr, velocity, support, flags, lines):
    meta = {"snr": snr, "velocity_kms": velocity, "velocity_sigma_kms": 2.0, "support_p": support}
    prob = {"A": 0.0, "G": 0.0, "M": 0.0} | {best: 1.0}
    known = {key: value for key, value in meta.items() if value is not None}
    return twin(seed=number, name=name, class_prob=prob, meta=known, flags=frozenset(flags), features=lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages: of the four stars, and of hostile ones."""
    folder = tmp_path_factory.mktemp("report")
    report = Report(build_toy_model())
    for number, facts in enumerate(STARS):
        report.add(star(number, *facts), f"out/{facts[0]}.fits")
    report.fail("out/broken.fits", "out/broken.fits: expected a FITS file, got an empty file")
    report.write(folder / "stars.html", title="Four stars")
    report = Report()
    for text in HOSTILE:
        line = replace(LINES[0], near=text, kind=text)
        facts = {key: text for key in ("file", "class", "subclass", "model", "velocity_frame")}
        report.add(
            twin(name=text, flux_unit=text, method=text, meta=facts, class_prob={text: 1.0}, features=(line,)), text
        )
        report.fail(text, text)
    report.write(folder / "hostile.html", title=HOSTILE[0])
    return folder


class Watched:
    """A page, with what its console said and what it asked of the network."""

    def __init__(self, page, folder):
        self.page, self.folder, self.said, self.asked = page, folder, [], []
        page.on(
            "console", lambda message: self.said.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))

    def open(self, name="stars.html", fragment=""):
        self.page.goto(f"{(self.folder / name).as_uri()}{fragment}")
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    def choose(self, name):
        playwright.expect(self.page.locator("html")).to_have_attribute("data-shown", name)


@pytest.fixture
def watched(chromium, folder):
    """A page whose console stays empty and that asks for nothing but itself."""
    context = chromium.new_context(
        viewport={"width": 1300, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
    )
    watched = Watched(context.new_page(), folder)
    yield watched
    context.close()
    assert watched.said == []
    assert all(url.startswith((folder.as_uri(), "data:", "blob:")) for url in watched.asked), watched.asked


def names(page):
    return [text.strip() for text in page.locator("#rows tr[data-row] td:first-child").all_inner_texts()]


def view(page):
    """First and last wavelength, and lowest and highest flux, that are seen."""
    page.wait_for_timeout(100)
    return page.evaluate(
        "[figures.x.start, figures.x.end, figures.flux.y_range.start, figures.flux.y_range.end]"
    )  # fmt: skip


def test_it_draws_what_the_result_holds(watched):
    page, post = watched.open(), star(0, *STARS[0])
    flux = page.evaluate("Array.from(figures.model('data_core').data.flux)")
    assert np.abs(np.array(flux) - post.flux).max() < 0.05 * post.sigma.max()
    low = page.evaluate("Array.from(figures.model('data_core').data.wide_low)")
    assert np.abs(np.array(low) - post.quantile(0.05)).max() < 0.1 * post.sigma.max()
    points = page.evaluate(
        "figures.model('data_residuals').data.x.length + figures.model('data_beyond_each').data.x.length"
    )
    assert points == np.isfinite(post.residual_z).sum()
    counted = page.evaluate(
        """() => {
          const { canvas } = figures.view.export("png", false);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let blue = 0, grey = 0;
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] < 128) continue;
            blue += data[i] < 60 && data[i + 2] > 140;
            grey += Math.abs(data[i] - data[i + 2]) < 8 && data[i] > 120 && data[i] < 220;
          }
          return { blue, grey };
        }"""
    )
    assert counted["blue"] > 1000 and counted["grey"] > 1000
    assert "velocity −190 ± 2 km/s" in page.inner_text("#summary")
    assert page.inner_text("#classes .best").split() == ["A", "1.00"]
    lines = page.evaluate("figures.model('data_lines').data.x")
    assert any(abs(line - 6564.61 * (1 - 190 / 299792.458)) < 0.01 for line in lines)
    page.evaluate("document.getElementById('latent-near').click()")  # before there is anything to show
    page.locator("#latent-card").scroll_into_view_if_needed()
    page.wait_for_selector("html[data-latents]", state="attached")
    drawn = page.evaluate("latents.views.map(({ model }) => model.document.get_model_by_name('star').data)")
    assert page.evaluate(
        "latents.near && latents.views[0].model.x_range.end - latents.views[0].model.x_range.start < 16"
    )
    assert len(drawn) == 1 and abs(drawn[0]["x"][0] - post.latent[:, 0].mean()) < 1e-3


def test_packed_arrays_are_unpacked_as_they_were_and_scripts_that_come_late_do_not_run(watched):
    """The second is the control of the tests of hostile texts: without the page's policy these would run and fetch."""
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.normal(size=(3, D)), axis=-1)
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    page, text = watched.open(), pack({"a": "é"}, {"v": (values, 0.01), "whole": (np.arange(5.0), 1.0)})
    back = page.evaluate("""async (text) => {
        const { a, arrays } = await unpack(text);
        return { a, v: arrays.v.map((row) => Array.from(row, String)), whole: Array.from(arrays.whole[0]) };
    }""", text)  # fmt: skip
    assert back["a"] == "é" and back["whole"] == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(np.array(back["v"], float), values, rtol=0, atol=0.0050001)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.pwned = 1";
        document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.pwned = 1'>");
    }""")
    failed = page.evaluate("fetch('http://localhost:9/').then(() => false, () => true)")
    page.wait_for_timeout(200)
    assert failed and page.evaluate("window.pwned") is None
    assert len(watched.said) >= 3 and all(
        "Content Security Policy" in text or "Fetch API" in text for text in watched.said
    )
    watched.said.clear()


def test_zoom_by_button_mouse_and_key(watched):
    page = watched.open()
    whole = view(page)
    assert whole[:2] == [4000, 9000]
    page.click("text=Halpha")
    first, last, low, high = view(page)
    assert (first, last) == (6490, 6640) and high - low < whole[3] - whole[2]
    page.click("#next")
    watched.choose("beta")
    assert view(page)[:2] == [6490, 6640]  # walking on keeps the place
    page.click("#windows >> text=All")
    assert view(page)[:2] == [4000, 9000]
    box = page.locator("#plots").bounding_box()
    y = box["y"] + 250
    page.mouse.move(box["x"] + 400, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, y, steps=5)
    page.mouse.up()
    dragged = view(page)
    assert 4000 < dragged[0] < dragged[1] < 9000 and dragged[1] - dragged[0] < 1500
    page.keyboard.press("-")
    assert view(page)[1] - view(page)[0] > 1.5 * (dragged[1] - dragged[0])
    page.mouse.dblclick(box["x"] + 500, y)
    assert view(page)[:2] == [4000, 9000]
    page.keyboard.press("8")
    assert view(page)[:2] == [8440, 8730]
    page.keyboard.press("]")
    assert view(page)[0] > 8440
    page.keyboard.press("0")
    page.uncheck("[data-layer=bands]")
    assert page.evaluate("[figures.model('wide').visible, figures.model('denoised').visible]") == [False, True]
    page.select_option("#which", "1")
    assert page.evaluate("figures.model('data_exposures').data.y.length") == 1


def test_sort(watched):
    page = watched.open()
    assert names(page) == ["alpha", "beta", "gamma", "delta"]
    page.click("#heads >> text=S/N")
    assert names(page) == ["gamma", "alpha", "delta", "beta"]
    assert page.get_attribute("th[data-key=snr]", "aria-sort") == "descending"
    page.click("#heads >> text=S/N")
    assert names(page) == ["beta", "delta", "alpha", "gamma"]
    page.click("#heads >> text=Support p")
    assert names(page) == ["gamma", "beta", "alpha", "delta"]  # the doubtful first, the unknown last
    page.click("#heads >> text=Class")
    assert names(page) == ["alpha", "beta", "gamma", "delta"]
    assert page.locator("[aria-sort]").count() == 1


def test_filter(watched):
    page = watched.open()
    for text, expected in (
        ("AL", ["alpha"]),
        ("a snr>10", ["alpha", "gamma", "delta"]),
        ("v<-100", ["alpha"]),
        ("p<0.6 snr<=4", ["beta"]),
        ("out of support", ["gamma"]),
        ("lines>=1", ["gamma"]),
        ("nothing", []),
        ("", ["alpha", "beta", "gamma", "delta"]),
    ):
        page.fill("#text", text)
        assert names(page) == expected, text
        assert page.inner_text("#shown").startswith(f"{len(expected)} ")
    page.select_option("#class", "G")
    assert names(page) == ["beta", "gamma"]
    page.select_option("#flag", "OUT_OF_SUPPORT")
    assert names(page) == ["gamma"]
    page.select_option("#class", "")
    page.select_option("#flag", "none")
    assert names(page) == ["alpha", "delta"]
    page.click("#copy-shown")
    playwright.expect(page.locator("#said")).to_have_text(re.compile("^Copied"))
    assert page.evaluate("navigator.clipboard.readText()") == "out/alpha.fits\nout/delta.fits"
    page.keyboard.press("j")  # alpha is chosen and shown: on to the next that is shown
    watched.choose("delta")


def test_keyboard_alone(watched):
    page = watched.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the chosen spectrum"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "spectrum"
    page.focus("#table")
    page.keyboard.press("ArrowDown")
    watched.choose("beta")
    page.keyboard.press("End")
    watched.choose("delta")
    page.keyboard.press("ArrowUp")
    watched.choose("gamma")
    active = page.get_attribute("#table", "aria-activedescendant")
    assert page.get_attribute(f"#{active}", "aria-selected") == "true" and "gamma" in page.inner_text(f"#{active}")
    assert page.evaluate("getComputedStyle(document.getElementById('table')).outlineStyle") == "solid"
    said = page.inner_text("#said")
    assert said.startswith("3 of 4: gamma; out of support, feature not in model. Class G")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "spectrum"
    page.keyboard.press("k")
    watched.choose("beta")
    page.keyboard.press("/")
    page.keyboard.type("jj")
    assert page.input_value("#text") == "jj" and names(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    page.fill("#text", "")
    page.focus("#table")
    page.keyboard.press("j")
    assert page.inner_text("#name") == "beta"


def test_a_link_names_a_spectrum(watched):
    page = watched.open(fragment="#gamma")
    assert page.inner_text("#name") == "gamma"
    page.keyboard.press("j")
    watched.choose("delta")
    assert page.url.endswith("#delta")
    page.evaluate("location.hash = '#alpha'")
    watched.choose("alpha")
    page.keyboard.press("c")
    playwright.expect(page.locator("#said")).to_have_text(re.compile("^Copied"))
    assert page.evaluate("navigator.clipboard.readText()") == "out/alpha.fits"
    assert watched.open(fragment="#%E0%A4%A").inner_text("#name") == "alpha"


def test_dark_as_the_reader_s_screen_and_by_choice(watched):
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    ink = "[figures.model('denoised').glyph.line_color.value, figures.panels[1].left[0].major_label_text_color]"
    watched.page.emulate_media(color_scheme="dark")
    page = watched.open()
    assert page.evaluate(paper) == "rgb(20, 23, 27)" and page.evaluate(ink) == ["#56B4E9", "#E8EAED"]
    page.keyboard.press("d")
    assert page.evaluate(paper) == "rgb(255, 255, 255)" and page.evaluate(ink) == ["#0072B2", "#222222"]
    assert watched.open().evaluate(paper) == "rgb(255, 255, 255)"  # remembered
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-pressed") == "true" and page.evaluate(paper) == "rgb(20, 23, 27)"


def test_paper(watched):
    watched.page.emulate_media(color_scheme="dark")
    page = watched.open(fragment="#gamma")
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF") and len(content) > 20_000
    assert page.get_attribute("#printed", "src").startswith("data:image/png;base64,")
    assert "Class G" in page.get_attribute("#printed", "alt")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    shown = {name: page.is_visible(name) for name in ("#table", "#summary", "#printed", "#filters", "#plots", "#next")}
    assert shown == {
        "#table": True,
        "#summary": True,
        "#printed": True,
        "#filters": False,
        "#plots": False,
        "#next": False,
    }


def test_hostile_texts_stay_texts(watched):
    page = watched.open("hostile.html")
    assert page.title() == HOSTILE[0] and page.inner_text("h1") == HOSTILE[0]
    for number, text in enumerate(HOSTILE):
        shown = text_of(text)
        page.evaluate("row => table.pick(row)", number)
        watched.choose(shown)
        assert page.text_content("#name") == shown
        assert page.url.endswith(f"#{quote(shown, safe=UNRESERVED)}")
        assert shown in page.text_content("#missing") and shown in page.text_content("#facts")
        if number % 5 == 0:  # by its link
            page.reload()
            page.wait_for_selector("html[data-ready]", state="attached")
            assert page.text_content("#name") == shown
    assert page.evaluate("[window.pwned, document.images.length, document.querySelectorAll('iframe, svg, object').length]") == [
        None, 1, 0,
    ]  # fmt: skip
    assert page.locator("script").count() == 5 + 2 * len(HOSTILE)


def test_every_control_has_a_name_and_every_name_is_there(watched):
    page = watched.open(fragment="#gamma")
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, a[href], summary")]
        .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.title || e.labels?.[0]?.textContent.trim()))
        .map((e) => e.outerHTML)""")
    assert nameless == []
    dangling = page.evaluate("""() => [...document.querySelectorAll("[aria-labelledby], [aria-describedby], [for]")]
        .flatMap((e) => ["aria-labelledby", "aria-describedby", "for"].flatMap((n) => (e.getAttribute(n) ?? "").split(" ")))
        .filter((id) => id && !document.getElementById(id))""")
    assert dangling == []
    assert page.get_attribute("#table", "aria-rowcount") == "5"
    assert page.inner_text(".failures summary") == "1 file could not be read"
    assert page.locator(".failures li").inner_text() == "out/broken.fits: expected a FITS file, got an empty file"
    page.click("#missing button >> nth=0")
    first, last, *_ = view(page)
    assert first < 5000 < last and last - first < 200


def test_narrow_screens_scroll_one_way_only(watched):
    widths = (420, 900)
    watched.page.set_viewport_size({"width": widths[0], "height": 800})
    page = watched.open(fragment="#gamma")
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert 0.5 * width < page.evaluate("figures.flux.inner_width") < width


def test_a_result_without_exposures_bands_or_classes(watched, tmp_path):
    bare = twin(name="bare", sigma=np.full(D, np.nan), prior_fraction=np.full(D, np.nan), class_prob={}, latent=None,
                draws=None, chains=None, data_flux=None, data_ivar=None, residual_z=np.zeros((0, D)), meta={})  # fmt: skip
    report = Report()
    report.add(bare, "bare.fits")
    report.add(star(1, *STARS[1]), "beta.fits")
    report.write(watched.folder / "bare.html", overwrite=True)
    page = watched.open("bare.html")
    assert page.inner_text("#summary") == "no lines that the model lacks."
    assert page.evaluate("figures.flux.y_range.end > figures.flux.y_range.start")
    page.keyboard.press("j")
    watched.choose("beta")
    assert "without a model" in page.inner_text("#latent-note")


def test_spectra_beyond_the_page_s_size_are_rows_with_a_note(watched):
    report = Report(max_mb=2.02)
    for number in range(40):
        report.add(star(number, f"star-{number}", *STARS[0][1:]), f"out/{number}.fits")
    assert 0 < report.drawn < 40
    report.write(watched.folder / "large.html", overwrite=True)
    page = watched.open("large.html")
    assert "Single exposures are not on this page" in page.inner_text("#note")
    assert page.is_hidden("#exposures-label")
    page.focus("#table")
    page.keyboard.press("End")
    playwright.expect(page.locator("#name")).to_have_text("star-39")
    assert page.is_hidden("#drawing") and "bayesden report out/39.fits" in page.inner_text("#note")
    page.keyboard.press("Home")
    watched.choose("star-0")
    assert page.is_visible("#drawing")


def test_written_results_are_shown_as_they_were(watched, tmp_path):
    """The whole way: a file that was written and read again."""
    from bayesden.io import write_posterior

    write_posterior(star(2, *STARS[2]), tmp_path / "gamma.fits")
    report = Report(build_toy_model())
    report.add(read_posterior(tmp_path / "gamma.fits"), "gamma.fits")
    report.write(watched.folder / "written.html", overwrite=True)
    page = watched.open("written.html")
    assert names(page) == ["gamma"] and page.inner_text("#shown") == "1 shown"
    assert page.inner_text("#missing tbody tr >> nth=1").split("\t")[-1] == "air O2 (A) (the Earth’s)"
