"""Blocks that compute, move or fill elements, whatever they are called: axes become lanes.

    parallel the loop that threads share best
      the other loops
        vectors, some of them unrolled        lanes lie together in the result

Neighbouring axes that move every operand alike are one loop. The innermost of them fills vectors;
its last vector begins early enough to be whole. Where it is shorter than a vector, the next one
out fills the rest; where bytes do not lie together so, words move.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod

from ...target.dsp.machine import Machine
from ...tir.expr import Expr
from ...tir.stmt import PrimFunc
from ..errors import ScheduleError
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Form, Run, Structure, runs_of, structure
from ..tree import blocks_below
from .fusing import even, joined, overlapped, run_on
from .packets import Body, body_of
from .template import Estimate, Template
from .turns import bodies, schedule_turn, turn_of

VECTOR = 128  # bytes of a register
WORDS = (8, 4, 2)  # bytes that a scalar register moves
UNROLLS = (1, 2, 3, 4, 6, 8)
ROWS = (1, 2, 4, 8)
FORMS = (Form.FILL, Form.COPY, Form.MAP)


@dataclass(frozen=True, slots=True)
class Nest:
    """A block's loops: ``runs`` outermost first, of which the last ``filled`` are lanes, as many
    of the outermost of these as ``part``."""

    found: Structure
    runs: tuple[Run, ...]
    filled: int
    part: int

    @property
    def lanes(self) -> int:
        return prod(run.extent for run in self.runs[len(self.runs) - self.filled + 1 :]) * self.part

    @property
    def outer(self) -> tuple[Run, ...]:
        """The runs that are loops and nothing else."""
        return self.runs[: len(self.runs) - self.filled]

    @property
    def split(self) -> Run | None:
        """The run that is cut into vectors."""
        return self.runs[-self.filled] if self.filled else None

    @property
    def vectors(self) -> int:
        """Steps of the loop over vectors, the overlapping one included."""
        return 1 if self.split is None else -(-self.split.extent // self.part)

    @property
    def whole(self) -> bool:
        """Whether vectors do not overlap."""
        return self.split is None or self.split.extent % self.part == 0

    @property
    def last(self) -> int:
        """Steps of the innermost loop."""
        if self.split is None:
            return self.runs[-1].extent if self.runs else 1
        return self.split.extent // self.part

    def together(self, unroll: int, share: int | None) -> int:
        """How many steps of the innermost loop are unrolled, at most ``unroll``: they begin and end
        with the axes, and leave none over where a thread's share, or a vector, would be cut."""
        loops = len(self.outer) + (self.split is not None)
        exact = share == loops - 1 or not self.whole
        return max(
            d
            for d in range(1, min(unroll, self.last) + 1)
            if self._aligned(self.part * d) and (self.last % d == 0 or not exact)
        )

    def _aligned(self, together: int) -> bool:
        run = self.split or (self.runs[-1] if self.runs else None)
        extents = {axis.var: axis.extent for axis in self.found.axes}
        total = 1
        for axis in reversed(run.axes if run and together > self.part else ()):
            total *= extents[axis]
            if total % together and together % total:
                return False
        return True

    @property
    def windows(self) -> bool:
        """Whether steps of the innermost outer loop read elements that their neighbours read."""
        starts: dict[str, set[int]] = {}
        for use in self.found.reads:
            starts.setdefault(use.buffer.name, set()).add(use.start)
        return bool(self.outer) and any(len(found) > 1 for found in starts.values())

    def rows(self, wanted: int) -> int:
        """Steps of the innermost outer loop at once, at most ``wanted``; 1 where none overlap."""
        if not self.windows:
            return 1
        return max(d for d in range(1, wanted + 1) if self.outer[-1].extent % d == 0)

    def shares(self, machine: Machine) -> list[int]:
        """The loops that threads may share, the best first: numbers of outer runs, and one more
        for the loop over vectors."""
        ways = {number: run.extent for number, run in enumerate(self.outer)}
        if self.vectors > 1 and (self.whole or not self.outer):
            ways[len(self.outer)] = self.vectors
        found = [number for number, extent in ways.items() if extent > 1]
        return sorted(found, key=lambda at: (-even(ways[at], machine), at))

    def steps(self) -> int:
        """Vectors in all."""
        return prod(run.extent for run in self.outer) * self.vectors

    def extent(self, share: int) -> int:
        return self.vectors if share == len(self.outer) else self.outer[share].extent


