"""Copies by DMA: a block that only copies becomes a Copy, started one iteration ahead.

    for i: for j: t[j] = w[i, j]          copy(t[0], w[0], token)
           use t                          for i: if i + 1 < n: copy(t[(i + 1) % 2], w[i + 1], token)
                                                 wait(token)
                                                 use t[i % 2]

``double_buffer`` leaves a note on the block; the copies are made when the function is taken from
the schedule, after local buffers have found their places.
"""

from __future__ import annotations

from dataclasses import replace

from ..tir.expr import Expr, const, substitute, var
from ..tir.stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    Iter,
    LoopKind,
    Region,
    Stmt,
    Store,
    Wait,
    seq,
    transform_stmt,
)
from ..tir.types import i32
from .blocks import is_map, store_of
from .build import iter_name, redirect
from .errors import refusal
from .index import simplify
from .region import Box, Span, box_of, start_of
from .state import Access, BlockName, State
from .storage import inner_part
from .structure import flat_form
from .tree import Path, loops_of, swap

NOTE = "double_buffer"
OPERATION = "double_buffer"


def double_buffer(state: State, block: BlockName, copies: int = 2) -> None:
    """Makes a copying block a DMA transfer; with 2 copies of its buffer it runs one iteration
    ahead, with 1 the block waits for it."""
    node, path = state.block(OPERATION, block)
    if copies not in (1, 2):
        raise refusal(OPERATION, "one or two copies of the buffer can be kept", str(copies), node)
    store = _copying(node)
    if copies > 1 and not state.is_local(store.buffer.name):
        raise refusal(OPERATION, "a target that takes turns must be local", store.buffer.name, node,
                      "Give copies=1.")  # fmt: skip
    notes = [note for note in node.annotations if note[0] != NOTE]
    state.swap(path, replace(node, annotations=(*notes, (NOTE, copies))))


def _copying(block: Block) -> Store:
    """The store of a block that copies; later primitives must leave it one."""
    store = store_of(block)
    if store is None or not is_map(block) or store.value.op != "load":
        raise refusal(OPERATION, "the block must copy elements and nothing else", block.name,
                      block, "Make one by cache_read.")  # fmt: skip
    return store


def start_copies(state: State) -> None:
    """Replaces each noted block by copies; ``state`` holds buffers at their places."""
    noted = [(b.name, dict(b.annotations)[NOTE]) for b, _ in state.placed()
             if NOTE in dict(b.annotations)]  # fmt: skip
    for name, copies in noted:
        _start(state, name, copies == 2)


def _start(state: State, name: str, ahead: bool) -> None:
    block, path = state.block(OPERATION, name)
    store = store_of(block)
    if store is not None and store.value.op != "load":
        _copying(block)
    top = _own_nest(path)
    target, source = _regions(state, block, top)
    around = loops_of(top[:-1])
    if not ahead or not around or around[-1].extent == 1:
        state.swap(top, Copy(target, source))
        return
    loop = around[-1]
    at = top.index(loop)
    _check_loop(state, block, loop, top[at + 1 :], target.buffer, source.buffer)
    near = target.buffer
    double = replace(near, shape=(2, *near.shape))
    turn = simplify(loop.axis % 2, state.extents)
    first = _copy(double, const(0, i32), target, source, {loop.axis: const(0, i32)}, name)
    next_ = _copy(double, simplify((loop.axis + 1) % 2, state.extents), target, source,
                  {loop.axis: loop.axis + 1}, name)  # fmt: skip
    start = seq(If(loop.axis + 1 < loop.extent, next_), Wait(name))
    inside = swap(top[at + 1 :], start)
    assert inside is not None
    body = _turned(state, inside, near.name, double, turn)
    state.swap(top[: at + 1], Alloc(double, seq(first, replace(loop, body=body))))


def _own_nest(path: Path) -> Path:
    """The path down to the outermost loop that holds the block only."""
    k = len(path) - 1
    while k > 0 and isinstance(path[k - 1], For):
        k -= 1
    return path[: k + 1]


