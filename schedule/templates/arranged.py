"""Kernels whose operands lie as they are read, and templates of such ones.

    copies, partial sums, layouts      primitives that a template applies beforehand
    its blocks                         vectors of lanes (``lanes``), or a ``BlockPlan`` each

What a template has of its own is how it arranges a kernel; schedules, guesses and knobs of nests
are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from ...target.machine_facts import Machine
from ...tir.recent import OfOwner
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice
from ..schedule import Schedule
from ..structure import Form
from .contraction import local
from .direct import direct
from .fusing import ALONE
from .lanes import CODE, ROWS, UNROLLS, LaneNest
from .plans import BlockPlan, NestPlan, total
from .template import Estimate, Template

WIDE = "lanes"  # the knob that says whether vectors compute, move and fill elements


@dataclass(frozen=True)
class Arranged:
    """A schedule whose operands lie as they are read, and how its blocks are computed; without
    lanes those of the forms ``plain`` are element by element."""

    sch: Schedule
    parts: Mapping[str, BlockPlan]
    plain: tuple[Form, ...] = (Form.MAP,)

    def schedule(self, machine: Machine, point: Point) -> Schedule:
        sch = self.sch.copy()
        for block, part in self._parts(point).items():
            part.place(sch, block, machine, point)
        return sch

    def _parts(self, point: Point) -> Mapping[str, BlockPlan]:
        return self._ordered if point.get(WIDE, 1) else self._plain

    @cached_property
    def _ordered(self) -> Mapping[str, BlockPlan]:
        return {ref.name: self.parts[ref.name] for ref in self.sch.blocks()}

    @cached_property
    def _plain(self) -> Mapping[str, BlockPlan]:
        return {
            block: part.plain()
            if isinstance(part, LaneNest) and part.nest.found.form in self.plain else part
            for block, part in self._ordered.items()
        }  # fmt: skip

    def fits(self, machine: Machine, point: Point) -> bool:
        """Whether sums stay in registers, and bodies are short: of one phase, where all are one."""
        if point["loop"] == ALONE:
            code = sum(plan.body.slots for plan in chain(*self._plans(machine, point)))
            if code > CODE:
                return False
        return all(part.fits(machine, point) for part in self.parts.values())

    def _plans(self, machine: Machine, point: Point) -> list[list[NestPlan]]:
        """What the phases of each block take."""
        return [part.plans(machine, point) for part in self._parts(point).values()]

    def estimate(self, machine: Machine, point: Point) -> Estimate:
        """All phases, which are one on one thread, once constants have come."""
        machine = replace(machine, threads=1) if point["loop"] == ALONE else machine
        plans, func = self._plans(machine, point), self.sch.logical
        found = total([*chain(*plans)], machine)
        known = sum(p.bytes for p in func.params if p.name in func.constants)
        wait = machine.dma_start + known / machine.dma_rate if known else 0.0
        first = [*chain(*plans[:-1])] if plans[-1] else []
        before = total(first, machine).cycles if first else 0.0
        cycles = found.cycles + wait + self._far(machine)
        return Estimate(cycles, {**found.facts, "first_wait": wait, "before": before})

    def _far(self, machine: Machine) -> float:
        """Cycles of local buffers for which TCM has no room: what is stored is waited for later."""
        free = machine.tcm - sum(p.bytes for p in self.sch.logical.params if p.scope == "tcm")
        vectors = 0.0
        for size in self._scratch:
            vectors += 0 if size <= free else size / machine.vector_bytes / machine.threads
            free -= size if size <= free else 0
        return direct(machine, 2 * vectors, machine.vector_bytes, vectors)

    @cached_property
    def _scratch(self) -> list[int]:
        return sorted(buffer.bytes for buffer in local(self.sch.logical))


kept = OfOwner[Arranged | None](256)  # kernels by how they are arranged, on any number of threads


def nests(rows: tuple[int, ...] = ROWS, loops: tuple[int, ...] = (0, 1, ALONE)) -> tuple[Knob, ...]:
    """The knobs of all nests: vectors and rows at once, and which loop threads share, if any."""
    return choice("unroll", UNROLLS), choice("rows", rows), choice("loop", loops)


def rows_of(*ways: Mapping[str, BlockPlan]) -> tuple[int, ...]:
    """Rows at once, where neighbouring ones of some block read the same."""
    nests = (part.nest for way in ways for part in way.values() if isinstance(part, LaneNest))
    return ROWS if any(nest.windows for nest in nests) else (1,)


def template(
    name: str, func: PrimFunc, machine: Machine, knobs: tuple[Knob, ...],
    at: Callable[[Point], Arranged | None],
) -> Template:  # fmt: skip
    """The template of a kernel that a point arranges; where ``at`` gives none it has no point."""

    def fits(point: Point) -> bool:
        found = at(point)
        return found is not None and found.fits(machine, point)

    def of(point: Point) -> Arranged:
        found = at(point)
        assert found is not None
        return found

    return Template(
        name, func, machine, Space(knobs, (fits,)),
        lambda point: of(point).schedule(machine, point),
        lambda point: of(point).estimate(machine, point),
    )  # fmt: skip
