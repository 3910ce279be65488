"""What the phases of a kernel take, and the blocks that have nests of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...target.machine_facts import Machine
from ..knobs import Point
from ..schedule import Schedule
from .packets import BodyCost
from .template import Estimate

SPARE = 2  # vector registers that a tile does not plan with: for what is constant, and for copies


@dataclass(frozen=True, slots=True)
class NestPlan:
    """A block's turns of its innermost loop for the busiest thread, and what one turn takes."""

    turns: float
    starts: float  # how often the loop begins
    body: BodyCost


class BlockPlan:
    """How a block is computed: whether a point fits it, its schedule, and what its phases take;
    this one is of blocks whose nest another one makes."""

    __slots__ = ()

    def fits(self, machine: Machine, point: Point) -> bool:
        return True

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        return

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        return []


def total(plans: Sequence[NestPlan], machine: Machine) -> Estimate:
    """Each phase as long as its turns take at the least, and its loops to begin; one thread waits
    at the end alone."""
    cycles = float(machine.barrier * (len(plans) if machine.threads > 1 else 1))
    for plan in plans:
        begin = plan.body.depth + (machine.loops.begin if plan.turns > plan.starts else 0)
        cycles += plan.turns * plan.body.packets + plan.starts * begin
    inner = max(plans, key=lambda plan: plan.turns * plan.body.packets)
    facts = {
        "inner_packets": inner.body.packets, "loop_trips": inner.turns, "loop_starts": inner.starts,
        "phases": len(plans), "code": sum(plan.body.slots for plan in plans),
        "registers": inner.body.registers,
    }  # fmt: skip
    return Estimate(cycles, facts)