def lanes(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of kernels whose blocks each store elements that follow from their axes."""
    blocks = list(blocks_below(func.body))
    plain = [structure(block) for block in blocks if block.where is None]
    found = [known for known in plain if known is not None and known.form in FORMS]
    if len(found) < len(blocks):
        return None
    grown = [grown_of(func, known) for known in found]
    growths = {new.block: tuple(axis.extent for axis in new.axes) for new in grown if new}
    nests = [nest_of(new or known) for new, known in zip(grown, found, strict=True)]
    ways = [turn_of(func, nest.found, nest.runs) for nest in nests]
    turns = {number_: turn for number_, turn in enumerate(ways) if turn is not None}
    rows = ROWS if any(nest.windows for nest in nests) else (1,)
    knobs = choice("unroll", UNROLLS), choice("rows", rows), choice("share", (0, 1))
    moved = all(_transfers(nest) for nest in nests)
    space = Space((*knobs, choice("lanes", (2, 1, 0) if moved else (1, 0))))

    def schedule(point: Point) -> Schedule:
        sch = Schedule(func)
        for number_, nest in enumerate(nests):
            if point["lanes"] == 2:
                _transfer(sch, nest)
                continue
            if point["lanes"] and number_ in turns:
                schedule_turn(sch, turns[number_], machine)
                continue
            if nest.found.block in growths:
                run_on(sch, nest.found.block, growths[nest.found.block])
            _schedule(sch, nest if point["lanes"] else scalar(nest), machine, point)
        return sch

    def estimate(point: Point) -> Estimate:
        plans: list[Plan] = []
        if point["lanes"] == 2:
            return Estimate(2.0 * machine.dma_start * len(nests), {"phases": len(nests)})
        for number_, nest in enumerate(nests):
            if point["lanes"] and number_ in turns:
                plans += [Plan(n, n, body, 1) for n, body in bodies(turns[number_], machine)]
            else:
                plans.append(_plan(nest if point["lanes"] else scalar(nest), machine, point))
        return _estimate(plans, machine)

    return Template("lanes", func, machine, space, schedule, estimate)


def grown_of(func: PrimFunc, found: Structure) -> Structure | None:
    """A block that runs on into the pads of its result, so that lanes fill a vector; None where
    it does without, or does not then either."""
    wanted = VECTOR // min(use.buffer.type.bytes for use in (found.out, *found.reads))
    lanes, more = 1, dict[Expr, int]()
    if found.out.buffer not in func.params:
        return None
    for run in reversed(runs_of(found)):
        if lanes >= wanted:
            break
        if run.to != lanes:
            return None
        whole = 1 << (run.extent - 1).bit_length()
        if whole != run.extent and lanes * run.extent < wanted:
            if len(run.axes) > 1:
                return None
            more[run.axes[0]] = whole
        lanes *= more.get(run.axes[0], run.extent)
    if not more or lanes < wanted:
        return None
    sch = Schedule(func)
    try:
        run_on(sch, found.block, tuple(more.get(axis.var, axis.extent) for axis in found.axes))
    except ScheduleError:
        return None
    return structure(sch.get_block(found.block))


def scalar(nest: Nest) -> Nest:
    return Nest(nest.found, nest.runs, 0, 1)


def nest_of(found: Structure) -> Nest:
    """The loops of a block, and which of them fill a vector."""
    runs = tuple(runs_of(found))
    widths = [use.buffer.type.bytes for use in (found.out, *found.reads)]
    wanted = VECTOR // min(widths)
    filled, lanes = 0, 1
    for run in reversed(runs):
        if lanes >= wanted or run.to != lanes:
            break
        filled, lanes = filled + 1, lanes * run.extent
    inner = prod(run.extent for run in runs[len(runs) - filled + 1 :]) if filled else 1
    if filled and lanes >= wanted and wanted % inner == 0:
        return Nest(found, runs, filled, wanted // inner)
    return _by_words(found, runs)


def _by_words(found: Structure, runs: tuple[Run, ...]) -> Nest:
    """Bytes that lie together as words; other blocks element by element."""
    near = runs and runs[-1].to == 1 and all(step in (0, 1) for step in runs[-1].come)
    if found.form is Form.MAP or not near:
        return Nest(found, runs, 0, 1)
    size = found.out.buffer.type.bytes
    apart = [found.out.start, *(use.start for use in found.reads), runs[-1].extent]
    apart += [step for run in runs[:-1] for step in (run.to, *run.come)]
    together = gcd(*apart)
    part = next((word // size for word in WORDS if together % (word // size or 1) == 0
                 and word // size > 1), 1)  # fmt: skip
    return Nest(found, runs, 1, part) if part > 1 else Nest(found, runs, 0, 1)


# Schedules --------------------------------------------------------------------------------------


def _share(nest: Nest, machine: Machine, point: Point) -> int | None:
    found = nest.shares(machine)
    return found[min(number(point, "share"), len(found) - 1)] if found else None


def _schedule(sch: Schedule, nest: Nest, machine: Machine, point: Point) -> None:
    share, rows = _share(nest, machine, point), nest.rows(number(point, "rows"))
    loops = joined(sch, nest.found.block, nest.runs)
    outer, inner = loops[: len(nest.outer)], loops[len(nest.outer) :]
    steps = list(outer)
    if rows > 1:
        steps[-1], row = sch.split(outer[-1], (None, rows))
        sch.reorder(*inner[:1], row)
    if nest.split is not None:
        vector, blocks = overlapped(sch, nest.found.block, inner[0], nest.part)
        for name in blocks:
            _fill(sch, name, nest.filled, rows)
        steps.append(vector)
    elif rows > 1:
        sch.unroll(row)
    if share is not None:
        before = sch.loops(nest.found.block)
        ahead = before[: before.index(steps[share])]
        sch.reorder(steps[share], *ahead)
    _unroll(sch, nest, steps, share, number(point, "unroll"))


def _transfers(nest: Nest) -> bool:
    """Whether a block moves bytes that lie together from DDR to DDR."""
    found = nest.found
    far = all(use.buffer.scope == "ddr" for use in (found.out, *found.reads))
    whole = len(nest.runs) == 1 and nest.runs[0].to == 1 and nest.runs[0].come == (1,)
    return found.form is Form.COPY and far and whole


def _transfer(sch: Schedule, nest: Nest) -> None:
    """To TCM and back, with no instruction in between."""
    near = sch.cache_read(nest.found.block, nest.found.reads[0].buffer.name, "tcm")
    sch.double_buffer(near, 1)
    sch.double_buffer(nest.found.block, 1)


def _fill(sch: Schedule, block: str, filled: int, rows: int) -> None:
    """The innermost loops as lanes, below the rows that are done at once."""
    loops = sch.loops(block)
    if rows == 1:
        sch.vectorize(*loops[-filled:])
        return
    part, row, *inner = loops[-filled - 1 :]
    sch.reorder(row, part)
    sch.vectorize(part, *inner)
    sch.unroll(row)


def _unroll(
    sch: Schedule, nest: Nest, steps: list[LoopRef], share: int | None, unroll: int
) -> None:
    """Unrolls the innermost loop, and puts one on all threads: first of all loops."""
    factor = nest.together(unroll, share)
    alone = share == len(steps) - 1
    if steps and factor > 1 and not (alone and nest.last == factor):
        outer, inner, *_ = sch.split(steps[-1], (None, factor), tail="peel")
        sch.unroll(inner)
        steps = [*steps[:-1], outer]
    if share is not None:
        sch.parallel(steps[share])


# Plans --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """A block's turns of its innermost loop for the busiest thread, and what one turn takes."""

    turns: float
    starts: float  # how often the loop begins
    body: Body
    unroll: int


def _plan(nest: Nest, machine: Machine, point: Point) -> Plan:
    share, rows = _share(nest, machine, point), nest.rows(number(point, "rows"))
    unroll, busy = nest.together(number(point, "unroll"), share), 1.0
    if share is not None:
        extent = nest.extent(share) // (rows if share == len(nest.outer) - 1 else 1)
        busy = -(-extent // machine.threads) / extent
    down = nest.outer[-1].come if rows > 1 else ()
    body = body_of(nest.found, nest.lanes, unroll, rows, down)
    vectors = nest.steps() * busy / rows
    return Plan(vectors / unroll, vectors / nest.last, body, unroll)


def _estimate(plans: list[Plan], machine: Machine) -> Estimate:
    """Each phase as long as its turns take at the least, and its loops to begin."""
    cycles = 0.0
    for plan in plans:
        cycles += plan.turns * plan.body.packets + plan.starts * plan.body.depth + machine.barrier
    inner = max(plans, key=lambda plan: plan.turns * plan.body.packets)
    facts = {
        "inner_packets": inner.body.packets, "loop_trips": inner.turns, "loop_starts": inner.starts,
        "phases": len(plans), "code": sum(plan.body.slots for plan in plans),
        "registers": inner.body.registers,
    }  # fmt: skip
    return Estimate(cycles, facts)
