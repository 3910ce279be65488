"""From a lowered kernel to a program: phases, loops, and selected instructions over registers.

    dsp: PrimFunc -> lower_blocks -> settled -> vectorize_loops -> unroll_loops -> here

Statements between two loops form a region: its stores and register writes are gathered first, as a
DAG of shared expressions with versioned loads, and then selected and emitted in program order.
Register buffers (scope ``reg``) become virtual registers that loops carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import gcd

from ..tir.expr import Expr
from ..tir.linear import Linear, row_major
from ..tir.recent import Recent
from ..tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    For,
    LoopKind,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    Wait,
    top,
    walk_stmt,
)
from .alike import Shifts, common
from .emit import RegionEmitter
from .errors import SelectError
from .program import THREADS, Address, Dma, Item, Loop, MachineOp, Phase, Place, Program, WaitOp
from .region import BufferState, RegionBuilder
from .roles import Roles
from .select import Selector
from .selection_record import Started

_recent = Recent[Phase](1024)


@dataclass(frozen=True, slots=True)
class PhaseStmts:
    """The statements of one phase in the parallel ``loop`` around them, what they allocate, and
    their registers of whole vectors."""

    stmts: tuple[Stmt, ...]
    loop: For | None
    own: tuple[Buffer, ...]
    vectors: frozenset[str]

    @staticmethod
    def of(stmts: tuple[Stmt, ...]) -> PhaseStmts:
        """SelectError where they read a register that only another phase writes."""
        loop, first = None, stmts[0]
        if isinstance(first, For) and _is_parallel(first):
            stmts, loop = (first.body,), first
        nodes = [node for stmt in stmts for node in walk_stmt(stmt)]
        stores = [node for node in nodes if isinstance(node, Store)]
        made = {store.buffer.name for store in stores}
        vectors = {store.buffer.name for store in stores if store.value.type.lanes > 1}
        seen: set[Expr] = set()
        stack = [expr for store in stores for expr in (*store.index, store.value)]
        while stack:
            part = stack.pop()
            if part.op == "load":
                _require_made(part.attr, made)
                if part.type.lanes > 1:
                    vectors.add(part.attr.name)
            fresh = [arg for arg in part.args if arg not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        own = tuple(node.buffer for node in nodes if isinstance(node, Alloc))
        return PhaseStmts(stmts, loop, own, frozenset(vectors))

    @property
    def parallel(self) -> tuple[str, int] | None:
        return (str(self.loop.axis.attr), self.loop.extent) if self.loop else None


def _require_made(buffer: Buffer, made: set[str]) -> None:
    if buffer.scope == "reg" and buffer.name not in made:
        raise SelectError(
            "registers: a value must be made in the phase that reads it, but got "
            f"{buffer.name}, which another one makes; set its scope to tcm"
        )


@dataclass(frozen=True, slots=True)
class PhaseGroup:
    """Lowered statements: the phases that they are, what they allocate around them."""

    buffers: tuple[Buffer, ...]
    parts: tuple[PhaseStmts, ...]

    @staticmethod
    def of(body: Stmt) -> PhaseGroup:
        buffers, stmts = top(body)
        return PhaseGroup(tuple(buffers), tuple(map(PhaseStmts.of, apart(stmts))))


@dataclass(slots=True)
class ProgramBuilder:
    """Builds one program; ``selector``, ``roles`` and the ``grain`` by which alike phases are moved
    belong to the target."""

    selector: Selector
    roles: Roles
    grain: int
    memory: dict[str, BufferState] = field(default_factory=dict)
    registers: dict[str, Buffer] = field(default_factory=dict)
    vectors: frozenset[str] = frozenset()  # registers of the phase that hold whole vectors
    numbers: dict[str, int] = field(default_factory=dict)  # of the kernel's holes

    def build(self, func: PrimFunc, groups: Sequence[tuple[PhaseGroup, Shifts]]) -> Program:
        """The program of ``func``, whose statements are lowered to groups, and those work at
        these places."""
        self.numbers = func.numbers
        for param in func.params:
            data = func.constants.get(param.name)
            raw = None if data is None else data.tobytes()
            self._place(param, Place(param.name, param.bytes, param.scope, data=raw))
        for buffer in chain(top(func.body)[0], *(group.buffers for group, _ in groups)):
            self._declare(buffer, False)
        for part in chain(*(group.parts for group, _ in groups)):
            for buffer in part.own:
                self._declare(buffer, part.loop is not None)
        phases = [self._phase(part).at(shifts) for group, shifts in groups for part in group.parts]
        places = [m.place for m in self.memory.values()]
        return Program(func.name, places, phases, func.attrs.get(THREADS))

    def _place(self, buffer: Buffer, place: Place) -> None:
        known = self.memory.get(buffer.name)
        if place.local and known is not None and known.place == place:
            return  # scratch of several phases, one after another
        if known is not None or buffer.name in self.registers:
            raise SelectError(f"buffers: names must differ, but {buffer.name} occurs twice")
        self.memory[buffer.name] = BufferState(place, buffer.type)

    def _declare(self, buffer: Buffer, threaded: bool) -> None:
        """Gives a local buffer its place; below a parallel loop each thread has its own."""
        if buffer.scope == "reg":
            self.registers[buffer.name] = buffer
        else:
            self._place(buffer, Place(buffer.name, buffer.bytes, buffer.scope, True, threaded))

    def _phase(self, part: PhaseStmts) -> Phase:
        """The code between two barriers: a function of the statements, and of the numbers that fill
        holes."""
        self.vectors = part.vectors
        if self.selector.record is not None:
            self.selector.record.events.append(Started(part.parallel and part.parallel[0]))
            return self._selected(part)
        numbers = tuple(sorted(self.numbers.items()))
        key = self.selector, self.roles, self.grain, part.stmts, part.parallel, numbers
        return _recent(key, lambda: common(self._selected(part), self.grain))

    def _selected(self, part: PhaseStmts) -> Phase:
        for memory in self.memory.values():
            memory.version = 0
        body = PhaseBody(self, [part.parallel[0]] if part.parallel else [])
        for stmt in part.stmts:
            body.run(stmt)
        items, start = body.finish()  # may add to the prelude
        body.region.release()
        return Phase([*body.emitter.prelude, *items], part.parallel, start=start)


def apart(stmts: Sequence[Stmt]) -> Iterator[tuple[Stmt, ...]]:
    """The statements of each phase: a parallel loop, or what stands between two; before transfers
    that start behind waits, threads may have to wait for each other."""
    serial: list[Stmt] = []
    for stmt in stmts:
        behind = isinstance(stmt, Copy) and serial and isinstance(serial[-1], Wait)
        if serial and (behind or _is_parallel(stmt)):
            yield tuple(serial)
            serial = []
        if _is_parallel(stmt):
            yield (stmt,)
        else:
            serial.append(stmt)
    if serial:
        yield tuple(serial)


def _is_parallel(stmt: Stmt) -> bool:
    return isinstance(stmt, For) and stmt.kind is LoopKind.PARALLEL


class PhaseBody:
    """The statements of one phase; ``items`` is the innermost list under construction."""

    def __init__(self, builder: ProgramBuilder, loops: list[str]) -> None:
        self.builder, self.loops = builder, loops
        self.items: list[Item] = []
        self.emitter = RegionEmitter(builder.selector, builder.roles, builder.numbers)
        for loop in loops:
            self.emitter.enter(loop)
        self.region = RegionBuilder(self)

    def run(self, stmt: Stmt) -> None:
        match stmt:
            case Seq(stmts):
                for part in stmts:
                    self.run(part)
            case Alloc(body=body):
                self.run(body)
            case Store():
                self.region.store(stmt)
            case For():
                self._loop(stmt)
            case Copy():
                self.flush()
                self.items.extend(self._dma(stmt))
            case Wait(token=token):
                self.flush()
                self.items.append(WaitOp(token))
            case _:
                raise SelectError(
                    f"select: the machine has no {type(stmt).__name__} within a kernel"
                )

    def finish(self) -> tuple[list[Item], MachineOp | None]:
        """The code, and what sets the variable of the threads' loop, if that is asked for."""
        self.flush()
        if not self.loops:
            return self.items, None
        counter = self.emitter.leave(self.loops.pop())
        return [*self.items, *counter.after], next(iter(counter.before), None)

    def flush(self) -> None:
        self.items.extend(self.region.close())

    def _loop(self, loop: For) -> None:
        if loop.kind is LoopKind.PARALLEL:
            raise SelectError(f"select: the parallel loop {loop.axis.attr} must be outermost")
        self.flush()
        outer, self.items = self.items, []
        self.loops.append(str(loop.axis.attr))
        self.emitter.enter(self.loops[-1])
        self.run(loop.body)
        self.flush()
        counter = self.emitter.leave(self.loops.pop())
        inner, self.items = self.items, outer
        self.items.extend(counter.before)
        self.items.append(Loop(str(loop.axis.attr), loop.extent, [*inner, *counter.after]))

    def _dma(self, copy: Copy) -> list[Item]:
        for buffer in (copy.target.buffer, copy.source.buffer):
            if buffer.name in self.builder.registers:
                raise SelectError(
                    f"copy: a transfer must be between memories, but got {buffer.name} in registers"
                )
        rows, row, target_stride, source_stride = _rows(copy)
        token = copy.token or "copy"
        size = copy.target.buffer.type.bytes
        to, source = (
            self.address(side.buffer.name, row_major(side.buffer.shape, side.start), size)
            for side in (copy.target, copy.source)
        )
        start = Dma(token, to, source, rows, row * size, target_stride * size, source_stride * size)
        self.region.touched(copy.target.buffer.name)
        before = self.emitter.offsets()
        return [*before, start] if copy.token else [*before, start, WaitOp(token)]

    def address(self, buffer: str, form: Linear, size: int, extra: int = 0) -> Address:
        """Bytes from a linear element index; terms that are no loop variables go to a register."""
        terms: dict[str, int] = {}
        rest = Linear({}, 0)
        for atom, coefficient in form.terms.items():
            if atom.op == "var" and atom.attr in self.loops:
                terms[str(atom.attr)] = coefficient * size
            else:
                rest = rest.plus(Linear({atom: coefficient * size}, 0))
        offset, moving = form.constant * size + extra, tuple(sorted(terms.items()))
        if not rest.terms:
            return Address(buffer, offset, moving)
        index = self.emitter.index(self.region.scalar, rest)
        return Address(buffer, offset, moving, index, gcd(*rest.terms.values()))


