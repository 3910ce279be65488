"""Brings operands that lie in DDR into TCM: copies start first, and are waited for when needed.

    alloc w_tcm;  copy(w_tcm[0], w[0], token="w_0");  copy(w_tcm[1], w[1], token="w_1")
    <phases that need no w>;  wait("w_0");  <phase that reads w_tcm[0]>;  wait("w_1");  ...

A slab is a step of the first dimension, so a kernel that walks packed weights by their first
dimension computes on one slab while the next ones arrive. Constants for which TCM has no room come
slab by slab into places that take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from ...target.machine_facts import Machine
from ...tir.expr import Expr, loads_in
from ...tir.linear import canonical
from ...tir.passes.flatten import flat_index
from ...tir.passes.lower_blocks import lower_blocks
from ...tir.passes.simplify import simplify_func
from ...tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    For,
    LoopKind,
    PrimFunc,
    Region,
    Stmt,
    children,
    map_exprs,
    seq,
    stored_in,
    walk_stmt,
)
from ..errors import ScheduleError
from ..index import bounds
from ..new_nests import Index, on_buffers, retargeted
from ..state import unused
from .part import KEPT
from .phases import phases_of
from .straight import loaded_first, stored_straight
from .transfers import PLACES, Transfer, beside, in_turn, rows_of

LARGE = 4096  # bytes of a slab that may come alone


def place_operands(func: PrimFunc, machine: Machine) -> PrimFunc:
    """``func`` without blocks, and every DDR operand copied to TCM first, or from it at the end;
    outputs that ``attrs["kept"]`` names are copied both ways.

    What does not fit into the machine's TCM stays in DDR, scratch too, and is accessed there.
    """
    func = simplify_func(lower_blocks(func))
    wraps, phases = phases_of(func, machine)
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    own = dict(pair for phase in phases for pair in _scratch(phase, machine))
    shared = {buffer: buffer.bytes for buffer in wraps if buffer.scope == "tcm"}
    kept, free = _fitting(own, free)
    fits, free = _fitting(shared, free)
    far = {b: replace(b, scope="ddr") for b in (*own, *shared) if b not in (*kept, *fits)}
    copied = set().union(*map(_copied, phases))
    _check_near(copied & far.keys())
    read, written = [*map(_read, phases)], [*map(stored_in, phases)]
    stays = copied | _straight(func, phases, set().union(*read), machine)
    wanted = {p: p.bytes for p in func.params if p.scope == "ddr" and p not in stays}
    resident, free = _fitting(wanted, free)
    taken = {buffer.name for buffer in (*func.params, *own, *wraps)}
    near = {p: Buffer(unused(f"{p.name}_tcm", taken), p.type, p.shape, "tcm") for p in resident}
    transfers: list[Transfer] = []
    ends: list[Stmt] = []
    for param in sorted(resident, key=lambda p: p.bytes):
        stored = any(param in buffers for buffers in written)
        ends += [Copy(_all(param), _all(near[param]))] if stored else []
        if not stored or param.name in func.attrs.get(KEPT, ()):
            touching = [n for n, sets in enumerate(zip(read, written, strict=True))
                        if any(param in buffers for buffers in sets)]  # fmt: skip
            transfers += _arrivals(param, near[param], touching, [] if stored else phases)
    turning: list[Buffer] = []
    for param in wanted:
        plan = None
        if param not in near and param.name in func.constants:
            plan = _in_turns(param, phases, free)
        if plan is not None:
            place, moves, phases = plan
            transfers += moves
            turning.append(place)
            free -= place.bytes
    phases = [on_buffers(phase, {**far, **near}) for phase in phases]
    transfers.sort(key=lambda transfer: transfer.needed)
    transfers, phases = loaded_first(transfers, phases, machine)
    body = seq(*beside(phases, transfers, machine), *ends)
    for buffer in [*(far.get(b, b) for b in wraps), *near.values(), *turning][::-1]:
        body = Alloc(buffer, body)
    return func.with_body(body)


def _straight(
    func: PrimFunc, phases: Sequence[Stmt], read: set[Buffer], machine: Machine
) -> set[Buffer]:
    """Results that are stored to DDR where they lie there, and never read."""
    kept = func.attrs.get(KEPT, ())
    return {p for p in func.params if p.scope == "ddr" and p.name not in kept and p not in read
            and stored_straight(p, phases, machine)}  # fmt: skip


def _check_near(lost: set[Buffer]) -> None:
    if lost:
        names = ", ".join(sorted(buffer.name for buffer in lost))
        raise ScheduleError(
            f"place: buffers that images are copied to must fit into TCM, but {names} do not"
        )


def _fitting(buffers: Mapping[Buffer, int], free: int) -> tuple[list[Buffer], int]:
    """The buffers whose bytes fit, the small ones first, in their order; and the bytes left."""
    chosen: list[Buffer] = []
    for buffer, size in sorted(buffers.items(), key=lambda pair: pair[1]):
        if size <= free:
            chosen.append(buffer)
            free -= size
    return [buffer for buffer in buffers if buffer in chosen], free


def _scratch(stmt: Stmt, machine: Machine, threads: int = 1) -> list[tuple[Buffer, int]]:
    """What a phase allocates for itself, and its bytes of TCM for all threads."""
    if isinstance(stmt, For) and stmt.kind is LoopKind.PARALLEL:
        threads = machine.threads
    found = [pair for child in children(stmt) for pair in _scratch(child, machine, threads)]
    if isinstance(stmt, Alloc) and stmt.buffer.scope == "tcm":
        found.append((stmt.buffer, stmt.buffer.bytes * threads))
    return found


def _copied(stmt: Stmt) -> set[Buffer]:
    """Buffers that transfers of the schedule move to or from."""
    copies = [s for s in walk_stmt(stmt) if isinstance(s, Copy)]
    return {region.buffer for copy in copies for region in (copy.target, copy.source)}


# Operands that stay ------------------------------------------------------------------------------


def _all(buffer: Buffer) -> Region:
    return rows_of(buffer, 0, buffer.shape[0])


def _arrivals(
    param: Buffer, near: Buffer, touching: Sequence[int], phases: Sequence[Stmt]
) -> Iterator[Transfer]:
    """The transfers of an operand, which phases of these numbers touch, in the order in which they
    need them: large slabs come apart, if different ones of ``phases`` need them first."""
    count = param.shape[0]
    if phases and count > 1 and param.bytes // count >= LARGE:
        read = [_slabs(param, phases[n]) if n in touching else set() for n in range(len(phases))]
        needed = {slab: next((n for n, found in enumerate(read) if slab in found), None)
                  for slab in range(count)}  # fmt: skip
    else:
        needed = dict.fromkeys(range(count), min(touching, default=None))
    runs = [(phase, [*run]) for phase, run in groupby(needed, needed.__getitem__)]
    for phase, run in sorted((p, run) for p, run in runs if p is not None):
        to, source = (rows_of(b, run[0], len(run)) for b in (near, param))
        yield Transfer(Copy(to, source, f"{param.name}_{run[0]}"), 0, phase)


# Operands that take turns ------------------------------------------------------------------------


def _in_turns(
    param: Buffer, phases: list[Stmt], free: int
) -> tuple[Buffer, list[Transfer], list[Stmt]] | None:
    """A place for an operand that has no room: its transfers, and the phases reading from there;
    None where a phase reads too much of it."""
    read = [_slabs(param, phase) for phase in phases]
    runs = [range(min(found), max(found) + 1) if found else range(0) for found in read]
    count, most = param.shape[0], max(map(len, runs))
    places = min(free // (param.bytes // count * max(most, 1)), PLACES)
    if most in (0, count) or places < 1:
        return None
    near = Buffer(f"{param.name}_turn", param.type, (places * most, *param.shape[1:]), "tcm")
    turns: list[tuple[int, range]] = []  # the first phase, and what it reads
    changed: list[Stmt] = []
    for number, (phase, run) in enumerate(zip(phases, runs, strict=True)):
        if run and (not turns or turns[-1][1] != run):
            turns.append((number, run))
        away = (len(turns) - 1) % places * most - run.start
        changed.append(_from_turn(phase, param, near, away) if run else phase)
    firsts, transfers = [first for first, _ in turns], []
    for turn, (_, run) in enumerate(turns):
        to, source = rows_of(near, turn % places * most, len(run)), rows_of(param, run[0], len(run))
        transfers.append(in_turn(Copy(to, source, f"{near.name}_{turn}"), turn, firsts, places))
    return near, transfers, changed


def _from_turn(phase: Stmt, param: Buffer, near: Buffer, away: int) -> Stmt:
    """``phase`` with its slabs ``away`` steps of the first dimension from where they were."""

    def element(buffer: Buffer, index: Index) -> tuple[Buffer, Index] | None:
        return (near, (canonical(index[0] + away), *index[1:])) if buffer == param else None

    return retargeted(phase, element)


# What phases read --------------------------------------------------------------------------------


def _loads(stmt: Stmt) -> list[Expr]:
    found: dict[Expr, None] = {}

    def note(expr: Expr) -> Expr:
        found.update(dict.fromkeys(loads_in(expr)))
        return expr

    map_exprs(stmt, note)
    return list(found)


def _read(stmt: Stmt) -> set[Buffer]:
    return {load.attr for load in _loads(stmt)}


def _slabs(buffer: Buffer, phase: Stmt) -> set[int]:
    """The steps of the first dimension that a phase may read; indices of the others may run beyond
    their ends, where they stand for whole rows."""
    extents = {node.axis: node.extent for node in walk_stmt(phase) if isinstance(node, For)}
    count, found = buffer.shape[0], set[int]()
    slab = buffer.size // count
    for load in _loads(phase):
        if load.attr == buffer:
            low, high = bounds(flat_index(buffer, load.args), extents)
            found.update(range(max(low // slab, 0), min(high // slab, count - 1) + 1))
    return found
