"""Data movement as loop nests: copies whose indices are affine on both sides.

A move that keeps every byte where it is has ``attrs["alias"]``: its output may be its input, or a
part of it, from byte ``attrs["start"]`` on. A reshape whose axes cut across each other goes through
a buffer in row-major order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import cast

from ..tir.expr import Expr, const, select
from ..tir.stmt import Buffer, Store
from ..tir.types import i32, u8
from .copying import STORED, Copying, Digit, copied
from .graph import Node
from .integer_move import ways
from .integer_row import integer, integers
from .kernels import Kernel
from .lower_nest import Axis, box, grown, variables
from .lower_point import logical
from .lower_site import Site
from .moves import Move
from .physical import VECTOR, flat, physical, place_of

MOST = 1024  # bytes of a pixel that is stored as a whole


def cat(site: Site) -> Kernel:
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
            fixed = [_held(axis) if axis.var is index[joined] else axis for axis in loops]
        else:
            fixed, store = _joined(site, x, way, offset)
            shape = integers(way, "shape")
        site.nests.add(f"copy{number}", grown(fixed, store), store)
        offset += shape[joined]
    return site.kernel("move", axis=joined, alias=False)


def _chosen(site: Site) -> tuple[list[Axis], Store] | None:
    """Channels of all inputs as one store of whole pixels, with zeros behind the last of them; None
    where each input ends with a vector, or where pixels are of no power of two of bytes."""
    shape, output = site.output_shape, site.output()
    deep, joined = output.shape[-1], integer(site.node, "axis")
    parts = [_channels(site, number) for number in range(len(site.node.inputs))]
    if place_of(shape, [const(int(d == joined), i32) for d in range(len(shape))])[-1].attr != 1:
        return None
    whole = all(part is None or part[2] % VECTOR == 0 for part in parts[:-1])
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
        move = Move.of(way, shape)
        start = move.offset // prod(shape[axis + 1 :]) % shape[axis] if move else 0
        attrs = {"axis": axis, "start": start, "stop": start + part[axis], "step": 1}
        if len(part) != len(shape) or Move.of(replace(way, op="slice", attrs=attrs), shape) != move:
            return None
    x = site.input(number, f"x{number}")
    whole = start + (1 << (part[axis] - 1).bit_length())
    return (x, start, part[axis]) if whole <= x.shape[-1] else None


def _joined(site: Site, x: Buffer, way: Node, offset: int) -> tuple[list[Axis], Store]:
    """The loops that move an input to its part of the output, from ``offset`` on."""
    shape, part = site.shape(way.inputs[0]), integers(way, "shape")
    move = Move.of(way, shape)
    copying = copied(move, shape, part) if move else None
    assert copying is not None
    loops, index, source = _nest(copying)
    zero = const(0, i32)
    start = place_of(part, [const(offset, i32) if d == integer(site.node, "axis") else zero
                            for d in range(len(part))])  # fmt: skip
    to = [at + first if first is not zero else at for at, first in zip(index, start, strict=True)]
    return [_held(axis) for axis in loops], Store(site.output(), tuple(to), x[source])


def _held(axis: Axis) -> Axis:
    return Axis(axis.name, axis.extent)


def pad(site: Site) -> Kernel:
    shape, output = site.shape(site.node.inputs[0]), site.output()
    x, fill = site.input(0, "x"), site.fill("value")
    padding = cast(Sequence[tuple[int, int]], site.node.attrs["padding"])
    whole = box(output)
    site.nests.add("fill", whole, Store(output, variables(whole), fill))
    loops, index = logical(shape)
    moved = [at + before if before else at for at, (before, _) in zip(index, padding, strict=True)]
    grows = {index[d] for d, amounts in enumerate(padding) if not any(amounts)}
    fixed = [axis if axis.var in grows else _held(axis) for axis in loops]
    store = Store(output, place_of(site.output_shape, moved), x[place_of(shape, index)])
    site.nests.add("copy", grown(fixed, store), store)
    return site.kernel("move", alias=False)


def move(site: Site) -> Kernel:
    """A reshape, permute, slice or expand, or what several of them compose to: one block."""
    found = Move.of(site.node, site.shape(site.node.inputs[0]))
    assert found is not None
    copying = copied(found, site.stored(site.node.inputs[0]), site.stored(site.node.output))
    if copying is None:
        return _through_scratch(site)
    loops, index, source = _nest(copying)
    x = site.input(0, "x")
    store = Store(site.output(), index, x[source])
    site.nests.add("copy", grown(loops, store), store)
    if (start := copying.view) is None:
        return site.kernel("move", alias=False)
    return site.kernel("move", alias=True, start=start)


def _nest(copying: Copying) -> tuple[list[Axis], tuple[Expr, ...], tuple[Expr, ...]]:
    """The loops, the stored index of the output and that of the input.

    An axis may run on into the pads where it walks over both sides alike: runs of bytes join. So
    may channels of which there is one.
    """
    sizes = physical(copying.out_shape)
    loops: list[Axis] = []
    index: list[Expr] = []
    source = [const(start, i32) for start in copying.start]
    alike = {digit for digit, (_, to, come) in zip(copying.digits, copying.steps, strict=True)
             if to == come}  # fmt: skip
    for place, (name, stored) in enumerate(zip(STORED, sizes, strict=True)):
        digits = [digit for digit in copying.digits if digit.axis == name]
        if not digits and _unit(copying, place):
            digits = [Digit(name, 1, 1, _UNITS[place])]
            alike |= set(digits)
        elif not digits and name == STORED[-1]:  # its pads may hold the byte itself
            digits = [Digit(name, 1, 1, _STILL)]
            alike |= set(digits)
        total = const(0, i32)
        for number, digit in enumerate(digits):
            alone = len(digits) == 1
            axis = Axis(name if alone else f"{name}{number}", digit.extent,
                        stored=stored if alone and digit in alike else 0)  # fmt: skip
            loops.append(axis)
            total = _plus(total, axis.var, digit.to)
            for d, step in enumerate(digit.come):
                source[d] = _plus(source[d], axis.var, step)
        index.append(total)
    return loops, tuple(index), tuple(source)


_STILL = (0, 0, 0, 0)
_UNITS = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))


def _unit(copying: Copying, place: int) -> bool:
    """Whether an axis has one element on both sides, and pads on both: they may go along."""
    still = all(not digit.come[place] for digit in copying.digits) and not copying.start[place]
    sizes = physical(copying.shape)[place], physical(copying.out_shape)[place]
    return still and sizes[0] == sizes[1] > 1


def _plus(total: Expr, loop: Expr, step: int) -> Expr:
    if not step:
        return total
    term = loop if step == 1 else loop * step
    return term if total.is_const and not total.attr else total + term


def _through_scratch(site: Site) -> Kernel:
    """A reshape in row-major order: all elements into a flat buffer, and out of it."""
    shape, out_shape = site.shape(site.node.inputs[0]), site.output_shape
    scratch = site.nests.alloc(Buffer("t", u8, (prod(shape),), "tcm"))
    loops, index = logical(shape)
    x = site.input(0, "x")
    gathered = Store(scratch, (flat(shape, index),), x[place_of(shape, index)])
    site.nests.add("gather", [_held(axis) for axis in loops], gathered)
    loops, index = logical(out_shape)
    value = scratch[flat(out_shape, index)]
    spread = Store(site.output(), place_of(out_shape, index), value)
    site.nests.add("spread", [_held(axis) for axis in loops], spread)
    return site.kernel("move", alias=False)
