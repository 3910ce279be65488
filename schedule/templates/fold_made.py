"""Sums of words, and what a map makes of them, a tile of registers of its results at a time.

    for tiles of y, on threads:
        acc = words of rows by words of columns          in registers
        y = f(acc)                                       rows or columns narrow into registers

Columns i * ways + j lie in lane i of vector j, so that vectors narrow without changing places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...target.dsp.machine import Machine
from ...tir.expr import Expr
from ...tir.types import i8
from ..extents import meant
from ..knobs import Point, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Axis, Form, Structure, structure
from .contraction import LANES, VECTOR, WORD
from .fold_order import put_last
from .fold_parts import Part, copied, now
from .fold_tiles import deals
from .fold_words import Words, of_bytes, shifted, words_of
from .fusing import ALONE, even, loops_of, made_by, share
from .lanes import Plan
from .packets import Body, Ops, ops_of
from .tiles import Walk, scalar_tiles

REGISTERS = 28  # vector registers that a tile may plan with
BODY = 128  # products that are written out
NEAR = (4, 8)  # results that lie between columns


@dataclass(frozen=True, slots=True)
class Taken(Part):
    """A block whose nest another one's part makes."""

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        return

    def plans(self, machine: Machine, point: Point) -> list[Plan]:
        return []


@dataclass(frozen=True, slots=True)
class Columns(Part):
    """Sums of columns, by words of 32 of them."""

    words: Words

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        by = loops_of(sch, block)
        k, t = sch.split(by.pop(self.words.depth.var), (None, WORD))
        q, i, j = columns(sch, by, self.words)
        outer = [*by.values(), q, j]
        sch.reorder(*outer, k, i, t)
        sch.vectorize(i, t)
        share(sch, outer, machine, point)

    def plans(self, machine: Machine, point: Point) -> list[Plan]:
        turns = self.words.vectors.buffer.size / VECTOR / machine.threads
        return [Plan(turns, 1, Body(1, 2, 1, 10), 1)]


