"""conv_transpose2d; a 1-d one is of images of height 1.

Weights are as those of a convolution: [O, C/G, KH, KW]. Input i and tap k add to the padded output
stride * i + dilation * k; ``padding`` is cut from its ends, and what an end lacks (an output
padding) is no product's: there it is below 0.

    q_conv_transpose2d(x u8 [N,C,H,W], w i8 [O,C/G,KH,KW], bias i32 [O])
        stride padding dilation groups room x_zero requant -> u8 [N, G * SH * SW * room, J, I]
        acc = sum (x - x_zero) * w + bias; y = requantize(acc)

Outputs that lie ``stride`` apart read the same pixels by the same taps, so all of a phase are a
convolution, and phases are channels: of each group first those of phase (0, 0), then (0, 1) ...,
each with ``room`` for its O / G channels (behind these are sums of 0, so that 3 bytes can move as
a word), and row j of phase rh has the padded output row SH * j + rh. Rows j are those with an
output. Moves bring phases to their places:

    kernel 4, stride 2, padding 1: outputs 2j + rh - 1 read rows j - 1 and j by taps rh + 2 and rh
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..aten import Numbers, Pair, cut, image, known, spatial
from ..attributes import Pads, Shape, integer, pads, pair, requant_of, require
from ..emitting import Emitter, FloatStep
from ..exact import exact_float, shifted, weight_bound
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_dot import ConvWeights, dense
from ..lower_site import Site
from ..lower_window import Window, WindowSource
from ..physical import round_up
from ..requantize import requantize
from ..slides import Slide
from ..spec import Aten, Integer, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


# ATen calls --------------------------------------------------------------------------------------


def aten_conv_transpose(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> Value:
    kernel, bias = known(weight, "a weight"), known(bias, "a bias")
    flat = kernel.ndim == 3
    steps, paces = spatial(stride, 1, flat), spatial(dilation, 1, flat)
    more, ends = spatial(output_padding, 0, flat), spatial(padding, 0, flat)
    x, made = (
        image(b, input, flat),
        _as_convolution(kernel.unsqueeze(2) if flat else kernel, groups),
    )
    pads = []
    for axis in (0, 1):
        # Pixels at the start whose products are all cut.
        beyond = ends[axis] - paces[axis] * (made.shape[2 + axis] - 1)
        lost = max(-(-beyond // steps[axis]), 0)
        x = cut(b, x, 2 + axis, lost, b.shape(x)[2 + axis])
        pads.append((ends[axis] - lost * steps[axis], ends[axis] - more[axis]))
    y = b.emit(
        "conv_transpose2d",
        x,
        b.label(made, b.label_of(kernel)),
        *([] if bias is None else [bias]),
        stride=steps,
        padding=tuple(pads),
        dilation=paces,
        groups=groups,
    )
    return b.reshape(y, b.result)


def _as_convolution(weight: Any, groups: int) -> Any:
    """[C, O/G, KH, KW] as [O, C/G, KH, KW], and back."""
    parts = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    return parts.reshape(-1, *parts.shape[2:]).contiguous()


# The float operator ------------------------------------------------------------------------------


def conv_transpose2d(
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
    """x (n, c, h, w) with w (o, c / groups, kh, kw) and b (o,); ``padding`` is cut."""
    weight = _as_convolution(w, groups)
    y = torch.nn.functional.conv_transpose2d(x, weight, b, stride, 0, 0, groups, dilation)
    flat = [-amount for pair in reversed(padding) for amount in pair]
    if max(flat) <= 0:
        return torch.nn.functional.pad(y, flat)
    bias = 0.0 if b is None else b[:, None, None]
    return torch.nn.functional.pad(y - bias, flat) + bias


# The quantized form ------------------------------------------------------------------------------

WORD = 4  # bytes


def quantize(emit: Emitter, step: FloatStep) -> None:
    """The phases, a permute and slices."""
    weight, *bias = emit.known(step)
    strides, (n, _, *extents) = step.attrs["stride"], emit.source.types[step.inputs[0]].shape
    sizes, dilation, padding = weight.shape[2:], step.attrs["dilation"], step.attrs["padding"]
    axes = list(map(AxisPhases, extents, sizes, strides, dilation, padding))
    moves: list[tuple[str, dict[str, object]]] = []
    outputs, groups = len(weight), step.attrs["groups"]
    each, (rows, columns) = outputs // groups, (axis.rows for axis in axes)
    room = round_up(each, WORD) if max(strides) > 1 else each
    room = room if 3 * room <= 4 * each else each
    if max(strides) > 1:
        moves = [
            ("reshape", {"shape": (n, groups, *strides, room, rows, columns)}),
            ("slice", {"axis": 4, "start": 0, "stop": each, "step": 1}),
            ("permute", {"axes": (0, 1, 4, 5, 2, 6, 3)}),
            ("reshape", {"shape": (n, outputs, strides[0] * rows, strides[1] * columns)}),
        ]
        moves = [move for move in moves if move[0] != "slice" or room > each]
    for place, axis in enumerate(axes):
        if (start := axis.start) or axis.outputs < axis.stride * axis.rows:
            stop = start + axis.outputs
            moves.append(("slice", {"axis": 2 + place, "start": start, "stop": stop, "step": 1}))
    names = [f"{step.output}.{op}{place}" for place, (op, _) in enumerate(moves)]
    roomy = replace(step, attrs={**step.attrs, "room": room})
    y = emit.weighted(roomy, Q_CONV_TRANSPOSE2D.name, weight, bias[0] if bias else None,
                      f"{step.output}.phases" if moves else "")  # fmt: skip
    for (op, attrs), name in zip(moves, [*names[1:], ""], strict=False):
        y = emit.node(step, op, [y], attrs, name)


# The integer operator ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AxisPhases:
    """One axis of a transposed convolution, by phases of its padded outputs."""

    extent: int
    taps: int
    stride: int
    pace: int
    cut: Pair

    @property
    def outputs(self) -> int:
        return (self.extent - 1) * self.stride + (self.taps - 1) * self.pace + 1 - sum(self.cut)

    @property
    def first(self) -> int:
        """The first row of phases that has an output."""
        return self.cut[0] // self.stride

    @property
    def start(self) -> int:
        """Padded outputs of that row before the first that is kept."""
        return self.cut[0] % self.stride

    @property
    def rows(self) -> int:
        return -(-(self.start + self.outputs) // self.stride)

    @property
    def window(self) -> tuple[int, int]:
        """Pixels that a row reads, and how far they are apart; the last is that of the row."""
        if self.pace % self.stride:
            return (self.taps - 1) * self.pace // self.stride + 1, 1
        return self.taps, self.pace // self.stride

    def place(self, tap: int) -> tuple[int, int]:
        """The phase that a tap adds to, and by which pixel of its window."""
        back, phase = divmod(tap * self.pace, self.stride)
        count, apart = self.window
        return phase, count - 1 - back // apart

    @property
    def slide(self) -> Slide:
        """From the kept outputs, windows of which the inputs add to."""
        return Slide(self.outputs, self.extent, self.taps, self.stride, self.pace, self.cut[0])


def phases(node: Node, shapes: Sequence[Shape]) -> tuple[AxisPhases, AxisPhases]:
    """The rows and the columns of a node."""
    axes = zip(shapes[0][2:], shapes[1][2:], pair(node, "stride"), pair(node, "dilation"),
               pads(node), strict=True)  # fmt: skip
    rows, columns = (AxisPhases(*axis) for axis in axes)
    return rows, columns


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    x, weight, bias = shapes
    require(len(x) == 4 and len(weight) == 4, node, "input and weight have four axes", shapes)
    groups = integer(node, "groups")
    matches = x[1] == weight[1] * groups and weight[0] % groups == 0 and bias == weight[:1]
    require(matches, node, "the channels must match the weight, groups and bias", shapes)
    rows, columns = phases(node, shapes)
    inside = all(axis.cut[0] <= axis.pace * (axis.taps - 1) for axis in (rows, columns))
    require(inside, node, "no more is cut than a pixel adds to", node.attrs["padding"])
    sizes = rows.outputs, columns.outputs
    require(min(sizes) > 0, node, "an output is left when the padding is cut", sizes)
    room = integer(node, "room")
    require(room * groups >= weight[0], node, "there is room for the channels of a group", room)
    return x[0], rows.stride * columns.stride * groups * room, rows.rows, columns.rows


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    """All products of pixels by taps, each added to its place in the padded outputs."""
    x, weight, bias = inputs
    zero, groups = integer(node, "x_zero"), integer(node, "groups")
    shape = shape_of(node, [array.shape for array in inputs])
    axes = phases(node, [array.shape for array in inputs])
    float_type = exact_float(weight_bound(weight, zero))
    pixels = shifted(x, zero, float_type).reshape(len(x), groups, -1, prod(x.shape[2:]))
    parts = weight.astype(float_type).reshape(groups, -1, *weight.shape[1:])
    # Row 0 of ``total`` is the padded output that the first row of phases has first, or output 0.
    starts = [min(a.stride * a.first, 0) for a in axes]
    sizes = [
        max(a.stride * (a.first + a.rows), a.stride * a.extent + a.taps * a.pace) - start
        for a, start in zip(axes, starts, strict=True)
    ]
    total = np.zeros((len(x), groups, parts.shape[1], *sizes), float_type)
    for tap in np.ndindex(*weight.shape[2:]):
        product = parts[..., tap[0], tap[1]] @ pixels
        rows, columns = (
            slice(k * a.pace - start, k * a.pace - start + a.stride * a.extent, a.stride)
            for k, a, start in zip(tap, axes, starts, strict=True)
        )
        total[..., rows, columns] += product.reshape(*product.shape[:3], *x.shape[2:])
    rows, columns = (
        slice(a.stride * a.first - start, a.stride * (a.first + a.rows) - start)
        for a, start in zip(axes, starts, strict=True)
    )
    return requantized(node, total[..., rows, columns].astype(np.int64), bias).reshape(shape)


def requantized(node: Node, total: Array, bias: Array) -> Array:
    """Sums [N,G,O/G,H,W] as u8, phases in their places [N,G,SH,SW,room,J,I]."""
    images, groups, outputs, height, width = total.shape
    sums = total.reshape(images, groups * outputs, height, width) + bias[:, None, None]
    y, (down, along) = requantize(sums, requant_of(node), axis=1), pair(node, "stride")
    y = y.reshape(images, groups, outputs, height // down, down, width // along, along)
    zeros = requantize(np.zeros(()), replace(requant_of(node), multiplier=(0,), scale=(0.0,)))
    more = (0, integer(node, "room") - outputs)
    y = np.pad(y, [more if axis == 2 else (0, 0) for axis in range(7)], constant_values=zeros)
    return np.ascontiguousarray(y.transpose(0, 1, 4, 6, 2, 3, 5))


def products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    """Pairs of a pixel and a tap whose output is kept, by axis."""
    rows, columns = (axis.slide for axis in phases(node, shapes))
    return shapes[0][0] * shapes[1][0] * shapes[1][1] * rows.pairs() * columns.pairs()


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Pixels that add to any output that is kept, and taps by which any does."""
    if position > 1:
        return prod(shapes[position])
    slides = [axis.slide for axis in phases(node, shapes)]
    counts = [s.taps() if position else len({i for k in range(s.size) for i in s.inside(k)})
              for s in slides]  # fmt: skip
    return prod(shapes[position][:2]) * prod(counts)


