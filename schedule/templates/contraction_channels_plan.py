"""Contractions of each channel by itself: their extents, and what their tiles take.

A tile is a few pixels of all ways of a block, or of one way: no loop is within. Words of four
pixels lie in TCM, or are made in registers, where the tile below needs rows of them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from ...target.machine_facts import Machine
from ...tir.linear import linear
from ...tir.stmt import PrimFunc
from ..knobs import Point, number
from ..taps import Windows
from .contraction import WORD, Contraction, OfWords
from .direct import direct
from .packets import Ops
from .template import Estimate
from .tiles import PhaseTimes, Tiles, Walk, busiest

BACK = Ops(2, 0, 0, 1, 0, 1)  # what makes a register of pixels of quads
BODY = 100  # products of a tile of one way that are written out


@dataclass(frozen=True, slots=True)
class ChannelsPlan(OfWords):
    """The extents of one kernel in this form."""

    images: int
    rows: int
    columns: int  # of a row of the result, all that are stored, by as many as share lanes
    real: int  # columns that mean something
    depth: int  # stored channels, 32 at least
    taps: tuple[int, int]
    stride: tuple[int, int]
    apart: tuple[int, int]  # rows and columns from tap to tap
    per: int  # pixels that share lanes
    source: tuple[int, int]  # rows and columns of the input
    pads: tuple[int, int] | None  # those of pads before it, where windows read a copy
    vector: int  # bytes of a register

    @property
    def block(self) -> int:
        return min(self.depth, self.vector)

    @property
    def ways(self) -> int:
        """Vectors of 32 sums that one register of channels makes."""
        return self.block // self.lanes

    @property
    def blocks(self) -> int:
        return self.depth // self.block

    @property
    def quads(self) -> int:
        return -(-self.real // WORD)

    @property
    def pixels(self) -> int:
        """Pixels of a register."""
        return self.vector // self.block

    @property
    def across(self) -> int:
        """Pixels of a register of the input."""
        return self.pixels * self.per

    @property
    def deep(self) -> int:
        """Channels of a pixel."""
        return self.depth // self.per

    @property
    def even(self) -> bool:
        """Whether rows are whole quads."""
        return self.columns == self.quads * WORD

    def wide(self, point: Point) -> int:
        """Pixels of a row from which words are made."""
        step = number(point, "step")
        return (self.groups(self.whole(point) * self.per, point) - 1) * step + WORD

    def turns(self, point: Point) -> int:
        """Words from quad to quad."""
        return WORD * self.stride[1] // number(point, "step")

    def whole(self, point: Point) -> int:
        """Columns of a row that are computed."""
        return self.quads * WORD if point["apart"] else self.columns

    def windows(self, step: int, lead: int = 0) -> Windows:
        """How windows lie in words, ``lead`` columns before the pads."""
        return Windows(self.taps[1], self.apart[1], lead, self.stride[1], step)

    def lead(self, point: Point) -> int:
        """Columns put before the pads, so that words begin with the first column that is none,
        where that makes no more of them."""
        if self.pads is None or not guarded(point):
            return 0
        step, whole = number(point, "step"), self.whole(point)
        return min(-self.pads[1] % step, 0, key=lambda lead: self.windows(step, lead).all(whole))

    def row_zones(self, point: Point) -> list[int]:
        """Runs of rows of words, or of tiles, that read alike around pads."""
        assert self.pads is not None
        tile = number(point, "rows") if point["words"] == "tile" else 0
        count = number(point, "band") // tile if tile else self.lines(self.rows)
        step, reach = (tile * self.stride[0], self.lines(tile)) if tile else (1, 1)
        return zones(count, step, -self.pads[0], reach, self.source[0])

    def column_zones(self, point: Point) -> list[int]:
        """Runs of words of a row, or of tiles, that read alike around pads."""
        assert self.pads is not None
        step, columns, whole = number(point, "step"), number(point, "columns"), self.whole(point)
        count, by, words = self.groups(whole, point), step, 1
        if point["words"] == "tile":
            count, by = whole // columns, columns * self.stride[1]
            words = self.groups(columns, point)
        first, reach = -self.pads[1] - self.lead(point), (words - 1) * step + WORD
        return zones(count, by, first, reach, self.source[1])

    def dots(self, point: Point) -> int:
        """Products of a sum."""
        return self.taps[0] * self.windows(number(point, "step"), self.lead(point)).words

    def bands(self, point: Point) -> int:
        return self.rows // number(point, "band")

    def copied(self, point: Point) -> bool:
        """Whether what words are made of is copied before."""
        if guarded(point):
            return False
        return self.pads is not None or self.wide(point) > self.source[1]

    def registers(self, point: Point) -> int:
        """Registers of words of a row of a block."""
        return self.groups(self.whole(point), point) * self.ways

    def dealt(self, point: Point) -> Ops:
        """A register of words: pixels of a word that lie in one register are turned digit by
        digit, past those that share lanes; loads that begin within a register are turned, too."""
        inside = math.log2(min(self.pixels, WORD)) * (1 + math.log2(self.per))
        apart = 1 - math.gcd(number(point, "step") * self.deep, self.vector) / self.vector
        return Ops(2, 0, inside + apart, 1, 0, 1)

    def sums(self, point: Point) -> int:
        """Vectors of sums of a tile."""
        ways = 1 if point["apart"] else self.ways
        return number(point, "rows") * number(point, "columns") * ways

    def words(self, point: Point) -> int:
        """Vectors of words that a tile reads."""
        rows = number(point, "rows")
        lines = min(rows * self.taps[0], self.lines(rows))
        return (
            lines
            * self.groups(number(point, "columns"), point)
            * (1 if point["apart"] else self.ways)
        )

    def constants(self, point: Point) -> int:
        """Vectors of constants of each 32 channels."""
        return self.weights(point) + 2

    def weights(self, point: Point) -> int:
        """Vectors of weights among them."""
        phases = self.windows(number(point, "step"), self.lead(point)).phases
        return len(phases) * self.dots(point)

    def held(self, point: Point, machine: Machine) -> int:
        """Vectors of a tile's constants that stay in registers, beside sums, and those of the tile
        before, and words; one holds the zero point."""
        ways = 1 if point["apart"] else self.ways
        live = self.words(point) if point["words"] == "tile" else ways * self.taps[0]
        room = machine.vectors - 1 - 2 * self.sums(point) - live
        return min(max(room, 0), ways * self.constants(point))

    def follow(self, point: Point) -> bool:
        """Whether rows of words follow each other as their columns do: tiles are one loop."""
        step, whole = number(point, "step"), self.whole(point)
        even = self.groups(whole, point) * step == whole * self.stride[1]
        even &= self.per == 1 and (self.blocks == 1 or point["words"] == "band")
        return even and point["inner"] == "columns" and number(point, "rows") * self.stride[0] == 1

    def lines(self, rows: int) -> int:
        """Input rows of some output rows."""
        return (rows - 1) * self.stride[0] + (self.taps[0] - 1) * self.apart[0] + 1

    def groups(self, columns: int, point: Point) -> int:
        """Words of a row from which so many columns are made."""
        return self.windows(number(point, "step"), self.lead(point)).all(columns)


def guarded(point: Point) -> bool:
    """Whether words are made of the input and of pads as such, without a copy that has both."""
    return point["pads"] == "guard"


def zones(count: int, step: int, first: int, reach: int, size: int) -> list[int]:
    """Steps of a loop that read ``reach`` places from ``first`` on, and ``step`` further each time:
    lengths of runs that lie outside of ``size`` places, or inside; those at its ends are alone."""

    def place(k: int) -> tuple[int, int]:
        start = first + k * step
        if start >= 0 and start + reach <= size:
            return 0, 0
        return (1, 0) if start + reach <= 0 or start >= size else (2, k)

    return [len([*run]) for _, run in groupby(range(count), place)]


def plan_of(func: PrimFunc, kernel: Contraction) -> ChannelsPlan:
    """The extents."""
    images, rows, columns, stored = kernel.result.shape
    high, wide = (axis.extent for axis in kernel.taps)
    steps = [linear(e).terms for e in kernel.dot.reads[0].index[1:3]]
    down, along = (form.get(tap.var, 1) for form, tap in zip(steps, kernel.taps, strict=True))
    per, (_, tall, long, _), pads = max(kernel.lanes // stored, 1), kernel.input.shape, None
    if kernel.copy is not None:
        tall, long = (axis.extent for axis in kernel.copy.axes[1:3])
        top, left = (linear(e).constant for e in kernel.copy.out.index[1:3])
        pads = top, left
    return ChannelsPlan(images, rows, columns // per, -(-kernel.real(func)[2] // per), stored * per,
                (high, wide), (kernel.down, kernel.stride), (down, along), per, (tall, long),
                pads, kernel.vector)  # fmt: skip


def room_of_scratch(func: PrimFunc, plan: ChannelsPlan, machine: Machine, point: Point) -> int:
    """Bytes of TCM that images there leave, and constants as they are laid out."""
    near = (p.bytes for p in func.params if p.scope == "tcm" and p.name not in func.constants)
    return machine.tcm - sum(near) - plan.depth * WORD * plan.constants(point)


def fits_of(func: PrimFunc, plan: ChannelsPlan, machine: Machine) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        band, rows, columns = (number(point, name) for name in ("band", "rows", "columns"))
        step, apart, words = number(point, "step"), point["apart"], point["words"]
        if band % rows or plan.whole(point) % columns or columns % (WORD if apart else plan.pixels):
            return False
        if (apart and plan.columns < WORD) or (point["joined"] and not apart):
            return False
        if point["inner"] == "rows" and band == rows:  # no loop of rows
            return False
        if columns * plan.stride[1] % step or (words == "tile" and (apart or plan.pixels > 1)):
            return False
        if guarded(point) and words != "all" and not _parts(plan, machine, point):
            return False
        room = room_of_scratch(func, plan, machine, point)
        if scratch_of(plan, point, machine.threads)[2] > room:
            return False
        sums = plan.sums(point)
        return sums <= 4 or (sums <= 16 and sums * plan.dots(point) <= BODY)

    return fits


def _parts(plan: ChannelsPlan, machine: Machine, point: Point) -> bool:
    """Whether loops may be parted around pads: threads have all rows of what they share, and tiles
    that are written out are few."""
    shared = plan.blocks if point["share"] == "channels" else 1
    if plan.bands(point) > 1 or shared < machine.threads or point["words"] != "tile":
        return plan.bands(point) == 1 and shared >= machine.threads
    parts = len(plan.row_zones(point)) * len(plan.column_zones(point))
    return parts * plan.sums(point) * plan.dots(point) <= BODY


def scratch_of(plan: ChannelsPlan, point: Point, threads: int) -> tuple[int, int, int]:
    """Bytes of the padded input, of words that all threads share, and of the threads' own."""
    step, band, whole = number(point, "step"), number(point, "band"), plan.whole(point)
    words, groups = point["words"], plan.groups(whole, point)
    lines, row = plan.images * plan.lines(plan.rows), groups * WORD * plan.block
    xp = 0 if guarded(point) else lines * ((groups - 1) * step + WORD) * plan.depth
    quads = plan.quads * WORD * plan.block if point["apart"] else 0
    if point["joined"]:  # tiles of other ways are stored by other blocks: no part of it is private
        quads *= plan.images * plan.rows * plan.blocks
    else:
        quads *= band * threads
    if words == "all":
        return xp, lines * plan.blocks * row, quads
    return xp, 0, quads + (plan.lines(band) * row * threads if words == "band" else 0)


