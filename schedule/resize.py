"""Loops that run on, so that registers are whole, or end early, where the rest means nothing.

    resize("w", 32)    for w in range(28): t[w] = ...    becomes    for w in range(32): ...
    resize("c", 64)    for c in range(49): m = max(m, x[c])
             becomes   for c in range(64): m = max(m, select(c < 49, x[c], 0))

Further steps of a spatial loop make elements of a local buffer that nobody reads or has made, or
such of a parameter as mean nothing (``meant``: stored images end in pads); further steps of a
reduction take in what changes nothing. Local operands of more than one element grow along, with the
loops of local results all of them and constants; what else is read beyond its buffer is the last
element instead. A shorter loop leaves out elements that end in pads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import gcd

from ..tir.expr import (
    Expr,
    conjuncts,
    const,
    free_vars,
    is_number,
    make,
    rebuild,
    select,
    var,
    walk,
)
from ..tir.intervals import Interval
from ..tir.linear import from_linear, linear
from ..tir.spell import show_expr
from ..tir.stmt import Block, Buffer, For, Iter, Store
from ..tir.types import i32
from .block_forms import Reduction, extents_of, is_map, is_reduction, reduction_of, store_of
from .errors import refusal
from .extents import Sizes, meant
from .index import UNKNOWN, bounds, held
from .new_nests import enlarge, iter_name, moved, resized, rewritten, top_of
from .reduction_primitives import neutral
from .state import BlockAccess, Loop, LoopRef, ScheduleState
from .tree import blocks_below, loop_at

RULE = "the loop must be the innermost part of one iter of the only block below it"
BEYOND = ("any", "zeros", "last")
Shapes = dict[str, Sizes]


def resize(state: ScheduleState, loop: Loop, extent: int, beyond: str = "any") -> LoopRef:
    """Lets a loop run longer, for elements that nobody reads or that mean nothing (``beyond``:
    any, those of a local buffer zeros, or made of the last ones of local operands), or for what
    changes no sum, or less long, where it leaves out pads of a result; gives the new loop."""
    old = loop_at(state.loop(loop))
    if beyond not in BEYOND:
        raise refusal(f"beyond must be one of {', '.join(BEYOND)}", repr(beyond), old)
    if extent < 1:
        raise refusal("the extent must be positive", str(extent), old)
    blocks = list(blocks_below(old))
    block = blocks[0]
    driven = [it for it in block.iters if old.axis in free_vars(it.binding)]
    if len(blocks) > 1 or len(driven) != 1 or not _counts(driven[0].binding, old.axis, state):
        raise refusal(RULE, f"{', '.join(b.name for b in blocks)}, which is not so", old)
    it = driven[0]
    if any(free_vars(guard) & {it.axis, old.axis} for guard in conjuncts(block.where)):
        raise refusal("the steps must not be guarded", block.name, old)
    if it.binding is not old.axis or it.extent != old.extent:
        block, it = _apart(state, block, it, old)
    fresh = _reduced(state, block, it, extent) if it.reduce else _spatial(state, block, it, extent)
    if beyond == "zeros":
        fresh = _with_zeros(state, fresh, it)
    fresh, shapes = _operands(state, fresh, it, extent, beyond == "last" and not it.reduce)
    _, path = state.block(block.name)
    (name,) = resized(state, path, fresh, {it.axis: extent})
    for changed, shape in shapes.items():
        enlarge(state, changed, shape)
    return LoopRef(name)


def _counts(binding: Expr, axis: Expr, state: ScheduleState) -> bool:
    """Whether ``axis`` counts on from a number that is 0 or more."""
    form = linear(binding)
    low, high = bounds(binding - axis, state.extents)
    return form.terms.get(axis) == 1 and 0 <= low and high < UNKNOWN[1]


def _apart(state: ScheduleState, block: Block, it: Iter, loop: For) -> tuple[Block, Iter]:
    """The block with what the loop drives as an iter apart from the rest of ``it``."""
    form = linear(it.binding)
    rest = form.plus(form.only(lambda atom: atom is loop.axis), -1)
    part = Iter(var(iter_name(block, f"{it.axis.attr}_part")), loop.extent, it.reduce, loop.axis)
    iters = [part if i is it else i for i in block.iters]
    value = part.axis
    if rest.terms or rest.constant:
        step = gcd(rest.constant, *rest.terms.values())
        at, _ = rest.divided(step)
        _, high = bounds(from_linear(at), state.extents)
        name = iter_name(block, f"{it.axis.attr}_outer")
        outer = Iter(var(name), high + 1, it.reduce, from_linear(at))
        iters.append(outer)
        value = outer.axis * step + part.axis
    fresh = replace(block, iters=tuple(iters))
    return moved(fresh, {it.axis: value}, state.ranges(fresh)), part


# Reductions -------------------------------------------------------------------------------------


def _reduced(state: ScheduleState, block: Block, it: Iter, extent: int) -> Block:
    """A reduction of what is neutral beyond the old extent; a sum of bytes is 0 where all of
    them are, and nothing is to be done where its operand ends in zeros."""
    found, steps = reduction_of(block), range(*sorted((it.extent, extent)))
    if found is not None and found.op == "add" and is_reduction(block):
        if _zero(state, found.value, it, steps):
            return block
    if found is None or not is_reduction(block) or extent < it.extent:
        raise refusal("a loop of a reduction may only run on, or leave out products by "
                      "zeros", str(extent), block)  # fmt: skip
    kind = found.buffer.type
    own = Expr("load", kind, found.index, found.buffer)
    value = make(found.op, own, _term(found, it.axis < it.extent, neutral(found.op, kind)))
    return replace(block, body=Store(found.buffer, found.index, value))


def _term(found: Reduction, inside: Expr, rest: int) -> Expr:
    def kept(value: Expr, rest: int) -> Expr:
        return select(inside, value, const(rest, value.type))

    zeroed = _zeroed(found.value, kept) if found.op == "add" else None
    if zeroed is not None:
        return zeroed
    narrow = found.value.op == "cast" and found.value.args[0].type.is_int
    if not narrow or found.op not in ("min", "max"):
        return kept(found.value, rest)
    source = found.value.args[0]
    least = max(source.type.low, min(rest, source.type.high))
    return Expr("cast", found.value.type, (kept(source, least),))


def _zero(state: ScheduleState, value: Expr, it: Iter, steps: range) -> bool:
    """Whether a term is 0 in some steps of an iter, for what a factor of it reads there is: the end
    of a constant, which grows by zeros, or what a map keeps at 0 from there on."""
    if value.op in ("cast", "shl"):
        return _zero(state, value.args[0], it, steps)
    if value.op in ("mul", "widening_mul"):
        return any(_zero(state, arg, it, steps) for arg in value.args)
    dims = [d for d, e in enumerate(value.args) if it.axis in free_vars(e)]
    if value.op != "load" or len(dims) != 1 or value.args[dims[0]] is not it.axis:
        return False
    name, size = value.attr.name, value.attr.shape[dims[0]]
    if name in state.func.constants:
        ends = range(min(steps.start, size), min(steps.stop, size))
        return not state.func.constants[name].take(ends, axis=dims[0]).any()
    writers = [block for block, _ in state.writers(name)]
    store = store_of(writers[0]) if len(writers) == 1 and state.is_local(name) else None
    if store is None or not is_map(writers[0]) or writers[0].where is not None:
        return False
    at = store.index[dims[0]]
    made = [min(i.extent, size) for i in writers[0].iters if i.axis is at]
    zeros = at < steps.start, const(0, store.value.type)
    kept = store.value.op == "select" and (store.value.args[0], store.value.args[2]) == zeros
    return kept and made != [] and made[0] >= steps.stop


def _with_zeros(state: ScheduleState, block: Block, it: Iter) -> Block:
    """A map of a local buffer that is 0 beyond its iter."""
    store = store_of(block)
    if it.reduce or store is None or not state.is_local(store.buffer.name):
        raise refusal("zeros must be further elements of a local buffer", block.name, block)
    value = select(it.axis < it.extent, store.value, const(0, store.value.type))
    return replace(block, body=replace(store, value=value))


def _zeroed(value: Expr, kept: Callable[[Expr, int], Expr]) -> Expr | None:
    """A sum of loads, or its square, that is 0 where these are, with each of them kept or 0."""
    if value.op == "load":
        return kept(value, 0)
    by = value.op == "shl" and value.args[1].is_const
    by |= value.op == "mul" and is_number(value.args[1])
    moving = value.args[:1] if by else value.args
    square = value.op in ("mul", "widening_mul") and value.args[0] is value.args[1]
    if value.op not in ("cast", "add", "sub", "shl") and not by and not square:
        return None
    parts = [_zeroed(arg, kept) for arg in moving]
    if None in parts:
        return None
    return rebuild(value, (*(part for part in parts if part), *value.args[len(parts) :]))


# Spatial loops ----------------------------------------------------------------------------------


def _spatial(state: ScheduleState, block: Block, it: Iter, extent: int) -> Block:
    """The block as it is, where its elements may be more, or fewer."""
    store = store_of(block)
    if store is None or not (is_map(block) or is_reduction(block)):
        raise refusal("the block must be a map or a reduction", block.name, block)
    local = state.is_local(store.buffer.name)
    if extent > it.extent and not local:
        _check_meaningless(state, block, store, it, extent)
        return block
    dims = [d for d, e in enumerate(store.index) if it.axis in free_vars(e)]
    if len(dims) != 1 or linear(store.index[dims[0]]).terms != {it.axis: 1}:
        raise refusal("the loop must be the index of one dimension of the result",
                      f"{store.buffer.name}[{', '.join(map(show_expr, store.index))}]",
                      block)  # fmt: skip
    if extent < it.extent:
        _check_pads(state, block, store, dims[0], extent)
    elif others := _makers(state, block, store, dims[0], it, extent):
        raise refusal("a longer loop must make elements that are not made already, or "
                      "not read", ", ".join([store.buffer.name, *others]), block)  # fmt: skip
    return block


def _check_meaningless(
    state: ScheduleState, block: Block, store: Store, it: Iter, extent: int
) -> None:
    """What is stored beyond the iter must lie in the pads of a parameter."""
    known, inside = extents_of(block.iters), False
    for expr, size in zip(store.index, meant(state.func, store.buffer), strict=True):
        form = linear(expr)
        if form.terms.keys() <= known.keys() and all(c > 0 for c in form.terms.values()):
            beyond = form.constant + form.terms.get(it.axis, 0) * it.extent >= size
            inside = inside or (beyond and it.axis in form.terms)
    tops = [bounds(expr, {**known, it.axis: extent})[1] for expr in store.index]
    sizes = zip(tops, store.buffer.shape, strict=True)
    if not inside or any(top >= size for top, size in sizes):
        raise refusal("what is stored beyond the iter must mean nothing",
                      f"{it.axis.attr} of {store.buffer.name}", block)  # fmt: skip


def _check_pads(state: ScheduleState, block: Block, store: Store, dim: int, extent: int) -> None:
    """What lies beyond ``extent`` must end in pads of results."""
    for buffer, at in _ends(state, store.buffer, dim):
        if state.is_local(buffer.name) or meant(state.func, buffer)[at] > extent:
            raise refusal("what a shorter loop leaves out must lie in pads of a result",
                          f"{extent} of {buffer.name}", block)  # fmt: skip


def _ends(state: ScheduleState, buffer: Buffer, dim: int) -> list[tuple[Buffer, int]]:
    """The results, and their dimension, to which blocks carry ``dim`` of a buffer; a local buffer
    where something else reads it."""
    if not state.is_local(buffer.name):
        return [(buffer, dim)]
    found: list[tuple[Buffer, int]] = []
    for reader, _ in state.readers(buffer.name):
        store = store_of(reader)
        reads = {a.index[dim] for a in state.accesses(reader).reads if a.buffer == buffer}
        dims = [] if store is None else [d for d, e in enumerate(store.index) if e in reads]
        whole = is_map(reader) or is_reduction(reader)
        if store is None or not whole or len(reads) != 1 or len(dims) != 1:
            return [(buffer, dim)]
        if any(
            free_vars(store.index[dims[0]]) & free_vars(e)
            for d, e in enumerate(store.index)
            if d != dims[0]
        ):
            return [(buffer, dim)]
        found += _ends(state, store.buffer, dims[0])
    return found or [(buffer, dim)]


def _makers(
    state: ScheduleState, block: Block, store: Store, dim: int, it: Iter, extent: int
) -> list[str]:
    """The blocks before ``block``, or under loops of its own, that make what it makes when ``it``
    runs on; none where that is not read."""
    new = [bounds(e, {**extents_of(block.iters), it.axis: extent}) for e in store.index]
    new[dim] = linear(store.index[dim]).constant + it.extent, new[dim][1]

    def meets(other: Block, accesses: Iterable[BlockAccess]) -> bool:
        known = state.ranges(other)
        return any(
            access.buffer == store.buffer
            and all(map(_meet, new, (bounds(e, known) for e in access.index)))
            for access in accesses
        )

    name = store.buffer.name
    if not any(meets(b, state.accesses(b).reads) for b, _ in state.readers(name)):
        return []
    _, path = state.block(block.name)
    order = [b.name for b, _ in state.placed()]
    early = {*order[: order.index(block.name)], *(b.name for b in blocks_below(top_of(path)[-1]))}
    return [
        b.name
        for b, _ in state.writers(name)
        if b.name in early - {block.name} and meets(b, state.accesses(b).writes)
    ]


def _meet(one: Interval, other: Interval) -> bool:
    """Whether two ranges may have a value in common."""
    return other[0] <= one[1] and one[0] <= other[1]


# Operands ---------------------------------------------------------------------------------------


def _operands(
    state: ScheduleState, block: Block, it: Iter, extent: int, again: bool
) -> tuple[Block, Shapes]:
    """The shapes of buffers that grow with a loop, and the block that reads others no further than
    to their ends, as all that it reads if ``again``."""
    store, accesses = store_of(block), state.accesses(block)
    known = {**state.ranges(block), it.axis: extent}
    grows = it.reduce or (store is not None and state.is_local(store.buffer.name))
    shapes = Shapes()
    for access in (*(() if again else accesses.reads), *accesses.writes):
        name = access.buffer.name
        before = shapes.get(name, access.buffer.shape)
        local = state.is_local(name)
        ends = zip(access.index, before, strict=True)
        single = any(size == 1 < _end(expr, it, known) for expr, size in ends)
        if (local and not single) or (grows and (local or name in state.func.constants)):
            shapes[name] = _reach(access, before, it, known, block)

    def element(node: Expr) -> Expr | None:
        if node.op != "load" or node.attr.name in shapes:
            return None
        pairs = zip(node.args, node.attr.shape, strict=True)
        return rebuild(node, tuple([
            e if not _follows(e, it) else const(0, i32) if size == 1 else held(e, size, known)
            for e, size in pairs
        ]))  # fmt: skip

    return rewritten(block, element) if extent > it.extent else block, shapes


def _reach(
    access: BlockAccess, shape: Sizes, it: Iter, known: Mapping[Expr, int], block: Block
) -> Sizes:
    """The least shape, from ``shape`` on, within which all elements of an access lie."""
    needed = []
    for expr, size in zip(access.index, shape, strict=True):
        if not _follows(expr, it):
            needed.append(size)
            continue
        low, high = bounds(expr, known)
        if low < 0 or high >= UNKNOWN[1]:
            raise refusal("each index must have bounds, from 0 on", show_expr(expr), block)
        needed.append(max(size, high + 1))
    return tuple(needed)


def _end(expr: Expr, it: Iter, known: Mapping[Expr, int]) -> int:
    """One more than the greatest value of an index that follows from an iter."""
    return bounds(expr, known)[1] + 1 if _follows(expr, it) else 1


def _follows(expr: Expr, it: Iter) -> bool:
    """Whether an index follows from an iter by arithmetic; data are in range by themselves."""
    return it.axis in free_vars(expr) and all(node.op != "load" for node in walk(expr))
