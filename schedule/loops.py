"""Loop primitives: split, fuse, reorder, and the kinds of loops.

for i in range(64): ...      split("i", (None, 32))      for i_0 in range(2):
                                                             for i_1 in range(32): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

from ..tir.expr import Expr, conjoin, conjuncts, const, free_vars, var
from ..tir.ops import FOLDS
from ..tir.stmt import (
    Block,
    Copy,
    For,
    If,
    LoopKind,
    Seq,
    Stmt,
    Wait,
    seq,
    walk_stmt,
)
from ..tir.types import i32
from .block_forms import is_map, is_reduction, reduction_of
from .dependences import check_lanes, check_merged, check_parallel, check_reorder, loop_roles
from .errors import refusal
from .index import bounds, parts_of, substitute_axes
from .new_nests import allocate, buffer_name, on_buffers
from .state import Loop, LoopRef, ScheduleState, renamed, replace_axes
from .storage import is_private
from .tree import blocks_below, loop_at, loops_of, nest, transformed

TAILS = ("exact", "guard", "peel", "overlap")
CUT = ("peel", "overlap")  # those that leave a loop of the rest


def split(
    state: ScheduleState, loop: Loop, factors: Sequence[int | None], tail: str = "exact"
) -> list[LoopRef]:
    """Nested loops of these extents, one of which may be None: whatever is left.

    ``tail``: ``exact`` wants factors that divide; ``guard`` guards the last step; ``peel``
    returns a further loop for the rest, if there is any, whose blocks are named ``*_tail``;
    ``overlap`` returns one for a whole last step, of which part was computed before.
    """
    path = state.loop(loop)
    old = loop_at(path)
    sizes = _sizes(state, old, factors, tail)
    name, total = str(old.axis.attr), prod(sizes)
    axes = [state.axis(f"{name}_{k}", size) for k, size in enumerate(sizes)]
    value = _joined(axes, sizes)
    body = replace_axes(old.body, {old.axis: value}, state.extents)
    if total > old.extent:
        body = _guarded(body, old, value, state)
    new = nest([replace(old, axis=a, extent=n) for a, n in zip(axes, sizes, strict=True)], body)
    if total < old.extent:
        first = total if tail == "peel" else old.extent - prod(sizes[1:])
        rest = _copied(old, first, old.extent - first, state)
        axes.append(rest.axis)
        new = seq(new, rest)
    state.swap(state.loop(loop), new)  # with buffers that the rest got
    return [LoopRef(str(axis.attr)) for axis in axes]


def _sizes(state: ScheduleState, loop: For, factors: Sequence[int | None], tail: str) -> list[int]:
    came = f"factors={tuple(factors)}, extent={loop.extent}"
    if tail not in TAILS:
        raise refusal(f"tail must be one of {', '.join(TAILS)}", repr(tail), loop)
    known = [f for f in factors if f is not None]
    if not factors or len(known) < len(factors) - 1 or any(f < 1 for f in known):
        raise refusal("the factors must be positive, at most one of them None", came, loop)
    inner = prod(known)
    if len(known) < len(factors):
        down = tail in CUT
        open_ = loop.extent // inner if down else -(-loop.extent // inner)
        known = [max(open_, 1) if f is None else f for f in factors]
    total = prod(known)
    if tail == "exact" and total != loop.extent:
        raise refusal("the factors must multiply to the extent or tail= must be given",
                      came, loop, 'Give tail="guard" to keep a guarded last step, or tail="peel" '
                      "for a loop of the rest.")  # fmt: skip
    if tail == "guard" and total < loop.extent:
        raise refusal("guarded factors must cover the extent", came, loop)
    if tail in CUT and total > loop.extent:
        raise refusal("peeled factors must not exceed the extent", came, loop,
                      'Give tail="guard" to keep a guarded last step.')  # fmt: skip
    if tail == "overlap" and total < loop.extent:
        _check_overlap(state, loop, known, came)
    return known


def _check_overlap(state: ScheduleState, loop: For, sizes: list[int], came: str) -> None:
    """Steps may be computed twice: blocks store what follows from their iters, and read nothing
    that is written after them; the steps that are left are fewer than one of the outermost."""
    if loop.extent - prod(sizes) >= prod(sizes[1:]):
        raise refusal("overlapping factors must leave less than a step", came, loop)
    written: set[str] = set()
    below = {node.axis for node in walk_stmt(loop.body) if isinstance(node, For)}
    for block in reversed(list(blocks_below(loop.body))):
        summed = [axis for it in block.iters if it.reduce for axis in free_vars(it.binding)]
        anew = is_reduction(block) and block.init is not None and below.issuperset(summed)
        if not (is_map(block) or anew):
            raise refusal("steps that overlap must be of blocks that may run again",
                          block.name, loop, 'Give tail="peel".')  # fmt: skip
        late = sorted(written & state.accesses(block).read)
        if late:
            raise refusal("steps that overlap must not change what they read",
                          f"{late[0]}, which {block.name} reads", loop,
                          'Give tail="peel".')  # fmt: skip
        written |= state.accesses(block).written


def _joined(axes: list[Expr], sizes: list[int]) -> Expr:
    value: Expr = const(0, i32)
    for axis, size in zip(axes, sizes, strict=True):
        value = axis if value.is_const else value * size + axis
    return value


def _guarded(body: Stmt, loop: For, value: Expr, state: ScheduleState) -> Stmt:
    """Each block below runs only where ``value < extent`` of the old loop."""

    def guard(block: Block, old: Block) -> Block:
        beyond = {loop.axis: var("?beyond") + loop.extent}
        reach = {**state.extents, var("?beyond"): 1 << 20}
        parts = conjuncts(block.where)
        for it in old.iters:
            low, _ = bounds(substitute_axes(it.binding, beyond, reach), reach)
            if low >= it.extent:  # the iter leaves its domain just there
                return replace(block, where=conjoin([*parts, it.axis < it.extent]))
        return replace(block, where=conjoin([*parts, value < loop.extent]))

    before = {b.name: b for b in blocks_below(loop.body)}

    def change(node: Stmt) -> Stmt | None:
        if isinstance(node, Block):
            return guard(node, before[node.name])
        return If(value < loop.extent, node) if isinstance(node, Copy | Wait) else None

    return transformed(body, change)


def _copied(loop: For, start: int, extent: int, state: ScheduleState) -> For:
    """Some steps of ``loop`` as a loop of its own, with new names below, and buffers of its own for
    what steps do not have in common."""
    name = str(loop.axis.attr)
    rest = state.axis(f"{name}_tail", extent)
    values = {loop.axis: rest + start if start else rest}

    def change(node: Stmt) -> Stmt | None:
        if not isinstance(node, Block):
            return None
        late = loop_roles(node, loop.axis)[1]  # past 0: the first loop has initialised
        return replace(
            node, name=state.fresh(f"{node.name}_tail"), init=None if late else node.init
        )

    own = {old: replace(old, name=buffer_name(state, f"{old.name}_tail"))
           for old in state.locals() if is_private(state, old.name, loop)}  # fmt: skip
    for buffer in own.values():
        allocate(state, buffer)
    body = renamed(on_buffers(transformed(loop.body, change), own), values, state, "_tail")
    return For(rest, extent, loop.kind, body)


def fuse(state: ScheduleState, *loops: Loop) -> LoopRef:
    """One loop for several directly nested ones, outermost first."""
    if not loops:
        raise refusal("at least one loop must be given", "none")
    chain = [loop_at(state.loop(loop)) for loop in loops]
    for outer, inner in pairwise(chain):
        if outer.body is not inner:
            raise refusal("each loop must hold just the next one",
                          f"{outer.axis.attr}, {inner.axis.attr}", outer,
                          "Reorder them first.")  # fmt: skip
        if outer.kind is not inner.kind:
            raise refusal("the loops must be of one kind",
                          f"{outer.kind.value} and {inner.kind.value}", inner)  # fmt: skip
    for block in blocks_below(chain[-1].body):
        roles = [loop_roles(block, item.axis) for item in chain]
        if any(s for s, _ in roles) and any(r for _, r in roles):
            raise refusal("the loops must be all spatial or all reductions",
                          f"both in {block.name}", chain[0])  # fmt: skip
    if len(chain) == 1:
        return LoopRef(str(chain[0].axis.attr))
    extent = prod(loop.extent for loop in chain)
    axis = state.axis("_".join(str(loop.axis.attr) for loop in chain) + "_fused", extent)
    parts = parts_of(axis, [loop.extent for loop in chain])
    values = {loop.axis: part for loop, part in zip(chain, parts, strict=True)}
    body = replace_axes(chain[-1].body, values, state.extents)
    path = state.loop(str(chain[0].axis.attr))
    state.swap(path, For(axis, extent, chain[0].kind, body, chain[0].annotations))
    return LoopRef(str(axis.attr))


def merge(state: ScheduleState, first: Loop, second: Loop) -> None:
    """One loop for two that follow each other: each step of the second comes after the step of the
    first that it needs, in one iteration."""
    path = state.loop(first)
    a, b = loop_at(path), loop_at(state.loop(second))
    beside = path[-2].stmts if len(path) > 1 and isinstance(path[-2], Seq) else ()
    if not any(x is a and y is b for x, y in pairwise(beside)):
        raise refusal("the second loop must follow the first", f"{a.axis.attr}, {b.axis.attr}", b)
    if (a.extent, a.kind) != (b.extent, b.kind) or a.kind is LoopKind.VECTORIZED:
        came = f"{a.extent} {a.kind.value} and {b.extent} {b.kind.value}"
        raise refusal("the loops must be of one extent and one kind, and no lanes", came, b)
    halves = a.body, replace_axes(b.body, {b.axis: a.axis}, state.extents)
    whole = replace(a, body=seq(*halves))
    kept = [whole if s is a else s for s in beside if s is not b]
    state.swap(path[:-1], seq(*kept))
    check_merged(state, whole, [list(blocks_below(half)) for half in halves])


def reorder(state: ScheduleState, *loops: Loop) -> None:
    """Puts nested loops into this order, in the places that they take now."""
    paths = [state.loop(loop) for loop in loops]
    if len({path[-1].axis for path in paths if isinstance(path[-1], For)}) < len(paths):
        raise refusal("each loop must be named once", ", ".join(map(str, loops)))
    if len(paths) < 2:
        return
    deepest = max(paths, key=len)
    wanted = [loop_at(path) for path in paths]
    top = min(len(path) for path in paths) - 1
    for loop in wanted:
        if not any(node is loop for node in deepest):
            raise refusal("the loops must be nested in one another",
                          ", ".join(map(str, loops)), loop)  # fmt: skip
    for node in deepest[top:-1]:
        if not isinstance(node, For):
            raise refusal("nothing may stand between the loops",
                          f"a {type(node).__name__} between them", deepest[top],
                          "Reorder before compute_at puts other blocks there.")  # fmt: skip
    chain = loops_of(deepest[top:])
    fresh = iter(wanted)
    order = [next(fresh) if any(c is w for w in wanted) else c for c in chain]
    check_reorder(state, chain, order)
    state.swap(deepest[: top + 1], nest(order, chain[-1].body))


def unroll(state: ScheduleState, *loops: Loop) -> None:
    """The body once for each value of each loop."""
    for loop in loops:
        path = state.loop(loop)
        state.swap(path, replace(loop_at(path), kind=LoopKind.UNROLLED))


def parallel(state: ScheduleState, loop: Loop) -> None:
    """Iterations are spread over hardware threads."""
    path = state.loop(loop)
    check_parallel(state, path)
    state.swap(path, replace(loop_at(path), kind=LoopKind.PARALLEL))


def vectorize(state: ScheduleState, *loops: Loop) -> None:
    """Loops become lanes, row-major in the order of nesting; innermost last."""
    # the innermost first, so that each finds only lanes below
    paths = sorted((state.loop(loop) for loop in loops), key=len, reverse=True)
    for found in paths:
        path = state.loop(str(loop_at(found).axis.attr))
        _check_vectorized(state, loop_at(path))
        state.swap(path, replace(loop_at(path), kind=LoopKind.VECTORIZED))


def _check_vectorized(state: ScheduleState, loop: For) -> None:
    """Below is one block, under vectorized loops only; reductions become sums of lanes."""
    inner: Stmt = loop.body
    while isinstance(inner, For) and inner.kind is LoopKind.VECTORIZED:
        inner = inner.body
    if not isinstance(inner, Block):
        came = f"a {type(inner).__name__} below {loop.axis.attr}"
        raise refusal("only vectorized loops and one block may stand below", came,
                      loop, "Reorder the loop to the innermost place first.")  # fmt: skip
    spatial, reduce = loop_roles(inner, loop.axis)
    if not reduce:
        check_lanes(state, inner, loop)
        return
    if spatial:
        raise refusal("a loop must be spatial or a reduction", "one that is both", loop)
    found = reduction_of(inner)
    if found is None or found.op not in FOLDS or not found.value.type.is_int:
        op = "no reduction" if found is None else f"{found.op} of {found.value.type}"
        raise refusal("a vectorized reduction must be a sum, min or max of integers", op, inner)
    if isinstance(loop.body, For) and not loop_roles(inner, loop.body.axis)[1]:
        raise refusal("a vectorized reduction must be innermost",
                      f"{loop.body.axis.attr} below it", loop)  # fmt: skip
