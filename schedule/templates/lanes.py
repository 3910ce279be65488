"""Blocks that compute, move or fill elements, whatever they are called: axes become lanes.

    parallel the loop that threads share best
      the other loops
        vectors, some of them unrolled        lanes lie together in the result

Neighbouring axes that move every operand alike are one loop. The innermost of them fills vectors;
its last vector begins early enough to be whole. Where it is shorter than a vector, the next one
out fills the rest; where bytes do not lie together so, words move.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod

from ...target.dsp.machine import Machine
from ...target.dsp.simplify import SHORT
from ...tir.stmt import Block, PrimFunc
from ..knobs import Knob, Point, Space, choice, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Form, structure
from ..tree import blocks_below
from .fusing import folding, joined, mask_last, run_on, stepped
from .nest import Nest, clipped, grown_of, nest_of, scalar
from .packets import Body, body_of
from .plans import Part, Plan, total
from .template import Estimate, Template
from .tiles import busiest
from .turns import Turn, bodies, schedule_turn, turn_of

UNROLLS = (1, 2, 3, 4, 6, 8)
ROWS = (1, 2, 4, 8)
CODE = 2048  # instructions of a body of several vectors, at most: packing them takes long
FORMS = (Form.FILL, Form.COPY, Form.MAP)


@dataclass(frozen=True, slots=True)
class Layer:
    """The blocks of a kernel as nests; some are copies that turn, some run on into pads, to the
    ``growths`` of their iters."""

    nests: tuple[Nest, ...]
    turns: Mapping[int, Turn]
    growths: Mapping[str, tuple[int, ...]]
    _bodies: dict[tuple[str, int, int, int], Body] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[int, ...]:
        return ROWS if any(nest.windows for nest in self.nests) else (1,)

    @staticmethod
    def knobs(rows: tuple[int, ...]) -> tuple[Knob, ...]:
        return choice("unroll", UNROLLS), choice("rows", rows), choice("share", (0, 1))

    def fits(self, machine: Machine, point: Point) -> bool:
        """Whether bodies of several vectors are short."""
        least = number(point, "unroll") == number(point, "rows") == 1
        return least or all(plan.body.slots <= CODE for plan in self.plans(machine, point))

    def schedule(self, sch: Schedule, machine: Machine, point: Point, plain: bool = False) -> None:
        """Each block in its loops; ``plain``: element by element."""
        for number_, nest in enumerate(self.nests):
            if number_ in self.turns and not plain:
                schedule_turn(sch, self.turns[number_], machine)
                continue
            block = nest.found.block
            if block in self.growths:
                run_on(sch, block, self.growths[block])
            laid_at(scalar(nest) if plain else nest, machine, point).lay(sch)

    def estimate(self, machine: Machine, point: Point, plain: bool = False) -> Estimate:
        return total(self.plans(machine, point, plain), machine)

    def plans(self, machine: Machine, point: Point, plain: bool = False) -> list[Plan]:
        """What each phase takes."""
        plans: list[Plan] = []
        for number_, nest in enumerate(self.nests):
            if number_ in self.turns and not plain:
                plans += [Plan(n, n, body) for n, body in bodies(self.turns[number_], machine)]
            else:
                laid = laid_at(scalar(nest) if plain else nest, machine, point)
                key = nest.found.block, laid.nest.filled, laid.together, laid.rows
                if key not in self._bodies:
                    self._bodies[key] = laid.body
                plans.append(laid.plan(machine, self._bodies[key]))
        return plans


def layer_of(func: PrimFunc, forms: Sequence[Form] = FORMS, nearest: bool = False,
             apart: Container[str] = ()) -> Layer | None:  # fmt: skip
    """The blocks as nests, those that are kept ``apart`` left out; None where one is of another
    form."""
    nests: list[Nest] = []
    turns: dict[int, Turn] = {}
    growths: dict[str, tuple[int, ...]] = {}
    for block in blocks_below(func.body):
        if block.name in apart:
            continue
        found = structure(block, nearest)
        if found is None or found.form not in forms or block.where is not None:
            return None
        inside = nearest and structure(block) is None
        grown = grown_of(func, found, inside)
        if grown is not None:
            found = grown
            growths[found.block] = tuple(axis.extent for axis in grown.axes)
        nest = nest_of(found)
        if inside:
            nest = _with_edges(nest, block)
        turn = turn_of(func, found, nest.runs) if found.form is Form.COPY else None
        if turn is not None:
            turns[len(nests)] = turn
        nests.append(nest)
    return Layer(tuple(nests), turns, growths)


def _with_edges(nest: Nest, block: Block) -> Nest:
    """The nest of a block that reads the nearest elements inside of operands."""
    if nest.split is None:
        return nest
    count = nest.split.extent // nest.part
    return replace(nest, edges=clipped(block, nest.split.axes[-1], nest.part, count))


def lanes(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of kernels whose blocks each store elements that follow from their axes."""
    layer = layer_of(func)
    if layer is None:
        return None
    moved = all(_transfers(nest) for nest in layer.nests)
    knobs = *layer.knobs(layer.rows), choice("lanes", (2, 1, 0) if moved else (1, 0))
    space = Space(knobs, (partial(layer.fits, machine),))

    def schedule(point: Point) -> Schedule:
        sch = Schedule(func)
        if point["lanes"] == 2:
            for nest in layer.nests:
                _transfer(sch, nest)
        else:
            layer.schedule(sch, machine, point, not point["lanes"])
        return sch

    def estimate(point: Point) -> Estimate:
        if point["lanes"] == 2:
            count = len(layer.nests)
            return Estimate(2.0 * machine.dma_start * count, {"phases": count})
        return layer.estimate(machine, point, not point["lanes"])

    return Template("lanes", func, machine, space, schedule, estimate)


