"""The figures of simulated stars are drawn, whatever is there of them."""

from pathlib import Path

import numpy as np

from baselines.figures.loss_curves import loss_curves
from baselines.figures.one_star import describe, one_star
from baselines.figures.palette import style_of
from baselines.figures.parameter_errors import parameter_errors
from baselines.simulated_tables import Row


def test_variants_of_a_method_share_a_colour_and_no_two_look_alike():
    styles = style_of(["wavelet universal", "wavelet bayes", "wiener", "bayesden a", "bayesden b"])
    assert styles["wavelet universal"]["color"] == styles["wavelet bayes"]["color"] != styles["wiener"]["color"]
    assert len({tuple(style.values()) for style in styles.values()}) == 5


def test_errors_against_parameters(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = [Row(m, i, *rng.uniform(1, 50, 4), i % 4, *rng.uniform(0.1, 1, 9), 1.0) for m in "ab" for i in range(40)]
    parameter_errors(rows, tmp_path / "b3.png")
    assert (tmp_path / "b3.png").stat().st_size > 10_000


def test_one_star_and_the_losses(tmp_path: Path):
    wavelength = np.linspace(7100.0, 8850.0, 400)
    truth = 1 - 0.5 * np.exp(-0.5 * ((wavelength - 8544) / 10) ** 2)
    title = describe({"teff_K": 4900.0, "logg": 1.5, "feh": -0.5, "snr": 15.2})
    assert title == "Teff = 4900 K, log g = 1.5, [Fe/H] = -0.50, S/N = 15"
    one_star(wavelength, truth, truth + 0.1, {"coadd": truth, "wiener": 0.99 * truth}, title, tmp_path / "star.png")
    log = tmp_path / "unet.csv"
    log.write_text("number,train,validation,learning_rate,seconds\n1,1.0,1.1,0.1,1\n2,0.5,0.6,0.1,2\n")
    loss_curves([log, tmp_path / "none.csv"], tmp_path / "training.png")
    loss_curves([tmp_path / "none.csv"], tmp_path / "nothing.png")
    assert {p.name for p in tmp_path.iterdir()} == {"star.png", "unet.csv", "training.png"}
