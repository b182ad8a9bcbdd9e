"""The bits of SDSS's SPPIXMASK, and which of them mean that a pixel must not be used.

References:
    SDSS-III bitmasks, https://www.sdss3.org/dr9/algorithms/bitmask_sppixmask.php (bits 0 to 15 are of the fiber, 16 and
    up of the pixel).
"""

from types import MappingProxyType

__all__ = ["BAD", "MASK_POLICIES", "SPPIXMASK"]

MASK_POLICIES = ("and", "or", "none")

SPPIXMASK = MappingProxyType(
    {
        "NOPLUG": 0,
        "BADTRACE": 1,
        "BADFLAT": 2,
        "BADARC": 3,
        "MANYBADCOLUMNS": 4,
        "MANYREJECTED": 5,
        "LARGESHIFT": 6,
        "BADSKYFIBER": 7,
        "NEARWHOPPER": 8,
        "WHOPPER": 9,
        "SMEARIMAGE": 10,
        "SMEARHIGHSN": 11,
        "SMEARMEDSN": 12,
        "NEARBADPIXEL": 16,
        "LOWFLAT": 17,
        "FULLREJECT": 18,
        "PARTIALREJECT": 19,
        "SCATTEREDLIGHT": 20,
        "CROSSTALK": 21,
        "NOSKY": 22,
        "BRIGHTSKY": 23,
        "NODATA": 24,
        "COMBINEREJ": 25,
        "BADFLUXFACTOR": 26,
        "BADSKYCHI": 27,
        "REDMONSTER": 28,
    }
)

_DEFECTS = (
    # the fiber saw no star, or its trace, flat field or wavelengths are not known
    "NOPLUG",
    "BADTRACE",
    "BADFLAT",
    "BADARC",
    # the pixel has no value: rejected in the extraction, no sky, no data, no flux calibration
    "FULLREJECT",
    "NOSKY",
    "NODATA",
    "BADFLUXFACTOR",
    # cosmic rays: at odds with the other exposures
    "COMBINEREJ",
    # the sky residuals are beyond what ivar says, as at 5577 A
    "BADSKYCHI",
    "REDMONSTER",
)
# Not defects, because ivar already tells the truth about them: BRIGHTSKY (most of the red of a faint star),
# NEARBADPIXEL, PARTIALREJECT, LOWFLAT, SCATTEREDLIGHT, CROSSTALK, the quality and smear bits of the fiber.

BAD = sum(1 << SPPIXMASK[name] for name in _DEFECTS)