# Schedules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Laid(Part):
    """The loops of a nest: ``rows`` of the innermost outer one at once, so many vectors unrolled,
    the loop ``share`` on all threads."""

    nest: Nest
    share: int | None
    rows: int
    unroll: int

    @property
    def together(self) -> int:
        return self.nest.together(self.unroll, self.share)

    @property
    def body(self) -> Body:
        nest = self.nest
        return body_of(nest.found, nest.lanes, self.together, nest.reach(self.rows))

    def plan(self, machine: Machine, body: Body) -> Plan:
        nest, share, rows, unroll, busy = self.nest, self.share, self.rows, self.together, 1.0
        if share is not None:
            extent = nest.extent(share) // (rows if share == len(nest.outer) - 1 else 1)
            busy = busiest(extent, machine) / extent
        vectors, folds = nest.steps() * busy / rows, prod(a.extent for a in nest.found.summed)
        trips = nest.trips(body.slots / unroll)
        return Plan(vectors * folds / unroll, vectors / trips, body)

    def plans(self, machine: Machine, point: Point) -> list[Plan]:
        return [self.plan(machine, self.body)]

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
    shares, wanted = nest.shares(machine), number(point, "share")
    share = shares[min(wanted, len(shares) - 1)] if shares and wanted >= 0 else None
    return Laid(nest, share, nest.rows(number(point, "rows")), number(point, "unroll"))


def in_rows(sch: Schedule, block: str) -> Laid:
    """What makes an image [n, h, ...] in vectors, its rows on all threads, or parts of one row."""
    made = sch.get_block(block)
    found = structure(made, nearest=True)
    assert found is not None
    row = found.axes[1].var
    nest = nest_of(replace(found, held=found.held | {row}))
    nest = nest if structure(made) is not None else _with_edges(nest, made)
    share = next((at for at, run in enumerate(nest.outer) if row in run.axes), None)
    if share is None and nest.whole and nest.vectors > 1 and not any(nest.edges):
        share = len(nest.outer)
    laid = Laid(nest, share, 1, SHORT)
    laid.lay(sch)
    return laid


def _transfers(nest: Nest) -> bool:
    """Whether a block moves bytes that lie together from DDR to DDR."""
    found = nest.found
    far = all(use.buffer.scope == "ddr" for use in (found.out, *found.reads))
    whole = len(nest.runs) == 1 and nest.runs[0].to == 1 and nest.runs[0].come == (1,)
    return found.form is Form.COPY and far and whole


def _transfer(sch: Schedule, nest: Nest) -> None:
    """To TCM and back, with no instruction in between."""
    near = sch.cache_read(nest.found.block, nest.found.reads[0].buffer.name, "tcm")
    sch.transfer(near)
    sch.transfer(nest.found.block)


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
