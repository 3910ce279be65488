"""Affine parameters of u8 tensors, and the stated float32 formulas at a model's borders.

>>> a = affine(-1.0, 3.0)
>>> dequantize_array(quantize_array(np.float32([3.0, -5.0]), a), a)
array([ 3.0039215, -1.0039216], dtype=float32)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Affine, Array, Graph

SMALLEST_SCALE = 2.0**-100  # A range below 255 steps of this scale holds zero only.


def affine(low: float, high: float) -> Affine:
    """The finest map whose 256 values cover [low, high] and hold zero exactly; scale is a f32."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255))
    if scale < SMALLEST_SCALE:
        return Affine(1.0, 0)
    return Affine(scale, min(max(round(-low / scale), 0), 255))


def quantize_array(x: Array, to: Affine) -> NDArray[np.uint8]:
    """clamp(rint(f32(x) / f32(scale)) + zero_point, 0, 255), ties to even; NaN is zero_point."""
    with np.errstate(over="ignore"):  # an infinity saturates
        steps = np.rint(np.asarray(x, np.float32) / np.float32(to.scale))
    shifted = np.nan_to_num(steps, nan=0.0, posinf=np.inf, neginf=-np.inf) + to.zero_point
    return np.asarray(np.clip(shifted, 0, 255), np.uint8)


def dequantize_array(q: Array, of: Affine) -> NDArray[np.float32]:
    """f32(q - zero_point) * f32(scale)."""
    steps = (q.astype(np.int32) - of.zero_point).astype(np.float32)
    return np.asarray(steps * np.float32(of.scale), np.float32)


def bounds(low: float, high: float, of: Affine) -> tuple[int, int]:
    """The clamp [low, high] of reals in the quantized domain; infinities give 0 and 255."""
    return _bound(low, of), _bound(high, of)


def _bound(value: float, of: Affine) -> int:
    if math.isinf(value):
        return 0 if value < 0 else 255
    return min(max(round(value / of.scale) + of.zero_point, 0), 255)


def affine_of(graph: Graph, name: str) -> Affine:
    """The affine map of a u8 tensor."""
    found = graph.types[name].affine
    assert found is not None, f"{name} has no affine map"
    return found


def quantize_inputs(integer: Graph, batch: Sequence[Array]) -> list[Array]:
    """Float inputs as the integer graph takes them."""
    return [
        quantize_array(array, affine_of(integer, name))
        for name, array in zip(integer.inputs, batch, strict=True)
    ]


def dequantize_outputs(integer: Graph, outputs: Sequence[Array]) -> list[Array]:
    """An integer graph's outputs in reals."""
    return [
        dequantize_array(array, affine_of(integer, name))
        for name, array in zip(integer.outputs, outputs, strict=True)
    ]
