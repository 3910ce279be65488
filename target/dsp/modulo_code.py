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
from .body import LoopBody, shape_of
from .deliver import deliver
from .feed import feed
from .lower_program import FactTable, PhaseLowering, carries
from .machine import LOOPS
from .modulo import Found, Schedules
from .pack import packer
from .renew import Carried, renew
from .scalar_rows import INSTRUCTIONS
from .spill import RegisterRoom
from .steps import BasicBlock, BytesTouched, Node, Registers, Step, Trip, bits, blocks
from .webs import rename

_WORTH = 256  # cycles of a loop that are worth another compilation


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Pipelines the loops of a lowered phase."""

    low: PhaseLowering
    room: RegisterRoom
    roomy: list[int] = field(default_factory=list)  # of loops that lack registers: the vectors
    # from outside that would leave enough of them

    def run(self) -> list[Node]:
        """The tree with its innermost loops pipelined where that pays."""
        return self._nodes(self.low.nodes, live_around(self.low.nodes), 1)

    def _nodes(self, nodes: list[Node], around: Mapping[int, Sets], times: int) -> list[Node]:
        done: list[Node] = []
        drain: list[list[Step]] = []
        for node in nodes:
            if isinstance(node, BasicBlock):
                node.groups = drain + node.groups
                drain = []
                done.append(node)
            elif not _able(node):
                node.body = self._nodes(node.body, around, times * (node.trips or 1))
                done.append(node)
            else:
                block = done[-1]
                assert isinstance(block, BasicBlock)
                drain = self._loop(node, block, done, around, times)
        assert not drain
        return done

    def _loop(self, trip: Trip, block: BasicBlock, done: list[Node], around: Mapping[int, Sets],
              times: int) -> list[list[Step]]:  # fmt: skip
        """Adds the prologue to ``block`` and the kernel to ``done``; gives the epilogue."""
        inner = trip.body[0]
        assert isinstance(inner, BasicBlock)
        live = around[id(inner)]
        found = self._search(trip, inner.steps, bits(live[0] | live[1]), block, times)
        if found is None:
            done.append(trip)
            return []
        plan = PipelinePlan(found, self.low.registers)
        plan.begin(block)
        block.groups += plan.flat(0, plan.first)
        if plan.passes:
            assert trip.setup is not None
            trip.setup.operands = (plan.passes,)
            kernel = BasicBlock(packets=plan.kernel(), kind="kernel")
            node = Trip(trip.variable, plan.passes, 0, trip.label, [kernel], setup=trip.setup)
            done.append(node)
        else:
            block.groups = [group for group in block.groups if group[0].target != trip.label]
        return plan.flat(plan.first + plan.passes * plan.unroll, plan.blocks)

    def _search(self, trip: Trip, steps: list[Step], through: list[int], before: BasicBlock,
                times: int) -> Found | None:  # fmt: skip
        """The schedule within the registers that values which live through the loop leave free; if
        it is much slower than one without this limit, a call to spill some of these values."""
        registers, room = self.low.registers, self.room
        known = self._schedules(trip, steps, {atom >> 1 for atom in through}, before)
        left = room.left(through)
        best = known.least((1 << 10, *left[1:]))
        if best is None or best.needs[0] <= left[0]:
            return best
        excess = best.needs[0] - left[0]
        found = known.least(left)
        slower = (found.schedule.interval if found else known.limit) - best.schedule.interval
        used = {atom for step in steps for atom in (*step.writes, *(a for a, _ in step.reads))}
        idle = [atom for atom in through if registers.files[atom >> 1] == 0
                and atom not in used and atom >> 1 not in room.kept]  # fmt: skip
        if slower * best.body.trips > 2 * excess and len(idle) >= excess:
            raise room.victims(idle, excess, {})
        if slower * best.body.trips * times > _WORTH:
            written = {atom for step in steps for atom in step.writes}
            constant = [atom for atom in through if registers.files[atom >> 1] == 0
                        and atom in used and atom not in written]  # fmt: skip
            self.roomy.append(max(len(constant) - (known.fewest - left[0]), 0))
        return found

    def _schedules(
        self, trip: Trip, steps: list[Step], outside: set[int], before: BasicBlock
    ) -> Schedules:
        """Of the body as it is, with loads in the packets of their users, and without copies."""
        low, machine = self.low, self.low.table.machine
        fed, automaton = feed(steps, outside, low), packer(machine)
        bare, carried = renew(steps, before, low.nodes, low.registers, machine)
        bodies = [_body(trip, steps, outside, low.table)]
        given = deliver(fed, low)
        if len(given) < len(steps):
            bodies.append(_body(trip, given, outside, low.table))
        if carried:
            around = outside.union(source for source, _ in carried.values())
            bare = deliver(feed(bare, around, low), low)
            bodies.append(_body(trip, bare, outside, low.table, carried))
        forms = [(body, shape_of(body, low.extents, automaton, low.registers, machine))
                 for body in bodies]  # fmt: skip
        return Schedules(forms, automaton, _longest(bodies[0]))


_NOTHING: Carried = {}


def _able(trip: Trip) -> bool:
    """Innermost loops with a known count that call nothing."""
    if not trip.innermost or trip.trips is None or trip.level:
        return False
    steps = sum(len(block.steps) for block in blocks(trip.body))
    if trip.trips <= LOOPS.few and steps > LOOPS.long:
        return False  # a few turns of a long body gain little from overlapping
    return not any(step.is_call for block in blocks(trip.body) for step in block.steps)


def _longest(body: LoopBody) -> int:
    """An interval from which on overlapping iterations cannot pay."""
    return 2 * len(body.steps) + 8


def _body(
    trip: Trip, steps: list[Step], outside: set[int], table: FactTable, carried: Carried = _NOTHING
) -> LoopBody:
    """``outside``: the registers that live around the loop."""
    steps = list(steps)
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
    used = {atom >> 1 for step in steps for atom, _ in step.reads}
    used |= {atom >> 1 for step in steps for atom in step.writes}
    assert trip.trips is not None
    return LoopBody(steps, bumps, frozenset(used - outside), trip.variable, trip.trips, carried)


class PipelinePlan:
    """How a modulo schedule becomes code. Time is cut into blocks of one interval."""

    def __init__(self, found: Found, registers: Registers) -> None:
        self.body, self.found = found.body, found.schedule
        self.first = self.found.stages - 1  # blocks of the prologue
        self.blocks = self.body.trips + self.first
        self.passes, self.unroll = found.passes, found.unroll
        if not self.passes:
            self.first = self.blocks
        self.names: list[dict[int, int]] = [{} for _ in range(self.unroll)]
        for register in sorted(self.body.local):
            for copy in range(1, self.unroll):
                self.names[copy][register] = registers.new(registers.kinds[register]) >> 2

    def begin(self, before: BasicBlock) -> None:
        """What iterations carry begins in the registers of those before the first one."""
        for step in before.steps if self.body.carried else ():
            rename(step, self._carried(0))

    def _carried(self, iteration: int) -> dict[int, int]:
        """The registers in which an iteration finds what was carried to it."""
        return {
            register: self.names[(iteration - hops) % self.unroll].get(source, source)
            for register, (source, hops) in self.body.carried.items()
        }

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
        access: BytesTouched | None = step.access
        if access is not None and not in_kernel:
            access = access.at(self.body.variable, iteration)
        names = self.names[iteration % self.unroll] | self._carried(iteration)
        return step.renamed(names, imm, access)
