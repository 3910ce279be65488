"""Sums of products of bytes by words of four: the copies that make words, and the tiles.

    v[n/32, k/4, n%32, k%4] = w[k, n]        words of four k, 32 columns a register, unsigned
    s[m, k] = a[m, k]                        a copy where words of a row are not aligned
    acc[m, n] += v[...] * s[...]             a tile of rows and registers, words as terms

Two products a packet want unsigned vectors: signed bytes may be stored more by 128, and what is
then too much taken off by sums of the scalars (``offset_operand``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, prod

from ...target.machine_facts import Machine
from ...tir.stmt import Buffer
from ...tir.types import i8
from ..knobs import Point, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD
from .fold_parts import copied, moved, now
from .fold_words import Words
from .fusing import loops_of, made_by, share, stepped, zoned
from .packets import BodyCost, Ops
from .plans import SPARE, BlockPlan, NestPlan

GROUP = 8  # columns whose words are dealt together where words lie together


def arrange(sch: Schedule, words: Words, unsigned: bool) -> dict[str, BlockPlan]:
    """Brings operands and result into their forms; gives the blocks with nests of their own."""
    block, copies = words.found.block, dict[str, Buffer]()
    if words.wide > words.column.extent:
        sch.cache_write(block, words.found.out.buffer.name, "tcm")
    if words.deep > words.depth.extent or words.wide > words.column.extent:  # as local buffers may
        copies[copied(sch, block, words.vectors)] = words.vectors.buffer
    special: dict[str, BlockPlan] = {
        block: Tile(words, unsigned or words.vectors.buffer.type != i8)
    }
    unsigned = unsigned and words.vectors.buffer.type == i8
    if unsigned or not words.dealt:
        deal = copied(sch, block, words.vectors)
        if unsigned:
            sch.offset_operand(block, made_by(sch, deal))
        if not words.dealt:
            special |= deals(sch, words, deal)
    if not words.aligned:
        copies[copied(sch, block, words.scalars)] = words.scalars.buffer
    for axis, extent in ((words.depth, words.deep), (words.column, words.wide)):
        if extent > axis.extent:
            sch.resize(loops_of(sch, block)[axis.var], extent)
    if not words.dealt:
        sch.transform_layout(made_by(sch, deal), words.layout(words.lanes))
    return special | moved(sch, copies)


def deals(sch: Schedule, words: Words, deal: str) -> dict[str, BlockPlan]:
    """The blocks that make words: of columns that lie together in one step, of words that lie
    together by way of words of 8 columns."""
    (wide, deep), size = words.dims, words.vectors.buffer.size
    partly = words.deep > words.depth.extent
    if partly or words.near:
        sch.trim(made_by(sch, deal))
    if partly:
        sch.resize(sch.loops(deal)[deep], words.deep, beyond="zeros")
    if words.wide > words.column.extent and words.near is None:
        sch.resize(sch.loops(deal)[wide], words.wide)
    most = max(n for n in (8, 4, 2, 1) if words.deep // WORD % n == 0)
    zeros = deep if partly else None
    if words.near is not None:
        return _deals_apart(sch, words, deal, zeros)
    if words.vectors.step(words.column) == 1 or most * GROUP < words.lanes:
        ways = next(ways for ways in (4, 2, 1) if words.wide // words.lanes % ways == 0)
        lanes = (words.lanes, words.ways) if words.ways > 1 else (ways, words.lanes)
        return {deal: Deal((*((wide, n) for n in lanes), (deep, WORD)), size, words.vector, zeros)}
    first = copied(sch, deal, now(sch, deal).reads[0])
    if words.wide > words.column.extent:
        sch.resize(sch.loops(first)[wide], words.wide)
    sch.transform_layout(made_by(sch, first), words.layout(GROUP))
    groups = (wide, words.lanes // GROUP), (wide, GROUP), (deep, WORD)
    return {
        first: Deal(((deep, most), (wide, GROUP), (deep, WORD)), size, words.vector),
        deal: Deal(((deep, min(most, 4)), *groups), size, words.vector, zeros),
    }


def _deals_apart(sch: Schedule, words: Words, deal: str, zeros: int | None) -> dict[str, BlockPlan]:
    """The same where a batch lies between columns: those of some of it that share a register first,
    where it is longer."""
    (wide, deep), size, near = words.dims, words.vectors.buffer.size, words.near
    beside = [d for d, e in enumerate(words.vectors.index) if near is not None and e is near.var]
    lanes = *((d, words.ways) for d in beside), (wide, words.lanes), (deep, WORD)
    made: dict[str, BlockPlan] = {deal: Deal(lanes, size, words.vector, zeros)}
    if not (words.grouped and beside) and words.wide == words.column.extent:
        return made
    first = copied(sch, deal, now(sch, deal).reads[0])
    if words.wide > words.column.extent:
        sch.resize(sch.loops(deal)[wide], words.wide)
        copied(sch, first, now(sch, first).reads[0])
        sch.resize(sch.loops(first)[wide], words.wide)
    sch.transform_layout(made_by(sch, first), words.by_ways())
    return made | {first: joined(words.vectors.buffer, words)}


def joined(buffer: Buffer, words: Words) -> Deal:
    """A copy between all that lies between columns in a buffer, and ``ways`` of it a register."""
    *_, wide, last = range(len(buffer.shape))
    together = min(words.ways, buffer.shape[-1])
    groups = buffer.shape[-1] // together
    return Deal(((wide, words.lanes), (last, groups), (last, together)), buffer.size, words.vector)


@dataclass(frozen=True, slots=True)
class Deal(BlockPlan):
    """A copy whose elements change places in registers: so many steps of some loops at once, the
    outermost first (``lanes``: number of the loop, steps); of the loop ``zeros``, the last ones
    come from nowhere."""

    lanes: tuple[tuple[int, int], ...]
    size: int  # bytes in all
    vector: int  # bytes of a register
    zeros: int | None = None

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        loops, inner = sch.loops(block), dict[int, list[LoopRef]]()
        dealt = list(dict.fromkeys(at for at, _ in self.lanes))
        order = [*(at for at in range(len(loops)) if at not in dealt), *dealt]
        if self.zeros is not None:
            order = [self.zeros, *(at for at in order if at != self.zeros)]
        for at in dealt:
            steps = [n for loop, n in self.lanes if loop == at]
            loops[at], *inner[at] = sch.split(loops[at], (None, *steps))
        outer, lanes = [loops[at] for at in order], [inner[at].pop(0) for at, _ in self.lanes]
        sch.reorder(*outer, *lanes)
        sch.vectorize(*lanes)
        count, blocks = sch.get_loop(outer[0]).extent, [block]
        if self.zeros is not None and count > 1:
            blocks = zoned(sch, block, outer[0], (count - 1, 1))
        for name in blocks:
            share(sch, sch.loops(name)[: -len(lanes)], machine, point)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        registers = prod(n for _, n in self.lanes) / self.vector
        each, issue = Ops(permute=log2(max(registers, 2)) / 2, loads=1, stores=1), machine.issue
        packets = (each * registers).packets(issue)
        turns = self.size / self.vector / registers / machine.threads
        return [NestPlan(turns, 1, BodyCost(packets, 4 * registers, registers, issue.depth))]


@dataclass(frozen=True, slots=True)
class Tile(BlockPlan):
    """The sum of products of words, a tile of rows and registers at a time."""

    words: Words
    unsigned: bool  # whether vectors are

    def _sizes(self, point: Point) -> tuple[int, int, int]:
        """Rows, registers of columns and words of a body."""
        row = self.words.row
        rows = min(number(point, "rows"), row.extent) if row is not None else 1
        vectors = divisors(self.words.wide // self.words.lanes, number(point, "unroll"))[-1]
        inner = self.words.deep // WORD
        if inner == 1:  # terms are of another axis
            inner = next((axis.extent for axis in self.words.folds[::-1]), 1)
        return rows, vectors, divisors(inner, number(point, "terms"))[-1]

    def fits(self, machine: Machine, point: Point) -> bool:
        rows, vectors, steps = self._sizes(point)
        sums = rows * vectors
        held = sums + vectors + 2 + SPARE
        return held <= machine.vectors and sums * steps <= machine.loops.products

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        rows, vectors, steps = self._sizes(point)
        by, words = loops_of(sch, block), self.words
        q, i = sch.split(by.pop(words.column.var), (None, words.lanes))
        q, v = sch.split(q, (None, vectors))
        k, t = sch.split(by.pop(words.depth.var), (None, WORD))
        folds = [by.pop(axis.var) for axis in words.folds]
        row = [by.pop(words.row.var)] if words.row is not None else []
        outer = [*row, *by.values(), q]
        single = [k] if words.deep == WORD and folds else []  # of one step
        folds = [*folds] if single else [*folds, k]
        folds[-1], step = sch.split(folds[-1], (None, steps))
        sch.reorder(*outer, *folds, *single, step, v, i, t)
        sch.vectorize(i, t)
        for loop in (step, v):
            sch.unroll(loop)
        blocks, inside = [block], len(sch.loops(block)) - len(outer)
        if row:
            _, blocks = stepped(sch, block, row[0], rows, tail="peel")
        for name in blocks:
            at = len(sch.loops(name)) - inside - len(outer) if row else None
            _nested(sch, name, inside, at, machine, point)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        rows, vectors, steps = self._sizes(point)
        found, sums = self.words.found, rows * vectors
        dots, issue = sums * steps, machine.issue
        ops = Ops(dots, dots if self.unsigned else 2 * dots, 0, steps * vectors, steps * rows)
        body = BodyCost(ops.packets(issue), ops.count, sums, issue.depth + 2 * sums)
        results = prod(a.extent for a in found.spatial if a is not self.words.column)
        tiles = results * (self.words.wide // self.words.lanes) / sums / machine.threads
        folded = prod(a.extent for a in self.words.folds) * self.words.deep // WORD
        return [NestPlan(tiles * folded / steps, tiles, body)]


def _nested(
    sch: Schedule, block: str, inside: int, at: int | None, machine: Machine, point: Point
) -> None:
    """Tiles on all threads, their rows (the loop ``at`` a place) unrolled ``inside``."""
    loops = sch.loops(block)
    outer, (*folds, v, _, _) = loops[: len(loops) - inside], loops[len(loops) - inside :]
    if at is not None:
        within = outer.pop(at)
        sch.reorder(*outer, *folds, within, v)
        sch.unroll(within)
    if outer:
        share(sch, outer, machine, point)
