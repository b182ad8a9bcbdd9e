"""The page as text: what it holds, what it cannot hold, how large it is. `tests/browser` has it in a browser."""

import base64
import hashlib
import json
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from bayesden.errors import InputError, OutputError
from bayesden.posterior import Feature
from bayesden.report.contents import COLUMNS, core_arrays, details_of, exposure_arrays, row_of, text_of
from bayesden.report.html import FRAME, MB, Report
from bayesden.report.packing import pack
from bayesden.report.palette import DARK, LIGHT
from bayesden.report.view import View
from tests.hostile_texts import HOSTILE
from tests.twin import twin

LINE = Feature(5000.0, 0.5, 0.1, 6.0, 1e-6, 200.0, "absorption", "Hβ")


def unpack(text):
    """The twin of page/decode.js."""
    content = zlib.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", content)
    document, at, arrays = json.loads(content[4 : 4 + length]), 4 + length, {}
    for described in document.pop("arrays"):
        size = int(np.prod(described["shape"]))
        planes = np.frombuffer(content, np.uint8, 4 * size, at).reshape(4, size)
        word = np.ascontiguousarray(planes.T).view("<u4").reshape(described["shape"]).astype(np.int64)
        values = np.cumsum((word >> 1) ^ -(word & 1), axis=-1) * described["step"]
        at += 4 * size
        if not described["whole"]:
            bits = np.unpackbits(np.frombuffer(content, np.uint8, -(-size // 8), at), count=size)
            values[~bits.astype(bool).reshape(values.shape)] = np.nan
            at += -(-size // 8)
        arrays[described["name"]] = values
    assert at == len(content)
    return document, arrays


class Page(HTMLParser):
    """The scripts of a page with their attributes, and all attributes that could fetch something."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.fetched, self.tags, self._open = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.fetched += [value for key, value in attributes if key in ("src", "href", "srcset", "data", "action")]
        if tag == "script":
            self.scripts.append([dict(attributes), ""])
            self._open = True

    def handle_endtag(self, tag):
        self._open = self._open and tag != "script"

    def handle_data(self, data):
        if self._open:
            self.scripts[-1][1] += data


def page_of(tmp_path, posts, model=None, **options):
    report = Report(model, **{key: options.pop(key) for key in ("max_mb",) if key in options})
    for post, file in posts:
        report.add(post, file)
    report.write(tmp_path / "page.html", overwrite=True, **options)
    return (tmp_path / "page.html").read_text("utf-8")


def script(text, name):
    return next(content for attributes, content in Page(text).scripts if attributes.get("id") == name)


@pytest.mark.parametrize("step", [0.1, 2.0, 1e-17])
def test_packed_arrays_come_back_within_half_a_step(step):
    rng = np.random.default_rng(0)
    values = step * np.cumsum(rng.normal(size=(3, 101)), axis=-1) * 7
    values[rng.uniform(size=values.shape) < 0.2] = np.nan
    values[1] = np.nan
    document, arrays = unpack(
        pack({"name": "é"}, {"a": (values, step), "b": (np.zeros(1), 1.0), "c": (values[0], step)})
    )
    assert document == {"name": "é"}
    np.testing.assert_allclose(arrays["a"], values, rtol=0, atol=0.5000001 * step)
    np.testing.assert_array_equal(arrays["b"], [0.0])
    np.testing.assert_array_equal(arrays["c"], arrays["a"][0])


def test_what_is_absurd_is_cut_and_spoils_nothing_else():
    values = np.array([1.0, 1e100, 1.0, -1e100, np.inf, 1.0])
    _, arrays = unpack(pack({}, {"a": (values, 0.5)}))
    np.testing.assert_array_equal(arrays["a"][[0, 2, 5]], 1.0)
    assert arrays["a"][1] == -arrays["a"][3] == 2**28 and np.isnan(arrays["a"][4])
    with pytest.raises(ValueError, match="JSON"):
        pack({"a": np.nan}, {})


def test_arrays_are_finer_than_the_noise():
    post = twin()
    view = View.of(post)
    _, core = unpack(pack({}, core_arrays(post, view)))
    _, single = unpack(pack({}, exposure_arrays(view)))
    assert np.abs(core["wavelength"] - post.wavelength).max() < 1e-3
    assert (np.abs(core["flux"] - post.flux) < 0.05 * post.sigma).all()
    assert (np.abs(core["flux"] + core["wide_low"] - post.quantile(0.05)) < 0.1 * post.sigma).all()
    good = np.isfinite(view.exposures)
    assert (np.isfinite(single["exposures"]) == good).all() and (np.isfinite(single["residuals"]) == good).all()
    assert np.abs(single["exposures"] - view.exposures)[good].max() <= 0.2 / 10 + 1e-9
    assert np.abs(single["residuals"] - view.z)[good].max() <= 0.05 + 1e-9
    np.testing.assert_array_equal(core["good"], good.sum(0))
    no_draws = replace(post, draws=None)
    _, core = unpack(pack({}, core_arrays(no_draws, View.of(no_draws))))
    assert (np.abs(core["sigma"] - post.sigma) < 0.05 * post.sigma).all() and "wide_low" not in core


def test_row_and_details():
    facts = {"velocity_kms": -191.6, "velocity_sigma_kms": 2.1, "support_p": 0.00012345, "snr": 12.345, "class": "STAR",
             "subclass": "F5", "ebv": 0.1, "ebv_sigma": 0.02, "ra_deg": 1.0, "dec_deg": -2.0, "converged": True}  # fmt: skip
    post = twin(meta=facts, flags=frozenset({"OUT_OF_SUPPORT"}), features=(LINE,))
    view = View.of(post)
    row = dict(zip(COLUMNS, row_of(post, view, "out/a.fits"), strict=True))
    assert row == {"file": "out/a.fits", "name": "twin", "class": "A", "probability": 0.9995, "snr": 12.35,
                   "velocity": -191.6, "velocity_error": 2.1, "flags": ["OUT_OF_SUPPORT"], "exposures": 2,
                   "support": 0.000123, "lines": 1, "survey": "STAR F5"}  # fmt: skip
    details = details_of(post, view)
    facts = dict(details["facts"])
    assert details["unit"] == "10⁻¹⁷ erg/cm²/s/Å"
    assert facts["velocity"] == "−191.6 ± 2.1 km/s" and facts["E(B−V)"] == "0.100 ± 0.020 mag"
    assert facts["position"] == "1.00000, -2.00000 deg" and facts["converged"] == "yes"
    assert details["features"][0]["near"] == "Hβ" and details["features"][0]["width"] == "0.50 ± 0.10"
    assert [e["masked"] for e in details["exposures"]] == [round(100 * x, 1) for x in (post.data_ivar == 0).mean(1)]
    assert all(0.7 < e["scatter"] < 1.3 for e in details["exposures"])


def test_a_result_with_nothing_but_a_flux(tmp_path):
    """As the baselines make them."""
    bare = twin(sigma=np.full(380, np.nan), prior_fraction=np.full(380, np.nan), class_prob={}, latent=None, draws=None,
                chains=None, data_flux=None, data_ivar=None, residual_z=np.zeros((0, 380)), meta={})  # fmt: skip
    text = page_of(tmp_path, [(bare, "a.fits")])
    columns = json.loads(script(text, "index"))["columns"]
    assert columns["class"] == [None] and columns["snr"] == [None] and columns["exposures"] == [0]
    document, arrays = unpack(script(text, "core-0"))
    assert document["classes"] == [] and "no latents" in document["latent_note"]
    assert np.isnan(arrays["mean"]).all() and np.isfinite(arrays["flux"]).all()


def test_the_same_results_give_the_same_bytes(tmp_path, toy_model):
    posts = [(twin(), "a.fits"), (twin(seed=1, name="other"), "b.fits")]
    model = toy_model()
    assert page_of(tmp_path, posts, model) == page_of(tmp_path, posts, model)


def test_names_are_told_apart(tmp_path):
    text = page_of(tmp_path, [(twin(name="a"), "x/a.fits"), (twin(name="a"), "y/a.fits"), (twin(name="a~2"), "z.fits")])
    assert json.loads(script(text, "index"))["columns"]["key"] == ["a", "a~2", "a~2~2"]


def test_a_result_that_cannot_be_shown_leaves_the_others_in_place(tmp_path):
    report = Report()
    report.add(twin(name="a"), "a.fits")
    with pytest.raises(ValueError, match="format code"):
        report.add(twin(name="b", features=(replace(LINE, sigma_A="wide"),)), "b.fits")
    report.add(twin(name="c"), "c.fits")
    assert len(report) == report.drawn == 2
    report.write(tmp_path / "page.html")
    columns = json.loads(script((tmp_path / "page.html").read_text("utf-8"), "index"))["columns"]
    assert columns["key"] == ["a", "c"]


def test_no_text_becomes_markup(tmp_path):
    """Whatever names, units and headers say, the page has the same elements as one that says nothing."""
    plain = Page(page_of(tmp_path, [(twin(features=(LINE,)), "a.fits")] * len(HOSTILE)))
    report = Report()
    for text in HOSTILE:
        line = replace(LINE, near=text, kind=text)
        facts = {key: text for key in ("file", "class", "subclass", "model", "velocity_frame", "snr", "velocity_kms")}
        post = twin(name=text, flux_unit=text, method=text, meta=facts, class_prob={text: 1.0}, features=(line,))
        report.add(post, text)
        report.fail(text, f"{text}: damaged")
    report.write(tmp_path / "page.html", title=HOSTILE[0], overwrite=True)
    text = (tmp_path / "page.html").read_text("utf-8")
    hostile = Page(text)
    extra = ["details", "summary", "ul", *["li"] * len(HOSTILE)]  # of the failures
    assert sorted(hostile.tags) == sorted(plain.tags + extra)
    assert hostile.fetched == plain.fetched
    assert "<img src=x" not in text and "\u2028" not in text
    names = json.loads(script(text, "index"))["columns"]["name"]
    assert names == [text_of(name) for name in HOSTILE]


def test_only_the_page_s_own_scripts_may_run_and_nothing_is_fetched(tmp_path, toy_model):
    text = page_of(tmp_path, [(twin(), "a.fits")], toy_model())
    page = Page(text)
    assert set(page.fetched) <= {"#spectrum", "#", "data:,"}
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe-eval" not in policy
    running = [content for attributes, content in page.scripts if "type" not in attributes]
    sums = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in running]
    allowed = re.search(r"script-src ([^;]*);", policy)[1].split()
    assert len(running) == 2 and allowed == [f"'sha256-{total}'" for total in sums]


def test_size_is_kept_by_leaving_out_exposures_and_then_figures(tmp_path):
    posts = [(twin(seed=i), f"{i}.fits") for i in range(20)]
    whole = page_of(tmp_path, posts)
    assert 'id="single-19"' in whole and not json.loads(script(whole, "index"))["thinned"]
    core, single = (len(script(whole, f"{kind}-0")) for kind in ("core", "single"))
    for count, drawn in ((20, range(20, 21)), (8, range(6, 12))):
        max_mb = (FRAME + count * (core + 300)) / MB
        text = page_of(tmp_path, posts, max_mb=max_mb)
        index = json.loads(script(text, "index"))
        assert index["thinned"] and 'id="single-' not in text and len(index["columns"]["key"]) == 20
        assert index["drawn"] in drawn and f'id="core-{index["drawn"] - 1}"' in text
        assert len(text) < max_mb * MB and len(text) < len(whole) - 20 * single
    with pytest.raises(InputError, match="expected more than 2 MB"):
        Report(max_mb=2.0)


def test_latents_of_another_model_are_not_drawn_among_this_one_s(tmp_path, toy_model):
    model = toy_model()
    notes = {"own": twin(), "other sum": twin(meta={"model_sha256": "1" * 64, "model": "theirs"}),
             "other size": twin(latent=np.zeros(3)), "none": twin(latent=None)}  # fmt: skip
    model.card["sha256"] = "0" * 64
    text = page_of(tmp_path, [(post, name) for name, post in notes.items()], model)
    found = [unpack(script(text, f"core-{i}"))[0]["latent_note"] for i in range(4)]
    assert found[0] == "" and "theirs" in found[1] and "another model" in found[2] and "no latents" in found[3]
    document, arrays = unpack(script(text, "library"))
    assert [kind["name"] for kind in document["classes"]] == ["A", "G", "M"]
    assert arrays["latents"].shape == (2, sum(kind["count"] for kind in document["classes"]))


def test_an_existing_page_is_replaced_only_if_asked(tmp_path):
    report = Report()
    report.add(twin(), "a.fits")
    report.write(tmp_path / "page.html")
    with pytest.raises(OutputError, match="the file exists"):
        report.write(tmp_path / "page.html")


def luminance(colour):
    part = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float(np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_have_the_contrast_that_readers_need(palette):
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for what tells controls and curves from the page."""
    on = {"text": ("page", "raised", "chosen"), "faint": ("page", "raised", "chosen"), "link": ("page",),
          "warning-text": ("page", "warning-page", "chosen")}  # fmt: skip
    pairs = [(ink, paper, 4.5) for ink, papers in on.items() for paper in papers]
    pairs += [(ink, "page", 3.0) for ink in ("control", "denoised", "mean", "single", "warning", "line", "ink")]
    for ink, paper, least in pairs:
        bright, dark = sorted((luminance(palette[ink]), luminance(palette[paper])), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= least, (ink, paper)
    assert LIGHT.keys() == DARK.keys()