def estimate_of(
    func: PrimFunc, plan: ChannelsPlan, machine: Machine, made: Ops, others: int, point: Point
) -> Estimate:
    """Tiles of the longest thread, once the words are there; ``made`` is what a register of results
    takes beside its products, ``others`` are the bytes of constants beside weights."""
    nest, words = _nest(plan, machine, made, point), point["words"]
    band, issue = number(point, "band"), machine.issue
    row = plan.registers(point) * plan.dealt(point).packets(issue) + issue.depth
    parts = busiest(nest.walk.shared, machine) * nest.walk.inner[0] * plan.images
    main = nest.cycles(machine, nest.each(machine) / nest.walk.around)  # loops fill and drain
    main += (
        parts * (plan.ways if point["apart"] else 1) * plan.held(point, machine)
    )  # loaded before
    if words == "band":
        main += parts * plan.lines(band) * row
    if point["apart"]:
        back = parts * band * BACK.packets(issue) * plan.quads * plan.ways + issue.depth
        result = func.params[-1]  # stored at once: instructions wait for DDR
        late = result.bytes / machine.dma_rate if result.scope == "ddr" else 0.0
        if point["joined"]:
            ends = replace(nest, tail=nest.tail + BACK * nest.sums)
            back = (ends.cycles(machine) - nest.cycles(machine)) / plan.ways
            late -= nest.cycles(machine) / plan.ways
        main += max(back, late)
    lines, extra = plan.images * plan.lines(plan.rows) / machine.threads, 0.0
    if plan.copied(point):
        extra += (
            lines * (plan.wide(point) * plan.depth / plan.vector + issue.depth) + machine.barrier
        )
    if words == "all":
        extra += lines * plan.blocks * row + machine.barrier
    far = any(p.scope == "ddr" and p.name in func.constants for p in func.params)
    each = main + 2 * machine.barrier, plan.depth * WORD * plan.weights(point) * far
    phases = PhaseTimes(extra, [each], 1, others * far, machine)
    return phases.estimate(nest, _far(func, plan, machine, point))


