"""Loops that run on: whole registers are computed, though less of them is needed.

    extend("i", 32)    for i in range(25): s[t, i] = f(t, i)  becomes  for i in range(32): ...

Further steps of a spatial loop store new elements of a local buffer, which nobody reads; what they
are computed from means nothing. Further steps of a reduction take in what changes nothing:

    extend("c", 64)    for c in range(49): m = max(m, x[c])
    becomes           for c in range(64): m = max(m, select(c < 49, x[c], 0))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import gcd

from ..tir.expr import Expr, const, make, rebuild, select, substitute, transform, var, walk
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, For, Iter, Store
from ..tir.types import i32
from .blocks import Reduction, is_map, is_reduction, reduction_of
from .build import iter_name, replace_buffer
from .errors import refusal
from .index import axes_in, bounds, simplify
from .inline import map_block
from .reduction import neutral
from .state import Access, Loop, State, conjuncts
from .tree import nest

RULE = "the loop must be the innermost part of one iter of the only block below it"


def extend(state: State, loop: Loop, extent: int) -> str:
    """Lets a loop run on to ``extent``; gives its new name."""
    path = state.loop("extend", loop)
    old = path[-1]
    assert isinstance(old, For)
    if extent < old.extent:
        raise refusal("extend", "the extent must not be less than the loop's",
                      f"{extent} for {old.extent}", old)  # fmt: skip
    block, inner = _only_block(old)
    driven = [it for it in block.iters if old.axis in axes_in(it.binding)]
    if len(driven) != 1 or not _counts(driven[0].binding, old.axis, state):
        raise refusal("extend", RULE, f"{block.name}, which is not so", old)
    name = str(old.axis.attr)
    axis = state.axis(f"{name}_extended", extent)
    state.gone[name] = "extend"
    run = _masked if driven[0].reduce else _run_on
    fresh, shapes = run(state, block, driven[0], old, axis)
    state.swap(path, replace(old, axis=axis, extent=extent, body=nest(inner, fresh)))
    for changed, shape in shapes.items():
        buffer = state.buffer("extend", changed)
        if buffer.shape != shape:
            replace_buffer(state, changed, replace(buffer, shape=shape))
    return str(axis.attr)


def _counts(binding: Expr, axis: Expr, state: State) -> bool:
    """Whether ``axis`` counts on from a number that is 0 or more."""
    form = linear(binding)
    low, high = bounds(binding - axis, state.extents)
    return form.terms.get(axis) == 1 and low is not None and high is not None and low >= 0


def _only_block(loop: For) -> tuple[Block, list[For]]:
    inner: list[For] = []
    node = loop.body
    while isinstance(node, For):
        inner.append(node)
        node = node.body
    if not isinstance(node, Block):
        raise refusal("extend", RULE, "several blocks", loop)
    return node, inner


def _masked(state: State, block: Block, it: Iter, loop: For, axis: Expr) -> tuple[Block, Shapes]:
    """The reduction over more elements, of which the further ones change nothing."""
    found, extent = reduction_of(block), state.extents[axis]
    whole = it.binding is loop.axis and it.extent == loop.extent
    if found is None or not is_reduction(block) or not whole:
        raise refusal("extend", "a loop of a reduction must be the whole of its iter",
                      str(loop.axis.attr), loop)  # fmt: skip
    ranges = {i.axis: i.extent for i in block.iters} | {it.axis: extent}
    shapes: Shapes = {}
    for access in state.accesses(block).reads:
        _reach(state, access, ranges, block, shapes)
    iters = tuple(replace(i, extent=extent, binding=axis) if i is it else i for i in block.iters)
    return replace(block, iters=iters, body=_padded(found, it)), shapes


def _padded(found: Reduction, it: Iter) -> Store:
    """The reduction of what is neutral beyond the old extent; a sum of bytes is 0 where all of
    them are."""
    kind = found.buffer.type
    rest = neutral(found.op, kind)
    inside = it.axis < it.extent

    def kept(value: Expr, rest: int) -> Expr:
        return select(inside, value, const(rest, value.type))

    narrow = found.value.op == "cast" and found.value.args[0].type.is_int
    zeroed = _zeroed(found.value, kept) if found.op == "add" else None
    if zeroed is not None:
        term = zeroed
    elif narrow and found.op in ("min", "max"):
        source = found.value.args[0]
        least = max(source.type.low, min(rest, source.type.high))
        term = Expr("cast", found.value.type, (kept(source, least),))
    else:
        term = kept(found.value, rest)
    own = Expr("load", kind, found.index, found.buffer)
    return Store(found.buffer, found.index, make(found.op, own, term))


def _zeroed(value: Expr, kept: Callable[[Expr, int], Expr]) -> Expr | None:
    """A sum of loads that is 0 where these are, with each of them kept or 0."""
    if value.op == "load":
        return kept(value, 0)
    moving = value.args[:1] if value.op == "shl" and value.args[1].is_const else value.args
    if value.op not in ("cast", "add", "sub", "shl"):
        return None
    parts = [_zeroed(arg, kept) for arg in moving]
    if None in parts:
        return None
    return rebuild(value, (*(part for part in parts if part), *value.args[len(parts) :]))


def _run_on(state: State, block: Block, it: Iter, loop: For, axis: Expr) -> tuple[Block, Shapes]:
    """The block on more elements, its iter apart from the rest of what drove it."""
    if not (is_map(block) or is_reduction(block)):
        raise refusal("extend", "the block must be a map or a reduction", block.name, block)
    form = linear(it.binding)
    rest = Linear({a: c for a, c in form.terms.items() if a is not loop.axis}, form.constant)
    part = var(iter_name(block, f"{it.axis.attr}_part"))
    iters = [replace(i, binding=axis, axis=part, extent=loop.extent) if i is it else i
             for i in block.iters]  # fmt: skip
    value = part
    ranges = {i.axis: i.extent for i in iters}
    if rest.terms or rest.constant:
        base = from_linear(rest)
        outer = var(iter_name(block, f"{it.axis.attr}_outer"))
        _, high = bounds(base, state.extents)
        assert high is not None
        step = gcd(rest.constant, *rest.terms.values())
        at = from_linear(Linear({a: c // step for a, c in rest.terms.items()},
                                rest.constant // step))  # fmt: skip
        iters.append(Iter(outer, high // step + 1, False, at))
        value = outer * step + part
        ranges[outer] = high // step + 1
    known = ranges | state.accesses(block).inner

    def place(expr: Expr) -> Expr:
        return simplify(expr, known)

    guards = conjuncts(block.where)
    if any(axes_in(guard) & {it.axis, loop.axis} for guard in guards):
        raise refusal("extend", "the steps must not be guarded", block.name, loop)
    fresh = replace(block, iters=tuple(iters))
    fresh = map_block(fresh, lambda e: _with_indices(substitute(e, {it.axis: value}), place))
    extent = state.extents[axis]
    grown = tuple(replace(i, extent=extent) if i.axis is part else i for i in iters)
    _check_new(state, fresh, part, loop, extent)
    wide, shapes = known | {part: extent}, Shapes()
    for access in (*state.accesses(fresh).writes, *state.accesses(fresh).reads):
        _reach(state, access, wide, fresh, shapes)
    return replace(fresh, iters=grown), shapes


def _with_indices(value: Expr, place: Callable[[Expr], Expr]) -> Expr:
    """``value`` with ``place`` applied to the indices of its loads, or to itself as an index."""
    if value.type == i32 and not any(node.op == "load" for node in walk(value)):
        return place(value)

    def change(node: Expr) -> Expr | None:
        if node.op != "load" or any(n.op == "load" for e in node.args for n in walk(e)):
            return None
        return Expr("load", node.type, tuple(map(place, node.args)), node.attr)

    return transform(value, change)


def _check_new(state: State, block: Block, part: Expr, loop: For, extent: int) -> None:
    """The elements of further steps must lie beyond the buffer's: no one else has them."""
    for access in state.accesses(block).writes:
        beyond = any(
            linear(e) == Linear({part: 1}, 0) and size == loop.extent
            for e, size in zip(access.index, access.buffer.shape, strict=True)
        )
        if not state.is_local(access.buffer.name):
            raise refusal("extend", "the results must lie in a local buffer", access.buffer.name,
                          loop)  # fmt: skip
        if extent > loop.extent and not beyond:
            raise refusal("extend", "the loop must be the whole index of a dimension that it fills",
                          access.buffer.name, loop,
                          "Use transform_layout to put it apart.")  # fmt: skip


Shapes = dict[str, tuple[int, ...]]


def _reach(
    state: State, access: Access, ranges: dict[Expr, int], place: Block, shapes: Shapes
) -> None:
    """Notes the shape that the accessed buffer needs; local ones may grow."""
    shape = shapes.get(access.buffer.name, access.buffer.shape)
    needed = []
    for expr, size in zip(access.index, shape, strict=True):
        if any(node.op == "load" for node in walk(expr)):
            needed.append(size)  # data are in range by themselves
            continue
        low, high = bounds(expr, ranges)
        if low is None or high is None or low < 0:
            raise refusal("extend", "each index must have bounds", access.buffer.name, place)
        needed.append(max(size, high + 1))
    if tuple(needed) != access.buffer.shape and not state.is_local(access.buffer.name):
        raise refusal(
            "extend", "what is read must lie within the buffer", access.buffer.name, place
        )
    shapes[access.buffer.name] = tuple(needed)
