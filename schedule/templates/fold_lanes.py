"""Few results of long sums of products of bytes: words of what is summed lie in lanes.

    s[n, j] += x[128 c + 4 j + t] * w[n, 128 c + 4 j + t]      32 partial sums of each result
    y[n] = sum over j of s[n, j]                               rows that are folded (``fold_rows``)

Bytes may have any signs. Only results that mean something have partial sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod

from ...target.machine_facts import Machine
from ...tir.expr import Expr, walk
from ..errors import ScheduleError
from ..extents import meant
from ..knobs import Point, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Axis, Form, Structure, structure
from ..trace import permuted
from .contraction import WORD
from .fold_order import put_last
from .fold_parts import now, partly
from .fusing import loops_of, made_by, mask_last, partial_results, share
from .packets import BodyCost, Ops
from .plans import BlockPlan, NestPlan

MOST = 256  # results
BODY = 64  # products that are written out
FEW = 4  # registers that are summed in one body


@dataclass(frozen=True, slots=True)
class SumTiles(BlockPlan):
    """The partial sums: tiles of what moves one operand alone by what moves the other, a register
    of each at a time, whose ``lanes`` and ``registers`` are loops of the block."""

    found: Structure
    registers: LoopRef
    lanes: tuple[LoopRef, ...]
    count: int  # registers
    words: int  # of a register

    def _sizes(self, point: Point) -> tuple[dict[Expr, int], int]:
        """Steps of each tiled axis, the longest of its operand, and registers of a body."""
        sizes = dict[Expr, int]()
        if len(self.found.reads) == 1:
            return sizes, 1 if self.count > FEW or partly(self.found) else self.count
        first, second = self.found.reads
        for use, other, knob in ((first, second, "rows"), (second, first, "unroll")):
            axes = [a for a in self.found.spatial if use.step(a) > other.step(a) == 0]
            for axis in sorted(axes, key=lambda axis: axis.extent)[-1:]:
                sizes[axis.var] = divisors(axis.extent, number(point, knob))[-1]
        return sizes, divisors(self.count, number(point, "terms"))[-1]

    def fits(self, machine: Machine, point: Point) -> bool:
        sizes, steps = self._sizes(point)
        return prod(sizes.values()) <= min(machine.vectors // 2, BODY // steps)

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        share(sch, self.lay(sch, block, point), machine, point)

    def lay(self, sch: Schedule, block: str, point: Point) -> list[LoopRef]:
        """Tiles of a point; gives the loops around them."""
        by, (sizes, steps) = loops_of(sch, block), self._sizes(point)
        within = list[LoopRef]()
        for axis, size in sizes.items():
            by[axis], inner = sch.split(by[axis], (None, size))
            within.append(inner)
        iters = [(it.reduce, by[it.axis]) for it in sch.get_block(block).iters]
        rest = [part for part in iters if part[1] not in (self.registers, *self.lanes)]
        outer, folds = ([loop for reduce, loop in rest if reduce is kind] for kind in (False, True))
        registers, step = sch.split(self.registers, (None, steps))
        sch.reorder(*outer, *folds, registers, step, *within, *self.lanes)
        sch.vectorize(*self.lanes)
        sch.unroll(step, *within)
        mask_last(sch, block, [registers])
        return outer

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        sizes, steps = self._sizes(point)
        sums = prod(sizes.values())
        body = Ops(sums, sums, 0, max(sum(sizes.values()), 1)) * steps
        tiles = (
            prod(axis.extent for axis in self.found.spatial) / self.words / sums / machine.threads
        )
        turns = tiles * prod(axis.extent for axis in self.found.summed) / WORD / steps
        starts = tiles if turns > tiles else min(tiles, 1)  # a loop of one turn is none
        packets, depth = body.packets(machine.issue), machine.issue.depth + sums
        return [NestPlan(turns, starts, BodyCost(packets, body.count, sums, depth))]


def in_lanes(sch: Schedule, found: Structure, vector: int) -> tuple[str, BlockPlan]:
    """Makes partial sums of words; gives their block."""
    block, results, users = found.block, meant(sch.logical, found.out.buffer), [found.block]
    for after in map(structure, map(sch.get_block, sch.blocks())):
        if after is not None and after.form is Form.MAP and _takes(after, found):
            results, users = meant(sch.logical, after.out.buffer), [*users, after.block]
    depth = max((axis for axis in found.summed if axis.extent % vector == 0
                 and all(axis.var in use.index for use in found.reads)),
                key=lambda axis: axis.extent, default=None)  # fmt: skip
    if depth is None or prod(results) > MOST:
        raise ScheduleError("folds: registers must be summed to few results")
    for use in found.reads:
        if use.step(depth) != 1:
            put_last(sch, use.buffer.name, use.index, depth)
    some, part = by_words(sch, block, depth, vector, vector // WORD)
    _shorter(sch, found, some, results, vector // WORD)
    for use in now(sch, some).reads:
        if use.buffer.name in sch.logical.constants:
            sch.trim(use.buffer.name)
        _where_it_lies(sch, use.buffer.name)
    for name in users if found.out.buffer.shape[-1] < vector // WORD else ():
        _side_by_side(sch, name)
    return some, replace(part, found=now(sch, some))


def by_words(
    sch: Schedule, block: str, depth: Axis, size: int, words: int, near: Axis | None = None
) -> tuple[str, SumTiles]:
    """Makes partial sums of the words that stand in one place of ``size`` elements, which with
    those of all steps of ``near`` fill a register of ``words``; gives their block."""
    count = sch.get_loop(loops_of(sch, block)[depth.var]).extent // size
    registers, inner = sch.divide(loops_of(sch, block)[depth.var], size)
    lane, byte = sch.divide(inner, WORD)
    some, _ = partial_results(sch, block, lane, near=True)
    beside = [loops_of(sch, some)[near.var]] if near is not None else []
    return some, SumTiles(now(sch, some), registers, (*beside, lane, byte), count, words)


def _takes(after: Structure, found: Structure) -> bool:
    """Whether a map stores what it makes of each result at its place."""
    return (found.out.buffer, after.out.index) in [(use.buffer, use.index) for use in after.reads]


def _shorter(
    sch: Schedule, found: Structure, some: str, results: Sequence[int], words: int
) -> None:
    """Partial sums of results that mean something, sums of those of whole registers."""
    beside, sizes = 1, zip(found.out.index, results, found.out.buffer.shape, strict=True)
    for axis, extent, stored in reversed(list(sizes)):
        whole = -(-words // beside)
        more, beside = min(-(-extent // whole) * whole, stored), beside * stored
        for name, steps in ((some, extent), (found.block, more)):
            if axis in loops_of(sch, name):
                sch.resize(loops_of(sch, name)[axis], steps)


def _side_by_side(sch: Schedule, block: str) -> None:
    """Constants of few columns once for each step of those that share a register with them."""
    found = now(sch, block)
    pixel, column = found.out.index[-2:]
    nodes = walk(found.value), walk(found.init) if found.init is not None else ()
    reads = {e.attr.name for part in nodes for e in part if e.op == "load" and e.args == (column,)}
    for name in sorted(reads & {*sch.logical.constants}):
        sch.repeat(block, name, loops_of(sch, block)[pixel])
        sch.transform_layout(name, permuted([1, 0]))


def _where_it_lies(sch: Schedule, buffer: str) -> None:
    """Lets a block read what a copy was made of, where it reads nothing else."""
    made = [ref.name for ref in sch.blocks() if made_by(sch, ref.name) == buffer]
    with suppress(ScheduleError):
        for name in made[:-1]:
            sch.border(name)
        for name in made[-1:]:
            sch.compute_inline(name)