def _regions(state: State, block: Block, top: Path) -> tuple[Region, Region]:
    store = store_of(block)
    assert store is not None
    if block.where is not None:
        raise refusal(OPERATION, "the box copied must lie within the source", "a guarded block",
                      block, "Choose factors that divide.")  # fmt: skip
    outer = [loop.axis for loop in loops_of(top[:-1])]
    target, source = Access(store.buffer, store.index), Access(store.value.attr, store.value.args)
    boxes = [box_of(access, block, outer, state) for access in (target, source)]
    steps = [
        [_moves(state, block, e, set(outer)) for e, s in zip(access.index, box, strict=True)
         if s is not None and s.extent > 1]
        for access, box in zip((target, source), boxes, strict=True)
    ]  # fmt: skip
    spans = [s for box in boxes for s in box]
    loaded = store.value.op == "load"
    flat = [flat_form(a.buffer, a.index) for a in (target, source) if loaded]
    whole = (
        loaded
        and flat[0] == flat[1]
        and all(
            s is not None and s.extent == n and not s.start.terms
            for access, box in zip((target, source), boxes, strict=True)
            for s, n in zip(box, access.buffer.shape, strict=True)
        )
    )
    alike = steps[0] == steps[1] or whole
    if not alike or any(s is None or not s.dense for s in spans):
        raise refusal(OPERATION, "source and target must be boxes in the same order",
                      block.name, block)  # fmt: skip
    return _region(target.buffer, boxes[0]), _region(source.buffer, boxes[1])


def _moves(state: State, block: Block, index: Expr, outer: set[Expr]) -> Expr:
    """How an index moves with the loops of the copy."""
    values = {it.axis: it.binding for it in block.iters}
    return inner_part(simplify(substitute(index, values), state.extents), outer)


def _region(buffer: Buffer, box: Box) -> Region:
    spans: list[Span] = [span for span in box if span is not None]
    return Region(buffer, tuple(start_of(s) for s in spans), tuple(s.extent for s in spans))


def _check_loop(
    state: State, block: Block, loop: For, inside: Path, target: Buffer, source: Buffer
) -> None:
    if loop.kind not in (LoopKind.SERIAL, LoopKind.UNROLLED):
        raise refusal(OPERATION, "the loop around the copy must be serial", loop.kind.value, loop)
    if not any(isinstance(n, Alloc) and n.buffer.name == target.name for n in inside):
        raise refusal(OPERATION, "each iteration of the loop must fill the buffer anew",
                      f"{target.name}, which outlives it", loop,
                      "Use compute_at to bring the copy below its consumers' loop.")  # fmt: skip
    for other, path in state.placed():
        if loop in path and source.name in state.accesses(other).written:
            raise refusal(OPERATION, "the source must not change within the loop",
                          f"{source.name}, which {other.name} writes", loop)  # fmt: skip


def _copy(
    double: Buffer, turn: Expr, target: Region, source: Region, values: dict[Expr, Expr],
    token: str,
) -> Stmt:  # fmt: skip
    start = tuple(substitute(e, values) for e in target.start)
    near = Region(double, (turn, *start), (1, *target.extent))
    far = replace(source, start=tuple(simplify(substitute(e, values), {}) for e in source.start))
    return Copy(near, far, token)


def _turned(state: State, root: Stmt, name: str, double: Buffer, turn: Expr) -> Stmt:
    """``root`` without the old buffer; blocks touch that copy whose turn it is."""

    def change(node: Stmt) -> Stmt | None:
        if isinstance(node, Alloc) and node.buffer.name == name:
            return node.body
        if isinstance(node, Block) and state.accesses(node).touch(name):
            phase = var(iter_name(node, "turn"))
            fresh = redirect(node, name, double, lambda _, index: (phase, *index))
            return replace(fresh, iters=(*node.iters, Iter(phase, 2, False, turn)))
        return None

    return transform_stmt(root, change)
