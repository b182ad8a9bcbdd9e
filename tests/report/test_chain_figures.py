"""Figures of chains, classes, latents, residuals and predictions say what is true, and what they lack."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from bayesden.chains import Chains
from bayesden.errors import InputError
from bayesden.report import (
    WINDOWS,
    plot_classes,
    plot_latents,
    plot_loo_pit,
    plot_pairs,
    plot_posterior,
    plot_predictive,
    plot_residuals,
    plot_trace,
    save_figure,
)
from bayesden.report.latent_plot import class_styles
from bayesden.report.loo_pit_plot import effective_count, uniform_band
from bayesden.report.pairs_plot import SMOOTH, joint_density, within
from bayesden.report.residual_plot import autocorrelation
from bayesden.report.style import COLUMN, PAGE, SIZES
from bayesden.report.trace_plot import traced
from tests.twin import C, D, S, twin

FIGURES = {  # and the widths that they have by themselves
    "trace": (plot_trace, PAGE),
    "pairs": (plot_pairs, PAGE),
    "classes": (plot_classes, COLUMN),
    "residuals": (plot_residuals, PAGE),
    "predictive": (plot_predictive, PAGE),
    "loo-pit": (plot_loo_pit, COLUMN),
}


@pytest.fixture(scope="module")
def post():
    return twin()


def words(fig: Figure) -> str:
    found = [text.get_text() for text in fig.texts]
    for ax in fig.axes:
        found += [text.get_text() for text in ax.texts] + [ax.get_title(loc) for loc in ("left", "center", "right")]
    return "\n".join(found)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("size", [None, *SIZES])
def test_figures_are_as_wide_as_they_should_and_their_words_are_readable(post, name, size, tmp_path: Path):
    draw, width = FIGURES[name]
    before = dict(mpl.rcParams)
    options = {} if size is None else {"size": size}
    fig = draw(replace(post, name=r"a$\frac{$b"), **options)  # text, not mathematics
    assert fig.get_figwidth() == (width if size is None else SIZES[size]) and fig.get_figheight() < 9.7
    save_figure(fig, tmp_path / "figure.pdf")
    shown = [text for text in fig.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 6.5
    box, room = fig.get_tightbbox(), fig.bbox_inches  # all there is to see is in the figure
    assert box.x0 >= -0.01 and box.x1 <= room.x1 + 0.01 and box.y0 >= -0.01 and box.y1 <= room.y1 + 0.01
    assert all(artist.get_alpha() in (None, 1) for artist in fig.findobj() if artist.get_visible())
    assert dict(mpl.rcParams) == before
    if size is None:
        again = draw(replace(post, name=r"a$\frac{$b"))
        assert save_figure(again, tmp_path / "again.pdf").read_bytes() == (tmp_path / "figure.pdf").read_bytes()
    with pytest.raises(InputError, match="size: expected column or page, got 'poster'"):
        draw(post, size="poster")


@pytest.mark.parametrize("draw", [plot_trace, plot_pairs, plot_predictive, plot_loo_pit])
def test_without_chains_there_is_one_clear_line(draw):
    with pytest.raises(InputError, match=r"^twin: expected .*chains.*'map'.*$") as caught:
        draw(twin(chains=None, method="map"))
    assert "\n" not in str(caught.value)


def test_bands_are_the_quantiles_of_draws():
    skewed = twin(draws=2 + np.random.default_rng(0).exponential(size=(400, D)))
    band = plot_posterior(skewed).axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(np.quantile(skewed.draws, 0.05, axis=0).min())
    assert band.max() == pytest.approx(np.quantile(skewed.draws, 0.95, axis=0).max())


def test_a_named_window_is_its_wavelengths(post):
    for draw in (plot_posterior, plot_predictive, plot_residuals):
        limits = draw(post, zoom="halpha").axes[0].get_xlim()
        assert WINDOWS["Halpha"][0] <= limits[0] < limits[1] <= WINDOWS["Halpha"][1]
    with pytest.raises(InputError, match=r"zoom: expected two wavelengths or one of CaHK, .*CaT, got 'Halfa'"):
        plot_posterior(post, zoom="Halfa")


def test_trace_tells_chains_that_agree_from_those_that_do_not(post):
    names = [text for text, _ in traced(post.chains)]
    assert names == ["lp", "velocity_kms", "log_amplitude", "z[0]", "z[1]"]
    fig = plot_trace(post)
    assert len(fig.axes) == 2 * len(names) and len(fig.axes[0].get_lines()) == C + 1  # the last are divergences
    text = words(fig)
    assert text.count("ESS") == 4 and "constant" in text and "velocity  [km/s]" in text
    apart = np.array(post.chains.parameters["z"])
    apart[0] += 5
    apart = replace(post, chains=Chains({"z": apart}))
    agree, disagree = (words(plot_trace(star, ["z[1]"])).split("$ = ")[1] for star in (post, apart))
    assert float(agree[:5]) < 1.02 < 1.5 < float(disagree[:5])
    assert "independent draws" in words(plot_trace(twin(independent=True)))
    few = Chains({"z": np.random.default_rng(0).normal(size=(2, 3, 1))})
    assert "too few draws" in words(plot_trace(replace(post, chains=few)))


def test_trace_of_named_parameters(post):
    values = post.chains.parameters["calibration"]
    (name, found), (second, _) = traced(post.chains, ["calibration[1,2]", "lp"])
    assert (name, second) == ("calibration[1,2]", "lp") and np.array_equal(found, values[:, :, 1, 2])
    assert len(traced(post.chains, ["calibration"])) == 6 and found.shape == (C, S)
    for wrong in ("foo", "z[9]", "z[", ""):
        with pytest.raises(InputError, match="trace: expected names such as z, log_amplitude"):
            plot_trace(post, [wrong])


def test_pairs_are_drawn_below_the_diagonal_with_medians_and_intervals(post):
    fig = plot_pairs(post)
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert len(shown) == 6  # amplitude and two latents; the velocity does not vary
    draws = post.chains.parameters["z"][..., 0].ravel()
    low, middle, high = np.quantile(draws, (0.16, 0.5, 0.84))
    title = next(text for text in words(fig).splitlines() if text.startswith("z[0]"))
    numbers = [float(part) for part in re.findall(r"[-+]?\d+\.\d+", title.replace("−", "-"))]
    np.testing.assert_allclose(numbers, [middle, high - middle, low - middle], rtol=0.06)
    assert len([ax for ax in plot_pairs(post, ["z[0]", "lp"]).axes if ax.get_visible()]) == 3
    with pytest.raises(InputError, match="pairs: expected two parameters or more that vary, got lp"):
        plot_pairs(post, ["lp", "velocity_kms"])


def test_density_of_pairs_is_that_of_the_draws():
    draws = np.random.default_rng(0).normal(size=(2, 100_000))
    density, edges = joint_density(*draws)
    assert density.sum() == pytest.approx(100_000, rel=1e-3)
    steps = [edge[1] - edge[0] for edge in edges]
    found = within(density, edges, np.zeros(1), np.zeros(1))[0] / (100_000 * steps[0] * steps[1])
    smoothed = [1 + (SMOOTH * step) ** 2 for step in steps]  # variances
    assert found == pytest.approx(1 / (2 * np.pi * np.sqrt(np.prod(smoothed))), rel=0.03)


def test_classes_say_their_numbers(post):
    text = words(plot_classes(post))
    assert "> 0.999" in text and "< 0.001" in text
    with pytest.raises(InputError, match="twin: expected class probabilities, got method 'wiener' without"):
        plot_classes(replace(post, class_prob={}, method="wiener"))


@pytest.mark.parametrize(("noise", "least", "most"), [(1.0, 6, 14), (0.5, 25, 60), (3.0, 0, 2)])
def test_predictions_count_what_is_outside(noise, least, most):
    text = words(plot_predictive(twin(noise=noise)))
    shares = [float(line.split()[0]) for line in text.splitlines() if "outside the 90 % band" in line]
    assert len(shares) == 2 and all(least <= share <= most for share in shares)


def test_nothing_observed_is_said_or_drawn(post):
    nothing = np.zeros_like(post.data_ivar)
    chains = Chains(
        post.chains.parameters,
        log_likelihood=np.zeros_like(post.chains.log_likelihood),
        predictive=np.full_like(post.chains.predictive, np.nan),
    )
    blind = replace(post, data_ivar=nothing, residual_z=np.full_like(nothing, np.nan), chains=chains)
    for draw, what in ((plot_residuals, "residuals"), (plot_loo_pit, "LOO-PIT")):
        with pytest.raises(InputError, match=f"twin: {what}: expected observed pixels, found none"):
            draw(blind)
    assert words(plot_predictive(blind)).count("no data") == 2


@pytest.mark.parametrize("exposures", [1, 14])
def test_residuals_of_any_number_of_exposures(exposures, post):
    z = np.random.default_rng(0).normal(size=(exposures, D))
    data = np.ones_like(z)
    fig = plot_residuals(replace(post, residual_z=z, data_flux=data, data_ivar=data))
    assert ("stacked" in words(fig)) == (exposures > 1) and fig.get_figheight() < 9.7
    fig.draw_without_rendering()  # nothing is squeezed to nothing, which would warn


def test_autocorrelation_of_a_moving_average():
    noise = np.random.default_rng(0).normal(size=(4, 20_000))
    rows = noise[:, 1:] + 0.5 * noise[:, :-1]
    rows[:, ::7] = np.nan
    np.testing.assert_allclose(autocorrelation(rows, 3), [0.4, 0, 0], atol=0.02)
    assert np.isnan(autocorrelation(rows[:, :3], 3)[-1])


def test_correlated_pixels_are_worth_fewer():
    rng = np.random.default_rng(0)
    independent = rng.uniform(size=(4, 4000))
    assert effective_count(independent) == pytest.approx(16_000, rel=0.1)
    assert effective_count(np.repeat(rng.uniform(size=(4, 1000)), 4, axis=1)) == pytest.approx(4000, rel=0.15)


def test_simultaneous_band_holds_the_whole_curve_as_often_as_it_says():
    points, rng = np.arange(1, 100) / 100, np.random.default_rng(1)
    low, high = uniform_band(400, points)
    drawn = np.sort(rng.uniform(size=(1000, 400)), axis=1)
    curves = np.stack([np.searchsorted(row, points, side="right") / 400 for row in drawn])
    inside = ((curves >= low) & (curves <= high)).all(1).mean()
    assert 0.92 < inside < 0.98
    narrow = uniform_band(400, points, 0.5)
    assert 0.4 < ((curves >= narrow[0]) & (curves <= narrow[1])).all(1).mean() < 0.6


def curve_and_band(fig: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The lower panel's curve, and how far its band reaches."""
    ax = fig.axes[1]
    return ax.get_lines()[1].get_ydata(), np.abs(ax.collections[0].get_paths()[0].vertices[:, 1]).max()