def lower(site: Site) -> Kernel:
    """A convolution by all taps of all phases, zeros where a phase has none."""
    shape, node = site.shape(site.node.inputs[0]), site.node
    axes = rows, columns = phases(node, [shape, site.value(1).shape])
    before = [(a.window[0] - 1) * a.window[1] - a.first for a in axes]
    window = Window(
        (rows.window[0], columns.window[0]),
        dilation=(rows.window[1], columns.window[1]),
        padding=((before[0], 0), (before[1], 0)),
    )
    x = WindowSource(site.input(0, "x"), (shape[2], shape[3]))
    of = ConvWeights.of(site, integer(node, "groups"))
    return dense(site, x, window, phased(of, rows, columns, integer(node, "room")), "conv2d")


def phased(of: ConvWeights, rows: AxisPhases, columns: AxisPhases, room: int) -> ConvWeights:
    """The weights by phases of each group, each phase with the bias and the multipliers."""
    taps = of.weight.reshape(of.groups, -1, *of.weight.shape[1:])
    strides, sizes = (rows.stride, columns.stride), (rows.window[0], columns.window[0])
    made = np.zeros((of.groups, *strides, room, taps.shape[2], *sizes), of.weight.dtype)
    for kh, kw in np.ndindex(*of.weight.shape[2:]):
        (rh, down), (rw, along) = rows.place(kh), columns.place(kw)
        made[:, rh, rw, : taps.shape[1], :, down, along] = taps[..., kh, kw]

    def repeated(values: Array, beyond: Literal["constant", "edge"]) -> Array:
        own = values.reshape(of.groups, 1, -1)
        own = np.pad(own, ((0, 0), (0, 0), (0, room - own.shape[2])), beyond)
        return np.broadcast_to(own, (of.groups, prod(strides), room)).reshape(-1)

    weight = made.reshape(-1, taps.shape[2], *sizes)
    bias, multiplier = repeated(of.bias, "constant"), repeated(of.multiplier, "edge")
    return ConvWeights(weight, bias, multiplier, of.groups)


Q_CONV_TRANSPOSE2D = Integer(
    "q_conv_transpose2d", ("u8", "i8", "i32"), evaluate, shape_of, lower, products, reads
)
SPECS = (
    Spec(
        "conv_transpose2d",
        aten=(Aten(("conv_transpose1d", "conv_transpose2d"), aten_conv_transpose, whole=True),),
        meaning=conv_transpose2d,
        quantize=quantize,
        integer=Q_CONV_TRANSPOSE2D,
        clamped=True,
        weighted=lambda *_: True,
        channel_axis=lambda rank: 1,
    ),
)
