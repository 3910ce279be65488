"""avg_pool2d: sums of windows, with the count folded into the requantization.

    q_avg_pool2d(x u8 [N,C,H,W]) kernel stride padding x_zero requant
        acc = sum of (x - x_zero) over the window, padding contributes 0; every window has the
        same divisor, which the requantization's multiplier holds

Without padding in the count, a window at the border averages fewer elements: its result is made of
regions that each have one divisor. Along an axis, the windows inside the input are one piece; each
window that the border cuts is a piece by itself.

    size 5, kernel 3, stride 1, padding (1, 1)
        ->  [0, 2) kernel 2;  [0, 5) kernel 3;  [3, 5) kernel 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import cast
from ...tir.types import i32
from ..aten import Numbers, Pair
from ..aten_pool import overhang, pool
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
from ..emitting import Emitter, FloatStep, PartialSums, zero_and_reach
from ..exact import windows
from ..forms import OFFSET
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_pool import pool2d
from ..lower_site import Site
from ..meanings import padded
from ..requantize import requantize
from ..slides import reads_windows
from ..spec import Aten, Integer, Spec
from .mean import shorten as shorten_mean

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_avg_pool(
    b: GraphBuilder,
    self: Value,
    kernel_size: Numbers,
    stride: Numbers,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
    flat: bool = False,
) -> Value:
    """Padding counts where asked for, the overhang of ceil mode never."""
    x, kernel, steps, pads = pool(b, self, kernel_size, stride, padding, flat)
    over = [
        overhang(extent, k, s, p, ceil_mode)
        for extent, k, s, p in zip(b.shape(x)[2:], kernel, steps, pads, strict=True)
    ]
    counted = count_include_pad or not any(pads)
    if any(over) and counted and divisor_override is None:
        if any(pads):
            x = b.emit("pad", x, pads=((0, 0), (0, 0), *((p, p) for p in pads)), value=0.0)
        pads, counted = (0, 0), False
    y = b.emit(
        "avg_pool2d",
        x,
        kernel=kernel,
        stride=steps,
        padding=tuple((p, p + more) for p, more in zip(pads, over, strict=True)),
        count_include_pad=counted,
        divisor=abs(divisor_override) if divisor_override else None,
    )
    negative = divisor_override is not None and divisor_override < 0
    return b.reshape(b.emit("neg", y) if negative else y, b.result)


def aten_avg_pool1d(b: GraphBuilder, **arguments: Any) -> Value:
    return aten_avg_pool(b, **arguments, flat=True)


def avg_pool2d(
    torch: Any,
    x: Tensor,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pads,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Each window's sum by ``divisor``; by its size; or, without padding, by its real elements."""
    total = _window_sum(torch, padded(torch, x, padding, 0.0), kernel, stride)
    if divisor is None and not count_include_pad:
        ones = torch.ones_like(x[:1, :1])
        return total / _window_sum(torch, padded(torch, ones, padding, 0.0), kernel, stride)
    return total / (kernel[0] * kernel[1] if divisor is None else divisor)


def _window_sum(torch: Any, x: Tensor, kernel: Pair, stride: Pair) -> Tensor:
    total: Tensor = torch.nn.functional.avg_pool2d(x, kernel, stride, divisor_override=1)
    return total


def shorten(parts: PartialSums, node: Node) -> None:
    """Rows, then columns, of more elements than i32 can sum; the whole image is a mean."""
    if prod(pair(node, "kernel")) <= parts.longest:
        return parts.keep(node)
    (x,), shape = node.inputs, parts.shape(node.inputs[0])
    kernel, attrs = pair(node, "kernel"), node.attrs
    divided = attrs["divisor"] in (None, prod(kernel))
    if kernel == shape[2:] and divided and not any(map(sum, pads(node))):
        return shorten_mean(
            parts, replace(node, op="mean", attrs={"axes": (2, 3), "keepdim": True})
        )
    if max(kernel) > parts.longest:
        raise parts.refused(
            f"avg_pool2d {node.output}: a window may have at most {parts.longest} rows and columns "
            f"unless it is the whole image, but it has {kernel}; use a mean over parts"
        )
    counted = attrs["divisor"] is None and not attrs["count_include_pad"]
    first = _half(node, 0) | {"divisor": None if counted else 1}
    second = _half(node, 1)
    if not counted:
        second["divisor"] = attrs["divisor"] or prod(kernel)
    x = parts.append(node, "avg_pool2d", (x,), **first)
    parts.keep(replace(node, inputs=(x,), attrs=second))


def _half(node: Node, axis: int) -> dict[str, Any]:
    """The pool's attributes along one axis only."""

    def only(values: Any, filler: Any) -> tuple[Any, Any]:
        return (values[0], filler) if axis == 0 else (filler, values[1])

    kernel, stride = pair(node, "kernel"), pair(node, "stride")
    own = {"kernel": only(kernel, 1), "stride": only(stride, 1)}
    return {**node.attrs, **own, "padding": only(pads(node), (0, 0))}


@dataclass(frozen=True, slots=True)
class WindowPiece:
    """Windows of one kind along one axis: they read elements start to stop, unpadded."""

    start: int
    stop: int
    kernel: int
    stride: int


