"""Operands in DDR that instructions access, without a transfer: its start is longer than a latency.

    for l in vectorized(128): w_tcm[l] = w[l]       small operands that are needed at once: all are
                                                    loaded before the first one is stored
    for t in parallel(4): ... y[t, lanes] = v       y in DDR: threads go on while bytes move, and
                                                    the phase ends a latency after the last ones

A transfer of a result begins when all threads are done. So a phase that stores each register of it
once is faster by itself; further phases would each wait for their own stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod

from ...target.machine_facts import Machine
from ...tir.expr import Expr, var
from ...tir.linear import linear
from ...tir.passes.flatten import flat_index
from ...tir.stmt import (
    Buffer,
    Copy,
    For,
    LoopKind,
    Region,
    Stmt,
    Store,
    children,
    load,
    seq,
    stored_in,
    walk_stmt,
)
from ...tir.types import i32
from ..index import parts_of, simplify
from .transfers import Transfer, stored_turns

_SPARE = 2  # vector registers that are not filled by operands
_SCALAR = (8, 4, 2, 1)  # bytes of accesses by scalar registers


def stored_straight(buffer: Buffer, phases: Sequence[Stmt], machine: Machine) -> bool:
    """Whether phases that only store a result had better do so where it lies in DDR."""
    storing = [phase for phase in phases if buffer in stored_in(phase)]
    waits = len(storing) * machine.ddr_latency
    if not 0 < waits < machine.dma_start + machine.barrier:
        return False
    found = (store for phase in storing for store in _stores(phase, buffer))
    moved = sum(_moved(store, loops, machine.burst) for store, loops in found)
    return moved <= -(-buffer.bytes // machine.burst) * machine.burst


def _stores(
    stmt: Stmt, buffer: Buffer, loops: tuple[For, ...] = ()
) -> Iterator[tuple[Store, tuple[For, ...]]]:
    if isinstance(stmt, Store) and stmt.buffer == buffer:
        yield stmt, loops
    inside = (*loops, stmt) if isinstance(stmt, For) else loops
    for child in children(stmt):
        yield from _stores(child, buffer, inside)


def _moved(store: Store, loops: Sequence[For], burst: int) -> int:
    """Bytes of the channel that a store takes in all turns of its loops, at the most."""
    form, size = linear(flat_index(store.buffer, store.index)), store.buffer.type.bytes
    still = {loop.axis for loop in loops if loop.extent == 1}
    terms = {atom: step for atom, step in form.terms.items() if atom not in still}
    lanes = {loop.axis: loop.extent for loop in loops if loop.kind is LoopKind.VECTORIZED}
    run = _run(terms, lanes)
    steps = [step for atom, step in terms.items() if atom not in lanes or step >= run]
    aligned = all(size * step % burst == 0 for step in (*steps, form.constant))
    turns = prod(loop.extent for loop in loops) // run
    return turns * (-(-run * size // burst) + (not aligned)) * burst


def _run(terms: Mapping[Expr, int], lanes: Mapping[Expr, int]) -> int:
    """How many elements lie together in lanes."""
    run = 1
    for axis, step in sorted(terms.items(), key=lambda term: term[1]):
        if axis in lanes and step == run:
            run *= lanes[axis]
    return run


# Operands that are loaded -------------------------------------------------------------------------


def loaded_first(
    transfers: Sequence[Transfer], phases: Sequence[Stmt], machine: Machine
) -> tuple[list[Transfer], list[Stmt]]:
    """Small operands that are needed soon come by loads, which wait shorter than transfers: as many
    as registers hold, so that all are loaded before the first one is stored."""
    room = (machine.vectors - _SPARE) * machine.vector_bytes
    ahead = [0, *accumulate(_work(phase, machine) for phase in phases)]
    soon: list[Transfer] = []
    for transfer in sorted(transfers, key=lambda transfer: (transfer.needed, transfer.bytes)):
        room -= transfer.bytes
        late = ahead[transfer.needed] >= machine.dma_start - machine.ddr_latency
        if room < 0 or late or transfer.start:
            break
        soon.append(transfer)
    if not soon:
        return list(transfers), list(phases)
    loads = [part for transfer in soon for part in _loaded(transfer.copy, machine)]
    later = [replace(t, start=t.start and t.start + 1, needed=t.needed + 1)
             for t in transfers if t not in soon]  # fmt: skip
    return later, [seq(*loads), *phases]


def _work(stmt: Stmt, machine: Machine) -> int:
    """Registers that a phase stores, and the barrier before one that threads share."""
    shared = any(isinstance(part, For) and part.kind is LoopKind.PARALLEL and part.extent > 1
                 for part in walk_stmt(stmt))  # fmt: skip
    stored = sum(-(-count // machine.vector_bytes) for count in stored_turns(stmt))
    return shared * machine.barrier + stored


def _loaded(copy: Copy, machine: Machine) -> Iterator[Stmt]:
    """A copy of whole rows, a register at a time."""
    to, source = copy.target, copy.source
    size = source.buffer.type.bytes
    for first, count in _pieces(prod(source.extent) * size, machine.vector_bytes):
        axis = var(f"b{first}", i32)
        extents = {axis: count // size}
        index = [_element(rows, first // size + axis, extents) for rows in (to, source)]
        store = Store(to.buffer, index[0], load(source.buffer, *index[1]))
        yield For(axis, count // size, LoopKind.VECTORIZED, store)


def _pieces(total: int, register: int) -> Iterator[tuple[int, int]]:
    """The first byte and the size of each register; the last one begins early enough to be whole.
    Less than one comes in scalar registers."""
    for first in range(0, total, register) if total >= register else ():
        yield min(first, total - register), register
    first = 0
    while total < register and first < total:
        count = next(n for n in _SCALAR if n <= total - first)
        yield first, count
        first += count


def _element(rows: Region, number: Expr, extents: Mapping[Expr, int]) -> tuple[Expr, ...]:
    """The index of an element of whole rows."""
    digits = parts_of(number, rows.extent)
    return tuple(simplify(start + digit, extents)
                 for start, digit in zip(rows.start, digits, strict=True))  # fmt: skip
