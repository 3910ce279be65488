"""Brings operands that lie in DDR into TCM: copies start first, and are waited for when needed.

    alloc w_tcm;  copy(w_tcm[0], w[0], token="w0");  copy(w_tcm[1], w[1], token="w1")
    <phases that need no w>;  wait("w0");  <phase that reads w_tcm[0]>;  wait("w1");  ...

A slab is a step of the first dimension, so a kernel that walks packed weights by their first
dimension computes on one slab while the next ones arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, const, substitute, walk
from ...tir.passes.blocks import lower_blocks
from ...tir.passes.flatten import flat_index
from ...tir.passes.simplify import simplify_func, simplify_stmt
from ...tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    For,
    LoopKind,
    PrimFunc,
    Region,
    Stmt,
    Store,
    Wait,
    children,
    map_exprs,
    rebuild_stmt,
    seq,
    stored_in,
    top,
    walk_stmt,
)
from ...tir.types import i32
from ..build import on_buffers
from ..errors import ScheduleError
from ..index import bounds
from .merge import merged
from .rotate import turns, with_copies

LARGE = 4096  # bytes of a slab that may come alone
KEPT = "kept"  # the attribute that names outputs of which something must stay as it was


def place_operands(func: PrimFunc, machine: Machine, slabs: bool = True) -> PrimFunc:
    """``func`` without blocks, and every DDR operand copied to TCM first, or from it at the end;
    outputs that ``attrs["kept"]`` names are copied both ways.

    What does not fit into the machine's TCM stays in DDR, scratch too, and is accessed there.
    """
    func = simplify_func(lower_blocks(func))
    wraps, parts = top(simplify_stmt(_spread(merged(func, machine).body, {})))
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    own = dict(pair for part in parts for pair in _scratch(part, machine))
    kept, free = _fitting(own, free)
    wraps = list(dict.fromkeys(wraps))  # an unrolled loop allocates the same buffer again
    scratch = [buffer for buffer in wraps if buffer.scope == "tcm"]
    fits, free = _fitting({b: b.bytes for b in scratch}, free)
    far = {b: replace(b, scope="ddr") for b in (*own, *scratch) if b not in (*kept, *fits)}
    parts = [on_buffers(part, far) for part in parts]
    wraps = [far.get(buffer, buffer) for buffer in wraps]
    copied = set().union(*map(_copied, parts))
    _check_near(copied & set(far))
    wanted = {p: p.bytes for p in func.params if p.scope == "ddr" and p not in copied}
    outside, free = _fitting(wanted, free)
    parts, turning = _in_turns(func, parts, outside, free)
    taken = {buffer.name for buffer in (*func.params, *own, *wraps)}
    moved = {p: Buffer(_near(p.name, taken), p.type, p.shape, "tcm") for p in outside}
    parts = [on_buffers(part, moved) for part in parts]
    starts: list[Stmt] = []
    ends: list[Stmt] = []
    runs: dict[Buffer, list[Run]] = {}
    for param, near in sorted(moved.items(), key=lambda pair: pair[0].bytes):  # small ones first
        if any(near in stored_in(part) for part in parts):
            ends.append(Copy(_whole(param), _whole(near)))
            if param.name in func.attrs.get(KEPT, ()):
                runs[near] = [_before(near, parts)]
                starts.extend(_starts(param, near, runs[near]))
        elif any(near in _read(part) for part in parts):
            runs[near] = _runs(near, parts, slabs)
            starts.extend(_starts(param, near, runs[near]))
    body = seq(*starts, *_waited(parts, runs), *ends)
    for buffer in [*wraps, *moved.values(), *turning][::-1]:
        body = Alloc(buffer, body)
    return func.with_body(body)


def _near(name: str, taken: set[str]) -> str:
    """The name of an operand's copy."""
    found = f"{name}_tcm"
    while found in taken:
        found = f"{found}_2"
    return found


def _copied(stmt: Stmt) -> set[Buffer]:
    """Buffers that transfers of the schedule move to or from."""
    copies = [s for s in walk_stmt(stmt) if isinstance(s, Copy)]
    return {region.buffer for copy in copies for region in (copy.target, copy.source)}


def _check_near(lost: set[Buffer]) -> None:
    if lost:
        names = ", ".join(sorted(buffer.name for buffer in lost))
        raise ScheduleError(
            f"place: buffers that images are copied to must fit into TCM, but {names} do not"
        )


def _in_turns(
    func: PrimFunc, parts: list[Stmt], outside: list[Buffer], free: int
) -> tuple[list[Stmt], list[Buffer]]:
    """The phases with the constants that do not fit, where they can come slab by slab."""
    turning: list[Buffer] = []
    for param in func.params:
        if param.scope != "ddr" or param in outside or param.name not in func.constants:
            continue

        def slab_of(part: Stmt, param: Buffer = param) -> set[int]:
            return _touched(param, _loads(part), _extents(part))

        plan = turns(param, parts, slab_of, free)
        if plan is not None:
            parts = with_copies(plan, parts)
            turning.append(plan.near)
            free -= plan.near.bytes
    return parts, turning


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


