"""Pipelined loops written out: a prologue, a kernel of whole intervals, an epilogue.

    iteration 0:  A B C            prologue   A
    iteration 1:    A B C    ->               A B
    iteration 2:      A B C        kernel     A B C
                                   epilogue   B C ; C

Where a value lives longer than the interval, the kernel holds several iterations with registers of
their own (modulo variable expansion). Prologue and epilogue are not packets yet: they join the
blocks around the loop and are packed with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .allocate import Sets, live_around
from .lower import Lowering, Table, carries
from .modulo import Body, Modulo, Schedules, edges_of, lifetimes
from .pack import packer
from .scalar import INSTRUCTIONS
from .spill import Room
from .steps import Access, Block, Node, Registers, Step, Trip, bits, blocks

_WORTH = 64  # cycles of a loop that are worth another compilation
FLAT = 192  # instructions up to which a loop too short for a kernel is written out whole


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Pipelines the loops of a lowered phase. ``known`` keeps their schedules by label."""

    low: Lowering
    room: Room
    known: dict[str, Schedules]
    crowded: list[str] = field(default_factory=list)  # loops slower for want of registers

    def run(self) -> list[Node]:
        """The tree with its innermost loops pipelined where that pays."""
        return self._nodes(self.low.nodes, live_around(self.low.nodes))

    def _nodes(self, nodes: list[Node], around: Mapping[int, Sets]) -> list[Node]:
        done: list[Node] = []
        drain: list[list[Step]] = []
        for node in nodes:
            if isinstance(node, Block):
                node.groups = drain + node.groups
                drain = []
                done.append(node)
            elif not _able(node):
                node.body = self._nodes(node.body, around)
                done.append(node)
            else:
                block = done[-1]
                assert isinstance(block, Block)
                drain = self._loop(node, block, done, around)
        assert not drain
        return done

    def _loop(self, trip: Trip, block: Block, done: list[Node],
              around: Mapping[int, Sets]) -> list[list[Step]]:  # fmt: skip
        """Adds the prologue to ``block`` and the kernel to ``done``; gives the epilogue."""
        inner = trip.body[0]
        assert isinstance(inner, Block)
        live = around[id(inner)]
        body = _body(trip, inner, live, self.low.table)
        found = self._search(trip.label, body, bits(live[0] | live[1]))
        plan = Plan(body, found, self.low.registers) if found else None
        if plan is None or not plan.pays:
            done.append(trip)
            return []
        block.groups += plan.flat(0, plan.first)
        if plan.passes:
            assert trip.setup is not None
            trip.setup.operands = (plan.passes,)
            kernel = Block(packets=plan.kernel(), kind="kernel")
            node = Trip(trip.variable, plan.passes, 0, trip.label, [kernel], setup=trip.setup)
            done.append(node)
        else:
            block.groups = [group for group in block.groups if group[0].target != trip.label]
        return plan.flat(plan.first + plan.passes * plan.unroll, plan.blocks)

    def _search(self, label: str, body: Body, through: list[int]) -> Modulo | None:
        """The schedule within the registers that values which live through the loop leave free; if
        it is much slower than one without this limit, a call to spill some of these values."""
        table, registers, room = self.low.table, self.low.registers, self.room
        if label not in self.known:
            edges = edges_of(body, self.low.extents, table.machine)
            self.known[label] = Schedules(body, edges, packer(table.machine), _longest(body))
        known, left = self.known[label], room.left(through)
        best = known.least((1 << 10, *left[1:]), registers)
        if best is None or best[1][0] <= left[0]:
            return best and best[0]
        excess = best[1][0] - left[0]
        found = known.least(left, registers)
        slower = (found[0].interval if found else _longest(body)) - best[0].interval
        used = {atom for step in body.steps for atom in (*step.writes, *(a for a, _ in step.reads))}
        idle = [atom for atom in through if registers.files[atom >> 1] == 0
                and atom not in used and atom >> 1 not in room.kept]  # fmt: skip
        if slower * body.trips > 2 * excess and len(idle) >= excess:
            raise room.victims(idle, excess, {})
        if slower * body.trips > _WORTH:
            self.crowded.append(label)
        return found and found[0]


FEW, LONG = 4, 64  # a few turns of a long body gain little from overlapping


