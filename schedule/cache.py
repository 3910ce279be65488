"""Local copies: data that a block reads or writes go through a buffer in a nearer memory.

cache_read("conv", "w", "tcm")       for ...: w_tcm[...] = w[...]         block "w_tcm"
                                     conv reads w_tcm
stage("copy", "tcm")                 for ...: copy_tcm[i, k] = <what copy stores at i, k>
                                     copy stores copy_tcm[i, k]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..tir.stmt import Buffer, Store, load
from .block_forms import is_map, store_of
from .errors import refusal
from .layout import check_scope
from .new_nests import (
    allocate,
    buffer_name,
    check_alone,
    check_result,
    made,
    named,
    put_after,
    put_before,
    redirect,
    top_of,
)
from .state import BlockName, BlockRef, ScheduleState
from .tree import blocks_below


def _local_copy(state: ScheduleState, buffer: Buffer, scope: str) -> Buffer:
    check_scope(scope)
    return replace(buffer, name=buffer_name(state, f"{buffer.name}_{scope}"), scope=scope)


def cache_read(
    state: ScheduleState, block: BlockName, buffer: str, scope: str, also: Sequence[BlockName] = ()
) -> BlockRef:
    """The block reads a local copy of a buffer, and so do later blocks of ``also``; gives the
    block that copies."""
    node, path = state.block(block)
    old = state.buffer(buffer)
    if buffer not in state.accesses(node).inputs:
        raise refusal("the block must read the buffer and not write it", buffer, node)
    top = top_of(path)
    inside = [b.name for b in blocks_below(top[-1]) if buffer in state.accesses(b).written]
    if inside:
        raise refusal("the buffer must be complete before the block's loops",
                      f"{inside[0]}, which writes it inside", node,
                      "Use cache_read before compute_at.")  # fmt: skip
    later = [b.name for b, _ in state.placed()]
    later = later[later.index(node.name) + 1 :]
    for other in also:
        if str(other) not in later or state.writers(buffer):
            rule = "further readers must come later, of a buffer that no block writes"
            raise refusal(rule, str(other), node)
    copy = _local_copy(state, old, scope)
    sizes = [(f"v{k}", extent) for k, extent in enumerate(old.shape)]
    copying = made(state, copy.name, sizes, lambda at: Store(copy, at, load(old, *at)))
    for reader in (block, *also):
        node, path = state.block(reader)
        state.swap(path, redirect(node, buffer, copy))
    put_before(state, str(block), copying)
    allocate(state, copy)
    return BlockRef(copying.name)


def stage(state: ScheduleState, block: BlockName, scope: str) -> BlockRef:
    """A map's values are computed into a local buffer over its iters first; gives the block
    that does, the old one copies."""
    node, path = state.block(block)
    store = store_of(node)
    if store is None or not is_map(node):
        raise refusal("the block must store each element once, from its iters alone",
                      f"{node.name}, which does not", node)  # fmt: skip
    check_alone(node, path)
    wanted = Buffer(node.name, store.value.type, tuple(it.extent for it in node.iters))
    copy = _local_copy(state, wanted, scope)
    first = made(state, copy.name, named(node.iters), lambda at: Store(copy, at, store.value))
    element = load(copy, *(it.axis for it in node.iters))
    state.swap(path, replace(node, body=replace(store, value=element)))
    put_before(state, node.name, first)
    allocate(state, copy)
    return BlockRef(first.name)


def cache_write(state: ScheduleState, block: BlockName, buffer: str, scope: str) -> BlockRef:
    """The block writes a local buffer, copied afterwards; gives the block that copies."""
    node, path = state.block(block)
    old = state.buffer(buffer)
    store = store_of(node)
    if store is None or store.buffer.name != buffer:
        raise refusal("the block's body must be a store to the buffer", buffer, node)
    own = state.accesses(node).reads_of(buffer)
    if own and (node.init is None or any(a.index != store.index for a in own)):
        raise refusal("the block must make all that it reads of the buffer itself",
                      f"{buffer}, which holds values before it", node)  # fmt: skip
    check_result(state, node, path, buffer)
    copy = _local_copy(state, old, scope)
    element = load(copy, *store.index)
    spatial = named(it for it in node.iters if not it.reduce)
    copying = made(state, copy.name, spatial, lambda _: Store(old, store.index, element))
    state.swap(path, redirect(node, buffer, copy))
    put_after(state, node.name, copying)
    allocate(state, copy)
    return BlockRef(copying.name)