def _far(func: PrimFunc, plan: ChannelsPlan, machine: Machine, point: Point) -> float:
    """Cycles by which buffers that do not fit are slower."""
    free, far = room_of_scratch(func, plan, machine, point), 0.0
    for size in sorted(scratch_of(plan, point, machine.threads), reverse=True):
        far += plan.taps[0] * size / plan.vector / machine.threads if size > free else 0.0
        free -= size if size <= free else 0
    return direct(machine, far, plan.vector, far)


def _nest(plan: ChannelsPlan, machine: Machine, made: Ops, point: Point) -> Tiles:
    """The tiles of the products."""
    rows, band = number(point, "rows"), number(point, "band")
    near, down = point["words"] == "tile", point["inner"] == "rows"
    ways = 1 if point["apart"] else plan.ways
    sums, held, fresh = plan.sums(point), plan.held(point, machine), plan.words(point)
    live = fresh if near else ways * plan.taps[0]
    if near and down and band > rows:  # the tile above has made the others
        lines = min(rows * plan.taps[0], plan.lines(rows))
        fresh = fresh * min(lines, rows * plan.stride[0]) // lines
    dots = sums * plan.dots(point)
    loads = fresh + ways * plan.constants(point) - held
    body = Ops(2 * dots + 2 * near * fresh, dots, 0, loads)  # a product and a sum apart
    loops = [band // rows, plan.whole(point) // number(point, "columns")]
    inner = [math.prod(loops)] if plan.follow(point) else loops[::-1] if down else loops
    shared, other = plan.bands(point), plan.blocks
    if point["share"] == "channels":
        shared, other = other, shared
    walk = Walk(shared, (other, plan.ways // ways, *inner), plan.images, machine)
    return Tiles(walk, (1,), 1, dots, body, Ops(), made * (sums / WORD), sums, live + held)
