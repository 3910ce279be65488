"""A reduction over several axes as two: over some of them first, for all that the others read.

m[i, j] = max over h, k of x[i + h, j + k]        separate("max", "h")
becomes    t[i, u] = max over h of x[i + h, u]    for each u = j + k
           m[i, j] = max over k of t[i, j + k]
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from math import gcd

from ..tir.expr import Expr, const, free_vars, make, transform, walk
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, Buffer, Iter, Store, load
from .block_forms import Reduction, extents_of
from .errors import refusal
from .index import UNKNOWN, Extents, form_bounds
from .new_nests import (
    allocate,
    buffer_name,
    check_alone,
    iter_name,
    iters_of,
    nest_of,
    put_before,
    top_of,
)
from .reduction_primitives import begun, neutral
from .state import BlockName, BlockRef, Loop, ScheduleState
from .tree import loop_at


@dataclass(frozen=True, slots=True)
class SeparateDim:
    """Dimension ``number`` of the operand, where what is left reads ``step * index + near``: index
    counts from ``low`` on, and near is less than a step."""

    number: int
    index: Linear
    low: int
    extent: int
    step: int
    near: Linear

    def at(self, axis: Expr) -> Expr:
        """The operand's index where ``axis`` counts partial results."""
        return from_linear(linear(axis).shifted(self.low).times(self.step).plus(self.near))

    @property
    def place(self) -> Expr:
        """The partial result that is read."""
        return from_linear(self.index.shifted(-self.low))


def separate(state: ScheduleState, block: BlockName, *loops: Loop) -> BlockRef:
    """A reduction over some of its loops first, for all elements that the rest of it reads;
    gives the block that does."""
    node, path = state.block(block)
    begun(node)
    check_alone(node, path)
    wanted = {loop_at(state.loop(loop)).axis for loop in loops}
    first = {it.axis for it in node.iters if it.binding in wanted}
    reduced = {it.axis for it in node.iters if it.reduce}
    if not first or not first < reduced:
        raise refusal("some of the reduction's loops must be given, not all",
                      ", ".join(map(str, loops)), node)  # fmt: skip
    return BlockRef(separated(state, node, first, f"{node.name}_part", "tcm"))


def separated(state: ScheduleState, block: Block, first: Set[Expr], name: str, scope: str) -> str:
    """Lets a reduction that stands alone reduce over the axes ``first`` in a block before it."""
    found = begun(block)
    left = [it for it in block.iters if it.axis not in first]
    read, dims = _dims(block, found, first, {it.axis for it in left if it.reduce})
    kept = [it for it in left if not it.reduce and it.axis not in _absorbed(dims)]
    order: list[Iter | SeparateDim] = sorted([*kept, *dims], key=lambda part: _number(part, read))
    name = state.fresh(name)
    sizes = [(str(part.axis.attr) if isinstance(part, Iter) else iter_name(block, f"u{k}"),
              part.extent, False) for k, part in enumerate(order)]  # fmt: skip
    last = [(str(it.axis.attr), it.extent, True) for it in block.iters if it.axis in first]
    iters = iters_of(state, name, [*sizes, *last])
    at = tuple(it.axis for it in iters if not it.reduce)
    partial = Buffer(buffer_name(state, name), found.buffer.type,
                     tuple(part.extent for part in order), scope)  # fmt: skip
    index = list(read.args)
    for part, axis in zip(order, at, strict=True):
        if isinstance(part, SeparateDim):
            index[part.number] = part.at(axis)
    element = load(read.attr, *index)
    term = transform(found.value, lambda e: element if e is read else None)
    start = const(neutral(found.op, partial.type), partial.type)
    own = make(found.op, load(partial, *at), term)
    partly = Block(name, iters, Store(partial, at, own), Store(partial, at, start))
    taken = load(partial, *(p.axis if isinstance(p, Iter) else p.place for p in order))
    rest = make(found.op, load(found.buffer, *found.index), taken)
    _, path = state.block(block.name)
    body = Store(found.buffer, found.index, rest)
    state.swap(top_of(path), nest_of(replace(block, iters=tuple(left), body=body)))
    put_before(state, block.name, partly)
    allocate(state, partial)
    return name


def _absorbed(dims: Sequence[SeparateDim]) -> set[Expr]:
    """The axes that partial results no longer have, but places in dimensions."""
    return {axis for dim in dims for atom in dim.index.terms for axis in free_vars(atom)}


def _number(part: Iter | SeparateDim, read: Expr) -> int:
    """The dimension of the operand in which a part of the index stands."""
    if isinstance(part, SeparateDim):
        return part.number
    return next((k for k, e in enumerate(read.args) if part.axis in free_vars(e)), -1)


def _dims(
    block: Block, found: Reduction, first: Set[Expr], last: Set[Expr]
) -> tuple[Expr, list[SeparateDim]]:
    """The load of a term, and its dimensions that the last axes move."""
    loads = {e for e in walk(found.value) if e.op == "load"}
    axes = [free_vars(e) for read in loads for e in read.args]
    if len(loads) == 1 and frozenset[Expr]().union(*axes) >= free_vars(found.value):
        (read,) = loads
        moved = [k for k, own in enumerate(axes) if own & last]
        dims = [_dim(k, read.args[k], first, extents_of(block.iters)) for k in moved]
        alone = all(not axes[k] & own for k in moved for n, own in enumerate(axes) if n != k)
        known = [dim for dim in dims if dim is not None]
        rest = transform(found.value, lambda e: const(0, e.type) if e is read else None)
        alone = alone and not free_vars(rest) & _absorbed(known)
        if alone and len(known) == len(dims) and last <= frozenset[Expr]().union(*axes):
            return read, known
    raise refusal("a term must follow from one element, whose place each axis moves in "
                  "one dimension", block.name, block)  # fmt: skip


def _dim(number: int, expr: Expr, first: Set[Expr], extents: Extents) -> SeparateDim | None:
    """A dimension; None where what the axes ``first`` move is no part of a step of the rest."""
    form = linear(expr)
    near = form.only(lambda atom: bool(free_vars(atom) & first))
    far = form.plus(near, -1)
    step = gcd(far.constant, *far.terms.values()) if near.terms else 1
    index, _ = far.divided(step)
    least, most = form_bounds(near, extents)
    low, high = form_bounds(index, extents)
    inside = (
        0 <= least
        and most < step
        and high < UNKNOWN[1]
        and all(free_vars(atom) <= first for atom in near.terms)
    )
    return SeparateDim(number, index, low, high - low + 1, step, near) if inside else None
