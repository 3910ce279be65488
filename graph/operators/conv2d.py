"""conv2d; a 1-d convolution is one of images of height 1.

q_conv2d(x u8 [N,C,H,W], w i8 [O,C/G,KH,KW], bias i32 [O]) stride padding dilation groups
    acc = sum (x - x_zero) * w + bias; padding contributes 0; y = requantize(acc)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import cast
from ...tir.stmt import Store
from ...tir.types import i32
from ..aten import Pair, image, known, spatial
from ..attributes import (
    Pads,
    Shape,
    integer,
    pads,
    pair,
    requant_of,
    require,
    window_shape,
)
from ..emitting import Emitter, FloatStep
from ..errors import Unsupported
from ..exact import exact_float, shifted, weight_bound, windows
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_dot import ConvWeights, accumulator, dense, requant, sums
from ..lower_nest import LoopAxis, variables
from ..lower_site import Site
from ..lower_window import Window, WindowSource, windowed
from ..meanings import padded
from ..physical import physical
from ..requantize import requantize
from ..slides import slides
from ..spec import Aten, Attrs, Integer, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


_FEW_ROWS = 24  # rows; more are shared evenly enough


def aten_conv(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
) -> Value:
    kernel = known(weight, "a weight")
    bias = known(bias, "a bias")
    flat = kernel.ndim == 3
    if kernel.ndim > 4:
        raise Unsupported("only 1-d and 2-d convolution")
    steps, window = spatial(dilation, 1, flat), spatial(kernel.shape[2:], 1, flat)
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(steps, window, strict=True)
        ]
        pads = tuple((t // 2, t - t // 2) for t in total)
    else:
        pads = tuple((p, p) for p in spatial(padding, 0, flat))
    if flat:
        kernel = b.label(kernel.unsqueeze(2), b.label_of(kernel))
    y = b.emit(
        "conv2d",
        image(b, input, flat),
        kernel,
        *([] if bias is None else [bias]),
        stride=spatial(stride, 1, flat),
        padding=pads,
        dilation=steps,
        groups=groups,
    )
    return b.reshape(y, b.result)


def aten_convolution(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    if transposed:
        raise Unsupported("transposed")
    return aten_conv(b, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    torch: Any,
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Pair,
    padding: Pads,
    dilation: Pair,
    groups: int,
) -> Any:
    """x (n, c, h, w) with w (o, c / groups, kh, kw) and b (o,); padded with zeros."""
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right):
        x, top, left = padded(torch, x, padding, 0.0), 0, 0
    return torch.nn.functional.conv2d(x, w, b, stride, (top, left), dilation, groups)


def depthwise(channels: int) -> Attrs:
    """The attributes with which every channel is scaled by a weight of its own."""
    return {
        "stride": (1, 1),
        "padding": ((0, 0), (0, 0)),
        "dilation": (1, 1),
        "groups": channels,
    }


def quantize(emit: Emitter, step: FloatStep) -> None:
    weight, *bias = emit.known(step)
    emit.weighted(step, Q_CONV2D.name, weight, bias[0] if bias else None)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, weight, bias = inputs
    zero, groups = integer(node, "x_zero"), integer(node, "groups")
    float_type = exact_float(weight_bound(weight, zero))
    whole = np.pad(shifted(x, zero, float_type), ((0, 0), (0, 0), *pads(node)))
    summed = _depthwise if weight.shape[1] == 1 and groups > 1 else _grouped
    columns = bias.astype(np.int64)[:, None, None]
    images = [
        requantize(
            summed(node, image, weight.astype(float_type)).astype(np.int64) + columns,
            requant_of(node),
            axis=0,
        )
        for image in whole
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


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    x, weight, bias = shapes
    require(len(x) == 4 and len(weight) == 4, node, "input and weight have four axes", shapes)
    groups = integer(node, "groups")
    matches = x[1] == weight[1] * groups and weight[0] % groups == 0 and bias == weight[:1]
    require(matches, node, "the channels must match the weight, groups and bias", shapes)
    size = window_shape(node, x[2:], weight[2:], pair(node, "dilation"))
    return (x[0], weight[0], *size)


def products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    """Products that touch data: pairs of an output and a tap that falls inside, by axis; or what
    the node says, where some of its input are pads."""
    if "products" in node.attrs:
        return integer(node, "products")
    rows, columns = slides(node, shapes)
    return prod(output[:2]) * shapes[1][1] * rows.pairs() * columns.pairs()


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Pixels that any window holds, and taps that touch a pixel at all."""
    if position > 1:
        return prod(shapes[position])
    found = slides(node, shapes)
    counts = [len(s.touched()) if position == 0 else s.taps() for s in found]
    return prod(shapes[position][:2]) * prod(counts)