def _rows(copy: Copy) -> tuple[int, int, int, int]:
    """(rows, elements a row, target stride, source stride) of a box that is a 2-D copy."""
    boxes = []
    for region in (copy.target, copy.source):
        runs: list[tuple[int, int]] = []
        stride = 1
        for extent, size in zip(
            reversed(region.extent), reversed(region.buffer.shape), strict=True
        ):
            if extent > 1:
                if runs and runs[-1][0] * runs[-1][1] == stride:
                    runs[-1] = (runs[-1][0] * extent, runs[-1][1])
                else:
                    runs.append((extent, stride))
            stride *= size
        boxes.append(runs or [(1, 1)])
    total = 1
    for extent, _ in boxes[0]:
        total *= extent
    row = min(runs[0][0] if runs[0][1] == 1 else 1 for runs in boxes)
    strides = [_row_stride(runs, row) for runs in boxes]
    if total % row or None in strides:
        raise SelectError("copy: a DMA moves rows of equal length, at one distance on each side")
    return total // row, row, strides[0] or row, strides[1] or row


def _row_stride(runs: list[tuple[int, int]], row: int) -> int | None:
    """Elements between rows of ``row`` elements within the box's runs, if that is one number."""
    first = runs[0][0] if runs[0][1] == 1 else 1
    outer = runs[1:] if runs[0][1] == 1 else runs
    if first == row:
        return outer[0][1] if len(outer) == 1 else row if not outer else None
    return row if not outer else None
