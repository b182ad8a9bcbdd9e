import dataclasses
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bayesden.errors import InputError, OutputError
from bayesden.posterior import FLAGS, Feature, Posterior
from bayesden.report import plot_posterior, save_figure, style
from bayesden.report.style import SIZES
from bayesden.report.view import View

D = 400


def make(n_exposures: int, **changes: object) -> Posterior:
    """A K-like spectrum with white noise of standard deviation 0.1 and a gap that no exposure covers."""
    rng = np.random.default_rng(n_exposures)
    wavelength = np.linspace(4000.0, 9000.0, D)
    truth = 1 + 0.3 * np.sin(wavelength / 700) - 0.5 * np.exp(-(((wavelength - 6564.6) / 15) ** 2))
    ivar = np.full((n_exposures, D), 100.0)
    ivar[:, 180:220] = 0
    data = np.where(ivar > 0, truth + 0.1 * rng.normal(size=ivar.shape), 0.0)
    fields = {
        "wavelength": wavelength,
        "flux": truth,
        "sigma": np.where(ivar[0] > 0, 0.02, 0.2),
        "residual_z": np.where(ivar > 0, (data - truth) * 10, np.nan),
        "prior_fraction": np.where(ivar[0] > 0, 0.1, 1.0),
        "class_prob": {"G": 0.1, "K": 0.85, "M": 0.05},
        "data_flux": data,
        "data_ivar": ivar,
        "method": "map",
        "name": "made-up",
        "flux_unit": "1E-17 erg/cm^2/s/Ang",
    }
    return Posterior(**(fields | changes))


def words(fig: Figure) -> str:
    found = [text.get_text() for text in fig.texts]
    found += [text.get_text() for legend in fig.legends for text in legend.get_texts()]
    for ax in fig.axes:
        found += [text.get_text() for text in ax.texts] + [ax.get_ylabel(), ax.get_title()]
    return "\n".join(found)


def upright(fig: Figure) -> list[float]:
    """Where the lines that go through the whole panel of the flux are, Å."""
    lines = [(line.get_xdata(), line.get_ydata()) for line in fig.axes[0].get_lines()]
    return sorted(float(x[0]) for x, y in lines if list(y) == [0, 1])


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".eps", b"%!PS")]
)
def test_every_format_is_whole_and_the_same_bytes_again(tmp_path: Path, suffix: str, magic: bytes) -> None:
    one, two = (save_figure(plot_posterior(make(6), size="column"), tmp_path / f"{name}{suffix}") for name in "ab")
    assert one.read_bytes().startswith(magic) and one.read_bytes() == two.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [one.name, two.name]


def test_text_is_text_and_fonts_are_truetype(tmp_path: Path) -> None:
    fig = plot_posterior(make(1), size="column")
    svg, pdf, eps = (save_figure(fig, tmp_path / f"star.{kind}").read_bytes() for kind in ("svg", "pdf", "eps"))
    assert b">made-up</text>" in svg and "vacuum wavelength  [Å]</text>".encode() in svg
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert b"/FontType 42" in eps and b"/FontType 3" not in eps and b"colorimage" not in eps
    assert any(artist.get_rasterized() for artist in fig.findobj()), "what was drawn as vectors stays so"