def lower(site: Site) -> Kernel:
    weight, groups = site.value(1), integer(site.node, "groups")
    window = Window.of(site.node, (weight.shape[2], weight.shape[3]))
    _, channels, height, width = site.shape(site.node.inputs[0])
    site.joined = window == Window() and groups == 1 and _alike_rows(site)
    x = WindowSource(site.input(0, "x"), (height, width))
    if site.joined:
        x = WindowSource(x.buffer, (1, height * width))
    if groups > 1 and weight.shape[:2] == (channels, 1):
        return _lower_depthwise(site, x, window)
    return dense(site, x, window, ConvWeights.of(site, groups), "conv2d")


def _alike_rows(site: Site) -> bool:
    """Whether images have few rows without pads, which threads would share unevenly, and results
    lie alike: pixels that are read alone may be shared instead."""
    images, _, *size = site.output_shape
    stored = (physical(site.stored(n)) for n in (site.node.inputs[0], site.node.output))
    return 1 < size[0] <= _FEW_ROWS and all([*one[:3]] == [images, *size] for one in stored)


def _lower_depthwise(site: Site, x: WindowSource, window: Window) -> Kernel:
    output = site.output()
    images, height, width, stored = output.shape
    wanted = height, site.output_shape[3]
    zero = site.fill("x_zero")
    source = windowed(site.nests, x, window, wanted, width, stored, zero)
    weight = site.value(1)
    packed = np.zeros((*window.kernel, stored), weight.dtype)
    packed[:, :, : len(weight)] = weight[:, 0].transpose(1, 2, 0)
    made = sums(site, packed, ConvWeights.of(site), stored)
    acc = accumulator(site, output.shape)
    loops = [
        LoopAxis("n", images),
        LoopAxis("oh", height),
        LoopAxis("ow", width),
        LoopAxis("o", stored),
    ]
    where = n, oh, ow, o = variables(loops)
    kh, kw = variables(window.taps)
    pixel = source[n, window.row(oh, kh), window.column(ow, kw), o]
    product = cast(i32, pixel) * cast(i32, made.weight[kh, kw, o])
    total = Store(acc, where, acc[where] + product)
    site.nests.add("dot", [*loops, *window.taps], total, Store(acc, where, made.bias[o]))
    requant(site, acc, made)
    return site.kernel("depthwise", direct=source == x.buffer, images=images, **window.facts)


Q_CONV2D = Integer(
    "q_conv2d",
    ("u8", "i8", "i32"),
    evaluate,
    shape_of,
    lower,
    products,
    reads,
    convolves=True,
    anchors=True,
)
CONV2D = Spec(
    "conv2d",
    aten=(
        Aten(("conv1d", "conv2d"), aten_conv, whole=True),
        Aten(("convolution",), aten_convolution),
    ),
    meaning=conv2d,
    quantize=quantize,
    integer=Q_CONV2D,
    pads_zeros=True,
    clamped=True,
    weighted=lambda *_: True,
    channel_axis=lambda rank: 1,
)
SPECS = (CONV2D,)
