"""Elements of an axis by known numbers: slices, joined slices, copies of rows, or a product.

take(x, 1, [0, 2, 4, 6])        slice(x, step 2)
take(x, 1, [5, 6, 7, 0, 1])     cat(slice(x, 5..8), slice(x, 0..2))
take(x, 2, [7, 6, ..., 0])      rows of an image, as nearest upsampling copies them
take(x, -1, [9, 2, 5, ...])     x times a matrix of ones and zeros, for bytes within vectors
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from .aten import cut
from .periods import pieces

if TYPE_CHECKING:
    from .graph_builder import GraphBuilder, Value

PARTS = 16  # joined slices, at most
LANES = 4  # ... where there is another way


def take(b: GraphBuilder, x: Value, axis: int, numbers: Sequence[int]) -> Value:
    """Elements ``numbers`` of ``axis``, each from 0 up to its extent."""
    found, shape = list(runs(numbers)), b.shape(x)
    inside = axis == (1 if len(shape) == 4 else len(shape) - 1) and shape[axis] > 1
    most = PARTS if not inside and len(found) <= len(list(pieces(numbers))) else LANES
    if len(found) <= most:
        parts = [_run(b, x, axis, *run) for run in found]
        return parts[0] if len(parts) == 1 else b.emit("cat", *parts, axis=axis)
    return _product(b, x, axis, numbers) if inside else _rows(b, x, axis, numbers)


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """``numbers`` as (first, step, count) of runs that step alike and not back."""
    start = 0
    while start < len(numbers):
        step = numbers[start + 1] - numbers[start] if start + 1 < len(numbers) else 1
        stop = start + 1
        while step >= 0 and stop < len(numbers) and numbers[stop] - numbers[stop - 1] == step:
            stop += 1
        yield numbers[start], max(step, 0) if stop > start + 1 else 1, stop - start
        start = stop


def _run(b: GraphBuilder, x: Value, axis: int, first: int, step: int, count: int) -> Value:
    if step:
        return cut(b, x, axis, first, first + (count - 1) * step + 1, step)
    one, shape = cut(b, x, axis, first, first + 1), list(b.shape(x))
    shape[axis] = count
    return b.emit("expand", one, shape=tuple(shape))


def _rows(b: GraphBuilder, x: Value, axis: int, numbers: Sequence[int]) -> Value:
    """As rows or columns of images; all that lies behind the axis is channels."""
    shape, wanted = b.shape(x), tuple(numbers)
    made = (*shape[:axis], len(wanted), *shape[axis + 1 :])
    if len(shape) == 4 and axis > 1:
        whole = [tuple(range(n)) for n in shape[2:]]
        whole[axis - 2] = wanted
        return b.emit("upsample_nearest2d", x, rows=whole[0], columns=whole[1])
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    apart = b.emit("permute", b.reshape(x, (outer, shape[axis], inner)), axes=(0, 2, 1))
    image = b.reshape(apart, (outer, inner, shape[axis], 1))
    taken = b.emit("upsample_nearest2d", image, rows=wanted, columns=(0,))
    back = b.emit("permute", b.reshape(taken, (outer, inner, len(wanted))), axes=(0, 2, 1))
    return b.reshape(back, made)


def _product(b: GraphBuilder, x: Value, axis: int, numbers: Sequence[int]) -> Value:
    """A product by ones is exact."""
    import torch

    shape = b.shape(x)
    chosen = torch.nn.functional.one_hot(torch.tensor(numbers), shape[axis]).float()
    weight = b.label(chosen, f"{b.base}.chosen")
    if len(shape) != 4:
        return b.emit("linear", x, weight)
    one = (1, 1)
    return b.emit("conv2d", x, b.label(chosen[:, :, None, None], f"{b.base}.chosen"),
                  stride=one, padding=((0, 0), (0, 0)), dilation=one, groups=1)  # fmt: skip
