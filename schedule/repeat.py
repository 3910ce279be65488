"""Elements stored several times: once for each step of a loop that does not move them.

repeat("dot", "x", "a")    for a: for c: acc[a] += x[c] * w[a, c]
                 becomes   for a: for c: acc[a] += x[c, a] * w[a, c]

and what writes x writes each element as often: lanes that read the same elements then find them
side by side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..tir.expr import Expr, var
from ..tir.stmt import Block, For, Iter, LoopKind
from .blocks import is_map
from .build import iter_name, replace_buffer
from .errors import refusal
from .state import BlockName, Loop, State
from .tree import loop_at


def repeat(state: State, block: BlockName, buffer: str, loop: Loop) -> None:
    """Stores a local buffer or constant, which the block alone reads, once for each step of a
    spatial loop."""
    node, _ = state.block(block)
    old, at = state.own(buffer), loop_at(state.loop(loop))
    it = next((it for it in node.iters if it.binding is at.axis and not it.reduce), None)
    if it is None:
        raise refusal("the loop must be a spatial iter of the block", str(loop), node)
    users = [b for b, _ in state.placed() if state.accesses(b).touch(buffer)]
    writers = [b for b in users if buffer in state.accesses(b).written]
    others = [b.name for b in users if b.name != node.name and b not in writers]
    if others or not users or node in writers or not all(map(is_map, writers)):
        raise refusal("the block alone must read the buffer, which maps write",
                      ", ".join(b.name for b in users), node)  # fmt: skip
    axes = {node.name: it.axis}
    for writer in writers:
        axes[writer.name] = _again(state, writer, str(at.axis.attr), it.extent)
    fresh = replace(old, shape=(*old.shape, it.extent))
    replace_buffer(state, fresh, lambda user, index: (*index, axes[user.name]),
                   lambda values: np.repeat(values[..., None], it.extent, axis=-1))  # fmt: skip


def _again(state: State, block: Block, name: str, extent: int) -> Expr:
    """Runs a block once for each step of a new iter; gives its variable."""
    axis = var(iter_name(block, "again"))
    loop = state.axis(f"{block.name}_{name}", extent)
    _, path = state.block(block.name)
    fresh = replace(block, iters=(*block.iters, Iter(axis, extent, False, loop)))
    state.swap(path, For(loop, extent, LoopKind.SERIAL, fresh))
    return axis
