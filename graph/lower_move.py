"""Moves of data as loop nests: copies whose indices are affine on both sides.

A move that keeps every byte where it is has ``attrs["alias"]``: its output may be its input, or a
part of it, from byte ``attrs["start"]`` on. A reshape whose axes cut across each other goes through
a buffer in row-major order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from ..tir.expr import Expr, const
from ..tir.stmt import Buffer, Store
from ..tir.types import i32, u8
from .attributes import Shape
from .copying import STORED, Copying, MapLoop, copied
from .graph import Array, Node
from .kernels import Kernel
from .lower_nest import LoopAxis, grown
from .lower_point import logical
from .lower_site import Site
from .moves import Move
from .physical import flat, physical, place_of
from .spec import Integer, always


def held(axis: LoopAxis) -> LoopAxis:
    """The loop without its pads."""
    return LoopAxis(axis.name, axis.extent)


def move(site: Site) -> Kernel:
    """A reshape, permute, slice or expand, or what several of them compose to: one block."""
    assert site.spec.move is not None
    found = site.spec.move(site.node, site.shape(site.node.inputs[0]))
    copying = copied(found, site.stored(site.node.inputs[0]), site.stored(site.node.output))
    if copying is None:
        return _through_scratch(site)
    loops, index, source = nest(copying)
    x = site.input(0, "x")
    store = Store(site.output(), index, x[source])
    site.nests.add("copy", grown(loops, store), store)
    if (start := copying.view) is None:
        return site.kernel("move", alias=False)
    return site.kernel("move", alias=True, start=start)


def nest(copying: Copying) -> tuple[list[LoopAxis], tuple[Expr, ...], tuple[Expr, ...]]:
    """The loops, the stored index of the output and that of the input.

    An axis may run on into the pads where it walks over both sides alike: runs of bytes join. So
    may channels of which there is one.
    """
    sizes = physical(copying.out_shape)
    loops: list[LoopAxis] = []
    index: list[Expr] = []
    source = [const(start, i32) for start in copying.start]
    alike = {digit for digit, (_, to, come) in zip(copying.digits, copying.steps, strict=True)
             if to == come}  # fmt: skip
    for place, (name, stored) in enumerate(zip(STORED, sizes, strict=True)):
        digits = [digit for digit in copying.digits if digit.axis == name]
        if not digits and _unit(copying, place):
            digits = [MapLoop(name, 1, 1, _UNITS[place])]
            alike |= set(digits)
        elif not digits and name == STORED[-1]:  # its pads may hold the byte itself
            digits = [MapLoop(name, 1, 1, _STILL)]
            alike |= set(digits)
        total = const(0, i32)
        for number, digit in enumerate(digits):
            alone = len(digits) == 1
            axis = LoopAxis(name if alone else f"{name}{number}", digit.extent,
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
    site.nests.add("gather", [held(axis) for axis in loops], gathered)
    loops, index = logical(out_shape)
    value = scratch[flat(out_shape, index)]
    spread = Store(site.output(), place_of(out_shape, index), value)
    site.nests.add("spread", [held(axis) for axis in loops], spread)
    return site.kernel("move", alias=False)


def move_operator(
    name: str,
    evaluate: Callable[[Node, Sequence[Array]], Array],
    shape: Callable[[Node, Sequence[Shape]], Shape],
    move_of: Callable[[Node, Shape], Move],
) -> Integer:
    """An integer operator that takes each byte from a place, which ``move_of`` says."""

    def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
        return move_of(node, shapes[position]).reads

    return Integer(
        name,
        ("u8",),
        evaluate,
        shape,
        move,
        reads=reads,
        moves=always,
        move=move_of,
    )
