"""Contractions of each channel by itself: channels in lanes, four neighbouring taps in a word.

    [copy x into xp, rows as they are]      where there are pads
    parallel bands of rows, or blocks of 128 channels
      words of four pixels, one each step   [row, group, way, 32, 4]
      apart: ways                           one way's words and weights at a time
        rows, quads of columns              a tile of sums, all taps written out
        requantize: four pixels of 32 channels narrow into one register
      quads of all ways become pixels
      together: rows, columns               the ways of some pixels at once: these need no change
        requantize: all ways of a pixel narrow into one register

A block is 128 channels (or all, where fewer are stored); its channel ``lane * ways + way`` is
lane ``lane`` of way ``way``, so that four bytes of a register are four ways. Of less than 32
channels ``per`` pixels share the lanes: those of quads that follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...target.dsp.machine import Machine
from ...tir.linear import linear
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Structure, structure
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, kernel_of, run_to
from .contraction_inputs import copy_rows
from .direct import direct
from .fusing import stepped
from .template import Estimate, Template

MOST = 400  # products of a quad of one way, all of which are written out
KEPT = 22  # registers of constants and sums that stay through a loop
REGISTERS = 31  # those of the machine, less the one of the result's zero point
BODY = 72  # products of a tile of one way that are written out


@dataclass(frozen=True, slots=True)
class Plan:
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

    @property
    def block(self) -> int:
        return min(self.depth, VECTOR)

    @property
    def ways(self) -> int:
        """Vectors of 32 sums that one register of channels makes."""
        return self.block // LANES

    @property
    def blocks(self) -> int:
        return self.depth // self.block

    @property
    def quads(self) -> int:
        return -(-self.real // WORD)

    @property
    def pixels(self) -> int:
        """Pixels of a register."""
        return VECTOR // self.block

    @property
    def across(self) -> int:
        """Pixels of a register of the input."""
        return self.pixels * self.per

    @property
    def deep(self) -> int:
        """Channels of a pixel."""
        return self.depth // self.per

    def wide(self, point: Point) -> int:
        """Pixels of a row from which words are made."""
        step = number(point, "step")
        last = (self.whole(point) * self.per - 1) * self.stride[1] // step
        return (last + (self.reach(step) - 1) * WORD // step) * step + WORD

    def turns(self, point: Point) -> int:
        """Words from quad to quad."""
        return WORD * self.stride[1] // number(point, "step")

    def whole(self, point: Point) -> int:
        """Columns of a row that are computed."""
        return self.quads * WORD if point["apart"] else self.columns

    def phases(self, step: int) -> int:
        """Places in a word at which windows begin."""
        return step // math.gcd(step, self.stride[1])

    def reach(self, step: int) -> int:
        """Words that a window spans."""
        last = step - math.gcd(step, self.stride[1]) + (self.taps[1] - 1) * self.apart[1]
        return last // WORD + 1

    def lines(self, rows: int) -> int:
        """Input rows of some output rows."""
        return (rows - 1) * self.stride[0] + (self.taps[0] - 1) * self.apart[0] + 1

    def groups(self, columns: int, step: int) -> int:
        """Words of a row from which so many columns are made."""
        return (columns - 1) * self.stride[1] // step + (self.reach(step) - 1) * WORD // step + 1


def channels(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with channels in lanes; None for other kernels."""
    kernel = kernel_of(func)
    if kernel is None or kernel.depth is not None or len(kernel.taps) != 2:
        return None
    found, plan = kernel, plan_of(func, kernel)
    products = WORD * plan.taps[0] * plan.reach(1)
    if plan.depth % plan.block or plan.columns % plan.pixels or products > MOST:
        return None
    space = Space(_knobs(plan), (_fits(func, plan, machine),))

    def schedule(point: Point) -> Schedule:
        return _schedule(func, found, plan, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(func, plan, machine, point)

    return Template("channels", func, machine, space, schedule, estimate)


def plan_of(func: PrimFunc, kernel: Kernel) -> Plan:
    """The extents."""
    images, rows, columns, stored = kernel.result.shape
    high, wide = (axis.extent for axis in kernel.taps)
    steps = [linear(e).terms for e in kernel.dot.reads[0].index[1:3]]
    down, along = (form.get(tap.var, 1) for form, tap in zip(steps, kernel.taps, strict=True))
    per = max(LANES // stored, 1)
    return Plan(images, rows, columns // per, -(-kernel.real(func)[2] // per), stored * per,
                (high, wide), (kernel.down, kernel.stride), (down, along), per)  # fmt: skip


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    rows = divisors(plan.rows)
    columns = {d for d in divisors(plan.columns) if d % plan.pixels == 0 and d <= 8}
    if plan.columns >= WORD:
        columns |= {WORD * d for d in divisors(plan.quads) if d <= 4}
    return (
        choice("step", (2, 4, 1)),
        choice("band", rows),
        choice("rows", tuple(d for d in rows if d <= 4)),
        choice("columns", tuple(sorted(columns))),
        choice("apart", (False, True) if plan.per == 1 else (False,)),
        choice("share", ("rows", "channels") if plan.blocks > 1 else ("rows",)),
        choice("inner", ("columns", "rows")),
        choice("words", ("band", "all", "tile") if plan.per == 1 else ("all",)),
    )


def _fits(func: PrimFunc, plan: Plan, machine: Machine) -> Callable[[Point], bool]:
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")

    def fits(point: Point) -> bool:
        band, rows, columns = (number(point, name) for name in ("band", "rows", "columns"))
        step, apart, words = number(point, "step"), point["apart"], point["words"]
        if band % rows or plan.whole(point) % columns or columns % (WORD if apart else plan.pixels):
            return False
        if apart and plan.columns < WORD:
            return False
        if columns * plan.stride[1] % step or (words == "tile" and (apart or plan.pixels > 1)):
            return False
        if _scratch(plan, point, machine.threads)[2] > free:
            return False
        sums = rows * columns * (1 if apart else plan.ways)
        return sums <= 4 or (sums <= 16 and sums * plan.taps[0] * plan.reach(step) <= BODY)

    return fits


def _scratch(plan: Plan, point: Point, threads: int) -> tuple[int, int, int]:
    """Bytes of the padded input, of words that all threads share, and of the threads' own."""
    step, band, whole = number(point, "step"), number(point, "band"), plan.whole(point)
    groups, lines = plan.groups(whole, step), plan.images * plan.lines(plan.rows)
    row = groups * WORD * plan.block
    xp = lines * ((groups - 1) * step + WORD) * plan.depth
    own = band * plan.quads * WORD * plan.block if point["apart"] else 0
    if point["words"] == "all":
        return xp, lines * plan.blocks * row, own * threads
    own += plan.lines(band) * row if point["words"] == "band" else 0
    return xp, 0, own * threads


def _schedule(func: PrimFunc, kernel: Kernel, plan: Plan, point: Point) -> Schedule:
    sch = Schedule(func)
    dot, last, acc = kernel.dot.block, kernel.last.block, kernel.dot.out.buffer.name
    block, ways = plan.block, plan.ways
    copies = list[str]()
    if kernel.copy is None and plan.wide(point) > kernel.input.shape[2]:
        copies = [sch.cache_read(dot, kernel.input.name, "tcm").name]
    back = _quads(sch, kernel, plan) if point["apart"] else None
    if plan.per > 1:
        _share_lanes(sch, plan, (last, dot))
    deal = sch.word_taps(dot, sch.loops(dot)[-1], number(point, "step")).name
    constants = sorted(sch.logical.constants.keys() - {kernel.weights.name})
    if plan.per > 1:
        run_to(sch, deal, 2, plan.turns(point) * plan.per)
        _one_axis(sch, kernel, plan)
    for name in (last, dot):
        lane, _ = sch.divide(sch.loops(name)[3], ways)
        sch.divide(lane, LANES)
    dealt = structure_of(sch, deal)
    words = dealt.out.buffer.name
    if copies or kernel.copy is not None:
        sch.trim(dealt.reads[0].buffer.name)
        copies = copies or bordered(sch, kernel, plan.across, plan.deep, True)
    if point["words"] == "tile":
        sch.set_scope(words, "reg")
    sch.transform_layout(kernel.weights.name, lambda p, kh, t, o: (
        o // block, o % ways, p, kh, t // WORD, o // ways % LANES, t % WORD))  # fmt: skip
    for name in constants:
        sch.transform_layout(name, lambda o: (o // block, o % ways, o // ways % LANES))
    _lay(sch, plan, point, acc, words)
    for name in copies:
        copy_rows(sch, name, 1)
    near, pixels = dealt.reads[0].buffer.name, plan.across
    if copies and sch.get_buffer(near).shape[2] % pixels:  # rows of whole registers
        sch.transform_layout(near, lambda n, h, w, c: (n, h, w // pixels, w % pixels, c))
    if back is None:
        tile, place = _together(sch, plan, point, last)
    else:
        tile, place = _apart(sch, plan, point, last, back)
    sch.compute_at(dot, tile)
    _products(sch, dot)
    _deal(sch, plan, point, deal, tile if point["words"] == "tile" else place)
    _keep(sch, kernel, plan, point, place)
    return sch


def _share_lanes(sch: Schedule, plan: Plan, blocks: tuple[str, ...]) -> None:
    """Columns as quads, of which ``per`` that follow each other share lanes."""
    for name in blocks:
        quad, _ = sch.divide(sch.loops(name)[2], WORD)
        sch.divide(quad, plan.per)


def _one_axis(sch: Schedule, kernel: Kernel, plan: Plan) -> None:
    """Pixels that share lanes and channels as one axis, quads and their pixels as another; what is
    constant is repeated for the former."""
    last, dot, deep = kernel.last.block, kernel.dot.block, plan.deep
    late = {use.buffer.name for use in kernel.last.reads}
    for name in sorted(sch.logical.constants):
        block = last if name in late else dot
        sch.repeat(block, name, sch.loops(block)[3])
        if name == kernel.weights.name:
            sch.transform_layout(name, lambda p, kh, t, o, b: (p, kh, t, b * deep + o))
        else:
            sch.transform_layout(name, lambda o, b: (b * deep + o,))
    for name in (last, dot):
        _, _, quad, some, pixel, channel = sch.loops(name)[:6]
        sch.join(quad, pixel)
        sch.join(some, channel)


def _lay(sch: Schedule, plan: Plan, point: Point, acc: str, words: str) -> None:
    """Sums and words by registers; words of pixels that share lanes lie together."""
    block, ways, deep, per = plan.block, plan.ways, plan.deep, plan.per
    if per == 1:
        sch.transform_layout(acc, lambda n, h, w, o: (
            n, h, w, o // block, o % ways, o // ways % LANES))  # fmt: skip
        sch.transform_layout(words, lambda n, h, g, t, o: (
            n, h, o // block, g, o % ways, o // ways % LANES, t))  # fmt: skip
        return
    turns = plan.turns(point)
    sch.transform_layout(acc, lambda n, h, w, o: (
        n, h, w // (WORD * per) * WORD + w % WORD, w // WORD % per * deep + o))  # fmt: skip
    sch.transform_layout(words, lambda n, h, g, t, o: (
        n, h, g % turns, g // turns * deep + o, t))  # fmt: skip


def structure_of(sch: Schedule, block: str) -> Structure:
    """What a block is now."""
    found = structure(sch.get_block(block))
    assert found is not None
    return found


def _quads(sch: Schedule, kernel: Kernel, plan: Plan) -> str:
    """Results as quads of pixels of one way; gives the block that puts them in their places."""
    last, block, ways = kernel.last.block, plan.block, plan.ways
    back = sch.cache_write(last, kernel.result.name, "reg").name
    made = structure_of(sch, last).out.buffer.name
    sch.set_scope(made, "tcm")
    for name in (last, kernel.dot.block):
        if plan.quads * WORD != plan.columns:
            sch.resize(sch.loops(name)[2], plan.quads * WORD)
    sch.transform_layout(made, lambda n, h, w, o: (
        n, h, o // block, w // WORD, o % ways, o // ways % LANES, w % WORD))  # fmt: skip
    return back


def _apart(
    sch: Schedule, plan: Plan, point: Point, last: str, back: str
) -> tuple[LoopRef, LoopRef]:
    """Bands whose ways come one after another; gives the loop of a tile, and that of a band."""
    n, h, w, o = sch.loops(back)
    h_0, h_1 = sch.split(h, (None, number(point, "band")))
    b, i, j = sch.split(o, (None, LANES, plan.ways))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    sch.reorder(shared, n, other, h_1, w, i, j)
    for name in stepped(sch, back, w, min(WORD, plan.columns), "peel")[1]:
        sch.vectorize(*sch.loops(name)[-3:])
    sch.parallel(shared)
    sch.compute_at(last, other)
    n, h, w, b, i, j = sch.loops(last)[-6:]
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1, p = sch.split(w, (None, number(point, "columns") // WORD, WORD))
    walk = [h_0, q_0] if point["inner"] == "columns" else [q_0, h_0]
    sch.reorder(n, b, j, *walk, h_1, q_1, i, p)
    sch.vectorize(i, p)
    sch.unroll(h_1)
    sch.unroll(q_1)
    return walk[1], other


def _together(sch: Schedule, plan: Plan, point: Point, last: str) -> tuple[LoopRef, LoopRef]:
    """Tiles of all ways of some pixels; gives the loop of a tile, and that of a band."""
    n, h, w, b, i, j = sch.loops(last)
    rows = number(point, "rows")
    h_0, h_1, h_2 = sch.split(h, (None, number(point, "band") // rows, rows))
    w_0, w_1, w_2 = sch.split(w, (None, number(point, "columns") // plan.pixels, plan.pixels))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    lanes = sch.split(i, (plan.per, plan.deep)) if plan.per > 1 else [i]
    walk = [h_1, w_0] if point["inner"] == "columns" else [w_0, h_1]
    sch.reorder(shared, n, other, *walk, h_2, w_1, *lanes, j, w_2)
    sch.vectorize(*lanes, j, w_2)
    sch.unroll(h_2)
    sch.unroll(w_1)
    sch.parallel(shared)
    return walk[1], other


def _products(sch: Schedule, dot: str) -> None:
    """All sums of a tile written out: 32 channels by four taps a product."""
    n, h, w, b, i, j, kh, k, t = sch.loops(dot)[-9:]
    sch.reorder(n, h, w, b, j, kh, k, i, t)
    sch.vectorize(i, t)
    for loop in (n, h, w, b, j, kh, k):
        sch.unroll(loop)


def _deal(sch: Schedule, plan: Plan, point: Point, deal: str, place: LoopRef) -> None:
    """Words of four pixels: those of a tile in registers, those of a band, or all before."""
    words = str(point["words"])
    if words != "all":
        sch.compute_at(deal, place)
    n, h, g, t, o = sch.loops(deal)[-5:]
    if plan.per > 1:
        g_0, some, turn = sch.split(g, (None, plan.per, plan.turns(point)))
        sch.reorder(n, h, g_0, turn, some, o, t)
        sch.vectorize(some, o, t)
        sch.unroll(turn)
        sch.unroll(n)
        sch.parallel(h)
        return
    b, i, j = sch.split(o, (None, LANES, plan.ways))
    together = 2 if plan.pixels > 2 and sch.get_loop(g).extent % 2 == 0 else 1
    g_0, g_1 = sch.split(g, (None, together))
    sch.reorder(n, h, b, g_0, g_1, j, i, t)
    sch.vectorize(j, i, t)
    for loop in (n, h, b, g_0) if words == "tile" else ():
        sch.unroll(loop)
    sch.unroll(g_1)
    if words == "all":
        sch.unroll(n)
        sch.parallel(h)


def _keep(sch: Schedule, kernel: Kernel, plan: Plan, point: Point, place: LoopRef) -> None:
    """The constants in registers while tiles are computed (those of one way), if there is room."""
    step, apart = number(point, "step"), bool(point["apart"])
    held = plan.phases(step) * plan.taps[0] * plan.reach(step) + 2
    sums = number(point, "rows") * number(point, "columns")
    if held + sums > KEPT if apart else (held + sums) * plan.ways > KEPT:
        return
    dot, last = kernel.dot.block, kernel.last.block
    late = {use.buffer.name for use in kernel.last.reads}
    for name in sorted(sch.logical.constants):
        copy = sch.cache_read(last if name in late else dot, name, "reg")
        sch.compute_at(copy, sch.loops(last)[-7] if apart else place)
        lanes = 2 if name == kernel.weights.name else 1
        loops = sch.loops(copy)[-len(sch.get_buffer(name).shape) :]
        sch.vectorize(*loops[-lanes:])
        for loop in loops[:-lanes]:
            sch.unroll(loop)


def _tile(plan: Plan, point: Point) -> tuple[float, int, float]:
    """Packets of a tile by the resource that it holds most, its products, and its registers."""
    step, rows, columns = (number(point, name) for name in ("step", "rows", "columns"))
    apart, near = bool(point["apart"]), point["words"] == "tile"
    ways = 1 if apart else plan.ways
    reach, sums = plan.reach(step), rows * columns * ways
    dots, made = sums * plan.taps[0] * reach, sums / WORD
    lines, groups = min(rows * plan.taps[0], plan.lines(rows)), plan.groups(columns, step)
    fresh = min(lines, rows * plan.stride[0]) if near and point["inner"] == "rows" else lines
    words, again = fresh * groups * ways, (lines - fresh) * groups * ways
    constants = (plan.phases(step) * plan.taps[0] * reach + 2) * ways
    local = sums + words + 2 * again if near else sums + 2 * ways * plan.taps[0]
    held = KEPT - 4 * rows if apart else max(REGISTERS - local, 0) if near else 16
    loads = words + max(constants - held, 0)
    shuffles = 1.5 * words + again if near else 0.0
    packets = max(loads, dots / 2 + 8 * made, (2 * dots + 22 * made + loads + shuffles) / 4)
    live = local if near else constants + local
    crowded = 1.0 if apart or live <= 24 else 1.15 if live <= 32 and not near else 1.4
    return packets * crowded, dots, live  # crowded iterations do not overlap


def _estimate(func: PrimFunc, plan: Plan, machine: Machine, point: Point) -> Estimate:
    """Packets by the resource that each part holds most; loops start in two iterations or so."""
    step, band, threads = number(point, "step"), number(point, "band"), machine.threads
    whole, bands = plan.whole(point), plan.rows // band
    tile, dots, live = _tile(plan, point)
    shared, others = (bands, plan.blocks) if point["share"] == "rows" else (plan.blocks, bands)
    turns = -(-shared // threads)
    walk = band // number(point, "rows"), whole // number(point, "columns")
    order = walk if point["inner"] == "columns" else walk[::-1]
    starts = math.prod(walk) // next((n for n in reversed(order) if n > 1), 1)
    even = plan.groups(whole, step) * step == whole * plan.stride[1]
    even &= plan.blocks == 1 or point["words"] == "band"
    if even and point["inner"] == "columns" and number(point, "rows") * plan.stride[0] == 1:
        starts = 1  # rows follow each other as columns do: one loop
    dealt = plan.groups(whole, step) * {1: 3.2, 2: 3.2, 4: 4.1}[plan.ways] + 4
    ways = plan.ways if point["apart"] else 1
    body = ways * (math.prod(walk) * tile + starts * (tile / 2 + 4) + tile + 26) + 30
    body += band * (plan.quads * {1: 3.0, 2: 3.2, 4: 4.1}[plan.ways] + 8) if point["apart"] else 0
    body += plan.lines(band) * dealt + 20 if point["words"] == "band" else 0
    cycles = body * plan.images * others * turns
    extra = 60.0 + 2 * machine.barrier
    rows = -(-plan.lines(plan.rows) // threads) * plan.images
    if point["words"] == "all":
        extra += rows * plan.blocks * dealt + machine.barrier
    extra += rows * (whole * plan.stride[1] * plan.depth / VECTOR + 12)
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    far = 0.0
    for size in sorted(_scratch(plan, point, threads), reverse=True):
        far += plan.taps[0] * size / VECTOR / threads if size > free else 0.0
        free -= size if size <= free else 0
    traffic = direct(machine, far, VECTOR, far)
    facts = {
        "inner_packets": tile, "dots_per_packet": dots / tile, "loop_trips": math.prod(walk),
        "loop_starts": ways * others * turns, "tiles": math.prod(walk) * ways * others * shared,
        "registers": live, "requant_packets": 8.0, "extra_packets": extra, "phases": shared,
        "unbalance": turns * threads / shared, "dma_cycles": traffic, "code": dots,
        "products": plan.images * math.prod(walk) * ways * others * shared * dots * VECTOR,
    }  # fmt: skip
    return Estimate(cycles + extra + traffic, facts)
