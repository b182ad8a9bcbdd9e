"""The figure of the noise's scale shows what it is given."""

import numpy as np
from matplotlib.colors import to_hex

from bayesden.report.noise_scale import COLOURS, plot_noise_scale
from bayesden.train.noise import ScaleProfile


def test_each_arm_has_its_scale_and_its_scatter() -> None:
    wavelength = np.array([4100.0, 4300.0])
    blue = ScaleProfile(wavelength, np.array([0.7, 0.8]), np.array([0.75, 0.85]))
    red = ScaleProfile(wavelength + 3000, np.array([0.9, 1.0]), np.array([1.0, 1.1]))
    ax = plot_noise_scale({"blue": blue, "red": red}, "two arms").axes[0]
    drawn = {(to_hex(line.get_color()), tuple(line.get_ydata())) for line in ax.lines[1:]}
    assert drawn == {
        (COLOURS[arm].lower(), tuple(values))
        for arm, profile in (("blue", blue), ("red", red))
        for values in (profile.scale, profile.scatter)
    }
    assert ax.get_title() == "two arms" and len(ax.get_legend().get_texts()) == 4
