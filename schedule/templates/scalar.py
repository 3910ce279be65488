"""The scalar template: any kernel, element by element, with its outer loops on all threads.

It is what runs where no vector template fits: odd layouts, transposes, tiny tensors. Values that a
later step reads once are computed at their reader, so that they stay in registers.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import prod

from ...target.machine_facts import Machine
from ...tir.stmt import Alloc, PrimFunc, stored_in, walk_stmt
from ..block_forms import read_in
from ..errors import ScheduleError
from ..knobs import Point, choice, number
from ..schedule import Schedule
from .arranged import Arranged, kept, template
from .fusing import ALONE
from .packets import BodyCost
from .plans import BlockPlan, NestPlan
from .template import Template

PACKETS = 3.0  # a guess of the packets that an elementary step takes


@dataclass(frozen=True, slots=True)
class Plain(BlockPlan):
    """A block element by element."""

    steps: int

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        """Puts the outermost loop of some length, or a later one, on all threads."""
        loops, at = sch.loops(block), number(point, "loop")
        shared = any(sch.get_loop(loop).kind.value == "parallel" for loop in loops)
        if shared or at == ALONE:
            return
        long = [loop for loop in loops if sch.get_loop(loop).extent > 1]
        for loop in (long[at:] + long[:at]) if len(long) > at else long:
            with suppress(ScheduleError):
                outermost = sch.loops(block)[0]
                if loop != outermost:
                    sch.reorder(loop, outermost)
                sch.parallel(loop)
                return

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        body = BodyCost(PACKETS, 0, 0, machine.issue.depth)
        return [NestPlan(self.steps / machine.threads, 1, body)]


def scalar(func: PrimFunc, machine: Machine) -> Template:
    """The template that fits every kernel."""
    knobs = choice("loop", (0, 1, 2)), choice("inline", (1, 0))

    def at(point: Point) -> Arranged | None:
        inline = bool(point["inline"])
        return kept(func, ("inline", inline), partial(_arranged, func, inline))

    return template("scalar", func, machine, knobs, at)


def _arranged(func: PrimFunc, inline: bool) -> Arranged:
    sch = Schedule(func)
    for name in reversed(_registers(func)) if inline else ():
        writers, readers = _users(sch, name)
        if len(readers) == len(writers) == 1 and sch.loops(readers[0]):
            with suppress(ScheduleError):
                sch.compute_at(writers[0], sch.loops(readers[0])[-1])
    for name, size in _registers(sch.func).items():
        nests = {_nest(sch, block) for found in _users(sch, name) for block in found}
        if size > 1 or len(nests) > 1:
            sch.set_scope(name, "tcm")  # registers do not outlive a phase
    loops = {ref.name: map(sch.get_loop, sch.loops(ref)) for ref in sch.blocks()}
    steps = {block: prod(loop.extent for loop in around) for block, around in loops.items()}
    return Arranged(sch, {block: Plain(count) for block, count in steps.items()})


def _registers(func: PrimFunc) -> dict[str, int]:
    """The buffers in registers, and their elements."""
    found = (s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc))
    return {buffer.name: buffer.size for buffer in found if buffer.scope == "reg"}


def _nest(sch: Schedule, block: str) -> str:
    """The outermost loop around a block."""
    return next(map(str, sch.loops(block)), block)


def _users(sch: Schedule, name: str) -> tuple[list[str], list[str]]:
    """The blocks that write a buffer, and those that only read it."""
    blocks = [sch.get_block(ref) for ref in sch.blocks()]
    writers = [b.name for b in blocks if name in {made.name for made in stored_in(b)}]
    return writers, [b.name for b in blocks if b.name not in writers and name in read_in(b)]