def _spread(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    """Unrolled loops around parallel ones, written out: each step is a phase of its own."""
    if isinstance(stmt, For) and stmt.kind is LoopKind.UNROLLED and _parallel_below(stmt):
        return seq(
            *(_spread(stmt.body, {**values, stmt.axis: const(i, i32)}) for i in range(stmt.extent))
        )
    if isinstance(stmt, For | Store | Copy):
        return map_exprs(stmt, lambda e: substitute(e, values)) if values else stmt
    return rebuild_stmt(stmt, tuple(_spread(child, values) for child in children(stmt)))


def _parallel_below(stmt: Stmt) -> bool:
    return any(isinstance(s, For) and s.kind is LoopKind.PARALLEL for s in walk_stmt(stmt))


def _loads(stmt: Stmt) -> list[Expr]:
    found: dict[Expr, None] = {}

    def note(expr: Expr) -> Expr:
        found.update(dict.fromkeys(e for e in walk(expr) if e.op == "load"))
        return expr

    map_exprs(stmt, note)
    return list(found)


def _read(stmt: Stmt) -> set[Buffer]:
    return {load.attr for load in _loads(stmt)}


def _whole(buffer: Buffer) -> Region:
    return Region(buffer, tuple(const(0, i32) for _ in buffer.shape), buffer.shape)


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive slabs that come together, for the phase ``needed`` is the first to touch them."""

    first: int
    count: int
    needed: int  # one behind the last phase where none does

    def region(self, buffer: Buffer) -> Region:
        """The run's slabs of ``buffer``, which has as many slabs as the operand."""
        start = (const(self.first, i32), *(const(0, i32) for _ in buffer.shape[1:]))
        return Region(buffer, start, (self.count, *buffer.shape[1:]))


def _runs(near: Buffer, parts: list[Stmt], wanted: bool) -> list[Run]:
    """The copies of a staged operand, in the order in which phases need them: where the steps of
    its first dimension are large, steps that different phases need first come apart."""
    count = near.shape[0]
    none = len(parts)
    if count == 1 or not wanted or near.bytes // count < LARGE:  # its readers need all
        reading = (i for i, part in enumerate(parts) if near in _read(part))
        return [Run(0, count, next(reading, none))]
    touched = [_touched(near, _loads(part), _extents(part)) for part in parts]
    needed = [
        next((i for i, found in enumerate(touched) if slab in found), none) for slab in range(count)
    ]
    runs: list[Run] = []
    for slab, phase in enumerate(needed):
        if runs and runs[-1].needed == phase:
            runs[-1] = replace(runs[-1], count=runs[-1].count + 1)
        else:
            runs.append(Run(slab, 1, phase))
    return sorted(runs, key=lambda run: run.needed)


def _before(near: Buffer, parts: list[Stmt]) -> Run:
    """All of an output, before the first phase that touches it."""
    first = next(i for i, part in enumerate(parts) if near in stored_in(part) | _read(part))
    return Run(0, near.shape[0], first)


def _token(near: Buffer, run: Run) -> str:
    return f"{near.name.removesuffix('_tcm')}_{run.first}"


def _starts(param: Buffer, near: Buffer, runs: list[Run]) -> list[Stmt]:
    return [Copy(run.region(near), run.region(param), _token(near, run)) for run in runs]


def _waited(parts: list[Stmt], runs: dict[Buffer, list[Run]]) -> list[Stmt]:
    """The statements, each behind the waits for the slabs that it is the first to touch. Copies end
    in the order in which they start: those before one that is waited for are there as well."""
    order = [(_token(near, run), run.needed) for near, found in runs.items() for run in found]
    out: list[Stmt] = []
    for number, part in enumerate(parts):
        count = max((i + 1 for i, (_, needed) in enumerate(order) if needed <= number), default=0)
        out += [Wait(token) for token, _ in order[:count]]
        order = order[count:]
        out.append(part)
    return out


def _extents(stmt: Stmt) -> dict[Expr, int]:
    from ...tir.stmt import Block

    found: dict[Expr, int] = {}
    for node in walk_stmt(stmt):
        if isinstance(node, For):
            found[node.axis] = node.extent
        elif isinstance(node, Block):
            found.update({it.axis: it.extent for it in node.iters})
    return found


def _touched(buffer: Buffer, loads: list[Expr], extents: dict[Expr, int]) -> set[int]:
    """The steps of the first dimension that ``loads`` may touch; the others may run beyond their
    ends, where they stand for whole rows."""
    count = buffer.shape[0]
    slab = buffer.size // count
    touched: set[int] = set()
    for load in loads:
        if load.attr == buffer:
            low, high = bounds(flat_index(buffer, load.args), extents)
            first = 0 if low is None else max(low // slab, 0)
            last = count - 1 if high is None else min(high // slab, count - 1)
            touched.update(range(first, last + 1))
    return touched
