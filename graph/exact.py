"""Sums of products, exact in BLAS: in float32 or float64, whichever holds every partial sum.

exact_float(1 << 20), exact_float(1 << 30)    # float32, float64
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .attributes import Shape
from .graph import Array

Float = np.dtype[np.float32] | np.dtype[np.float64]


def exact_float(bound: int) -> Float:
    """The narrowest float that holds every integer of magnitude up to ``bound``."""
    return np.dtype(np.float32) if bound < 1 << 24 else np.dtype(np.float64)


def reach(zero: int) -> int:
    """The largest magnitude of x - zero."""
    return max(zero, 255 - zero)


def shifted(array: Array, zero: int, float_type: Float) -> Array:
    return np.subtract(array, zero, dtype=float_type, casting="unsafe")


def weight_bound(weight: Array, zero: int) -> int:
    """The largest magnitude of any partial sum over one output channel."""
    rows = np.abs(weight.astype(np.int64)).reshape(weight.shape[0], -1)
    return int(rows.sum(axis=1).max(initial=0)) * reach(zero)


def windows(image: Array, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """A view [..., OH, OW, KH, KW] of every window of [..., H, W]."""
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(image, span, axis=(-2, -1))
    return view[..., :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
