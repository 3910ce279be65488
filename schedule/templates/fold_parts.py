"""Blocks of a kernel that have nests of their own, and copies of operands that are transfers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...target.machine_facts import Machine
from ...tir.expr import walk
from ...tir.stmt import Buffer
from ..errors import ScheduleError
from ..knobs import Point
from ..schedule import Schedule
from ..structure import Structure, Use, structure
from .packets import BodyCost
from .plans import BlockPlan, NestPlan


@dataclass(frozen=True, slots=True)
class Moved(BlockPlan):
    """A copy of an operand whose rows end in gaps, which is a transfer."""

    size: int  # bytes

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        sch.transfer(block)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        cycles = machine.dma_start + self.size / machine.dma_rate
        return [NestPlan(1, 1, BodyCost(cycles, 0, 0, 0))]


def now(sch: Schedule, block: str) -> Structure:
    """What a block is by now; ScheduleError where its accesses are affine no more."""
    found = structure(sch.get_block(block))
    if found is None:
        raise ScheduleError(f"folds: the accesses of {block} must be affine")
    return found


def partly(found: Structure) -> bool:
    """Whether the last elements of a fold change nothing."""
    return any(node.op == "select" for node in walk(found.value))


def copied(sch: Schedule, block: str, use: Use) -> str:
    """A copy of what a block reads an operand from by now; gives its block."""
    buffer = next(read.buffer for read in now(sch, block).reads if read.index == use.index)
    return sch.cache_read(block, buffer.name, "tcm").name


def moved(sch: Schedule, copies: Mapping[str, Buffer]) -> dict[str, BlockPlan]:
    """Copies of buffers as transfers, where these move rows at one distance."""
    return {block: Moved(old.bytes) for block, old in copies.items() if _in_rows(sch, block, old)}


def _in_rows(sch: Schedule, block: str, old: Buffer) -> bool:
    found = structure(sch.get_block(block))
    return found is not None and found.out.buffer.shape[1:-1] == old.shape[1:-1]
