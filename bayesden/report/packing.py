r"""Arrays as short texts that a web page can hold and unpack.

Each array is rounded to multiples of a step that no screen shows, and its rows to differences of neighbours, which are small
numbers; their bytes are sorted by significance and deflated. A pixel of an exposure takes a byte or two. What is not finite
has a bit in a mask. `page/decode.js` is the inverse.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stepped", "pack"]

Stepped = tuple[NDArray, float]  # values, shape (..., D), and the step that they are rounded to

MOST = 2**29  # steps; beyond it is only what is absurd, and differences stay within 32 bits


def pack(document: Mapping[str, object], arrays: Mapping[str, Stepped]) -> str:
    """A JSON document and arrays as base64 of a zlib stream.

    Arguments:
        document: What JSON can hold; no NaN.
        arrays: Values, shape (..., D), each with the step that it is rounded to; off by at most half of it.

    Example:
        >>> pack({"name": "a"}, {"flux": (np.ones(3), 0.5)}).isascii()
        True
    """
    described, blocks = [], []
    for name, (values, step) in arrays.items():
        finite = np.isfinite(values)
        whole = bool(finite.all())
        described.append({"name": name, "shape": values.shape, "step": float(step), "whole": whole})
        blocks.append(_planes(values, finite, step))
        if not whole:
            blocks.append(np.packbits(finite).tobytes())
    text = json.dumps({**document, "arrays": described}, allow_nan=False).encode()
    content = struct.pack("<I", len(text)) + text + b"".join(blocks)
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _planes(values: NDArray, finite: NDArray, step: float) -> bytes:
    """Differences of neighbours in steps, sign in the last bit; all lowest bytes first, then those above."""
    with np.errstate(over="ignore"):
        steps = np.clip(np.rint(np.where(finite, values, 0.0) / step), -MOST, MOST).astype(np.int32)
    last = np.maximum.accumulate(np.where(finite, np.arange(values.shape[-1]), 0), axis=-1)
    steps = np.take_along_axis(steps, last, axis=-1)  # a gap repeats what was before it
    change = np.diff(steps, axis=-1, prepend=np.int32(0))
    unsigned = ((change << 1) ^ (change >> 31)).astype("<u4")
    return unsigned.reshape(-1).view(np.uint8).reshape(-1, 4).T.tobytes()