def divisor(attrs: Mapping[str, Any]) -> int | None:
    """The divisor that all windows share; None where they differ."""
    kernel = attrs["kernel"]
    if attrs["divisor"] is not None:
        return int(attrs["divisor"])
    padded = any(amount for side in attrs["padding"] for amount in side)
    return int(kernel[0] * kernel[1]) if attrs["count_include_pad"] or not padded else None


def pieces(
    attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[list[WindowPiece], list[WindowPiece]]:
    """The pieces of the rows and of the columns."""
    rows, columns = (
        _axis(shape[2 + i], attrs["kernel"][i], attrs["stride"][i], attrs["padding"][i])
        for i in range(2)
    )
    return rows, columns


def _axis(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> list[WindowPiece]:
    count = (size + sum(padding) - kernel) // stride + 1
    found: list[WindowPiece] = []
    for index in range(count):
        start = index * stride - padding[0]
        cut = WindowPiece(max(start, 0), min(start + kernel, size), 0, stride)
        whole = cut.stop - cut.start == kernel
        if whole and found and found[-1].kernel == kernel:
            found[-1] = WindowPiece(found[-1].start, cut.stop, kernel, stride)
        else:
            found.append(WindowPiece(cut.start, cut.stop, cut.stop - cut.start, stride))
    return found


def quantize(emit: Emitter, step: FloatStep) -> None:
    """One pooling where every window has one divisor; else a pooling a region, and their cats."""
    x = emit.tensor(step.inputs[0])
    shape = emit.source.types[x].shape
    common = divisor(step.attrs)
    if common is not None:
        _pooled(emit, step, x, common, "", step.attrs)
        return
    rows, columns = pieces(step.attrs, shape)
    bands = [_band(emit, step, x, row, columns, f"{step.output}.{i}") for i, row in enumerate(rows)]
    emit.node(step, "cat", bands, {"axis": 2})


def _band(
    emit: Emitter,
    step: FloatStep,
    x: str,
    row: WindowPiece,
    columns: Sequence[WindowPiece],
    name: str,
) -> str:
    """The output rows of one piece, all their columns."""
    band = _region(emit, step, x, 2, row, name)
    cells = []
    for j, column in enumerate(columns):
        cell = _region(emit, step, band, 3, column, f"{name}.{j}")
        window = {
            "kernel": (row.kernel, column.kernel),
            "stride": (row.stride, column.stride),
            "padding": ((0, 0), (0, 0)),
        }
        count = row.kernel * column.kernel
        cells.append(_pooled(emit, step, cell, count, f"{name}.{j}.mean", window))
    return emit.node(step, "cat", cells, {"axis": 3}, f"{name}.row")


def _pooled(emit: Emitter, step: FloatStep, x: str, count: int, output: str, window: Any) -> str:
    of = emit.affines[step.inputs[0]]
    zero, reach = zero_and_reach(of)
    kernel = window["kernel"]
    requant = emit.requant(step, [of.scale / count], kernel[0] * kernel[1] * reach)
    attrs = {key: window[key] for key in ("kernel", "stride", "padding")}
    attrs |= {"x_zero": zero, "requant": requant}
    return emit.node(step, Q_AVG_POOL2D.name, [x], attrs, output)


def _region(
    emit: Emitter, step: FloatStep, x: str, axis: int, piece: WindowPiece, output: str
) -> str:
    """The part of ``x`` that the piece's windows read; it keeps x's affine map."""
    attrs = {"axis": axis, "start": piece.start, "stop": piece.stop, "step": 1}
    return emit.node(step, "slice", [x], attrs, output, emit.affines[step.inputs[0]])


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    shifted = inputs[0].astype(np.int32) - integer(node, "x_zero")
    image = np.pad(shifted, ((0, 0), (0, 0), *pads(node)))
    view = windows(image, pair(node, "kernel"), pair(node, "stride"), (1, 1))
    total = np.zeros(view.shape[:4], np.int32)
    for i, j in np.ndindex(*view.shape[4:]):
        total += view[..., i, j]
    return requantize(total, requant_of(node))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(len(shapes[0]) == 4, node, "the input has four axes", shapes[0])
    size = window_shape(node, shapes[0][2:], pair(node, "kernel"), (1, 1))
    return (*shapes[0][:2], *size)


def lower(site: Site) -> Kernel:
    zero, count = integer(site.node, "x_zero"), prod(pair(site.node, "kernel"))
    start, fill = site.number("start", -count * zero, OFFSET), site.fill("x_zero")
    return pool2d(site, "sum", i32, start, lambda acc, x: acc + cast(i32, x), fill)


Q_AVG_POOL2D = Integer("q_avg_pool2d", ("u8",), evaluate, shape_of, lower, reads=reads_windows)
SPECS = (
    Spec(
        "avg_pool2d",
        aten=(
            Aten(("avg_pool2d",), aten_avg_pool, whole=True),
            Aten(("avg_pool1d",), aten_avg_pool1d, whole=True),
        ),
        meaning=avg_pool2d,
        quantize=quantize,
        integer=Q_AVG_POOL2D,
        clamped=True,
        shorten=shorten,
    ),
)
