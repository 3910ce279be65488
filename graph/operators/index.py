"""index, index_select, gather, flip by known numbers: each axis by itself (``graph/aten_take.py``).

x[:, i, j]          i and j along the same axis of the result: of both axes of x as one
x[:, i[:, None], j] along axes of their own: one after the other
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from ..aten import axis_of, cut, known
from ..aten_take import take
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_index(b: GraphBuilder, self: Value, indices: Sequence[Value]) -> Value:
    shape = b.shape(self)
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    found = [_numbers(known(indices[axis], "an index"), shape[axis]) for axis in axes]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        front = [*axes, *(axis for axis in range(len(shape)) if axis not in axes)]
        self, axes = b.emit("permute", self, axes=tuple(front)), list(range(len(axes)))
    wide = max(index.ndim for index in found)
    found = [index.reshape((1,) * (wide - index.ndim) + tuple(index.shape)) for index in found]
    if _apart(found):
        for axis, index in reversed(list(zip(axes, found, strict=True))):
            self = take(b, self, axis, index.flatten().tolist())
        return b.reshape(self, b.result)
    return b.reshape(_together(b, self, axes, found), b.result)


def _numbers(index: Tensor, extent: int) -> Tensor:
    """Counted from the front."""
    import torch

    if index.dtype == torch.bool:
        raise Unsupported("by truth values")
    return index.long() % extent


def _apart(found: Sequence[Tensor]) -> bool:
    """Whether indices are along axes of their own, those of earlier ones first."""
    own = [[axis for axis, n in enumerate(index.shape) if n > 1] for index in found]
    every = [axis for axes in own for axis in axes]
    return every == sorted({*every})


def _together(b: GraphBuilder, x: Value, axes: Sequence[int], found: Sequence[Tensor]) -> Value:
    """Of neighbouring axes as one."""
    import torch

    shape, first = b.shape(x), axes[0]
    sizes = [shape[axis] for axis in axes]
    number = torch.zeros((), dtype=torch.long)
    for index, size in zip(found, sizes, strict=True):
        number = number * size + index
    merged = b.reshape(x, (*shape[:first], prod(sizes), *shape[first + len(axes) :]))
    return take(b, merged, first, number.flatten().tolist())


def aten_index_select(b: GraphBuilder, self: Value, dim: int, index: Value) -> Value:
    if not b.shape(self):
        return b.reshape(self, b.result)
    axis = axis_of(b, self, dim)
    numbers = _numbers(known(index, "an index"), b.shape(self)[axis])
    return b.reshape(take(b, self, axis, numbers.flatten().tolist()), b.result)


def aten_gather(
    b: GraphBuilder, self: Value, dim: int, index: Value, sparse_grad: bool = False
) -> Value:
    """By an index that is the same along all other axes."""
    axis, numbers = axis_of(b, self, dim), known(index, "an index")
    line = numbers
    for other, extent in enumerate(numbers.shape):
        if other != axis:
            self = cut(b, self, other, 0, extent)
            line = line.narrow(other, 0, 1)
    if not bool((line == numbers).all()):
        raise Unsupported("by an index that differs along other axes")
    return take(b, self, axis, (line.flatten().long() % b.shape(self)[axis]).tolist())


def aten_flip(b: GraphBuilder, self: Value, dims: Sequence[int]) -> Value:
    for axis in sorted({axis_of(b, self, dim) for dim in dims}):
        self = take(b, self, axis, range(b.shape(self)[axis])[::-1])
    return self


SPECS = (
    Spec(
        "index",
        aten=(
            Aten(("index.Tensor", "_unsafe_index"), aten_index),
            Aten(("index_select",), aten_index_select),
            Aten(("gather",), aten_gather),
            Aten(("flip",), aten_flip),
        ),
    ),
)
