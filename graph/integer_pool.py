"""Integer pooling: sums with the count folded into the requantization, and maxima.

q_avg_pool2d(x u8 [N,C,H,W]) kernel stride padding x_zero requant
    acc = sum of (x - x_zero) over the window, padding contributes 0; every window has the
    same divisor, which the requantization's multiplier holds
q_mean(x) axes keepdim x_zero requant:  acc = sum of (x - x_zero) over the axes
max_pool2d(x u8 [N,C,H,W]) kernel stride padding dilation: padding never wins
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .graph import Array, Node
from .integer_dot import windows
from .integer_row import (
    Row,
    Shape,
    integer,
    integers,
    pads,
    pair,
    requant_of,
    require,
    window_shape,
)
from .requantize import requantize


def _avg_pool2d(node: Node, inputs: Sequence[Array]) -> Array:
    shifted = inputs[0].astype(np.int32) - integer(node, "x_zero")
    padded = np.pad(shifted, ((0, 0), (0, 0), *pads(node)))
    view = windows(padded, pair(node, "kernel"), pair(node, "stride"), (1, 1))
    total = np.zeros(view.shape[:4], np.int32)
    for i, j in np.ndindex(*view.shape[4:]):
        total += view[..., i, j]
    return requantize(total, requant_of(node))


def _avg_pool2d_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    size = window_shape(node, shapes[0][2:], pair(node, "kernel"), (1, 1))
    return (*shapes[0][:2], *size)


def _mean(node: Node, inputs: Sequence[Array]) -> Array:
    shifted = inputs[0].astype(np.int64) - integer(node, "x_zero")
    axes, keep = integers(node, "axes"), bool(node.attrs["keepdim"])
    return requantize(np.asarray(shifted.sum(axis=axes, keepdims=keep)), requant_of(node))


def _mean_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axes, rank = integers(node, "axes"), len(shapes[0])
    require(all(0 <= a < rank for a in axes), node, "axes must be in 0 to rank - 1", axes)
    kept = [1 if axis in axes else n for axis, n in enumerate(shapes[0])]
    keep = bool(node.attrs["keepdim"])
    return tuple(n for axis, n in enumerate(kept) if keep or axis not in axes)


def _max_pool2d(node: Node, inputs: Sequence[Array]) -> Array:
    # No u8 is below 0, so padding with 0 never wins.
    padded = np.pad(inputs[0], ((0, 0), (0, 0), *pads(node)))
    view = windows(padded, pair(node, "kernel"), pair(node, "stride"), pair(node, "dilation"))
    best = np.zeros(view.shape[:4], np.uint8)
    for i, j in np.ndindex(*view.shape[4:]):
        np.maximum(best, view[..., i, j], out=best)
    return best


def _max_pool2d_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    size = window_shape(node, shapes[0][2:], pair(node, "kernel"), pair(node, "dilation"))
    return (*shapes[0][:2], *size)


ROWS = (
    Row("q_avg_pool2d", ("u8",), _avg_pool2d, _avg_pool2d_shape),
    Row("q_mean", ("u8",), _mean, _mean_shape),
    Row("max_pool2d", ("u8",), _max_pool2d, _max_pool2d_shape),
)
