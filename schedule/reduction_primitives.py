"""Reductions taken apart: the init as a block of its own, or partial results in a buffer.

decompose_reduction("sum", "k"):    s[i] = 0                    block "sum_init"
                                    for k: s[i] += x[i, k]      block "sum"
rfactor("sum", "k_0"):    for k_0: for k_1: r[k_0, i] += x[...]   block "sum_rf"
                          for k_0: s[i] += r[k_0, i]              block "sum"
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from ..tir.expr import Expr, conjoin, conjuncts, const, free_vars, make, substitute, var
from ..tir.linear import Linear, from_linear, linear
from ..tir.ops import OPS
from ..tir.spell import show_expr
from ..tir.stmt import Block, Buffer, For, Iter, Stmt, Store, load, seq
from ..tir.types import Type, i32
from .block_forms import Reduction, is_reduction, read_in, reduction_of
from .boxes import span_of
from .dependences import runs_once
from .errors import refusal
from .new_nests import (
    allocate,
    buffer_name,
    check_result,
    iter_name,
    iters_of,
    put_after,
)
from .state import BlockName, BlockRef, Loop, ScheduleState, always, replace_axes
from .tree import blocks_below, loop_at, loops_of, nest

# A reduce iter, by which factor a loop drives it, and the rest of its binding as a sum of
# (step, inner, extent of inner).
Factored = tuple[Iter, int, list[tuple[int, Expr, int]]]


def decompose_reduction(state: ScheduleState, block: BlockName, loop: Loop) -> BlockRef:
    """Makes the init of a reduction a block of its own before ``loop``: ``*_init``."""
    node, path = state.block(block)
    target = state.loop(loop)
    at = target[-1]
    loops = loops_of(path)
    place = next((k for k, item in enumerate(loops) if item is at), None)
    begun(node)
    assert node.init is not None
    if place is None:
        raise refusal("the loop must stand around the block", str(loop), node)
    reducing = _axes_of(node, reduce=True)
    late = [item for item in loops[:place] if item.axis in reducing]
    if late:
        raise refusal("no reduction may run outside the loop",
                      f"{late[0].axis.attr} outside {loop}", late[0],
                      f"Give {late[0].axis.attr} or a loop around it.")  # fmt: skip
    spatial = _axes_of(node, reduce=False)
    if spatial & reducing:
        raise refusal("each loop must be spatial or a reduction", "one that is both", node)
    if not runs_once(node, {item.axis: item.extent for item in loops[place:]}):
        raise refusal("each step of the reduction must run once below the loop",
                      f"{node.name}, computed again", at, "Take an inner loop.")  # fmt: skip
    _check_init_ready(state, node, at)
    kept = [item for item in loops[place:] if item.axis in spatial]
    name = state.fresh(f"{node.name}_init")
    guards = _first_guards(node, reducing)
    first: Stmt = Block(name, tuple(it for it in node.iters if not it.reduce), node.init,
                        where=conjoin(guards))  # fmt: skip
    axes = [state.axis(f"{item.axis.attr}_init", item.extent) for item in kept]
    values = {item.axis: axis for item, axis in zip(kept, axes, strict=True)}
    first = replace_axes(first, values, state.extents)
    first = nest([replace(item, axis=axis) for item, axis in zip(kept, axes, strict=True)], first)
    state.swap(path, replace(node, init=None))
    target = state.loop(loop)
    state.swap(target, seq(first, target[-1]))
    return BlockRef(name)


def _check_init_ready(state: ScheduleState, block: Block, at: Stmt) -> None:
    """Buffers that the init reads must not be written below the loop that it goes before."""
    for other in blocks_below(at):
        late = sorted(state.accesses(other).written & read_in(block.init))
        if late and other.name != block.name:
            raise refusal("the init's inputs must be ready before the loop",
                          f"{late[0]}, which {other.name} writes", at)  # fmt: skip


def _axes_of(block: Block, reduce: bool) -> frozenset[Expr]:
    return frozenset[Expr]().union(
        *(free_vars(it.binding) for it in block.iters if it.reduce == reduce)
    )


def _first_guards(block: Block, reducing: frozenset[Expr]) -> list[Expr]:
    """The guards as they stand at the reduction's first step, where the init runs."""
    zero = const(0, i32)
    first = {it.axis: zero for it in block.iters if it.reduce} | {axis: zero for axis in reducing}
    parts = [substitute(part, first) for part in conjuncts(block.where)]
    return [part for part in parts if not always(part, (), {})]


def rfactor(state: ScheduleState, block: BlockName, loop: Loop) -> BlockRef:
    """Partial results for each value of a reduction loop (block ``*_rf``), joined after."""
    node, path = state.block(block)
    at = loop_at(state.loop(loop))
    found = begun(node)
    check_result(state, node, path, found.buffer.name)
    split = factored(state, node, at)
    partial = Buffer(buffer_name(state, f"{found.buffer.name}_rf"), found.buffer.type,
                     (at.extent, *found.buffer.shape))  # fmt: skip
    name = state.fresh(f"{node.name}_rf")
    state.swap(path, _partial_block(state, name, node, found, split, partial, at))
    put_after(state, name, _joining_block(state, node, found, partial))
    allocate(state, partial)
    return BlockRef(name)


