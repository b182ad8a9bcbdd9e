r"""The signal-to-noise ratio of a spectrum from its fluxes alone.

.. math:: \mathrm{DER\_SNR} = \frac{\operatorname{med}(f)}{1.482602 / \sqrt 6\; \operatorname{med} |2 f_i - f_{i-2} - f_{i+2}|}

References:
    Stoehr et al. 2008, ASP Conference Series 394, 505.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["der_snr"]


def der_snr(flux: NDArray) -> NDArray:
    """The ratio of spectra (N, D), zeros left out as missing: (N,)."""
    found = []
    for each in np.asarray(flux):
        f = each[each != 0]
        noise = 1.482602 / np.sqrt(6) * np.median(np.abs(2 * f[2:-2] - f[:-4] - f[4:]))
        found.append(np.median(f) / max(noise, np.finfo(float).tiny))
    return np.array(found)
