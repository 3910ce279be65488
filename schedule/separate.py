"""A reduction over several axes as two: over some of them first, for all that the others read.

m[i, j] = max over h, k of x[i + h, j + k]        separate("max", "h")
becomes    t[i, u] = max over h of x[i + h, u]    for each u = j + k
           m[i, j] = max over k of t[i, j + k]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..tir.expr import Expr, const, load, make, substitute, transform, walk
from ..tir.stmt import Block, Buffer, Iter, Store
from .blocks import Reduction, extents_of, is_reduction, reduction_of
from .build import (
    allocate,
    buffer_name,
    check_alone,
    iters_of,
    nest_of,
    put_before,
    top_of,
)
from .errors import refusal
from .index import axes_in, bounds
from .reduction import neutral
from .state import BlockName, Loop, State
from .tree import loops_of


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension that what is left of the reduction reads: its index, from ``low`` on."""

    index: Expr
    low: int
    extent: int


def separate(state: State, block: BlockName, *loops: Loop) -> str:
    """Reduces over ``loops`` first, in a block of its own, whose name it gives."""
    node, path = state.block("separate", block)
    found = reduction_of(node)
    if found is None or found.init is None or not is_reduction(node):
        raise refusal("separate", "the block must be a reduction with an init", node.name, node)
    check_alone("separate", node, path)
    wanted = {state.loop("separate", loop)[-1] for loop in loops}
    first = [it for it in node.iters if any(it.binding is loop.axis for loop in loops_of(path)
                                            if loop in wanted)]  # fmt: skip
    last = [it for it in node.iters if it.reduce and it not in first]
    if not first or not last or not all(it.reduce for it in first):
        raise refusal("separate", "some of the reduction's loops must be given, not all",
                      ", ".join(map(str, loops)), node)  # fmt: skip
    read, dims = _dims(state, node, found, {it.axis for it in first}, {it.axis for it in last})
    absorbed = {a for dim in dims for a in axes_in(dim.index)}
    kept = [it for it in node.iters if not it.reduce and it.axis not in absorbed]
    order: list[Iter | Dim] = sorted([*kept, *dims], key=lambda part: _place(part, read))
    shape = tuple(part.extent for part in order)
    partial = Buffer(buffer_name(state, f"{found.buffer.name}_part"), found.buffer.type, shape,
                     "tcm")  # fmt: skip
    name = state.fresh(f"{node.name}_part")
    axes = [(str(part.axis.attr) if isinstance(part, Iter) else f"u{k}", part.extent, False)
            for k, part in enumerate(order)]  # fmt: skip
    iters = iters_of(state, name, [*axes, *((str(i.axis.attr), i.extent, True) for i in first)])
    spatial = [it.axis for it in iters if not it.reduce]
    values = {old.axis: new.axis for old, new in zip(first, iters[len(spatial) :], strict=True)}
    own: dict[Expr, Expr] = {}
    index: list[Expr] = []
    for part, axis in zip(order, spatial, strict=True):
        if isinstance(part, Iter):
            values[part.axis] = axis
            index.append(part.axis)
        else:
            own[part.index] = axis + part.low if part.low else axis
            index.append(part.index - part.low if part.low else part.index)
    element = Expr("load", read.type, tuple(own.get(e, substitute(e, values)) for e in read.args),
                   read.attr)  # fmt: skip
    term = transform(found.value, lambda e: element if e is read else None)
    body = make(found.op, load(partial, *spatial), term)
    start = const(neutral(found.op, partial.type), partial.type)
    made = Block(name, iters, Store(partial, tuple(spatial), body),
                 Store(partial, tuple(spatial), start))  # fmt: skip
    rest = make(found.op, load(found.buffer, *found.index), load(partial, *index))
    left = tuple(it for it in node.iters if it not in first)
    fresh = replace(node, iters=left, body=Store(found.buffer, found.index, rest))
    state.swap(top_of(path), nest_of(fresh))
    put_before(state, node.name, nest_of(made))
    allocate(state, partial)
    return name


def _place(part: Iter | Dim, read: Expr) -> int:
    """The dimension of the operand in which a part of the index stands."""
    wanted = part.axis if isinstance(part, Iter) else part.index
    axes = axes_in(wanted)
    return next((k for k, e in enumerate(read.args) if axes & axes_in(e)), -1)


def _dims(
    state: State, block: Block, found: Reduction, first: set[Expr], last: set[Expr]
) -> tuple[Expr, list[Dim]]:
    """The load of a term, and its dimensions that the last axes move."""
    loads = {e for e in walk(found.value) if e.op == "load"}
    rule = "a term must follow from one element, whose place each axis moves in one dimension"
    if len(loads) != 1:
        raise refusal("separate", rule, block.name, block)
    (read,) = loads
    axes = [axes_in(expr) for expr in read.args]
    extents = extents_of(block.iters)
    dims: list[Dim] = []
    for number, expr in enumerate(read.args):
        others = frozenset[Expr]().union(*axes[:number], *axes[number + 1 :])
        low, high = bounds(expr, extents)
        if axes[number] & last and not axes[number] & (first | others):
            if low is not None and high is not None:
                dims.append(Dim(expr, low, high - low + 1))
    moved = frozenset[Expr]().union(*(axes_in(dim.index) for dim in dims))
    inside = frozenset[Expr]().union(*axes) >= axes_in(found.value)
    if not inside or not last <= moved:
        raise refusal("separate", rule, block.name, block)
    return read, dims