def begun(block: Block) -> Reduction:
    """The reduction with an init that a block is; ScheduleError where it is none."""
    found = reduction_of(block)
    if found is None or found.init is None or not is_reduction(block):
        raise refusal("the block must be a reduction with an init", block.name, block)
    return found


def factored(state: ScheduleState, block: Block, loop: For) -> Factored:
    """The reduce iter that the loop drives, by which factor, and the rest of its binding as a sum
    of step * inner where each inner takes all its values 0 .. extent-1."""
    driven = [it for it in block.iters if loop.axis in free_vars(it.binding)]
    form = linear(driven[0].binding) if driven else None
    atoms = set() if form is None else {a for a in form.terms if loop.axis in free_vars(a)}
    if form is None or len(driven) != 1 or not driven[0].reduce or atoms != {loop.axis}:
        raise refusal("the loop must drive one reduce iter", str(loop.axis.attr), loop)
    guards = [p for p in conjuncts(block.where)
              if free_vars(p) & {driven[0].axis, loop.axis}]  # fmt: skip
    if guards:
        raise refusal("the reduction must not be guarded", show_expr(guards[0]), loop,
                      "Split it by factors that divide, or with tail=\"peel\".")  # fmt: skip
    rest = form.plus(form.only(lambda atom: atom is loop.axis), -1)
    return driven[0], form.terms[loop.axis], _rests(rest, loop, state)


def _partial_block(
    state: ScheduleState, name: str, block: Block, found: Reduction, split: Factored,
    partial: Buffer, loop: For,
) -> Block:  # fmt: skip
    it, factor, _ = split
    part = var(iter_name(block, f"{it.axis.attr}_part"))
    rest, value = without(block, split)
    iters = [Iter(part, loop.extent, False, loop.axis), *rest]
    value = part * factor if value is None else part * factor + value
    term = substitute(found.value, {it.axis: value})
    index = (part, *found.index)
    if not any(new.reduce for new in iters):
        return replace(block, name=name, iters=tuple(iters), init=None,
                       body=Store(partial, index, term))  # fmt: skip
    first = const(neutral(found.op, found.buffer.type), found.buffer.type)
    body = make(found.op, load(partial, *index), term)
    return replace(block, name=name, iters=tuple(iters), init=Store(partial, index, first),
                   body=Store(partial, index, body))  # fmt: skip


def without(block: Block, split: Factored) -> tuple[list[Iter], Expr | None]:
    """The iters with those of the rest in the place of the driven one, and the rest of its value,
    if there is one."""
    it, _, rest = split
    iters, value = list[Iter](), None
    for old in block.iters:
        if old.axis is not it.axis:
            iters.append(old)
            continue
        for step, inner, extent in rest:
            first = not any(i.reduce for i in iters)
            axis = old.axis if first else var(f"{old.axis.attr}_{len(iters)}")
            iters.append(Iter(axis, extent, True, inner))
            value = axis * step if value is None else value + axis * step
    return iters, value


def _rests(form: Linear, loop: For, state: ScheduleState) -> list[tuple[int, Expr, int]]:
    """A sum as one of step * inner where each inner takes all its values 0 .. extent-1."""
    if not form.terms:
        return []
    step = gcd(*form.terms.values())
    inner = from_linear(Linear(form.terms, 0).divided(step)[0])
    span = span_of(inner, set(), state.extents)
    if span is not None and span.dense:
        return [(step, inner, span.extent)]
    largest = sorted(form.terms.items(), key=lambda term: -term[1])  # not by what came before
    parts = [(c, a, state.extents.get(a, 0)) for a, c in largest]
    if not all(extent and step > 0 for step, _, extent in parts):
        raise refusal("the parts of the loop's iter must be loops",
                      f"{loop.axis.attr} among {show_expr(from_linear(form))}", loop)  # fmt: skip
    return parts


def neutral(op: str, kind: Type) -> int:
    """The value that changes nothing."""
    found = OPS[op].neutral
    assert found is not None
    return found(kind)


def _joining_block(state: ScheduleState, block: Block, found: Reduction, partial: Buffer) -> Block:
    spatial = [(str(it.axis.attr), it.extent, False) for it in block.iters if not it.reduce]
    iters = iters_of(state, block.name, [*spatial, ("part", partial.shape[0], True)])
    part = load(partial, iters[-1].axis, *found.index)
    body = make(found.op, load(found.buffer, *found.index), part)
    assert found.init is not None
    init = Store(found.buffer, found.index, found.init)
    return Block(block.name, iters, Store(found.buffer, found.index, body), init)
