"""Fresh tensors: filled ones, known whatever their pattern is, and writes into parts of a tensor.

zeros_like(x), full_like(x, 2)      known
y = zeros(8, 20); y[:, 2:18] = x    slice_scatter: parts of y around x, joined
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from ..aten import axis_of, cut
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value


def aten_full_like(b: GraphBuilder, self: Value, fill_value: float, **_: object) -> Value:
    import torch

    return b.label(torch.full(b.shape(self), float(fill_value)), f"{b.base}.constant")


def aten_copy(b: GraphBuilder, self: Value, src: Value, non_blocking: bool = False) -> Value:
    """What is written, in the shape of what it is written to."""
    shape = b.shape(self)
    return src if b.shape(src) == shape else b.emit("expand", src, shape=shape)


def aten_slice_scatter(
    b: GraphBuilder,
    self: Value,
    src: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    axis = axis_of(b, self, dim)
    extent = b.shape(self)[axis]
    first, last, step = builtins.slice(start, end, step).indices(extent)
    if step != 1:
        raise Unsupported(f"step {step}")
    return _joined(b, self, src, axis, first, last)


def aten_select_scatter(b: GraphBuilder, self: Value, src: Value, dim: int, index: int) -> Value:
    axis, shape = axis_of(b, self, dim), b.shape(self)
    first = index % shape[axis]
    part = b.reshape(src, (*shape[:axis], 1, *shape[axis + 1 :]))
    return _joined(b, self, part, axis, first, first + 1)


def _joined(b: GraphBuilder, x: Value, part: Value, axis: int, first: int, last: int) -> Value:
    """``x`` with ``part`` from ``first`` to ``last`` along ``axis``."""
    extent = b.shape(x)[axis]
    parts = [cut(b, x, axis, 0, first)] if first else []
    parts += [part, *([cut(b, x, axis, last, extent)] if last < extent else [])]
    return part if len(parts) == 1 else b.emit("cat", *parts, axis=axis)


SPECS = (
    Spec(
        "fresh",
        aten=(
            Aten(("full_like", "new_full"), aten_full_like),
            Aten(("copy",), aten_copy),
            Aten(("slice_scatter",), aten_slice_scatter),
            Aten(("select_scatter",), aten_select_scatter),
        ),
    ),
)
