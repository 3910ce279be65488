"""Copies that turn: what lies together in the result lies apart in the operand.

    t[k/8, i, k%8] = x[k, i]        registers of 8 rows become words of 8, by 3 shuffles a pair
    y[i, k] = t[k/8, i, k%8]        16 registers of words become 16 rows, by 4

Rows that lie closer than a part of a register lie apart first, and so do short rows that others
than those of ``i`` follow; then registers of the result take the runs of several rows. Seven digits
of the byte's place must change with the register's number; more than four at once would need more
registers than there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import lcm, log2, prod

from ...target.machine_facts import Machine
from ...tir.expr import Expr
from ...tir.passes.pieces import RUNS
from ...tir.stmt import PrimFunc
from ..errors import ScheduleError
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import AxisRun, Form, Structure, runs_of, structure
from ..trace import index_map
from .fusing import even, joined, made_by, run_on, stepped
from .packets import BodyCost, Ops

GROUP = 8  # rows of the operand that are dealt together
MOST = 16  # registers of rows that lie close


@dataclass(frozen=True, slots=True)
class Turn:
    """A copy's runs: ``near`` lies together in the operand, ``far`` in the result, whose steps are
    ``wide`` with those that mean nothing; ``deep`` are those of ``near`` in the staged form. Rows
    that lie close are turned ``apart``, into a buffer of their own; those of the run ``close``,
    ``pitch`` bytes each, follow one another in the result."""

    found: Structure
    outer: tuple[AxisRun, ...]
    near: AxisRun
    far: AxisRun
    wide: int
    deep: int
    close: AxisRun
    pitch: int
    vector: int  # bytes
    apart: Turn | None = None

    @property
    def beside(self) -> int:
        """Close rows that are put together: as few as fill registers, or else all."""
        few = lcm(self.vector, self.pitch) // self.pitch
        return few if self.close.extent % few == 0 else self.close.extent

    @property
    def registers(self) -> int:
        """Of rows that are put together."""
        return -(-self.beside * self.pitch // self.vector)

    @property
    def groups(self) -> int:
        return -(-self.far.extent // GROUP)

    @property
    def whole(self) -> int:
        """Groups of rows that are all there."""
        return self.far.extent // GROUP

    @property
    def words(self) -> int:
        """Groups that a register of the result takes."""
        return min(self.wide, self.vector) // GROUP

    @property
    def extents(self) -> tuple[int, ...]:
        """The result's extents, with the steps that mean nothing."""
        row = self.pitch if self.apart else self.wide
        return self._sizes({self.far.axes[-1]: row - self.far.extent})

    @property
    def grows(self) -> bool:
        """Whether the result runs on into steps that mean nothing."""
        return self.far.extent < (self.pitch if self.apart else self.wide)

    @property
    def staged(self) -> tuple[int, ...]:
        """The extents of the staged form."""
        more = {self.far.axes[-1]: self.groups * GROUP - self.far.extent}
        return self._sizes(more | {self.near.axes[-1]: self.deep - self.near.extent})

    def _sizes(self, more: dict[Expr, int]) -> tuple[int, ...]:
        return tuple(axis.extent + more.get(axis.var, 0) for axis in self.found.axes)

    @property
    def layout(self) -> Callable[..., tuple[Expr, ...]]:
        """The place of an element in the staged form: outer axes, group, near, row of the group."""
        axes = [axis.var for axis in self.found.axes]
        rest = [v for v in axes if v not in (*self.near.axes, *self.far.axes)]
        extents = dict(zip(axes, self.staged, strict=True))
        near, far = (_number(run, extents) for run in (self.near, self.far))
        return index_map(axes, (*rest, far // GROUP, near, far % GROUP))


def _number(run: AxisRun, extents: dict[Expr, int]) -> Expr:
    total = run.axes[0]
    for axis in run.axes[1:]:
        total = total * extents[axis] + axis
    return total


def turn_of(func: PrimFunc, found: Structure, vector: int, loose: bool = False) -> Turn | None:
    """How a copy turns; None where it does not, or its rows are too short. ``loose``: rows of the
    result may lie as far apart as they like."""
    runs = runs_of(found)
    if found.form is not Form.COPY or len(found.reads) != 1 or not runs:
        return None
    if found.out.buffer.type.bytes > 1:
        return None
    far = runs[-1]
    near = next((run for run in runs if run.come == (1,) and run is not far), None)
    if near is None or far.to != 1 or far.extent < GROUP:
        return None
    outer = tuple(run for run in runs if run is not near and run is not far)
    close = min((*outer, near), key=lambda run: run.to)
    pitch, apart = close.to, None
    wide = pitch if pitch < vector else -(-far.extent // vector) * vector
    if pitch < vector and (vector % pitch or close is not near):
        wide = vector if close is not near else 1 << (far.extent - 1).bit_length()
        if not loose and vector <= pitch * (RUNS if vector % pitch == 0 else RUNS - 1):
            apart = _apart(func, found, near, far, vector)
        if not loose and apart is None:
            return None
    deep = near.extent if near.extent >= vector else 1 << (near.extent - 1).bit_length()
    turn = Turn(found, outer, near, far, wide, deep, close, pitch, vector, apart)
    several = (turn.grows and len(far.axes) > 1) or (deep > near.extent and len(near.axes) > 1)
    if apart and not vector <= turn.beside * pitch <= MOST * vector:
        return None
    if several or (apart is None and _uneven(near, far, vector)):
        return None
    return turn if loose or _grows(func, turn) else None


def _uneven(near: AxisRun, far: AxisRun, vector: int) -> bool:
    """Whether words of a group do not fill registers, or a row alone has too few bytes to."""
    return near.extent < (vector if far.extent % GROUP == 1 else vector // GROUP)


def _apart(
    func: PrimFunc, found: Structure, near: AxisRun, far: AxisRun, vector: int
) -> Turn | None:
    """The turn into a buffer whose rows lie apart, with the pads of the operand's innermost axis,
    so that the next one out may follow it; the rows are those of the result."""
    sch = Schedule(func)
    block = sch.stage(found.block, "tcm").name
    pitch = found.reads[0].buffer.shape[-1]
    wide = {near.axes[0]: pitch} if len(near.axes) == 1 and near.extent < pitch else {}
    run_on(sch, block, [wide.get(axis.var, axis.extent) for axis in found.axes])
    staged = structure(sch.get_block(block))
    if staged is None:
        return None
    rows = {new.var for old, new in zip(found.axes, staged.axes, strict=True)
            if old.var in far.axes and len(far.axes) == 1}  # fmt: skip
    staged = replace(staged, held=staged.held | rows)
    return turn_of(sch.func, staged, vector, loose=True)


def _grows(func: PrimFunc, turn: Turn) -> bool:
    """Whether the result may run on as far as whole vectors take."""
    if not turn.grows:
        return True
    if turn.found.out.buffer not in func.params:
        return False
    try:
        run_on(Schedule(func), turn.found.block, turn.extents)
    except ScheduleError:
        return False
    return True


def schedule_turn(sch: Schedule, turn: Turn, machine: Machine) -> None:
    """The two blocks, or three, each with a loop on all threads."""
    if turn.apart:
        staged = sch.stage(turn.found.block, "tcm")
        run_on(sch, staged.name, [axis.extent for axis in turn.apart.found.axes])
        schedule_turn(sch, turn.apart, machine)
        _together(sch, turn, machine)
        return
    staged = sch.stage(turn.found.block, "tcm")
    run_on(sch, staged.name, turn.staged)
    sch.transform_layout(made_by(sch, staged.name), turn.layout)
    if turn.grows:
        run_on(sch, turn.found.block, turn.extents)
    _deal(sch, turn, staged.name, machine)
    _write(sch, turn, machine)


def _deal(sch: Schedule, turn: Turn, block: str, machine: Machine) -> None:
    """Groups of rows into words of a group."""
    *outer, far, near = joined(sch, block, [*turn.outer, turn.far, turn.near])
    group, row = sch.split(far, (None, GROUP))
    sch.reorder(*outer, group, near, row)
    blocks = stepped(sch, block, near, turn.vector)[1] if turn.deep > turn.vector else [block]
    for name in blocks:
        sch.vectorize(*sch.loops(name)[-2:])
    shared = _share(sch, block, [*outer, group], machine)
    if turn.whole < turn.groups:
        first, *_ = sch.split(group, (turn.whole,), tail="peel")
        shared = first if shared == group else shared
    sch.parallel(shared)


def _write(sch: Schedule, turn: Turn, machine: Machine) -> None:
    """Words of groups into rows of the result."""
    block = turn.found.block
    *outer, near, far = joined(sch, block, [*turn.outer, turn.near, turn.far])
    part, words, row = sch.split(far, (None, turn.words, GROUP))
    sch.reorder(*outer, part, near, words, row)
    steps, blocks = stepped(sch, block, near, turn.vector // GROUP)
    for name in blocks:
        sch.vectorize(*sch.loops(name)[-3:])
    inside = turn.groups // turn.words
    cut = inside * turn.words < turn.groups
    alone = turn.near.extent % (turn.vector // GROUP) == 0
    ways = [*outer, *([] if cut else [part]), *([steps] if alone or (cut and not outer) else [])]
    shared = _share(sch, block, ways, machine)
    if cut and inside:
        sch.split(part, (inside,), tail="peel")
    elif cut:
        sch.unroll(part)
    sch.parallel(shared)


def _together(sch: Schedule, turn: Turn, machine: Machine) -> None:
    """Rows that lie apart into registers of the result."""
    block = turn.found.block
    if turn.grows:
        run_on(sch, block, turn.extents)
    rest = [run for run in (*turn.outer, turn.near) if run is not turn.close]
    *outer, close, far = joined(sch, block, [*rest, turn.close, turn.far])
    if turn.beside < turn.close.extent:
        part, close = sch.split(close, (None, turn.beside))
        outer.append(part)
    steps, blocks = stepped(sch, block, sch.fuse(close, far), turn.vector)
    for name in blocks:
        sch.vectorize(sch.loops(name)[-1])
    sch.unroll(steps)
    if outer:
        sch.parallel(_share(sch, block, outer, machine))


def _share(sch: Schedule, block: str, loops: list[LoopRef], machine: Machine) -> LoopRef:
    """The loop that threads share best, put before all others."""
    best = max(loops, key=lambda loop: even(sch.get_loop(loop).extent, machine))
    around = sch.loops(block)
    sch.reorder(best, *around[: around.index(best)])
    return best


def bodies(turn: Turn, machine: Machine) -> list[tuple[float, BodyCost]]:
    """Turns of each block's innermost loop for the busiest thread, and what one takes."""
    outer = prod(run.extent for run in turn.outer)
    near = -(-turn.deep // turn.vector)
    dealt = max(min(turn.deep, turn.vector) * GROUP // turn.vector, 1)
    rows = -(-turn.near.extent // (turn.vector // GROUP)) * -(-turn.wide // turn.vector)
    written = max(turn.words * GROUP * (turn.vector // GROUP) // turn.vector, 1)
    if turn.apart:
        runs, rows = turn.vector / turn.pitch + 1, outer * turn.near.extent
        count = runs * turn.registers
        last = BodyCost(2 * count, 3 * count, 2 * runs, machine.issue.depth)
        return [*bodies(turn.apart, machine), (rows / turn.beside / machine.threads, last)]
    return [
        (outer * turn.groups * near / machine.threads, _body(dealt, log2(GROUP), machine)),
        (outer * rows / machine.threads, _body(written, log2(turn.words), machine)),
    ]


def _body(registers: int, digits: float, machine: Machine) -> BodyCost:
    """Each digit exchanges registers in pairs: an instruction a pair."""
    body, issue = Ops(digits / 2, 0, digits / 2, 1, 0, 1) * registers, machine.issue
    return BodyCost(body.packets(issue), body.count, registers, issue.depth)
