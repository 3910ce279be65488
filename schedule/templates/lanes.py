"""Blocks that compute, move or fill elements, whatever they are called: axes become lanes.

    parallel the loop that threads share best
      the other loops
        vectors, some of them unrolled        lanes lie together in the result

Neighbouring axes that move every operand alike are one loop. The innermost of them fills vectors;
its last vector begins early enough to be whole. Where it is shorter than a vector, the next one
out fills the rest; where bytes do not lie together so, words move.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from ...target.machine_facts import Issue, Machine
from ...tir.stmt import Block, PrimFunc
from ..knobs import Point, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Form, structure
from ..tree import blocks_below
from .fusing import ALONE, folding, joined, mask_last, run_on, stepped
from .nest import Nest, clipped, grown_of, nest_of, scalar
from .packets import BodyCost, body_of
from .plans import BlockPlan, NestPlan
from .tiles import busiest
from .turns import Turn, bodies, schedule_turn, turn_of

UNROLLS = (1, 2, 3, 4, 6, 8)
ROWS = (1, 2, 4, 8)
CODE = 256  # instructions of a body of several vectors, about: packing them takes long
FORMS = (Form.FILL, Form.COPY, Form.MAP)
FOLDS = (Form.REDUCTION, Form.CONTRACTION)
SUMS = 4  # registers of sums of a body
BODY = 64  # loads of registers of a body that sums
TOGETHER = 4  # vectors of an image's row, unrolled


@dataclass(frozen=True, slots=True)
class LaneNest(BlockPlan):
    """A block as a nest, which may run on into pads, to ``grown`` steps of its iters; or a copy
    that turns."""

    nest: Nest
    grown: tuple[int, ...] = ()
    turn: Turn | None = None
    _bodies: dict[tuple[int, int, Issue], BodyCost] = field(default_factory=dict, compare=False)

    def fits(self, machine: Machine, point: Point) -> bool:
        """Whether few registers hold what is summed, and what sums take in."""
        if self.nest.found.form not in FOLDS:
            return True
        uses, unroll = (self.nest.found.out, *self.nest.found.reads), number(point, "unroll")
        vectors = self.nest.together(unroll, None) * self.nest.rows(number(point, "rows"))
        sizes = [
            max(use.buffer.type.bytes * self.nest.lanes // self.nest.vector, 1) for use in uses
        ]
        return max(sizes) * vectors <= SUMS and sum(sizes[1:]) * vectors <= BODY

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        if self.turn is not None:
            schedule_turn(sch, self.turn, machine)
            return
        if self.grown:
            run_on(sch, block, self.grown)
        laid_at(self.nest, machine, point).lay(sch)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        if self.turn is not None:
            return [NestPlan(n, n, body) for n, body in bodies(self.turn, machine)]
        laid = laid_at(self.nest, machine, point)
        key = laid.together, laid.rows, machine.issue
        if key not in self._bodies:
            self._bodies[key] = laid.body(machine)
        return [laid.plan(machine, self._bodies[key])]

    def plain(self) -> LaneNest:
        """The same element by element."""
        return LaneNest(scalar(self.nest), self.grown)


def layer_of(func: PrimFunc, machine: Machine, forms: Sequence[Form] = FORMS, nearest: bool = False,
             apart: Container[str] = ()) -> dict[str, LaneNest] | None:  # fmt: skip
    """The blocks as nests of vectors, those that are kept ``apart`` left out; None where one is of
    another form."""
    layer, vector = dict[str, LaneNest](), machine.vector_bytes
    for block in blocks_below(func.body):
        if block.name in apart:
            continue
        found = structure(block, nearest)
        if found is None or found.form not in forms or block.where is not None:
            return None
        inside = nearest and structure(block) is None
        grown = grown_of(func, found, vector, inside)
        turn = turn_of(func, found, vector) if found.form is Form.COPY else None
        more = () if grown is None else tuple(axis.extent for axis in grown.axes)
        found = found if grown is None else grown
        nest = _few(nest_of(found, vector), machine)
        layer[block.name] = LaneNest(_with_edges(nest, block) if inside else nest, more, turn)
    return layer


def _few(nest: Nest, machine: Machine) -> Nest:
    """A nest that unrolls few vectors where each takes long."""
    body = body_of(nest.found, nest.lanes, 1, nest.reach(1), machine)
    return replace(nest, most=max(int(CODE / body.slots), 1))


def _with_edges(nest: Nest, block: Block) -> Nest:
    """The nest of a block that reads the nearest elements inside of operands."""
    if nest.split is None:
        return nest
    count = nest.split.extent // nest.part
    return replace(nest, edges=clipped(block, nest.split.axes[-1], nest.part, count))


# Schedules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Laid(BlockPlan):
    """The loops of a nest: ``rows`` of the innermost outer one at once, so many vectors unrolled,
    the loop ``share`` on all threads."""

    nest: Nest
    share: int | None
    rows: int
    unroll: int

    @property
    def together(self) -> int:
        return self.nest.together(self.unroll, self.share)

    def body(self, machine: Machine) -> BodyCost:
        nest = self.nest
        return body_of(nest.found, nest.lanes, self.together, nest.reach(self.rows), machine)

    def plan(self, machine: Machine, body: BodyCost) -> NestPlan:
        nest, share, rows, unroll, busy = self.nest, self.share, self.rows, self.together, 1.0
        if share is not None:
            extent = nest.extent(share) // (rows if share == len(nest.outer) - 1 else 1)
            busy = busiest(extent, machine) / extent
        vectors, folds = nest.steps() * busy / rows, prod(a.extent for a in nest.found.summed)
        trips = nest.trips(body.slots / unroll, machine)
        return NestPlan(vectors * folds / unroll, vectors / trips, body)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        return [self.plan(machine, self.body(machine))]

    def lay(self, sch: Schedule) -> None:
        nest, share, rows = self.nest, self.share, self.rows
        loops = joined(sch, nest.found.block, nest.runs)
        outer, inner = loops[: len(nest.outer)], loops[len(nest.outer) :]
        steps = list(outer)
        if rows > 1:
            steps[-1], row = sch.split(outer[-1], (None, rows))
            sch.reorder(*inner[:1], row)
        if nest.split is not None:
            vector, blocks = stepped(sch, nest.found.block, inner[0], nest.part)
            for name in blocks:
                _fill(sch, name, nest.filled, rows)
            steps.append(vector)
        elif rows > 1:
            sch.unroll(row)
        if share is not None:
            before = sch.loops(nest.found.block)
            ahead = before[: before.index(steps[share])]
            if any(sch.get_loop(loop).extent > 1 for loop in ahead):
                sch.reorder(steps[share], *ahead)
        if any(nest.edges):
            _cut(sch, nest.edges, steps[-1], self.unroll)
        else:
            steps = self._unrolled(sch, steps)
        if share is not None:
            sch.parallel(steps[share])

    def _unrolled(self, sch: Schedule, steps: list[LoopRef]) -> list[LoopRef]:
        """Unrolls the innermost loop; gives the loops around."""
        nest, factor = self.nest, self.together
        alone = self.share == len(steps) - 1
        if not steps or factor == 1 or (alone and nest.last == factor):
            return steps
        outer, inner, *_ = sch.split(steps[-1], (None, factor), tail="peel")
        sch.reorder(*folding(sch, nest.found.block), inner)
        sch.unroll(inner)
        return [*steps[:-1], outer]


def laid_at(nest: Nest, machine: Machine, point: Point) -> Laid:
    """The loops that a point says."""
    shares, wanted = nest.shares(machine), number(point, "loop")
    share = shares[min(wanted, len(shares) - 1)] if shares and wanted != ALONE else None
    return Laid(nest, share, nest.rows(number(point, "rows")), number(point, "unroll"))


def in_rows(sch: Schedule, block: str, vector: int) -> Laid:
    """What makes an image [n, h, ...] in vectors, its rows on all threads, or parts of one row."""
    made = sch.get_block(block)
    found = structure(made, nearest=True)
    assert found is not None
    row = found.axes[1].var
    nest = nest_of(replace(found, held=found.held | {row}), vector)
    nest = nest if structure(made) is not None else _with_edges(nest, made)
    share = next((at for at, run in enumerate(nest.outer) if row in run.axes), None)
    if share is None and nest.whole and nest.vectors > 1 and not any(nest.edges):
        share = len(nest.outer)
    laid = Laid(nest, share, 1, TOGETHER)
    laid.lay(sch)
    return laid


def _fill(sch: Schedule, block: str, filled: int, rows: int) -> None:
    """The innermost loops as lanes, below the rows that are done at once."""
    folds = folding(sch, block)
    loops = sch.loops(block)
    if folds:
        loops = [loop for loop in loops if loop not in folds]
        sch.reorder(*folds, *loops[-filled:])
    if rows == 1:
        sch.vectorize(*loops[-filled:])
        mask_last(sch, block, folds)
        return
    part, row, *inner = loops[-filled - 1 :]
    sch.reorder(row, part)
    sch.vectorize(part, *inner)
    sch.unroll(row)


def _cut(sch: Schedule, edges: tuple[int, int], loop: LoopRef, unroll: int) -> None:
    """Unrolls the loop over vectors, with those at either end apart that read the nearest elements
    inside, and with them what is left over."""
    (first, last), count = edges, sch.get_loop(loop).extent
    if first + last >= count or count <= unroll:
        sch.unroll(loop)
        return
    rest = (count - first - last) % unroll
    first, last = (first + rest, last) if first else (first, last + rest)
    inner = count - first - last
    if inner == 0:
        sch.unroll(loop)
        return
    if first:
        apart, loop = sch.split(loop, (first,), tail="peel")
        sch.unroll(apart)
    if last:
        loop, apart = sch.split(loop, (inner,), tail="peel")
        sch.unroll(apart)
    _, steps = sch.split(loop, (None, unroll))
    sch.unroll(steps)