def test_loo_pit_stays_in_its_band_only_if_the_model_is_right(post):
    curve, reach = curve_and_band(plot_loo_pit(post))
    assert np.abs(curve).max() < reach
    for noise, sign in ((3.0, -1), (0.4, 1)):  # too wide: below, then above
        curve, reach = curve_and_band(plot_loo_pit(twin(noise=noise)))
        assert sign * curve[20] > 1.2 * reach and sign * curve[-20] < -1.2 * reach


def test_latents_stand_among_the_library(toy_model, tmp_path: Path):
    for size, panels in ((2, 2), (3, 4)):
        model = toy_model(latent_dim=size)
        draws = np.random.default_rng(0).normal(size=(100, size))
        star = twin(latent=draws, chains=None)
        fig = plot_latents(star, model)
        shown = [ax for ax in fig.axes if ax.get_visible()]
        assert len(shown) == panels and {ax.get_xlabel() for ax in shown} <= {"z[0]", "z[1]"}
        library = shown[0].get_lines()[0].get_xydata()
        np.testing.assert_allclose(library, model.latent_prior.latents(0)[:, :2], rtol=1e-6)
        save_figure(fig, tmp_path / "latents.png")
    plot_latents(twin(latent=draws[0]), model)  # one point
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend == ["A", "G", "M", "twin"]


def test_latents_of_another_model_are_refused(toy_model):
    model = toy_model()
    with pytest.raises(InputError, match="twin: expected the model's 2 latents, got 3: another model"):
        plot_latents(twin(latent=np.zeros((5, 3))), model)
    with pytest.raises(InputError, match="twin: expected latents, got method 'wiener' without"):
        plot_latents(twin(latent=None, method="wiener"), model)
    other = toy_model(card={"name": "other", "sha256": "b" * 64})
    with pytest.raises(
        InputError, match=r"expected the model that made it, mine, SHA-256 a{12}\.\.\., got other, b{12}"
    ):
        plot_latents(twin(meta={"model": "mine", "model_sha256": "a" * 64}), other)


def test_every_class_has_a_look_of_its_own():
    styles = class_styles(("O", "B", "A", "F", "G", "K", "M", "CV", "Carbon", "WD"))
    assert len(set(styles.values())) == 10
    light = [np.dot(mpl.colors.to_rgb(styles[name][0]), (0.3, 0.6, 0.1)) for name in "OBAFGKM"]
    assert (np.diff(light) > 0.03).all()  # told apart in grey, too
