"""cat: the inputs one after the other along an axis, each perhaps by a move of its own.

cat(x0, x1, ...) axis moves:  ``moves`` has (shape, extents, strides, offset) or () an input
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...tir.expr import const, select
from ...tir.places import ALIGN
from ...tir.stmt import Buffer, Store
from ...tir.types import i32, u8
from ..aten import axis_of
from ..attributes import Shape, integer, integers, require
from ..copying import copied
from ..emitting import move_values
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_move import held, nest
from ..lower_nest import LoopAxis, grown
from ..lower_point import logical
from ..lower_site import Site
from ..physical import place_of
from ..spec import Aten, Integer, Spec, Turning, always
from . import move
from .slice import move_of as slice_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value

MOST = 1024  # bytes of a pixel that is stored as a whole


def aten_cat(b: GraphBuilder, tensors: Sequence[Value], dim: int) -> Value:
    parts = [x for x in tensors if b.shape(x) != (0,)]  # PyTorch's legacy empty tensor
    return parts[0] if len(parts) == 1 else b.emit("cat", *parts, axis=axis_of(b, parts[0], dim))


def cat(torch: Any, *xs: Tensor, axis: int) -> Any:
    """The inputs one after the other along ``axis``."""
    return torch.cat(xs, axis)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    parts = [
        array if way is None else move.evaluate(way, [array])
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


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = integer(node, "axis")
    shapes = [
        shape if way is None else move.shape_of(way, [shape])
        for way, shape in zip(ways(node), shapes, strict=True)
    ]
    rest = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    require(len(rest) == 1, node, "all axes but the joined one must agree", tuple(shapes))
    joined = sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    way, shape = ways(node)[position], shapes[position]
    return prod(shape) if way is None else move.move_of(way, shape).reads


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    axis = places.get(integer(node, "axis"))
    return None if axis is None else {**node.attrs, "axis": axis}


def lower(site: Site) -> Kernel:
    """A block an input; along the joined axis none runs into its pads. Channels that end within
    vectors are chosen, all in one block."""
    chosen = _chosen(site)
    if chosen is not None:
        site.nests.add("copy", *chosen)
        return site.kernel("move", axis=integer(site.node, "axis"), alias=False)
    joined, offset = integer(site.node, "axis"), 0
    for number, (name, way) in enumerate(zip(site.node.inputs, ways(site.node), strict=True)):
        x, shape = site.input(number, f"x{number}"), site.shape(name)
        if way is None:
            loops, index = logical(shape)
            to = [at + offset if d == joined and offset else at for d, at in enumerate(index)]
            store = Store(site.output(), place_of(site.output_shape, to), x[place_of(shape, index)])
            fixed = [held(axis) if axis.var is index[joined] else axis for axis in loops]
        else:
            fixed, store = _joined(site, x, way, offset)
            shape = integers(way, "shape")
        site.nests.add(f"copy{number}", grown(fixed, store), store)
        offset += shape[joined]
    return site.kernel("move", axis=joined, alias=False)


def _chosen(site: Site) -> tuple[list[LoopAxis], Store] | None:
    """Channels of all inputs as one store of whole pixels, with zeros behind the last of them; None
    where each input ends with a vector, or where pixels are of no power of two of bytes."""
    shape, output = site.output_shape, site.output()
    deep, joined = output.shape[-1], integer(site.node, "axis")
    parts = [_channels(site, number) for number in range(len(site.node.inputs))]
    if place_of(shape, [const(int(d == joined), i32) for d in range(len(shape))])[-1].attr != 1:
        return None
    whole = all(part is None or part[2] % ALIGN == 0 for part in parts[:-1])
    if deep & (deep - 1) or deep > MOST or whole or None in parts:
        return None
    loops, index = logical(shape)
    channel, value = index[joined], const(0, u8)
    end = shape[joined]
    for x, start, count in [part for part in parts if part][::-1]:
        first = end - count
        at = [e + (start - first) if d == joined and start != first else e
              for d, e in enumerate(index)]  # fmt: skip
        load = x[place_of(shape, at)]
        fits = end == shape[joined] and start + deep - first <= x.shape[-1]
        value = load if fits else select(channel < end, load, value)
        end = first
    store = Store(output, place_of(shape, index), value)
    fixed = [replace(axis, extent=deep) if axis.var is channel else axis for axis in loops]
    return grown(fixed, store), store


def _channels(site: Site, number: int) -> tuple[Buffer, int, int] | None:
    """An input, or what its move takes of it: channels ``start`` to ``start + count`` of all its
    pixels. None where pixels move, or where a power of two of channels would leave the pixel."""
    name, way = site.node.inputs[number], ways(site.node)[number]
    shape, axis, start = site.shape(name), integer(site.node, "axis"), 0
    part = shape if way is None else integers(way, "shape")
    if way is not None:
        whole = move.move_of(way, shape)
        start = whole.offset // prod(shape[axis + 1 :]) % shape[axis]
        attrs = {"axis": axis, "start": start, "stop": start + part[axis], "step": 1}
        if len(part) != len(shape) or slice_of(replace(way, attrs=attrs), shape) != whole:
            return None
    x = site.input(number, f"x{number}")
    end = start + (1 << (part[axis] - 1).bit_length())
    return (x, start, part[axis]) if end <= x.shape[-1] else None


def _joined(site: Site, x: Buffer, way: Node, offset: int) -> tuple[list[LoopAxis], Store]:
    """The loops that move an input to its part of the output, from ``offset`` on."""
    shape, part = site.shape(way.inputs[0]), integers(way, "shape")
    copying = copied(move.move_of(way, shape), shape, part)
    assert copying is not None
    loops, index, source = nest(copying)
    zero = const(0, i32)
    start = place_of(part, [const(offset, i32) if d == integer(site.node, "axis") else zero
                            for d in range(len(part))])  # fmt: skip
    to = [at + first if first is not zero else at for at, first in zip(index, start, strict=True)]
    return [held(axis) for axis in loops], Store(site.output(), tuple(to), x[source])


SPECS = (
    Spec(
        "cat",
        aten=(Aten(("cat",), aten_cat),),
        meaning=cat,
        quantize=move_values,
        integer=Integer(
            "cat",
            ("u8", "*"),
            evaluate,
            shape_of,
            lower,
            reads=reads,
            moves=always,
            turning=Turning(turned, cost=lambda *_: 2, activations=None),
            joins=True,
        ),
        moves=True,
    ),
)
