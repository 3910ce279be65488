"""Which loops may change their order or run at the same time.

Over one block the answer follows from what the block is (a map or a reduction). Over several, each
buffer that they share must be touched at different elements in different iterations, or be
private to one iteration (written before it is read, all users below the loop).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ..tir.expr import Expr, free_vars
from ..tir.linear import Linear, from_linear, linear
from ..tir.stmt import Block, For, LoopKind
from .block_forms import injective, is_map, is_reduction
from .boxes import Box, box_of, separated
from .errors import refusal
from .state import ScheduleState
from .storage import is_private
from .tree import Path, blocks_below, loop_at, loops_of


def loop_roles(block: Block, axis: Expr) -> tuple[bool, bool]:
    """Whether ``axis`` drives spatial iters of ``block``, and whether reduce iters."""
    spatial = reduce = False
    for it in block.iters:
        if axis in free_vars(it.binding):
            spatial, reduce = spatial or not it.reduce, reduce or it.reduce
    return spatial, reduce


def check_reorder(state: ScheduleState, chain: Sequence[For], order: Sequence[For]) -> None:
    """ScheduleError unless ``chain`` may run in ``order``."""
    moved = [k for k, (a, b) in enumerate(zip(chain, order, strict=True)) if a is not b]
    if not moved:
        return
    for outer, inner in pairwise(order):
        if outer.kind is LoopKind.VECTORIZED and inner.kind is not LoopKind.VECTORIZED:
            raise refusal("only vectorized loops may stand below a vectorized one",
                          f"{inner.axis.attr} below {outer.axis.attr}", outer)  # fmt: skip
    axes = {loop.axis: loop.extent for loop in chain[moved[0] : moved[-1] + 1]}
    inside = chain[moved[-1]]
    blocks = list(blocks_below(inside.body))
    if len(blocks) == 1:
        _check_one(state, blocks[0], axes, chain[moved[0]])
        return
    mend = "Reorder before compute_at brings the blocks together."
    _check_apart(state, inside, axes, chain[moved[0]], mend)


def _check_apart(
    state: ScheduleState, inside: For, axes: dict[Expr, int], place: For, mend: str
) -> None:
    """ScheduleError unless values of ``axes`` have elements of their own in each buffer that the
    blocks below ``inside`` write, or buffers of their own."""
    blocks = list(blocks_below(inside.body))
    for block in blocks:
        for name in sorted(state.accesses(block).written):
            if not is_private(state, name, inside) and not _apart(state, blocks, name, axes):
                raise refusal("iterations must not meet in one element of a buffer",
                              f"{name}, which {block.name} writes", place, mend)  # fmt: skip


def _check_one(state: ScheduleState, block: Block, axes: dict[Expr, int], place: For) -> None:
    if is_map(block) or (is_reduction(block) and runs_once(block, axes)):
        return
    if not _apart(state, [block], None, axes):
        raise refusal("a block must store each element once, or be a reduction by an "
                      "associative operator", f"{block.name}, which is neither", place)  # fmt: skip


def runs_once(block: Block, axes: dict[Expr, int]) -> bool:
    """Whether different iterations of ``axes`` are different instances, the others standing."""
    index = []
    for it in block.iters:
        form, kept = linear(it.binding), {}
        for atom, coefficient in form.terms.items():
            used = free_vars(atom)
            if used <= axes.keys():
                kept[atom] = coefficient
            elif used & axes.keys():
                return False
        index.append(from_linear(Linear(kept, 0)))
    return injective(tuple(index), axes)


def _apart(
    state: ScheduleState, blocks: Sequence[Block], buffer: str | None, axes: dict[Expr, int]
) -> bool:
    """Whether different values of ``axes`` touch different elements of ``buffer`` (None: of all
    buffers that are written)."""
    written = frozenset[str]().union(*(state.accesses(b).written for b in blocks))
    for name in written if buffer is None else {buffer}:
        boxes: list[Box] = []
        for block in blocks:
            outer = _outside(state, block, axes)
            boxes.extend(box_of(a, block, outer, state) for a in state.accesses(block).of(name))
        if not separated(boxes, axes):
            return False
    return True


def _outside(state: ScheduleState, block: Block, axes: dict[Expr, int]) -> list[Expr]:
    """The axes above ``block`` down to the innermost of ``axes``."""
    _, path = state.block(block.name)
    loops = [loop.axis for loop in loops_of(path)]
    last = max(k for k, axis in enumerate(loops) if axis in axes)
    return loops[: last + 1]


def check_lanes(state: ScheduleState, block: Block, loop: For) -> None:
    """ScheduleError unless the iterations of the spatial ``loop`` around ``block`` may run at the
    same time, with those of the lanes below it: all are loaded before any is stored."""
    if is_map(block) or is_reduction(block):
        return
    axes, inner = {loop.axis: loop.extent}, loop.body
    while isinstance(inner, For):
        if not loop_roles(block, inner.axis)[1]:
            axes[inner.axis] = inner.extent
        inner = inner.body
    if not _apart(state, [block], None, axes):
        raise refusal("a lane must not touch what another one stores",
                      f"{block.name}, which does", loop)  # fmt: skip


def check_merged(state: ScheduleState, loop: For, halves: Sequence[Sequence[Block]]) -> None:
    """ScheduleError unless what both halves of a loop's body touch, and one of them writes, is
    touched at other elements in other iterations: those of one half came before the other's."""
    blocks = [block for half in halves for block in half]
    written = frozenset[str]().union(*(state.accesses(b).written for b in blocks))
    for name in sorted(written):
        shared = all(any(state.accesses(b).touch(name) for b in half) for half in halves)
        if shared and not _apart(state, blocks, name, {loop.axis: loop.extent}):
            raise refusal("iterations must not meet in an element that both loops touch",
                          name, loop)  # fmt: skip


def check_parallel(state: ScheduleState, path: Path) -> None:
    """ScheduleError unless the iterations of the loop at the end of ``path`` are independent."""
    loop = loop_at(path)
    blocks = list(blocks_below(loop.body))
    if len(blocks) == 1 and _instances_apart(blocks[0], loop, _below(state, blocks[0], loop)):
        return
    mend = "Take a spatial loop, or compute_at the block below it."
    _check_apart(state, loop, {loop.axis: loop.extent}, loop, mend)


def _instances_apart(block: Block, loop: For, below: dict[Expr, int]) -> bool:
    """Whether iterations of ``loop`` store different elements of a map or of a reduction."""
    if is_map(block):
        return runs_once(block, below)
    if not is_reduction(block) or loop_roles(block, loop.axis) != (True, False):
        return False
    elements = replace(block, iters=tuple(it for it in block.iters if not it.reduce))
    return runs_once(elements, {a: n for a, n in below.items() if loop_roles(elements, a)[0]})


def _below(state: ScheduleState, block: Block, loop: For) -> dict[Expr, int]:
    """The axes of the loops around ``block`` from ``loop`` on."""
    _, path = state.block(block.name)
    loops = loops_of(path)
    first = next(k for k, inner in enumerate(loops) if inner.axis is loop.axis)
    return {inner.axis: inner.extent for inner in loops[first:]}