@pytest.mark.parametrize("n_exposures", [1, 14])
@pytest.mark.parametrize("size", SIZES)
def test_as_wide_as_a_column_or_a_page_opaque_and_within_the_figure(n_exposures: int, size: str) -> None:
    flags, lines = frozenset(FLAGS), tuple(Feature(w, 1, 1, 9, 0.1, 9, "emission") for w in range(4100, 9000, 300))
    fig = plot_posterior(make(n_exposures, flags=flags, features=lines, name="spec-4961-55719-0378"), size=size)
    assert fig.get_figwidth() == pytest.approx({"column": 88, "page": 180}[size] / 25.4)
    fig.draw_without_rendering()
    seen, room = fig.get_tightbbox(), fig.bbox_inches
    assert seen.x0 >= -0.01 and seen.x1 <= room.x1 + 0.01 and seen.y0 >= -0.01 and seen.y1 <= room.y1 + 0.01
    title = [text.get_window_extent() for text in fig.texts]
    assert all(box.x0 >= 0 and box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1 for box in title)
    names = [text.get_window_extent().y1 for text in fig.axes[0].texts if text.get_text() == "Hα"]
    assert min(box.y0 for box in title) >= max(names)
    shown = [text for text in fig.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 6.5
    assert all(
        artist.get_alpha() in (None, 1) for artist in fig.findobj() if artist.get_visible()
    )  # EPS knows no transparency
    with pytest.raises(InputError, match="size: expected column or page, got 'poster'"):
        plot_posterior(make(1), size="poster")


def test_title_says_what_was_found() -> None:
    text = words(plot_posterior(make(14, flags=frozenset(FLAGS)))).replace("\n", " ")
    for part in ("made-up", "class K, probability 0.85 (G 0.10, M 0.05)", "14 exposures", "method map", "no data"):
        assert part in text
    for flag in FLAGS:
        assert flag.replace("_", " ").lower() in text
    assert "no flags" in words(plot_posterior(make(1)))


@pytest.mark.parametrize("height", [1e3, 1e6, -1e6])
@pytest.mark.parametrize("n_exposures", [1, 14])
def test_cosmic_ray_does_not_move_the_flux_axis(n_exposures: int, height: float) -> None:
    clean = make(n_exposures)
    data = clean.data_flux.copy()
    data[0, 50] += height
    limits = plot_posterior(clean).axes[0].get_ylim()
    hit = plot_posterior(dataclasses.replace(clean, data_flux=data))
    np.testing.assert_allclose(hit.axes[0].get_ylim(), limits, atol=0.1 * np.ptp(limits))
    assert " beyond" in words(hit)


def test_flux_axis_holds_the_denoised_flux() -> None:
    post = make(3)
    flux = post.flux.copy()
    flux[10] = 7.0  # an emission line that the data do not have
    low, high = plot_posterior(dataclasses.replace(post, flux=flux)).axes[0].get_ylim()
    assert low < flux.min()
    assert high > 7.0


def test_method_without_error_bars_or_classes_or_data() -> None:
    nan = np.full(D, np.nan)
    post = make(2, sigma=nan, prior_fraction=nan, class_prob={}, data_flux=None, data_ivar=None)
    text = words(plot_posterior(post))
    for absent in ("band", "class", "S/N", "prior", "no data"):
        assert absent not in text
    assert "denoised" in text


def test_everything_masked_in_the_zoom_is_still_a_figure(tmp_path: Path) -> None:
    post = make(2)
    zoom = (post.wavelength[185], post.wavelength[215])
    save_figure(plot_posterior(post, zoom=zoom), tmp_path / "gap.png")
    assert View.of(post, zoom).coadd.size == 31


def test_zoom_and_lines() -> None:
    post = make(2)
    zoomed = plot_posterior(post, zoom=(6400, 6700))
    assert zoomed.axes[0].get_xlim()[0] >= 6400
    assert "Hα" in words(zoomed)
    assert "Hβ" not in words(zoomed)
    assert "Hα" not in words(plot_posterior(post, zoom=(6400, 6700), lines=False))
    for zoom in ((100, 200), (6700, 6400), (6400, 6401)):
        with pytest.raises(InputError, match="made-up: zoom: expected a part of 4000 to 9000"):
            plot_posterior(post, zoom=zoom)


def test_lines_are_where_the_star_has_them_and_named_singly_where_there_is_room() -> None:
    shifted = make(2, meta={"velocity_kms": 300.0, "velocity_sigma_kms": 1.0})
    for post, shift in ((make(2), 1.0), (shifted, 1 + 300 / 299792.458)):
        marked = upright(plot_posterior(post, zoom="CaT"))
        np.testing.assert_allclose(marked, np.array([8500.36, 8544.44, 8664.52]) * shift)
    assert "Ca II 8500\nCa II 8544\nCa II 8665" in words(plot_posterior(shifted, zoom="CaT"))
    assert "Ca II triplet" in words(plot_posterior(shifted)), "names that would meet are one"
    assert upright(plot_posterior(shifted, zoom=(5560, 5600))) == [5578.89], "the sky does not move with the star"


def test_a_zoom_shows_the_core_of_a_line_that_the_denoised_flux_misses() -> None:
    deep = make(4)
    data = deep.data_flux.copy()
    data[:, 205] = data[:, 210] - 0.3
    deep = dataclasses.replace(deep, data_flux=data, data_ivar=np.full_like(data, 100.0))
    low, _ = plot_posterior(deep, zoom=(6300, 7000)).axes[0].get_ylim()
    assert low < data[:, 205].mean()


def test_view_finds_the_gap_and_the_mean() -> None:
    post = make(5)
    view = View.of(post)
    assert list(view.gaps()) == [(post.wavelength[180], post.wavelength[219])]
    good = post.data_ivar[0] > 0
    np.testing.assert_allclose(view.coadd[good], post.data_flux[:, good].mean(0))
    assert np.isnan(view.coadd[~good]).all()
    np.testing.assert_allclose(view.snr, np.median(post.data_flux.mean(0)[good]) * 10 * np.sqrt(5))


def test_stacked_residuals_of_independent_exposures_have_unit_variance() -> None:
    z = np.random.default_rng(0).normal(size=(9, D))
    z[3:, ::2] = np.nan
    stacked = View.of(make(9, residual_z=z)).stacked_z
    assert abs(stacked[::2].std() - 1) < 0.2
    assert abs(stacked[1::2].std() - 1) < 0.2
    common = View.of(make(9, residual_z=np.ones((9, D)))).stacked_z  # what all exposures share stands out
    np.testing.assert_allclose(common, 3.0)


def test_names_are_text_and_not_mathematics(tmp_path: Path) -> None:
    odd = make(2, name=r"a$\frac{$b", flux_unit="$x^2", class_prob={"K$_$": 1.0}, method="m$^")
    save_figure(plot_posterior(odd), tmp_path / "odd.png")
    long = make(2, name="x" * 300)
    assert "x … x" in words(plot_posterior(long))


def test_plotting_changes_nothing_global() -> None:
    before = dict(mpl.rcParams)
    plot_posterior(make(1))
    assert dict(mpl.rcParams) == before


def test_place_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    fig = plot_posterior(make(1))
    with pytest.raises(
        OutputError, match=r"star\.jpeg: expected a name ending in \.png, \.pdf, \.svg, \.eps, got \.jpeg"
    ):
        save_figure(fig, tmp_path / "star.jpeg")
    with pytest.raises(OutputError, match="expected an existing folder"):
        save_figure(fig, tmp_path / "none" / "star.png")
    path = save_figure(fig, tmp_path / "star.png")
    old = path.read_bytes()
    with pytest.raises(AttributeError):  # whatever breaks while drawing
        save_figure(None, path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["star.png"]


@pytest.mark.parametrize("n_exposures", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_lines_that_the_model_lacks_are_named_and_their_labels_do_not_meet(n_exposures: int, size: str) -> None:
    places = (6564.0, 6700.0, 7620.0, 8995.0)
    features = [Feature(w, 1.0, 0.1, 8.0, 1e-9, 200.0, "emission", "Hα" if w == 6564.0 else "") for w in places]
    crowd = [Feature(6560.0 + n, 1.0, 0.1, 5.0, 1e-9, 200.0, "absorption") for n in range(9)]
    fig = plot_posterior(make(n_exposures, features=(*crowd, *features)), size=size)
    fig.draw_without_rendering()
    panel = next(ax for ax in fig.axes if any("8.0 σ" in text.get_text() for text in ax.texts))
    labels = [text for text in panel.texts if " σ" in text.get_text()]
    text = words(fig)
    named = text.count("8.0 σ")
    assert "6564 Hα, 8.0 σ" in text and named == 4 if size == "page" else named >= 3  # the most significant come first
    assert text.count("5.0 σ") < 9 and len(panel.get_lines()) > 13  # the others at least have a tick
    boxes = [text.get_window_extent() for text in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1 for box in boxes)
    assert "8.0 σ" not in words(plot_posterior(make(n_exposures, features=tuple(features)), zoom=(4000, 5000)))


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    fig = plot_posterior(make(2))
    assert isinstance(fig, Figure) and fig._repr_png_().startswith(b"\x89PNG\r\n")


def test_no_title_is_cut_off_where_a_notebook_crops_figures() -> None:
    fig, cropped = plot_posterior(make(2)), io.BytesIO()
    fig.savefig(cropped, format="png", dpi=100, bbox_inches="tight", pad_inches=0)
    width, height = Image.open(cropped).size
    assert np.allclose((width, height), 100 * fig.get_size_inches(), atol=1)


def luminance(colour: str) -> float:
    """What a copy in grey keeps of a colour: relative luminance, as its lightness L*."""
    channels = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16)


def test_flux_mean_and_exposures_differ_in_grey_too() -> None:
    denoised, mean, each = (luminance(colour) for colour in (style.DENOISED, style.COADD, style.EXPOSURE))
    assert denoised + 10 < mean and mean + 15 < each < 90
