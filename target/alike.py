"""Phases that differ only in where in their places they work are one, made once.

    acc[i] = acc[i] + w[i + 8192]    ->    acc[i] = acc[i] + w[i]          from byte 8192 of w on
    vmem(w[i*128 + 8192])            ->    vmem(w[i*128])

Weights that come part by part and images that come strip by strip make many such phases. They are
moved by whole grains, so that what is aligned stays so: statements as far as their indices say
it, before they are lowered and selected, and then what instructions still have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..tir.expr import Expr, loads_in, substitute, var
from ..tir.passes.flatten import flat_form, flattened
from ..tir.recent import Recent
from ..tir.stmt import (
    Buffer,
    Copy,
    For,
    Stmt,
    Store,
    exprs_in,
    map_exprs,
    transform_stmt,
    walk_stmt,
)
from .program import Address, Dma, Item, Loop, MachineOp, Phase, items_in

Shifts = Mapping[str, int]  # bytes, by buffer
Key = tuple[object, ...]
_recent = Recent[Phase](1024)


def settled(body: Stmt, grain: int) -> tuple[Stmt, Shifts]:
    """Statements on flat buffers, moved to the beginning of what they access of each, and by how
    much; their loops are named by their order."""
    body = _named(body)
    forms = ((buffer, flat_form(buffer.shape, index)) for buffer, index in _accesses(body))
    starts = [(buffer.name, buffer.type.bytes * form.constant)
              for buffer, form in forms if buffer.scope != "reg"]  # fmt: skip
    shifts = _shifts(starts, grain)
    moved = flattened(body, lambda buffer: -shifts.get(buffer.name, 0) // buffer.type.bytes)
    return moved, shifts


def _named(body: Stmt) -> Stmt:
    """Statements with names of loops that say nothing of where they came from."""
    loops = [stmt.axis for stmt in walk_stmt(body) if isinstance(stmt, For)]
    values = {axis: var(f"i{number:02}") for number, axis in enumerate(loops)}

    def loop(node: Stmt) -> Stmt | None:
        return replace(node, axis=values[node.axis]) if isinstance(node, For) else None

    return transform_stmt(map_exprs(body, lambda e: substitute(e, values)), loop)


def _accesses(body: Stmt) -> Iterator[tuple[Buffer, tuple[Expr, ...]]]:
    for stmt in walk_stmt(body):
        match stmt:
            case Store(buffer=buffer, index=index):
                yield buffer, index
            case Copy(target=target, source=source):
                yield target.buffer, target.start
                yield source.buffer, source.start
    for expr in exprs_in(body):
        for load in loads_in(expr):
            yield load.attr, load.args


def _shifts(starts: Iterable[tuple[str, int]], grain: int) -> Shifts:
    """The whole steps before the first access of each buffer."""
    first: dict[str, int] = {}
    for buffer, at in starts:
        first[buffer] = min(first.get(buffer, at), at)
    return {buffer: at // grain * grain for buffer, at in first.items() if at // grain}


def common(phase: Phase, grain: int) -> Phase:
    """A phase that shares its code with all that are alike."""
    shifts = _shifts(((a.buffer, a.offset) for a in _addresses(phase.body)), grain)
    body = [_shifted(item, shifts) for item in phase.body] if shifts else phase.body
    key = (_key(body), phase.parallel, phase.name, phase.start)
    code = _recent(key, lambda: Phase(body, phase.parallel, phase.name, phase.start))
    return code.at(shifts)


def _addresses(items: Iterable[Item]) -> Iterator[Address]:
    for item in items_in(items):
        match item:
            case Dma(target=target, source=source):
                yield target
                yield source
            case MachineOp(address=address) if address is not None:
                yield address


def _shifted(item: Item, shifts: Shifts) -> Item:
    match item:
        case Loop(variable, extent, body):
            return Loop(variable, extent, [_shifted(inner, shifts) for inner in body])
        case Dma(target=target, source=source):
            return replace(item, target=_less(target, shifts), source=_less(source, shifts))
        case MachineOp(address=address) if address is not None:
            return replace(item, address=_less(address, shifts))
    return item


def _less(address: Address, shifts: Shifts) -> Address:
    shift = shifts.get(address.buffer, 0)
    return replace(address, offset=address.offset - shift) if shift else address


def _key(items: Iterable[Item]) -> Key:
    return tuple(
        (item.variable, item.extent, _key(item.body)) if isinstance(item, Loop) else item
        for item in items
    )
