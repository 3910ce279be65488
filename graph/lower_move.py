"""Data movement as loop nests: copies whose indices are affine on both sides.

A move that keeps every byte where it is has ``attrs["alias"]``: its output may be its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import cast

from ..tir.expr import Expr
from ..tir.linear import Linear, linear
from ..tir.stmt import Buffer, Store
from ..tir.types import u8
from .integer_row import integer, integers
from .kernels import Kernel
from .lower_nest import Axis, box, grown, variables
from .lower_point import logical, repeated
from .lower_site import Site
from .physical import Shape, axes, flat, place_of


def cat(site: Site) -> Kernel:
    """A block an input; along the joined axis none runs into its pads."""
    joined, offset = integer(site.node, "axis"), 0
    for number, name in enumerate(site.node.inputs):
        shape = site.shape(name)
        loops, index = logical(shape)
        x = site.input(number, f"x{number}")
        to = [at + offset if d == joined and offset else at for d, at in enumerate(index)]
        store = Store(site.output(), place_of(site.output_shape, to), x[place_of(shape, index)])
        fixed = [_held(axis) if axis.var is index[joined] else axis for axis in loops]
        site.nests.add(f"copy{number}", grown(fixed, store), store)
        offset += shape[joined]
    return site.kernel("move", axis=joined, alias=False)


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


def slice_(site: Site) -> Kernel:
    axis, start, step = (integer(site.node, name) for name in ("axis", "start", "step"))
    loops, index = logical(site.output_shape)
    source = list(index)
    scaled = index[axis] * step if step != 1 else index[axis]
    source[axis] = scaled + start if start else scaled
    return _copied(site, loops, index, source)


def permute(site: Site) -> Kernel:
    loops, index = logical(site.output_shape)
    order = integers(site.node, "axes")
    source = [index[order.index(d)] for d in range(len(order))]
    return _copied(site, loops, index, source)


def expand(site: Site) -> Kernel:
    loops, index = logical(site.output_shape)
    return _copied(site, loops, index, repeated(site.shape(site.node.inputs[0]), index))


def reshape(site: Site) -> Kernel:
    shape, out_shape = site.shape(site.node.inputs[0]), site.output_shape
    parts = refine(shape, out_shape)
    if parts is None:
        return _through_scratch(site)
    named = [Axis(f"i{number}", extent) for number, extent in enumerate(parts.extents)]
    index, source = ([flat(*parts.of(named, group)) for group in groups] for groups in parts.groups)
    order = [number for stored in axes(out_shape) for number in parts.groups[0][stored.dim]]
    rest = [number for number in range(len(named)) if number not in order]
    return _copied(site, [named[number] for number in (*rest, *order)], index, source)


@dataclass(frozen=True, slots=True)
class Parts:
    """Extents whose products are the axes of two shapes; which parts each axis is made of."""

    extents: tuple[int, ...]
    groups: tuple[list[list[int]], list[list[int]]]  # of the output's and the input's axes

    def of(self, named: Sequence[Axis], group: Sequence[int]) -> tuple[Shape, tuple[Expr, ...]]:
        return tuple(self.extents[n] for n in group), variables(named[n] for n in group)


def refine(shape: Shape, out_shape: Shape) -> Parts | None:
    """Parts of both shapes; None where an axis of one cuts across an axis of the other."""
    ends = sorted({*_strides(shape), *_strides(out_shape), 1, prod(shape)}, reverse=True)
    if any(outer % inner for outer, inner in pairwise(ends)):
        return None
    extents = tuple(outer // inner for outer, inner in pairwise(ends))
    return Parts(extents, (_group(out_shape, ends), _group(shape, ends)))


def _strides(shape: Shape) -> list[int]:
    return [prod(shape[d + 1 :]) for d in range(len(shape))]


def _group(shape: Shape, ends: list[int]) -> list[list[int]]:
    """For each axis, the numbers of the parts between its own stride and the next greater one."""
    return [
        [n for n, inner in enumerate(ends[1:]) if stride <= inner < stride * extent]
        for stride, extent in zip(_strides(shape), shape, strict=True)
    ]


def _copied(site: Site, loops: list[Axis], index: Sequence[Expr], source: Sequence[Expr]) -> Kernel:
    """One block: the output at ``index`` is the input at ``source``."""
    shape = site.shape(site.node.inputs[0])
    x, output = site.input(0, "x"), site.output()
    to, come = place_of(site.output_shape, index), place_of(shape, source)
    store = Store(output, to, x[come])
    site.nests.add("copy", grown(loops, store), store)
    same = output.size == x.size and _number(output, to, loops) == _number(x, come, loops)
    return site.kernel("move", alias=same)


def _number(buffer: Buffer, index: Sequence[Expr], loops: Sequence[Axis]) -> Linear:
    """The element's number in memory; axes that have one value only are left out."""
    form = linear(flat(buffer.shape, index))
    moving = {axis.var for axis in loops if axis.extent > 1}
    return Linear({v: scale for v, scale in form.terms.items() if v in moving}, form.constant)


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
