import numpy as np
import torch

from bayesden.report.instrument_plots import plot_simulation
from bayesden.report.save import save_figure
from bayesden.simulation.simulator import Simulation


def test_stars_are_drawn_in_rows_noiseless_over_noisy(tmp_path):
    wavelength = torch.linspace(8400, 8800, 200, dtype=torch.double)
    clean = torch.ones(2, 200)
    flux = clean[:, None] + 0.1 * torch.randn(2, 1, 200)
    mask = torch.zeros(2, 1, 200, dtype=torch.bool)
    mask[0, 0, 50:60] = True
    names = ("teff_K", "magnitude", "snr", "scale")
    table = np.array([(4500.0, 20.0, 10.0, 0.4), (4000.0, 21.0, 4.0, 0.3)], dtype=[(n, float) for n in names])
    stars = Simulation(wavelength, clean, flux, 100 * torch.ones_like(flux), mask, 0.1 * torch.ones_like(flux), table)
    figure = plot_simulation(stars, zoom_A=(8500.0, 8600.0))
    assert len(figure.axes) == 4
    assert "4500 K, AB 20.0, S/N 10" in figure.axes[0].get_title(loc="left")
    noisy, noiseless = figure.axes[0].get_lines()
    assert np.isnan(noisy.get_ydata()[50:60]).all() and np.array_equal(noiseless.get_ydata(), clean[0])
    assert figure.axes[1].get_lines()[0].get_xdata().min() >= 8500
    assert save_figure(figure, tmp_path / "stars.png").stat().st_size > 10_000
