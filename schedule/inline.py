"""Inlining: a block's value goes where it is used, and the buffer between is gone.

a[i] = x[i] * 3;  y[i] = a[i] + 1        becomes       y[i] = x[i] * 3 + 1
"""

from __future__ import annotations

from ..tir.expr import Expr, conjuncts, const, transform
from ..tir.script.show import show_expr
from ..tir.stmt import Block, Store
from ..tir.types import i32
from .blocks import extents_of, is_map, store_of
from .build import drop_buffer, replacing, rewritten
from .errors import refusal
from .index import bounds
from .stages import check_inputs
from .state import BlockName, State, is_domain_guard


def compute_inline(state: State, block: BlockName) -> None:
    """Puts a map's value into its consumers; block and buffer are gone."""
    producer, path = state.block(block)
    store = _map_store(state, producer)
    name = store.buffer.name
    if not state.is_local(name):
        raise refusal("a result of the function cannot be inlined", name, producer)
    axes = _plain_axes(producer, store.index)
    check_inputs(state, producer)
    readers = [b for b, _ in state.readers(name)]
    if not readers:
        raise refusal("the block must have a consumer", "none", producer)
    state.check_elements(name)
    for reader in readers:
        if _reads_beyond(state, reader, name, axes, producer):
            raise refusal("the block must store all that is read", reader.name, producer)
        _, at = state.block(reader.name)
        state.swap(at, _inlined(state, reader, producer, axes, store))
    _, path = state.block(block)
    state.swap(path, None)
    drop_buffer(state, name)


def _reads_beyond(
    state: State, reader: Block, name: str, axes: list[Expr | None], producer: Block
) -> bool:
    """Whether the reader takes in elements that nobody stores."""
    known, extents = state.ranges(reader), extents_of(producer.iters)
    for access in state.accesses(reader).reads_of(name):
        for axis, expr in zip(axes, access.index, strict=True):
            _, high = bounds(expr, known)
            if axis is not None and high is not None and high >= extents[axis]:
                return True
    return False


def _map_store(state: State, block: Block) -> Store:
    store = store_of(block)
    guards = [p for p in conjuncts(block.where) if not is_domain_guard(p, block.iters)]
    if store is None or not is_map(block) or guards:
        raise refusal("the block must store each element once, from its iters alone",
                      f"{block.name}, which does not", block)  # fmt: skip
    writers = [b.name for b, _ in state.writers(store.buffer.name)]
    if writers != [block.name]:
        raise refusal("the block must be the only writer of its buffer", ", ".join(writers), block)
    return store


def _plain_axes(block: Block, index: tuple[Expr, ...]) -> list[Expr | None]:
    """The iter that each dimension of ``index`` is; None where it is the constant 0."""
    known = {it.axis for it in block.iters}
    axes: list[Expr | None] = []
    for expr in index:
        if expr not in known and not (expr.is_const and expr.attr == 0):
            raise refusal("each index must be an iter", show_expr(expr), block,
                          "Use it before transform_layout.")  # fmt: skip
        axes.append(expr if expr in known else None)
    return axes


def _inlined(
    state: State, reader: Block, producer: Block, axes: list[Expr | None], store: Store
) -> Block:
    """``reader`` with the producer's value for each load of its buffer."""
    extents, zero = state.ranges(reader), const(0, i32)

    def change(node: Expr) -> Expr | None:
        if node.op != "load" or node.attr != store.buffer:
            return None
        values = {it.axis: zero for it in producer.iters}  # iters of one step have no index
        values |= {a: e for a, e in zip(axes, node.args, strict=True) if a is not None}
        return transform(store.value, replacing(values, extents))

    return rewritten(reader, change)
