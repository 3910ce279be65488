"""Average pooling whose windows have different divisors, as regions that each have one.

Without padding in the count, a window at the border averages fewer elements. Along an axis, the
windows inside the input are one piece; each window that the border cuts is a piece by itself.

    size 5, kernel 3, stride 1, padding (1, 1)
        ->  [0, 2) kernel 2;  [0, 5) kernel 3;  [3, 5) kernel 2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .emitter import Emitter, zero_and_reach
from .plan import Step


@dataclass(frozen=True, slots=True)
class Piece:
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


def pieces(attrs: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[list[Piece], list[Piece]]:
    """The pieces of the rows and of the columns."""
    rows, columns = (
        _axis(shape[2 + i], attrs["kernel"][i], attrs["stride"][i], attrs["padding"][i])
        for i in range(2)
    )
    return rows, columns


def _axis(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> list[Piece]:
    count = (size + sum(padding) - kernel) // stride + 1
    found: list[Piece] = []
    for index in range(count):
        start = index * stride - padding[0]
        cut = Piece(max(start, 0), min(start + kernel, size), 0, stride)
        whole = cut.stop - cut.start == kernel
        if whole and found and found[-1].kernel == kernel:
            found[-1] = Piece(found[-1].start, cut.stop, kernel, stride)
        else:
            found.append(Piece(cut.start, cut.stop, cut.stop - cut.start, stride))
    return found


def avg_pool2d(emit: Emitter, step: Step) -> None:
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
    emit: Emitter, step: Step, x: str, row: Piece, columns: Sequence[Piece], name: str
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


def _pooled(emit: Emitter, step: Step, x: str, count: int, output: str, window: Any) -> str:
    of = emit.affines[step.inputs[0]]
    zero, reach = zero_and_reach(of)
    kernel = window["kernel"]
    requant = emit.requant(step, [of.scale / count], kernel[0] * kernel[1] * reach)
    attrs = {key: window[key] for key in ("kernel", "stride", "padding")}
    attrs |= {"x_zero": zero, "requant": requant}
    return emit.node(step, "q_avg_pool2d", [x], attrs, output)


def _region(emit: Emitter, step: Step, x: str, axis: int, piece: Piece, output: str) -> str:
    """The part of ``x`` that the piece's windows read; it keeps x's affine map."""
    attrs = {"axis": axis, "start": piece.start, "stop": piece.stop, "step": 1}
    return emit.node(step, "slice", [x], attrs, output, emit.affines[step.inputs[0]])
