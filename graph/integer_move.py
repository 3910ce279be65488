"""Data movement on u8 tensors: no value changes, input and output share one affine map.

cat(x...) axis, and perhaps moves: one of each input or none, done before they are joined;
pad(x) padding per axis, value; slice(x) axis start stop step; reshape(x) shape; permute(x) axes;
expand(x) shape (axes of size 1 repeat); move(x) shape extents strides offset: what a chain of these
composes to, as ``graph/moves.py`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import numpy as np

from .graph import Array, Node
from .integer_row import Row, Shape, broadcast, integer, integers, require
from .moves import Move, merged


def _cat(node: Node, inputs: Sequence[Array]) -> Array:
    parts = [
        array if way is None else _moved(way, array)
        for way, array in zip(ways(node), inputs, strict=True)
    ]
    return np.concatenate(parts, axis=integer(node, "axis"))


def ways(node: Node) -> list[Node | None]:
    """What a ``cat`` does to each input before it joins them, as a node; None for nothing."""
    names = "shape", "extents", "strides", "offset"
    moves = cast(Sequence[Sequence[object]], node.attrs.get("moves", [()] * len(node.inputs)))
    return [
        Node("move", (x,), node.output, dict(zip(names, move, strict=True))) if move else None
        for x, move in zip(node.inputs, moves, strict=True)
    ]


def _cat_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = integer(node, "axis")
    shapes = [
        shape if way is None else _move_shape(way, [shape])
        for way, shape in zip(ways(node), shapes, strict=True)
    ]
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    require(len(rest) == 1, node, "all axes but the joined one must agree", tuple(shapes))
    joined = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])


def _padding(node: Node) -> Sequence[tuple[int, int]]:
    return cast(Sequence[tuple[int, int]], node.attrs["padding"])


def _pad(node: Node, inputs: Sequence[Array]) -> Array:
    return np.pad(inputs[0], _padding(node), constant_values=integer(node, "value"))


def _pad_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    padding = _padding(node)
    require(len(padding) == len(shapes[0]), node, "padding has a pair an axis", padding)
    return tuple(n + sum(p) for n, p in zip(shapes[0], padding, strict=True))


def _bounds(node: Node) -> tuple[int, int, int, int]:
    axis, start, stop, step = (integer(node, name) for name in ("axis", "start", "stop", "step"))
    return axis, start, stop, step


def _slice(node: Node, inputs: Sequence[Array]) -> Array:
    axis, start, stop, step = _bounds(node)
    return inputs[0][(slice(None),) * axis + (slice(start, stop, step),)]


def _slice_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis, start, stop, step = _bounds(node)
    inside = 0 <= start <= stop <= shapes[0][axis] and step >= 1
    require(inside, node, "0 <= start <= stop <= size and step >= 1", (start, stop, step))
    return (*shapes[0][:axis], -(-(stop - start) // step), *shapes[0][axis + 1 :])


def _reshape(node: Node, inputs: Sequence[Array]) -> Array:
    return inputs[0].reshape(integers(node, "shape"))


def _reshape_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = integers(node, "shape")
    same = np.prod(shape, dtype=np.int64) == np.prod(shapes[0], dtype=np.int64)
    require(bool(same), node, "the number of values must stay", (shapes[0], shape))
    return shape


def _permute(node: Node, inputs: Sequence[Array]) -> Array:
    return np.ascontiguousarray(inputs[0].transpose(integers(node, "axes")))


def _permute_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axes = integers(node, "axes")
    require(sorted(axes) == list(range(len(shapes[0]))), node, "axes is a permutation", axes)
    return tuple(shapes[0][axis] for axis in axes)


def _expand(node: Node, inputs: Sequence[Array]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(inputs[0], integers(node, "shape")))


def _expand_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = integers(node, "shape")
    require(broadcast(node, (shapes[0], shape)) == shape, node, "only axes of 1 repeat", shape)
    return shape


def _move(node: Node, inputs: Sequence[Array]) -> Array:
    return _moved(node, inputs[0])


def _moved(node: Node, array: Array) -> Array:
    made = Move.of(node, array.shape)
    assert made is not None
    return np.ascontiguousarray(made.apply(array)).reshape(integers(node, "shape"))


def _move_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    extents, strides, shape = (integers(node, name) for name in ("extents", "strides", "shape"))
    require(len(extents) == len(strides), node, "each digit has a stride", strides)
    forward = min((*extents, 1)) > 0 and min((*strides, integer(node, "offset"))) >= 0
    require(forward, node, "digits have values, and none steps back", (extents, strides))
    require(prod(extents) == prod(shape), node, "the digits number the values", (extents, shape))
    last = merged(zip(extents, strides, strict=True), integer(node, "offset")).last
    require(last < prod(shapes[0]), node, "all elements read are there", last)
    return shape


ROWS = (
    Row("cat", ("u8", "*"), _cat, _cat_shape),
    Row("pad", ("u8",), _pad, _pad_shape),
    Row("slice", ("u8",), _slice, _slice_shape),
    Row("reshape", ("u8",), _reshape, _reshape_shape),
    Row("permute", ("u8",), _permute, _permute_shape),
    Row("expand", ("u8",), _expand, _expand_shape),
    Row("move", ("u8",), _move, _move_shape),
)
