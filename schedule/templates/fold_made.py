"""Sums of words, and what a map makes of them, a tile of registers of its results at a time.

    for tiles of y, on threads:
        acc = words of rows by words of columns          in registers
        y = f(acc)                                       vectors narrow into registers

Vectors that narrow into a register are those of neighbouring rows, of columns, of which
i * ways + j lies in lane i of vector j, or of an axis of the batch that lies between columns
(``near``: heads). Where it is longer than a tile takes, results come to their places by a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...target.machine_facts import Machine
from ...tir.expr import Expr
from ..extents import meant
from ..knobs import Point, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Axis, Form, Structure, structure
from .contraction import WORD
from .fold_words import Words, of_bytes
from .fusing import ALONE, evenest, loops_of
from .packets import BodyCost, Ops, ops_of
from .plans import SPARE, BlockPlan, NestPlan
from .tiles import Walk, scalar_tiles

TOGETHER = 8  # of the batch between columns in a register of the result, at most


@dataclass(frozen=True, slots=True)
class Made(BlockPlan):
    """The tiles of ``last``: a register of its results has ``pixels`` rows of vectors of columns;
    ``rows`` are computed, and ``heads`` of what lies between columns mean something."""

    words: Words
    last: Structure
    row: Axis
    rows: int
    pixels: int
    heads: int

    @property
    def apart(self) -> bool:
        """Whether results are copied to their places."""
        words = self.words
        return words.near is not None and (words.grouped or words.wide > words.column.extent)

    @property
    def made(self) -> int:
        """Vectors that are computed of those that narrow together: the others are the last one."""
        return self.words.ways if self.apart else min(self.heads, self.words.ways)

    @property
    def _extents(self) -> tuple[int, int]:
        """Steps of ``pixels`` rows, and of all vectors of columns that lie beside each other."""
        vectors = self.words.wide // self.words.lanes
        return self.rows // self.pixels, vectors if self.words.near else vectors // self.words.ways

    def _sizes(self, point: Point) -> tuple[int, int, int]:
        """Registers of a tile down and across, and words of a body."""
        down, across = self._extents
        a = divisors(down, number(point, "rows"))[-1]
        b = divisors(across, number(point, "unroll"))[-1]
        most = self.words.step if self.words.near else self.words.deep
        return a, b, min(self.words.deep // WORD, number(point, "terms"), most // WORD)

    def _period(self, steps: int) -> int:
        """Words between which scalars lie alike in memory, or those of a step."""
        alike = self.words.step // WORD
        return alike if self.words.near and self.words.deep // WORD > alike else steps

    def _vectors(self, point: Point) -> tuple[int, int, int]:
        """Sums of a tile, its vectors of columns and its scalars."""
        a, b, _ = self._sizes(point)
        rows, vectors = a * self.pixels, b * self.made
        return rows * vectors, vectors, rows * (self.made if self.words.near else 1)

    def fits(self, machine: Machine, point: Point) -> bool:
        sums, vectors, _ = self._vectors(point)
        steps, whole = self._sizes(point)[2], self.words.deep // WORD
        written = max(steps, whole % self._period(steps))
        held = sums + vectors + 2 + 2 * SPARE
        return held <= machine.vectors and sums * written <= machine.loops.products

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        found, (a, b, steps) = self.words.found, self._sizes(point)
        by = loops_of(sch, self.last.block)
        pairs = zip(found.spatial, self.last.axes, strict=True)
        own = {old.var: by[new.var] for old, new in pairs}
        r_0, r_1, p = sch.split(own.pop(self.row.var), (None, a, self.pixels))
        (*groups, q), i, ways = columns(sch, own, self.words)
        q_0, q_1 = sch.split(q, (None, b))
        outer = sorted(own.values(), key=lambda loop: -sch.get_loop(loop).extent)
        outer = [*outer, *groups, q_0, r_0]
        first = outer.pop(evenest([sch.get_loop(loop).extent for loop in outer], machine))
        outer.insert(0, first)
        sch.reorder(*outer, r_1, q_1, p, i, *ways)
        sch.vectorize(p, i, *ways)
        sch.unroll(r_1, q_1)
        if point["loop"] != ALONE:
            sch.parallel(first)
        sch.compute_at(block, outer[-1])
        sch.set_scope(found.out.buffer.name, "reg")
        self._products(sch, block, steps)

    def _products(self, sch: Schedule, block: str, steps: int) -> None:
        """The sum over words, the tile within unrolled; words that fill no step come last."""
        axes = [axis.var for axis in self.words.found.axes]
        by = dict(zip(axes, sch.loops(block)[-len(axes) :], strict=True))
        k, t = sch.split(by.pop(self.words.depth.var), (None, WORD))
        blocks, i, ways = columns(sch, by, self.words)
        tile = [*by.values(), *blocks, *ways]
        sch.reorder(k, *tile, i, t)
        sch.vectorize(i, t)
        sch.unroll(*tile)
        period, parts = self._period(steps), [k]
        if period < self.words.deep // WORD:
            parts = sch.split(k, (None, period), tail="peel")
        if steps < period:
            _, parts[1] = sch.split(parts[1], (None, steps))
        for loop in parts[1:] or parts:
            sch.unroll(loop)

    def plans(self, machine: Machine, point: Point) -> list[NestPlan]:
        (a, b, steps), (sums, vectors, lines) = self._sizes(point), self._vectors(point)
        (down, across), words = self._extents, self.words
        tiled = self.row, words.column, words.near
        extents = [axis.extent for axis in words.found.spatial if axis not in tiled]
        extents += [-(-self.heads // words.ways)] if self.apart else []
        extents += [across // b, down // a]
        shared = extents.pop(evenest(extents, machine))
        walk = Walk(shared, tuple(extents), 1, machine)
        head = Ops(sums + lines, 0, lines, vectors, lines)
        tail = ops_of(self.last, words.vector, machine) * (sums / WORD)
        trips, tile = (words.deep // WORD // steps,), (sums, vectors, lines)
        tiles = scalar_tiles(walk, trips, steps, tile, words.ways, head, tail)
        tiles = replace(tiles, held=b if words.near else vectors)
        body = BodyCost(tiles.cycles(machine), sums * steps, sums + vectors, 0)
        return [NestPlan(1, 1, body)]


def columns(
    sch: Schedule, by: dict[Expr, LoopRef], words: Words
) -> tuple[list[LoopRef], LoopRef, list[LoopRef]]:
    """Takes the loops of columns out of ``by``; gives those of blocks, of lanes, and of vectors
    that narrow together."""
    loop = by.pop(words.column.var)
    if words.near is None:
        q, i, j = sch.split(loop, (None, words.lanes, words.ways))
        return [q], i, [j]
    q, i = sch.split(loop, (None, words.lanes))
    near = by.pop(words.near.var, None)
    if near is None:
        return [q], i, []
    m, j = sch.split(near, (None, min(words.ways, sch.get_loop(near).extent)))
    return [m, q], i, [j]


def made_of(sch: Schedule, found: Structure, vector: int) -> Made | None:
    """What a map makes of the sums of a block, where whole registers of its results are tiles."""
    known = [structure(sch.get_block(ref)) for ref in sch.blocks()]
    users = [s for s in known if s is not None and found.out.buffer in {u.buffer for u in s.reads}]
    if len(users) != 1 or users[0].form is not Form.MAP or users[0].out.buffer.type.bits != 8:
        return None
    last, words = users[0], _words(found, vector)
    if words is None or words.vectors.buffer.name in sch.logical.constants:
        return None
    plain = (found.out.buffer, last.out.index) in [(use.buffer, use.index) for use in last.reads]
    axes = [[(axis.extent, use.step(axis)) for axis in part] for use, part in
            ((found.out, found.spatial), (last.out, last.axes))]  # fmt: skip
    row = next((axis for axis in sorted(found.spatial, key=found.out.step)
                if axis is not words.near and words.scalars.step(axis)
                and not words.vectors.step(axis)), None)  # fmt: skip
    if not plain or axes[0] != axes[1] or row is None or row.var not in found.out.index:
        return None
    sizes = meant(sch.logical, last.out.buffer)
    pixels = max(WORD // words.ways, 1)
    rows = -(-sizes[found.out.index.index(row.var)] // pixels) * pixels
    made = Made(words, last, row, rows, pixels, sizes[-1] if words.near else words.ways)
    return made if _plain(made) else None


def _words(found: Structure, vector: int) -> Words | None:
    """The axes by the operands that they move, those with the nearest results first."""
    if not of_bytes(found) or len(found.summed) != 1 or not found.spatial:
        return None
    (depth,), axes = found.summed, sorted(found.spatial, key=found.out.step)
    moved = {axis.var: [use for use in found.reads if use.step(axis)] for axis in axes}
    wide = len(moved[axes[0].var]) == 1 and axes[0].extent % (vector // WORD) == 0
    near = None if wide else axes[0]
    column = next((a for a in axes if len(moved[a.var]) == 1 and a is not near), None)
    if column is None:
        return None
    (vectors,) = moved[column.var]
    (scalars,) = (use for use in found.reads if use is not vectors)
    if near is None:
        ways = min(column.extent, vector) // (vector // WORD)
    else:
        ways = near.extent if near.extent <= TOGETHER else WORD
    return Words(found, vectors, scalars, column, depth, vector, ways, near)


def _plain(made: Made) -> bool:
    """Whether each axis that fills registers is a dimension of all buffers that it moves, whole
    registers lie together in the result, and words of rows may be read."""
    words, shape = made.words, made.last.out.buffer.shape
    near, column, depth, out = words.near, words.column, words.depth, words.found.out
    inner = [axis for axis in (near, column, depth, made.row) if axis is not None]
    for use in (out, words.scalars, words.vectors):
        if any(use.step(axis) and axis.var not in use.index for axis in inner):
            return False
    if near is None:
        lanes = column.extent == shape[-1] and out.step(column) == 1
        return (
            lanes
            and words.vector % (words.lanes * words.ways) == 0
            and words.scalars.step(depth) == 1
        )
    if not _in_pieces(words):
        return False
    whole = near.extent == shape[-1] <= words.lanes and column.extent == shape[-2]
    return whole and words.vector % shape[-1] == 0 and out.step(column) == near.extent


def _in_pieces(words: Words) -> bool:
    """Whether registers of operands hold all that lies between elements which are summed, and
    between columns."""
    left, at = words.scalars.buffer.shape, words.scalars.index.index(words.depth.var)
    return (
        words.vector % left[-1] == 0
        and left[at] % words.step == 0
        and words.dims[0] == len(words.vectors.index) - 2
    )