def _able(trip: Trip) -> bool:
    """Innermost loops with a known count that call nothing."""
    if not trip.innermost or trip.trips is None or trip.level:
        return False
    if trip.trips <= FEW and sum(len(block.steps) for block in blocks(trip.body)) > LONG:
        return False
    return not any(step.is_call for block in blocks(trip.body) for step in block.steps)


def _longest(body: Body) -> int:
    """An interval from which on overlapping iterations cannot pay."""
    return 2 * len(body.steps) + 8


def _body(trip: Trip, block: Block, live: Sets, table: Table) -> Body:
    steps = list(block.steps)
    bumps: dict[int, tuple[int, int]] = {}
    for pointer, by in trip.bumps.items():
        able = [i for i, step in enumerate(steps)
                if step.pointer == pointer and step.imm == 0 and carries(step, by)]  # fmt: skip
        if able:
            old = steps[able[-1]]
            steps[able[-1]] = old.renamed({}, 0, old.access)
            steps[able[-1]].bump = by
            steps[able[-1]].link()
            bumps[pointer] = (able[-1], by)
        else:
            bumps[pointer] = (len(steps), by)
            steps.append(Step(table(INSTRUCTIONS["addi"]), pointer, (pointer, by)))
    outside = {atom >> 1 for atom in bits(live[0] | live[1])}
    used = {atom >> 1 for step in steps for atom, _ in step.reads}
    used |= {atom >> 1 for step in steps for atom in step.writes}
    assert trip.trips is not None
    return Body(steps, bumps, frozenset(used - outside), trip.variable, trip.trips)


class Plan:
    """How a modulo schedule becomes code. Time is cut into blocks of one interval."""

    def __init__(self, body: Body, found: Modulo, registers: Registers) -> None:
        self.body, self.found = body, found
        life = lifetimes(body, found)
        spans = [(high - low) // (2 * found.interval) + 1 for low, high in life.values()]
        self.unroll = max(spans, default=1)
        self.first = found.stages - 1  # blocks of the prologue
        self.blocks = body.trips + found.stages - 1
        self.passes = max(0, (body.trips - self.first) // self.unroll)
        if self.passes < 2:
            self.passes, self.first = 0, self.blocks
        self.names: list[dict[int, int]] = [{} for _ in range(self.unroll)]
        for register in sorted(body.local):
            for copy in range(1, self.unroll):
                self.names[copy][register] = registers.new(registers.kinds[register]) >> 2

    @property
    def pays(self) -> bool:
        """Whether the pipelined loop has a kernel, or few enough passes to be written out."""
        return self.passes > 0 or self.body.trips * len(self.body.steps) <= FLAT

    def kernel(self) -> list[list[Step]]:
        """The packets of the kernel; where none issues, the machine waits by itself."""
        return [
            group
            for block in range(self.first, self.first + self.unroll)
            for group in self._block(block, in_kernel=True)
            if group
        ]

    def flat(self, start: int, end: int) -> list[list[Step]]:
        """The groups of some blocks outside the kernel, empty ones left out."""
        return [
            group
            for block in range(start, end)
            for group in self._block(block, in_kernel=False)
            if group
        ]

    def _block(self, block: int, in_kernel: bool) -> list[list[Step]]:
        interval = self.found.interval
        groups: list[list[Step]] = [[] for _ in range(interval)]
        for step, time in zip(self.body.steps, self.found.times, strict=True):
            iteration = block - time // interval
            if 0 <= iteration < self.body.trips:
                now = block * interval + time % interval
                made = self._instance(step, iteration, now, in_kernel)
                groups[time % interval].append(made)
        return groups

    def _instance(self, step: Step, iteration: int, now: int, in_kernel: bool) -> Step:
        imm = step.imm
        moved = self.body.bumps.get(step.pointer)
        if moved is not None and not step.bump:
            number, by = moved
            bumped = -(-(now - self.found.times[number]) // self.found.interval)
            imm += by * (iteration - min(max(bumped, 0), self.body.trips))
        access: Access | None = step.access
        if access is not None and not in_kernel:
            access = access.at(self.body.variable, iteration)
        return step.renamed(self.names[iteration % self.unroll], imm, access)
