"""How the elements of a buffer are stored: as planes of bytes, or in another type.

    split_bytes("e")     e[i] of u16 becomes  cast(u16, e_0[i]) + (cast(u16, e_1[i]) << 8)
    retype("m", i32)     m[i] of u8 becomes   cast(u8, m[i]) of a buffer of i32
    retype("s", u16)     s[i] of i32, a sum of 257 bytes, becomes   cast(i32, s[i])

The bytes of a constant are split where they lie; a block that writes a buffer of several planes
becomes one block a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import starmap
from math import prod

import numpy as np

from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, make
from ..tir.ops import FOLDS, OPS
from ..tir.stmt import Block, Buffer, Seq, Stmt, Store, load
from ..tir.types import Type, parse_type, u8
from .block_forms import is_map, reduction_of, store_of
from .errors import refusal
from .new_nests import (
    Array,
    buffer_name,
    check_alone,
    exchange,
    made,
    named,
    nest_of,
    rewritten,
    top_of,
)
from .state import BlockRef, ScheduleState
from .tree import Path

Planes = tuple[Buffer, ...]


def split_bytes(state: ScheduleState, buffer: str) -> list[BlockRef]:
    """Stores an unsigned buffer, local or constant, as planes of bytes (``*_0`` and so on);
    gives the blocks that write them, one a plane."""
    old = state.own(buffer)
    if old.type.kind != "u" or old.type.bits == 8:
        raise refusal("the elements must be unsigned and of several bytes", f"{buffer}: {old.type}")
    state.check_elements(buffer)
    writers = state.writers(buffer)
    for block, path in writers:
        _check_writer(state, block, path, buffer)
    planes = tuple(
        replace(old, name=buffer_name(state, f"{buffer}_{k}"), type=u8)
        for k in range(old.type.bytes)
    )
    names = [name for block, _ in writers for name in _write_planes(state, block, planes)]

    def bytes_of(values: Array) -> list[Array]:
        return [(values.astype(np.int64) >> 8 * k & 255).astype(np.uint8)
                for k in range(len(planes))]  # fmt: skip

    exchange(state, buffer, planes, partial(_on_planes, old, planes), bytes_of)
    return [BlockRef(name) for name in names]


def _check_writer(state: ScheduleState, block: Block, path: Path, buffer: str) -> None:
    if not is_map(block) or block.name in state.partial:
        raise refusal("a block that writes must store each element once",
                      f"{block.name}, which does not", block)  # fmt: skip
    check_alone(block, path)


def _write_planes(state: ScheduleState, block: Block, planes: Planes) -> list[str]:
    """A block for each plane in the place of one."""
    store = store_of(block)
    assert store is not None
    _, path = state.block(block.name)

    def writing(k: int, plane: Buffer) -> Block:
        byte = Store(plane, store.index, _byte(store.value, k))
        return made(state, f"{block.name}_{k}", named(block.iters), lambda _: byte)

    blocks = list(starmap(writing, enumerate(planes)))
    state.swap(top_of(path), Seq(tuple(map(nest_of, blocks))))
    return [new.name for new in blocks]


def _byte(value: Expr, plane: int) -> Expr:
    """Byte ``plane`` of a value; that of a sum of bytes that are shifted apart is one of them."""
    terms = _terms(value)
    if terms is not None:
        return terms.get(plane, const(0, u8))
    return cast(u8, value >> 8 * plane if plane else value)


def _terms(value: Expr) -> dict[int, Expr] | None:
    """The bytes of ``cast(u16, a) + (cast(u16, b) << 8)``, by their planes; None for others."""
    if value.op == "add":
        first, second = map(_terms, value.args)
        if first is None or second is None or first.keys() & second.keys():
            return None
        return {**first, **second}
    shift = 0
    if value.op == "shl" and value.args[1].is_const:
        value, shift = value.args[0], int(value.args[1].attr)
    if shift % 8 or value.op != "cast" or value.args[0].type != u8:
        return None
    return {shift // 8: value.args[0]}


def _joined(parts: Sequence[Expr], kind: Type) -> Expr:
    """The element of which ``parts`` are the bytes, in ``kind``, which has room for it."""
    total = cast(kind, parts[0])
    for k, part in enumerate(parts[1:], 1):
        total = total + (cast(kind, part) << 8 * k)
    return total


def _on_planes(old: Buffer, planes: Planes, block: Block) -> Block:
    """``block`` with its loads of ``old`` from the planes."""

    def element(node: Expr) -> Expr | None:
        if node.op == "load" and node.attr.name == old.name:
            return _joined([load(plane, *node.args) for plane in planes], old.type)
        if node.op == "cast" and node.type.is_int and node.type.bits > old.type.bits:
            terms = _terms(node.args[0])
            if terms is not None and [*terms] == [*range(len(planes))]:
                return _joined([*terms.values()], node.type)
        return None

    return rewritten(block, element)


# Elements of another type ---------------------------------------------------------------------


def retype(state: ScheduleState, buffer: str, kind: Type | str) -> None:
    """Stores a local buffer of integers in another type that holds all its values."""
    kind = kind if isinstance(kind, Type) else parse_type(kind)
    old = state.own(buffer, fixed=False)
    state.check_elements(buffer)
    wider = kind.is_int and old.type.is_int and kind.bits > old.type.bits and kind.holds(old.type)
    if not wider and not (kind.is_int and old.type.is_int and _holds(state, buffer, kind)):
        raise refusal("the type must hold all values of the elements", f"{kind} for {old.type}")
    for block, _ in state.writers(buffer) if wider else ():
        found = reduction_of(block)
        if not is_map(block) and (found is None or OPS[found.op].wraps):
            rule = "a block that writes must be a map, or a reduction that keeps wider values"
            raise refusal(rule, f"{block.name}, which is neither", block)
    new = replace(old, type=kind)
    exchange(state, buffer, [new], partial(_retyped, old, new))


def _holds(state: ScheduleState, buffer: str, kind: Type) -> bool:
    """Whether all that is stored, sums on their way too, lies within ``kind``."""
    for block, _ in state.writers(buffer):
        store, found = store_of(block), reduction_of(block)
        if store is None or not (is_map(block) or (found is not None and found.init is not None)):
            return False
        low, high = bounds(store.value if found is None else found.value, {})
        if found is not None and found.init is not None:
            steps = prod(it.extent for it in block.iters if it.reduce) if found.op == "add" else 1
            first = bounds(found.init, {})
            if found.op not in FOLDS or block.name in state.partial:
                return False
            ends = (first[0] + low * steps, first[1] + high * steps) if steps > 1 else (low, high)
            low, high = min(ends[0], first[0]), max(ends[1], first[1])
        if low < kind.low or high > kind.high:
            return False
    return True


def _retyped(old: Buffer, new: Buffer, block: Block) -> Block:
    """``block`` on elements of another type; a reduction folds them as they are."""
    found = None if is_map(block) else reduction_of(block)

    def element(expr: Expr) -> Expr | None:
        if expr.op == "load" and expr.attr.name == old.name:
            return cast(old.type, load(new, *expr.args))
        return None

    def store(stmt: Store) -> Stmt:
        if stmt.buffer.name != old.name:
            return stmt
        return replace(stmt, buffer=new, value=_as(new.type, stmt.value))

    fresh = rewritten(block, element, store)
    if found is None or found.buffer.name != old.name:
        return fresh
    folded = make(found.op, load(new, *found.index), _as(new.type, found.value))
    return replace(fresh, body=Store(new, found.index, folded))


def _as(kind: Type, value: Expr) -> Expr:
    """``value`` in ``kind``, which holds it."""
    if value.op == "cast" and value.args[0].type == kind and value.type.holds(kind):
        return value.args[0]
    return const(value.attr, kind) if value.is_const else cast(kind, value)
