"""Arrays of layers × heads × queries × keys in a few bytes, for a file that a browser reads.

Each number becomes one byte, a share of the largest of its head. Where the array is large, only the strongest keys of
each query are kept, and `left` says which share of the whole Σ|values| is left out.
"""

from __future__ import annotations

from base64 import b64encode

import numpy as np

from .plain_data import Json
from .tokens import Array

MOST = 800_000
"""As many numbers are kept at most."""


def packed(values: Array, most: int = MOST) -> Json:
    """The array (layers, heads, queries, keys) as JSON: shape, peaks (layers × heads), values (base64 of int8, shares of
    the peak in 127ths), keys (base64 of uint16, the indices of the keys kept; None where all are), kept (how many keys of
    each query) and left. A number that is not finite counts as 0.

    Examples:
        >>> packed(np.array([[[[1.0, -0.5]]]]))["left"], packed(np.array([[[[1.0, -0.5]]]]), most=1)["left"]
        (0.0, 0.3333333333333333)
    """
    values = np.nan_to_num(np.asarray(values, np.float64), posinf=0.0, neginf=0.0)
    layers, heads, queries, count = values.shape
    kept = max(1, min(count, most // max(1, 2 * layers * heads * queries))) if values.size > most else count
    peaks = np.abs(values).max((2, 3), initial=0.0)
    keys = None
    chosen = values
    if kept < count:
        order = np.argpartition(-np.abs(values), kept - 1, axis=-1)[..., :kept]
        keys = b64encode(order.astype("<u2").tobytes()).decode()
        chosen = np.take_along_axis(values, order, -1)
    shares = np.divide(chosen, peaks[..., None, None], out=np.zeros_like(chosen), where=peaks[..., None, None] > 0)
    whole = float(np.abs(values).sum())
    return {
        "shape": [layers, heads, queries, count],
        "peaks": [[float(p) for p in row] for row in peaks],
        "values": b64encode(np.round(127 * shares).astype(np.int8).tobytes()).decode(),
        "keys": keys,
        "kept": kept,
        "left": (whole - float(np.abs(chosen).sum())) / whole if whole and kept < count else 0.0,
    }
