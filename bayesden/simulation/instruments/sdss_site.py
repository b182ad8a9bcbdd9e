r"""The night sky over Apache Point, the telescope's fibres and the cameras of BOSS, as numbers.

The flux that a camera counts is that of the star and of the sky,

.. math:: N(\lambda) = g(\lambda)\,T\,10^{-0.4\,k(\lambda)(X - X_0)}\,[f(\lambda) + s(\lambda)], \qquad
          s = a_1 s_\mathrm{dark} + a_2\,(\lambda/5500\,\mathrm{\AA})^{-1.5} + a_3 s_\mathrm{lines},

in electrons per pixel and exposure: g is the throughput in electrons for a unit of flux, T what seeing and clouds leave of
it, k the extinction in magnitudes per airmass X. Sky brightness, lines, throughput, pixels and line-spread function are
medians over the single exposures of four public BOSS spectra (columns `sky`, `calib`, `loglam` and `wdisp`, plates 3764,
4961, 5047 and 7332), the lines in the frame of the observatory, with a Gaussian for each.

References:
    Smee et al. (2013), AJ 146, 32, for the spectrographs; Hayes & Latham (1975), ApJ 197, 593, for the extinction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["CAMERAS", "CameraFacts", "airglow", "dark_sky", "extinction", "fiber_share", "moonlight"]

EXPOSURE_S = 900.0
REFERENCE_SEEING_ARCSEC, REFERENCE_AIRMASS = 1.5, 1.15  # of the throughputs below
FIBER_ARCSEC = 2.0  # diameter
KNOTS = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CameraFacts:
    """One camera.

    Arguments:
        name: As in SDSS's files.
        range_A: First and last wavelength: what the grid from 4000 to 9000 Å needs, and a margin.
        pixel_A: Width of a pixel against wavelength, Å.
        wdisp: Standard deviation of the line-spread function, pixel included, 1e-4 in log10 wavelength.
        throughput: Electrons per Å, exposure and unit of flux (1e-17 erg/s/cm²/Å), against wavelength.
        read_variance: Of an extracted pixel, electrons squared.
        rejected: Cosmic rays that the extraction rejects, per pixel.
        hits: Cosmic rays that pass it, per pixel.
    """

    name: str
    range_A: tuple[float, float]
    pixel_A: KNOTS
    wdisp: KNOTS
    throughput: KNOTS
    read_variance: float
    rejected: float
    hits: float


def _scaled(factor: float, knots: KNOTS) -> KNOTS:
    return tuple((x, factor * y) for x, y in knots)


_BLUE = CameraFacts(
    name="b1",
    range_A=(3990.0, 6330.0),
    pixel_A=((3600, 0.985), (4120, 1.053), (4670, 1.097), (5230, 1.12), (6340, 1.124)),
    wdisp=((4000, 1.15), (4670, 1.03), (5230, 0.92), (5790, 0.88), (6340, 0.92)),
    throughput=(
        *((3800, 2.4), (4000, 4.5), (4200, 6.7), (4400, 8.6), (4600, 10.0), (4800, 11.5), (5000, 12.7), (5200, 13.7)),
        *((5400, 14.3), (5600, 14.6), (5800, 13.9), (5900, 12.7), (5940, 11.4), (5980, 9.7), (6020, 8.2), (6060, 7.5)),
        *((6100, 7.2), (6140, 6.4), (6180, 5.3), (6220, 4.4), (6260, 3.7), (6300, 2.8), (6340, 2.2)),
    ),
    read_variance=25.0,
    rejected=0.15e-3,
    hits=0.05e-3,
)

_RED = CameraFacts(
    name="r1",
    range_A=(5870.0, 9012.0),
    pixel_A=((5863, 1.35), (6760, 1.416), (7665, 1.447), (8575, 1.461), (9480, 1.463)),
    wdisp=((5860, 1.06), (6760, 0.93), (7665, 0.85), (8575, 0.78), (9480, 0.74)),
    throughput=_scaled(
        19.2,
        (
            *((5870, 0.061), (5900, 0.073), (5950, 0.141), (6000, 0.242), (6050, 0.304), (6100, 0.331), (6200, 0.463)),
            *((6300, 0.600), (6400, 0.763), (6600, 0.856), (6800, 0.919), (6860, 0.940), (6870, 0.695), (6880, 0.834)),
            *((6900, 0.858), (6930, 0.930), (7050, 1.001), (7170, 0.974), (7190, 0.937), (7220, 1.007), (7240, 0.965)),
            *((7260, 1.005), (7450, 1.046), (7590, 1.039), (7600, 0.430), (7610, 0.313), (7620, 0.820), (7630, 0.550)),
            *((7640, 0.623), (7650, 0.757), (7660, 0.879), (7670, 0.963), (7690, 1.020), (7800, 1.041), (8000, 0.998)),
            *((8140, 0.958), (8170, 0.899), (8180, 0.853), (8190, 0.912), (8220, 0.956), (8230, 0.792), (8240, 0.962)),
            *((8280, 0.917), (8310, 0.952), (8400, 0.991), (8600, 1.042), (8800, 1.050), (8940, 1.058), (8980, 1.001)),
            *((8990, 0.882), (9010, 0.969), (9150, 1.000)),
        ),
    ),
    read_variance=45.0,
    rejected=1.3e-3,
    hits=0.30e-3,
)

CAMERAS = (_BLUE, _RED)

# between the lines, 1e-17 erg/s/cm²/Å in a fibre; the forest of weak lines is in it
DARK_SKY = (
    *((3950, 3.6), (4200, 4.1), (4600, 4.0), (5000, 3.6), (5250, 3.4), (5500, 3.8), (5750, 4.4), (5950, 5.0)),
    *((6150, 4.1), (6400, 3.4), (6700, 3.0), (7100, 2.9), (7400, 3.1), (7700, 3.5), (8000, 3.4), (8250, 3.0)),
    *((8500, 2.9), (8750, 3.3), (9000, 3.2)),
)

# vacuum wavelength (Å) and flux (1e-17 erg/s/cm²) of lines and blends: Hg, O I, Na I, OH, O2
_LINES = """
3908.7 15  3911.6 16  3914.6 22  4048.2 30  4359.5 49  4361.8 13  5462.5 38  5578.9 978  5686.3 20  5690.4 25
5694.1 16  5891.6 138  5897.6 94  5917.7 13  5934.9 14  5955.6 14  6237.0 21  6259.8 24  6289.3 19  6302.2 356
6308.4 27  6331.7 19  6358.3 13  6365.7 117  6500.6 23  6534.9 19  6555.5 21  6564.6 19  6579.2 16  6830.8 38
6835.8 34  6865.9 60  6925.2 35  7242.9 91  7246.7 62  7278.4 149  7318.4 113  7343.0 127  7361.1 34  7371.0 65
7404.0 41  7526.4 56  7574.6 40  7601.3 43  7715.0 134  7719.0 104  7752.8 188  7762.5 45  7782.7 37  7796.4 129
7810.7 53  7823.7 165  7843.5 46  7855.6 158  7861.5 42  7872.6 48  7892.5 60  7915.7 192  7923.2 70  7934.0 46
7966.9 141  7981.2 37  7995.6 160  8016.8 33  8028.2 130  8063.9 42  8282.3 69  8285.1 58  8290.7 157  8298.5 60
8301.3 136  8312.7 41  8346.8 390  8355.1 130  8366.9 34  8385.0 65  8401.5 262  8417.6 99  8432.5 290
8454.6 87  8467.7 209  8495.4 46  8507.5 96  8551.1 52  8621.1 44  8625.0 87  8629.0 105  8633.0 106  8636.0 53
8638.6 53  8641.5 35  8653.0 60  8656.8 75  8659.8 71  8663.0 92  8667.0 79  8672.6 91  8677.5 48  8761.4 92
8764.2 160  8770.0 258  8778.8 139  8781.1 183  8793.6 73  8827.1 85  8829.6 519  8835.8 58  8839.0 191
8852.4 59  8870.2 128  8888.2 435  8905.6 144  8922.2 484  8945.8 148  8960.5 358  8990.3 90  9003.8 212
"""
LINES = np.array(_LINES.split(), dtype=float).reshape(-1, 2)


def dark_sky(wavelength_A: NDArray) -> NDArray:
    """The moonless sky between its lines, 1e-17 erg/s/cm²/Å in a fibre; any shape."""
    return np.interp(wavelength_A, *zip(*DARK_SKY, strict=True))


def moonlight(wavelength_A: NDArray) -> NDArray:
    """Scattered moonlight, 1 at 5500 Å; any shape."""
    return (wavelength_A / 5500.0) ** -1.5


def airglow(edges_A: NDArray, sigma_A: NDArray) -> NDArray:
    """Mean flux density of the sky's lines in each pixel.

    Arguments:
        edges_A: Pixel boundaries, shape (N + 1,).
        sigma_A: Standard deviation of the line-spread function without the pixel, shape (N,).

    Returns:
        Shape (N,), 1e-17 erg/s/cm²/Å in a fibre.
    """
    centre, flux = LINES.T
    width = np.interp(centre, (edges_A[1:] + edges_A[:-1]) / 2, sigma_A)
    share = np.diff(ndtr((edges_A[:, None] - centre) / width), axis=0)
    return share @ flux / np.diff(edges_A)


def extinction(wavelength_A: NDArray) -> NDArray:
    """Of the atmosphere, magnitudes per airmass: Rayleigh scattering and aerosols; any shape."""
    return 0.10 * (wavelength_A / 5500.0) ** -4 + 0.06 * (wavelength_A / 5500.0) ** -1


def fiber_share(seeing_arcsec: float) -> float:
    """How much of a star's light a fibre takes: a Gaussian image of that FWHM, centred."""
    return 1.0 - 2.0 ** (-((FIBER_ARCSEC / seeing_arcsec) ** 2))
