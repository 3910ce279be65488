"""The scalar template: any kernel, element by element, with its outer loops on all threads.

It is what runs where no vector template fits: odd layouts, transposes, tiny tensors. Values that a
later step reads once are computed at their reader, so that they stay in registers.
"""

from __future__ import annotations

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, walk
from ...tir.stmt import (
    Alloc,
    Buffer,
    For,
    PrimFunc,
    Stmt,
    Store,
    children,
    map_exprs,
    stored_in,
    walk_stmt,
)
from ..errors import ScheduleError
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .template import Estimate, Template

PACKETS = 3.0  # a guess of the packets that an elementary step takes


def scalar(func: PrimFunc, machine: Machine) -> Template:
    """The template that fits every kernel."""
    space = Space((choice("parallel", (0, 1, 2)), choice("inline", (1, 0))))

    def schedule(point: Point) -> Schedule:
        sch = Schedule(func)
        if point["inline"]:
            _inline_sums(sch, func)
        for buffer in _registers(sch.func):
            if not _is_small(buffer):
                sch.set_scope(buffer.name, "tcm")
        for block in sch.blocks():
            spread(sch, block.name, number(point, "parallel"))
        for buffer in _registers(sch.func):
            if len(_nests(sch, buffer.name)) > 1:
                sch.set_scope(buffer.name, "tcm")  # registers do not outlive a phase
        return sch

    def estimate(point: Point) -> Estimate:
        steps = float(_steps(func.body, 1))
        threads = machine.threads if point["parallel"] == 0 else 1 + machine.threads / 2
        return Estimate(steps * PACKETS / threads + (0 if point["inline"] else steps), {})

    return Template("scalar", func, machine, space, schedule, estimate)


def _inline_sums(sch: Schedule, func: PrimFunc) -> None:
    """Moves the producer of each register buffer to the innermost loop of its reader."""
    for buffer in _registers(func)[::-1]:
        writers, readers = _users(sch, buffer.name)
        if len(readers) != 1 or len(writers) != 1 or not sch.loops(readers[0]):
            continue
        try:
            sch.compute_at(writers[0], sch.loops(readers[0])[-1])
        except ScheduleError:
            continue


def _registers(func: PrimFunc) -> list[Buffer]:
    return [
        s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc) and s.buffer.scope == "reg"
    ]


def _is_small(buffer: Buffer) -> bool:
    return buffer.size == 1


def _nests(sch: Schedule, name: str) -> set[str]:
    """The outermost loops that touch a buffer, or blocks without loops."""
    blocks = [block for found in _users(sch, name) for block in found]
    return {str(loops[0]) if (loops := sch.loops(block)) else block for block in blocks}


def _users(sch: Schedule, name: str) -> tuple[list[str], list[str]]:
    """The blocks that write a buffer, and those that only read it."""
    writers, readers = [], []
    for ref in sch.blocks():
        reads, writes = touched(sch.get_block(ref))
        if name in writes:
            writers.append(ref.name)
        elif name in reads:
            readers.append(ref.name)
    return writers, readers


def touched(block: Stmt) -> tuple[set[str], set[str]]:
    """The names of the buffers that a statement reads and of those that it writes."""
    reads: set[str] = set()
    writes = {buffer.name for buffer in stored_in(block)}

    def note(expr: Expr) -> Expr:
        reads.update(e.attr.name for e in walk(expr) if e.op == "load")
        return expr

    map_exprs(block, note)
    return reads, writes


def spread(sch: Schedule, block: str, place: int) -> None:
    """Puts the outermost loop of some length on all threads."""
    loops = sch.loops(block)
    if any(sch.get_loop(loop).kind.value == "parallel" for loop in loops):
        return
    long = [loop for loop in loops if sch.get_loop(loop).extent > 1]
    for loop in (long[place:] + long[:place]) if len(long) > place else long:
        try:
            outermost = sch.loops(block)[0]
            if loop != outermost:
                sch.reorder(loop, outermost)
            sch.parallel(loop)
        except ScheduleError:
            continue
        return


def _steps(stmt: Stmt, times: int) -> int:
    if isinstance(stmt, Store):
        return times
    extent = stmt.extent if isinstance(stmt, For) else 1
    return sum(_steps(child, times * extent) for child in children(stmt))
