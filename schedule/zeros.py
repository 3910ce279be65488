"""Steps of a sum that add nothing, for a factor of all that they add is 0: images lie in zeros.

p[0] = 0; p[i + 1] = x[i]           for h in range(1): for k in range(3): s[h] += p[h + k] * w[k]
leave_out("k")         becomes      for h in range(1): for k in range(2): s[h] += p[h + k + 1]
                                                                                  * w[k + 1]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..tir.evaluate_expr import evaluate_expr
from ..tir.expr import Expr, free_vars
from ..tir.recent import Recent
from ..tir.stmt import Block, For, Stmt
from .block_forms import is_map, reduction_of, store_of
from .boxes import bindings_of
from .errors import refusal
from .index import Extents, bind
from .new_nests import top_of
from .state import Loop, LoopRef, ScheduleState, replace_axes
from .tree import Path, blocks_below, loop_at, loops_of

LARGEST = 1 << 20  # elements of a buffer; of larger images the border is a small part
Bits = NDArray[np.bool_]
_kept = Recent[tuple[tuple[Stmt, ...], Bits]](64)


def leave_out(state: ScheduleState, loop: Loop) -> LoopRef:
    """Ends a loop of a sum's only block early, and begins it late, where steps add nothing for all
    that the other loops do; gives the new loop, which has a step at the least."""
    path = state.loop(loop)
    old = loop_at(path)
    block, *others = blocks_below(old)
    found = reduction_of(block)
    if others or found is None or found.op != "add" or block.init is not None:
        raise refusal("the loop must be that of a sum alone, begun before it", block.name, old,
                      "Use decompose_reduction.")  # fmt: skip
    adding = np.flatnonzero(_adding(state, block, old))
    first, last = (adding[0], adding[-1]) if len(adding) else (0, 0)
    extent, start = int(last - first) + 1, int(first)
    if extent == old.extent:
        return LoopRef(str(old.axis.attr))
    axis = state.axis(str(old.axis.attr), extent)
    body = replace_axes(old.body, {old.axis: axis + start if start else axis}, state.extents)
    state.swap(path, For(axis, extent, old.kind, body, old.annotations))
    return LoopRef(str(axis.attr))


def _adding(state: ScheduleState, block: Block, loop: For) -> Bits:
    """Of each step of a loop, whether a sum may add something else than 0 in it."""
    found, (_, path) = reduction_of(block), state.block(block.name)
    assert found is not None
    adding = np.ones(loop.extent, bool)
    for load in _factors(found.value):
        name = load.attr.name
        zeros = _zeros(state, name, path) if state.is_local(name) else None
        if zeros is not None:
            index = [bind(e, bindings_of(block)) for e in load.args[:-1]]
            axes = dict.fromkeys(axis for e in index for axis in free_vars(e))
            order = [loop.axis, *(axis for axis in axes if axis is not loop.axis)]
            read = zeros[_places(index, order, state.extents)]
            whole = np.broadcast_to(read, [state.extents[axis] for axis in order])
            adding &= ~whole.reshape(loop.extent, -1).all(axis=1)
    return adding


def _factors(value: Expr) -> Iterator[Expr]:
    """The loads that make a value 0 where they are."""
    if value.op == "load":
        yield value
    elif value.op == "cast" or value.op in ("mul", "widening_mul"):
        yield from chain.from_iterable(map(_factors, value.args))


def _places(
    index: Sequence[Expr], order: Sequence[Expr], extents: Extents
) -> tuple[NDArray[np.int32], ...]:
    """The indices for all values of loops, which are the axes of the arrays in their order."""
    env = {
        str(axis.attr): np.arange(extents[axis], dtype=np.int32).reshape(
            [-1, *[1] * (len(order) - at)]
        )
        for at, axis in enumerate(order)
    }
    return tuple(evaluate_expr(e, env)[..., 0] for e in index)


def _zeros(state: ScheduleState, buffer: str, path: Path) -> Bits | None:
    """Of all places of a local buffer but its last dimension, whether 0 is all that they hold when
    the nest at the end of a path begins; None where nothing is known."""
    order, top = [block.name for block, _ in state.placed()], top_of(path)[-1]
    writers = state.writers(buffer)
    late = order.index(next(blocks_below(top)).name)
    shape = state.buffer(buffer).shape
    if prod(shape) > LARGEST or any(order.index(b.name) >= late for b, _ in writers):
        return None
    nests = tuple(top_of(its)[-1] for _, its in writers)
    key = buffer, *map(id, nests)  # nests live as long as what is kept of them
    return _kept(key, lambda: (nests, _stored(state, shape, writers)))[1]


def _stored(
    state: ScheduleState, shape: tuple[int, ...], writers: Sequence[tuple[Block, Path]]
) -> Bits:
    zeros = np.zeros(shape, bool)
    for block, path in writers:
        store = store_of(block)
        if store is None or not is_map(block):
            return np.zeros(shape[:-1], bool)
        index = [bind(e, bindings_of(block)) for e in store.index]
        order = [loop.axis for loop in loops_of(path)]
        zero = store.value.is_const and store.value.attr == 0 and block.where is None
        zeros[_places(index, order, state.extents)] = zero
    return np.asarray(zeros.all(axis=-1))
