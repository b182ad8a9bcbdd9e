import dataclasses
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from bayesden.errors import InputError, OutputError
from bayesden.posterior import FLAGS, Feature, Posterior
from bayesden.report import plot_posterior, save_figure
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
    for ax in fig.axes:
        found += [text.get_text() for text in ax.texts] + [ax.get_ylabel(), ax.get_title()]
        found += [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
    return "\n".join(found)


@pytest.mark.parametrize("n_exposures", [1, 14])
@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_every_format_is_written_whole(tmp_path: Path, n_exposures: int, suffix: str) -> None:
    path = save_figure(plot_posterior(make(n_exposures)), tmp_path / f"star{suffix}")
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_title_says_what_was_found() -> None:
    text = words(plot_posterior(make(14, flags=frozenset(FLAGS))))
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
    assert "beyond the axis" in words(hit)


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


def test_same_posterior_same_bytes(tmp_path: Path) -> None:
    paths = [save_figure(plot_posterior(make(2)), tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_plotting_changes_nothing_global() -> None:
    before = dict(mpl.rcParams)
    plot_posterior(make(1))
    assert dict(mpl.rcParams) == before


def test_place_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    fig = plot_posterior(make(1))
    with pytest.raises(OutputError, match=r"star\.jpeg: expected a name ending in \.png, \.pdf, \.svg, got \.jpeg"):
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
def test_lines_that_the_model_lacks_are_named_and_their_labels_do_not_meet(n_exposures: int) -> None:
    places = (6564.0, 6700.0, 7620.0, 8995.0)
    features = [Feature(w, 1.0, 0.1, 8.0, 1e-9, 200.0, "emission", "Hα" if w == 6564.0 else "") for w in places]
    fig = plot_posterior(make(n_exposures, features=tuple(features)))
    fig.canvas.draw()
    panel = fig.axes[1 if n_exposures == 1 else 2]  # one panel of residuals, or the stacked ones below it
    labels = [text for text in panel.texts if " emission, 8.0 σ" in text.get_text()]
    assert len(labels) == 4 and "6564 emission, 8.0 σ (Hα)" in words(fig)
    boxes = [text.get_window_extent() for text in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1 for box in boxes)
    assert "8.0 σ" not in words(plot_posterior(make(n_exposures, features=tuple(features)), zoom=(4000, 5000)))


def test_a_notebook_shows_a_figure_without_pyplot() -> None:
    fig = plot_posterior(make(2))
    assert isinstance(fig, Figure) and fig._repr_png_().startswith(b"\x89PNG\r\n")
