"""Integer convolution, linear and matrix product: products of zero-shifted u8, summed, requantized.

The sums run in BLAS in float32 or float64, whichever holds every partial sum exactly.

    q_conv2d(x u8 [N,C,H,W], w i8 [O,C/G,KH,KW], bias i32 [O]) stride padding dilation groups
        acc = sum (x - x_zero) * w + bias; padding contributes 0; y = requantize(acc)
    q_linear(x u8 [...,K], w i8 [O,K], bias i32 [O]) x_zero requant
    q_matmul(a u8 [...,M,K], b u8 [...,K,N]) a_zero b_zero requant
        acc = sum (a - a_zero) * (b - b_zero)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .graph import Array, Node
from .integer_row import (
    Row,
    Shape,
    broadcast,
    integer,
    pads,
    pair,
    requant_of,
    require,
    window_shape,
)
from .reads import slides
from .requantize import requantize

Float = np.dtype[np.float32] | np.dtype[np.float64]


def _exact_float(bound: int) -> Float:
    """The narrowest float that holds every integer of magnitude up to ``bound``."""
    return np.dtype(np.float32) if bound < 1 << 24 else np.dtype(np.float64)


def _reach(zero: int) -> int:
    """The largest magnitude of x - zero."""
    return max(zero, 255 - zero)


def _shifted(array: Array, zero: int, float_type: Float) -> Array:
    return np.subtract(array, zero, dtype=float_type, casting="unsafe")


def _weight_bound(weight: Array, zero: int) -> int:
    """The largest magnitude of any partial sum over one output channel."""
    rows = np.abs(weight.astype(np.int64)).reshape(weight.shape[0], -1)
    return int(rows.sum(axis=1).max(initial=0)) * _reach(zero)


def windows(image: Array, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """A view [..., OH, OW, KH, KW] of every window of [..., H, W]."""
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(image, span, axis=(-2, -1))
    return view[..., :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _conv2d(node: Node, inputs: Sequence[Array]) -> Array:
    x, weight, bias = inputs
    zero, groups = integer(node, "x_zero"), integer(node, "groups")
    float_type = _exact_float(_weight_bound(weight, zero))
    shifted = np.pad(_shifted(x, zero, float_type), ((0, 0), (0, 0), *pads(node)))
    summed = _depthwise if weight.shape[1] == 1 and groups > 1 else _grouped
    columns = bias.astype(np.int64)[:, None, None]
    images = [
        requantize(
            summed(node, image, weight.astype(float_type)).astype(np.int64) + columns,
            requant_of(node),
            axis=0,
        )
        for image in shifted
    ]
    return np.stack(images)


def _grouped(node: Node, image: Array, weight: Array) -> Array:
    """One image [C,H,W] by a matrix product a group; exact in the floats it came in."""
    groups = integer(node, "groups")
    view = windows(image, weight.shape[2:], pair(node, "stride"), pair(node, "dilation"))
    height, width = view.shape[1:3]
    columns = view.transpose(0, 3, 4, 1, 2).reshape(groups, -1, height * width)
    summed = np.matmul(weight.reshape(groups, -1, columns.shape[1]), columns)
    return np.asarray(summed.reshape(-1, height, width))


def _depthwise(node: Node, image: Array, weight: Array) -> Array:
    """One image [C,H,W], each channel by its own kernels, tap by tap."""
    groups = integer(node, "groups")
    kernel = weight.shape[2:]
    view = windows(image, kernel, pair(node, "stride"), pair(node, "dilation"))[:, None]
    taps = weight.reshape(groups, -1, *kernel)[:, :, None, None]
    total = np.zeros((groups, taps.shape[1], *view.shape[2:4]), image.dtype)
    for i, j in np.ndindex(*kernel):
        total += view[..., i, j] * taps[..., i, j]
    return total.reshape(-1, *total.shape[2:])


def _conv2d_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    x, weight, bias = shapes
    require(len(x) == 4 and len(weight) == 4, node, "input and weight have four axes", shapes)
    groups = integer(node, "groups")
    matches = x[1] == weight[1] * groups and weight[0] % groups == 0 and bias == weight[:1]
    require(matches, node, "the channels must match the weight, groups and bias", shapes)
    size = window_shape(node, x[2:], weight[2:], pair(node, "dilation"))
    return (x[0], weight[0], *size)


def _linear(node: Node, inputs: Sequence[Array]) -> Array:
    x, weight, bias = inputs
    zero = integer(node, "x_zero")
    float_type = _exact_float(_weight_bound(weight, zero))
    summed = (_shifted(x, zero, float_type)) @ weight.astype(float_type).T
    return requantize(summed.astype(np.int64) + bias, requant_of(node), axis=x.ndim - 1)


def _linear_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    x, weight, bias = shapes
    matches = len(weight) == 2 and x[-1] == weight[1] and bias == weight[:1]
    require(matches, node, "the last axis must match the weight and the bias its rows", shapes)
    return (*x[:-1], weight[0])


def _matmul(node: Node, inputs: Sequence[Array]) -> Array:
    zeros = integer(node, "a_zero"), integer(node, "b_zero")
    float_type = _exact_float(inputs[0].shape[-1] * _reach(zeros[0]) * _reach(zeros[1]))
    a, b = (_shifted(array, zero, float_type) for array, zero in zip(inputs, zeros, strict=True))
    return requantize(np.matmul(a, b).astype(np.int64), requant_of(node))


def _matmul_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    a, b = shapes
    matches = len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2]
    require(matches, node, "the inner axes must agree", shapes)
    return (*broadcast(node, (a[:-2], b[:-2])), a[-2], b[-1])


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _conv2d_macs(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    """Products that touch data: pairs of an output and a tap that falls inside, by axis."""
    rows, columns = slides(node, shapes)
    return _size(output[:2]) * shapes[1][1] * rows.pairs() * columns.pairs()


def _linear_macs(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    return _size(output) * shapes[1][1]


def _matmul_macs(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    return _size(output) * shapes[0][-1]


ROWS = (
    Row("q_conv2d", ("u8", "i8", "i32"), _conv2d, _conv2d_shape, _conv2d_macs),
    Row("q_linear", ("u8", "i8", "i32"), _linear, _linear_shape, _linear_macs),
    Row("q_matmul", ("u8", "u8"), _matmul, _matmul_shape, _matmul_macs),
)