@dataclass(frozen=True, slots=True)
class Made(Part):
    """The tiles of ``last``: a register of its results has ``pixels`` rows of vectors of columns;
    ``rows`` are computed."""

    words: Words
    last: Structure
    row: Axis
    rows: int
    pixels: int

    @property
    def _extents(self) -> tuple[int, int]:
        """Steps of ``pixels`` rows, and of all vectors of columns that lie beside each other."""
        vectors = self.words.wide // LANES
        return self.rows // self.pixels, vectors if self.words.near else vectors // self.words.ways

    def _sizes(self, point: Point) -> tuple[int, int, int]:
        """Registers of a tile down and across, and words of a body."""
        down, across = self._extents
        a = max(d for d in divisors(down) if d <= number(point, "rows"))
        b = max(d for d in divisors(across) if d <= number(point, "unroll"))
        return a, b, min(self.words.deep // WORD, number(point, "terms"))

    def _vectors(self, point: Point) -> tuple[int, int]:
        """Sums of a tile, and its vectors of columns."""
        a, b, _ = self._sizes(point)
        return a * self.pixels * b * self.words.ways, b * self.words.ways

    def fits(self, point: Point) -> bool:
        sums, vectors = self._vectors(point)
        steps, whole = self._sizes(point)[2], self.words.deep // WORD
        return sums + vectors + 2 <= REGISTERS and sums * max(steps, whole % steps) <= BODY

    def place(self, sch: Schedule, block: str, machine: Machine, point: Point) -> None:
        found, (a, b, steps) = self.words.found, self._sizes(point)
        by = loops_of(sch, self.last.block)
        pairs = zip(found.spatial, self.last.axes, strict=True)
        own = {old.var: by[new.var] for old, new in pairs}
        r_0, r_1, p = sch.split(own.pop(self.row.var), (None, a, self.pixels))
        q, i, j = columns(sch, own, self.words)
        q_0, q_1 = sch.split(q, (None, b))
        outer = sorted(own.values(), key=lambda loop: -sch.get_loop(loop).extent)
        outer = self._order(sch, [*outer, q_0, r_0], machine, point)
        sch.reorder(*outer, r_1, q_1, p, i, j)
        sch.vectorize(p, i, j)
        sch.unroll(r_1, q_1)
        if point["loop"] != ALONE:
            sch.parallel(outer[0])
        sch.compute_at(block, outer[-1])
        sch.set_scope(found.out.buffer.name, "reg")
        self._products(sch, block, steps)

    def _order(
        self, sch: Schedule, loops: list[LoopRef], machine: Machine, point: Point
    ) -> list[LoopRef]:
        """The loop that threads share first, then rows last."""
        shared = sorted(loops, key=lambda loop: -even(sch.get_loop(loop).extent, machine))
        first = shared[max(number(point, "loop"), 0)]
        return [first, *(loop for loop in loops if loop != first)]

    def _products(self, sch: Schedule, block: str, steps: int) -> None:
        """The sum over words, the tile within unrolled; words that fill no step come last."""
        axes = [axis.var for axis in self.words.found.axes]
        by = dict(zip(axes, sch.loops(block)[-len(axes) :], strict=True))
        k, t = sch.split(by.pop(self.words.depth.var), (None, WORD))
        folds = [by.pop(axis.var) for axis in self.words.folds]
        q, i, j = columns(sch, by, self.words)
        tile = [*by.values(), q, j]
        sch.reorder(*folds, k, *tile, i, t)
        sch.vectorize(i, t)
        sch.unroll(*tile)
        whole = steps == self.words.deep // WORD
        for loop in [k] if whole else sch.split(k, (None, steps), tail="peel")[1:]:
            sch.unroll(loop)

    def plans(self, machine: Machine, point: Point) -> list[Plan]:
        (a, b, steps), (sums, vectors) = self._sizes(point), self._vectors(point)
        (down, across), lines = self._extents, sums // vectors
        tiled = self.row, self.words.column, self.words.near
        extents = [axis.extent for axis in self.words.found.spatial if axis not in tiled]
        extents += [across // b, down // a]
        order = sorted(range(len(extents)), key=lambda at: -even(extents[at], machine))
        shared = extents.pop(order[max(number(point, "loop"), 0)])
        walk = Walk(shared, tuple(extents), 1, machine)
        head = Ops(sums + lines, 0, lines, vectors, lines)
        tail = ops_of(self.last, VECTOR) * (sums / WORD)
        trips, tile = (self.words.deep // WORD // steps,), (sums, vectors, lines)
        tiles = scalar_tiles(walk, trips, steps, tile, self.words.ways, head, tail)
        body = Body(tiles.cycles(machine), sums * steps, sums + vectors, 0)
        return [Plan(1, 1, body, 1)]


def columns(sch: Schedule, by: dict[Expr, LoopRef], words: Words) -> list[LoopRef]:
    """Takes the loops of columns out; gives those of blocks, of lanes and of vectors beside."""
    loop = by.pop(words.column.var)
    if words.near is None:
        return sch.split(loop, (None, LANES, words.ways))
    return [*sch.split(loop, (None, LANES)), by.pop(words.near.var)]


def made_of(sch: Schedule, found: Structure) -> Made | None:
    """What a map makes of the sums of a block, where whole registers of its results are tiles."""
    known = [structure(sch.get_block(ref)) for ref in sch.blocks()]
    users = [s for s in known if s is not None and found.out.buffer in {u.buffer for u in s.reads}]
    if len(users) != 1 or users[0].form is not Form.MAP or users[0].out.buffer.type.bits != 8:
        return None
    last, words = users[0], words_of(found) or _apart(found)
    if words is None or words.dealt or words.vectors.buffer.name in sch.logical.constants:
        return None
    plain = (found.out.buffer, last.out.index) in [(use.buffer, use.index) for use in last.reads]
    axes = [[(axis.extent, use.step(axis)) for axis in part] for use, part in
            ((found.out, found.spatial), (last.out, last.axes))]  # fmt: skip
    place, width = list(found.out.index).index(words.column.var), words.column.extent
    row = next((axis for axis in found.spatial if axis.var is found.out.index[place - 1]), None)
    if (
        not plain
        or axes[0] != axes[1]
        or row is None
        or not words.scalars.step(row)
        or words.vectors.step(row)
    ):
        return None
    if words.near is None:
        if width != last.out.buffer.shape[-1] or width % LANES or VECTOR % min(width, VECTOR):
            return None
        if words.vectors.step(words.column) == 1:
            words = replace(words, ways=min(width, VECTOR) // LANES)
    pixels = max(VECTOR // width, 1) if words.near is None else 1
    rows = -(-meant(sch.logical, last.out.buffer)[place - 1] // pixels) * pixels
    return Made(words, last, row, rows, pixels)


def _apart(found: Structure) -> Words | None:
    """Columns between which an axis of the batch lies, which fills registers with them."""
    if not of_bytes(found) or len(found.summed) != 1:
        return None
    by, (depth,) = {axis.var: axis for axis in found.spatial}, found.summed
    column, near = (by.get(e) for e in found.out.index[-2:])
    if column is None or near is None or near.extent not in NEAR:
        return None
    first, second = found.reads
    vectors, scalars = (first, second) if first.step(column) else (second, first)
    whole = all(use.index[-1] is near.var and depth.var in use.index for use in found.reads)
    if not whole or column.var not in vectors.index or scalars.step(column):
        return None
    return Words(found, vectors, scalars, column, depth, near.extent, near)


def arrange_made(sch: Schedule, made: Made, unsigned: bool) -> tuple[dict[str, Part], list[str]]:
    """Brings operands into their forms; gives the blocks with nests of their own, and those that
    sum rows."""
    words, found, block, sums = made.words, made.words.found, made.words.found.block, list[str]()
    deal = copied(sch, block, words.vectors)
    near = made_by(sch, deal)
    left, down = words.scalars.buffer, list(words.scalars.index).index(made.row.var)
    name = left.name
    if words.near or not words.aligned or left.shape[down] < made.rows:
        name = made_by(sch, copied(sch, block, words.scalars))
    if words.near:
        put_last(sch, name, words.scalars.index, words.near, words.depth)
    rows = []
    if shifted(found, words.vectors) or (unsigned and words.vectors.buffer.type == i8):
        rows = [ref.name for ref in sch.offset_operand(block, near)]
    if shifted(found, words.scalars):
        sums = [ref.name for ref in sch.offset_operand(block, name)]
    special = deals(sch, words, deal)
    if words.deep > words.depth.extent:
        for name in (block, *sums):
            sch.resize(loops_of(sch, name)[words.depth.var], words.deep)
    special |= {made.last.block: Taken(), **dict.fromkeys(sums, Columns(words))}
    at = found.out.index.index(made.row.var)
    order = [(made.last.block, made.last.out.index[at]), (block, made.row.var)]
    for name, axis in order if made.rows < made.row.extent else order[::-1]:
        if made.rows != made.row.extent:
            sch.resize(loops_of(sch, name)[axis], made.rows)
    for name in (block, *sums):
        sch.transform_layout(made_by(sch, name), words.by_columns(now(sch, name).out.index))
    sch.transform_layout(near, words.layout(LANES))
    return {**special, block: made}, rows
