"""Contractions with pixels in lanes: words of four channels by weights as the scalar operand.

    [copy x into xp, rows as they are]        where rows are no whole registers of words
    deal: words of 32 neighbouring pixels     [row, channel // 4, column, channel % 4]
    parallel rows
      columns, outputs                        a tile of sums in registers
        taps, words                           32 pixels of a word by four weights, as they are
        requantize: four outputs of 32 pixels narrow into one register
      deal back                               where a pixel of the result has more than four outputs

Neither an offset of the weights nor sums of the inputs are needed. Columns are computed in tiles of
``width``, each in 32 lanes, so that rows need not be whole registers.
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
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, kernel_of, run_to
from .contraction_inputs import copy_rows
from .template import Estimate, Template

REGISTERS = 24  # vector registers that a tile may plan with
MOST = 32  # registers of words that are dealt together
BODY = 144  # products of the innermost loop's body, at most
INSIDE = ("none", "columns", "taps", "words", "columns and words", "all")


@dataclass(frozen=True, slots=True)
class Plan:
    """The extents of one kernel in this form."""

    images: int
    rows: int
    columns: int  # of a row of the result, all that are stored
    outputs: int  # that are computed: fours
    stored: int  # channels of the result
    words: int  # of four channels of the input
    deep: int  # stored channels of the input
    taps: tuple[int, int]
    stride: tuple[int, int]
    source: tuple[int, int]  # rows and columns of the padded input that are read
    width: int  # columns of a tile
    real: int  # outputs that mean something
    early: bool  # the input is copied, then dealt
    pads: bool

    @property
    def tiles(self) -> int:
        return self.columns // self.width

    @property
    def groups(self) -> int:
        """Registers of four outputs by 32 pixels."""
        return self.outputs // WORD

    @property
    def dealt(self) -> bool:
        """Whether outputs are dealt back into pixels."""
        return self.stored > WORD

    @property
    def scratch(self) -> int:
        """Bytes of the padded input and of its words."""
        rows, columns = self.source
        pixels = self.images * rows * (-(-columns // LANES) + 2) * LANES
        return pixels * self.deep * (2 if self.early else 1)

    @property
    def depth(self) -> int:
        """Words that a sum takes in."""
        return self.words * math.prod(self.taps)


def pixels(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with pixels in lanes; None for other kernels."""
    kernel = kernel_of(func)
    if kernel is None:
        return None
    plan = plan_of(func, kernel)
    if plan is None:
        return None
    if plan.scratch + sum(p.bytes for p in func.params if p.scope == "tcm") > machine.tcm:
        return None
    space = Space(_knobs(plan), (_fits(plan),))

    def schedule(point: Point) -> Schedule:
        return _schedule(func, kernel, plan, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(func, plan, machine, point)

    return Template("pixels", func, machine, space, schedule, estimate)


def plan_of(func: PrimFunc, kernel: Kernel) -> Plan | None:
    """The extents; None where this form does not fit."""
    depth = kernel.depth.extent if kernel.depth else 0
    if kernel.copy is None or len(kernel.taps) != 2 or depth % WORD or not depth:
        return None
    images, rows, columns, stored = kernel.result.shape
    real = kernel.real(func)
    per = max(VECTOR // stored, 1)
    if stored == WORD:
        width = LANES
    else:
        widths = [n for n in range(per, LANES + 1, per) if columns % n == 0]
        width = max(widths, default=0)
    outputs = min(-(-real[3] // WORD) * WORD, stored)
    if not width or columns % width or outputs > 32 or stored > VECTOR:
        return None
    high, across = (axis.extent for axis in kernel.taps)
    down, along = kernel.down, kernel.stride
    copied = kernel.copy
    x = copied.reads[0].buffer
    block = LANES * along
    early = x.shape[2] % block != 0 or copied.axes[2].extent % block != 0
    if along & (along - 1) or x.shape[3] & (x.shape[3] - 1):
        return None  # words would not be dealt by digits of their number
    if x.shape[3] // WORD * along > MOST:
        return None
    return Plan(images, rows, columns, outputs, stored, depth // WORD, x.shape[3],
                (high, across), (down, along), kernel.source(rows, columns), width, real[3],
                early, not kernel.unpadded(rows, columns))  # fmt: skip


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    return (
        choice("rows", tuple(d for d in divisors(plan.rows) if d <= 8)),
        choice("groups", tuple(d for d in divisors(plan.groups) if d <= 4)),
        choice("inside", tuple(_different(plan))),
        choice("share", ("rows", "columns")),
    )


def _different(plan: Plan) -> list[str]:
    """The parts of a sum that are not the same as an earlier one, of loops of one step."""
    found: dict[tuple[int, int, int], str] = {}
    for inside in INSIDE:
        found.setdefault(_written(plan, {"inside": inside}), inside)
    return list(found.values())


def _written(plan: Plan, point: Point) -> tuple[int, int, int]:
    """Kernel rows, kernel columns and words that the innermost loop's body holds."""
    high, across = plan.taps
    return {
        "none": (1, 1, 1),
        "columns": (1, across, 1),
        "taps": (high, across, 1),
        "words": (1, 1, plan.words),
        "columns and words": (1, across, plan.words),
        "all": (high, across, plan.words),
    }[str(point["inside"])]


def _fits(plan: Plan) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        rows, groups = number(point, "rows"), number(point, "groups")
        sums = rows * groups * WORD
        high, across, words = _written(plan, point)
        if plan.stride[1] > 1 and across < plan.taps[1]:
            return False  # which columns are read depends on the tap
        if point["share"] == "columns" and plan.tiles < 2:
            return False
        if plan.dealt and rows > 1 and rows * plan.stored // WORD > 16:
            return False
        return sums + rows <= REGISTERS and sums * high * across * words <= BODY

    return fits


def _schedule(func: PrimFunc, kernel: Kernel, plan: Plan, point: Point) -> Schedule:
    sch = Schedule(func)
    dot, last = kernel.dot.block, kernel.last.block
    if kernel.fill is not None and not plan.pads:
        sch.drop(kernel.fill.block)
    result = _tiles_of_columns(sch, kernel, plan)
    _inputs(sch, kernel, plan)
    sch.transform_layout(kernel.weights.name, lambda kh, kw, c, o: (
        o // WORD, kh, kw, c // WORD, o % WORD, c % WORD))  # fmt: skip
    sch.transform_layout(kernel.dot.out.buffer.name, lambda n, h, a, w, o: (n, h, a, o, w))
    place = _outputs(sch, plan, point, last, result)
    sch.compute_at(dot, place)
    _products(sch, plan, point, dot)
    if result is not None:
        sch.transform_layout(result, lambda n, h, a, w, o: (n, h, a, o // WORD, w, o % WORD))
    return sch


def _tiles_of_columns(sch: Schedule, kernel: Kernel, plan: Plan) -> str | None:
    """Columns as tiles of ``width``, outputs as far as they mean something. Gives the block that
    puts results where they belong, if they are made elsewhere first."""
    dot, last, acc = kernel.dot.block, kernel.last.block, kernel.dot.out.buffer.name
    width, back = plan.width, None
    if plan.dealt:
        back = sch.cache_write(last, kernel.result.name, "reg").name
        sch.set_scope(back, "tcm")
        sch.transform_layout(back, lambda n, h, w, o: (n, h, w // width, w % width, o))
    sch.transform_layout(acc, lambda n, h, w, o: (n, h, w // width, w % width, o))
    for block in (last, dot):
        pixel, output = sch.loops(block)[2:4]
        _, lane = sch.divide(pixel, width)
        if plan.outputs < plan.stored:
            sch.resize(output, plan.outputs)
        if block == dot and width < LANES:
            sch.resize(lane, LANES)
    for constant in sch.func.constants:
        sch.trim(constant)
    return back


def _inputs(sch: Schedule, kernel: Kernel, plan: Plan) -> None:
    """Words of neighbouring pixels side by side; columns that are read in turns lie in as many
    rows of words."""
    assert kernel.copy is not None
    dot, near, step = kernel.dot.block, kernel.input.name, plan.stride[1]
    deal = kernel.copy.block
    start = linear(kernel.copy.out.index[2]).constant
    if plan.early:
        deal = sch.cache_read(dot, near, "tcm").name
        sch.trim(deal)
    sch.trim(near)
    columns, channels = (
        (VECTOR // plan.deep or 1, plan.deep) if plan.early else (LANES * step, WORD)
    )
    parts = bordered(sch, kernel, columns, channels, plan.pads)
    if plan.early:
        for name in parts:
            copy_rows(sch, name, 1)
        near, start = deal, 0
    run_to(sch, deal, 2, LANES * step)
    whole = sch.get_buffer(kernel.input.name).shape[2]
    if plan.early and whole % columns:  # a border runs on: then rows are longer, but registers
        sch.resize(sch.loops(deal)[2], -(-whole // (LANES * step)) * LANES * step)
    run_to(sch, deal, 3, min(WORD << (plan.words - 1).bit_length(), plan.deep))
    shift = -start % (LANES * step)
    shape = sch.get_buffer(near).shape
    pitch = -(-(shape[2] + shift) // (LANES * step)) * LANES  # words of a row: whole registers
    count = shape[3] // WORD * step
    sch.transform_layout(near, lambda n, h, w, c: (
        n,
        (h * count + c // WORD * step + (w + shift) % step) * pitch + (w + shift) // step,
        c % WORD,
    ))  # fmt: skip
    for name in [deal] if plan.early else parts:
        _deal(sch, name, step, name == deal)


def _deal(sch: Schedule, block: str, step: int, together: bool) -> None:
    """Registers of words, all channels of their pixels ``together``; rows on all threads."""
    n, h, w, c = sch.loops(block)
    w_0, w_1, w_2 = sch.split(w, (None, LANES, step))
    c_0, c_1 = sch.split(c, (None, WORD))
    sch.reorder(n, h, w_0, c_0, w_2, w_1, c_1)
    if together:
        sch.vectorize(c_0, w_2, w_1, c_1)
    else:
        sch.vectorize(w_1, c_1)
        sch.unroll(c_0)
        sch.unroll(w_2)
    sch.unroll(n)
    sch.parallel(h)


def _outputs(sch: Schedule, plan: Plan, point: Point, last: str, back: str | None) -> LoopRef:
    """Tiles the result; returns the loop under which a tile of sums is computed."""
    rows, groups = number(point, "rows"), number(point, "groups")
    per = max(VECTOR // plan.stored, 1)
    if back is None:
        n, h, a, w, o = sch.loops(last)
        h_0, h_1 = sch.split(h, (None, rows))
        inner = _shared(sch, point, n, h_0, a, h_1, w, o)
        sch.vectorize(w, o)
        sch.unroll(h_1)
        return inner
    n, h, w, o = sch.loops(back)
    h_0, h_1 = sch.split(h, (None, rows))
    a, w_0, w_1 = sch.split(w, (None, plan.width // per, per))
    o_0, o_1 = sch.split(o, (None, WORD))
    inner = _shared(sch, point, n, h_0, a, h_1, w_0, w_1, o_0, o_1)
    sch.vectorize(w_1, o_0, o_1)
    sch.unroll(h_1)
    sch.unroll(w_0)
    sch.compute_at(last, inner)
    n, h, a, w, o = sch.loops(last)[-5:]
    if plan.width < LANES:
        w = sch.resize(w, LANES)
    o_0, o_1, o_2 = sch.split(o, (None, groups, WORD))
    sch.reorder(n, a, o_0, h, o_1, w, o_2)
    sch.vectorize(w, o_2)
    sch.unroll(h)
    sch.unroll(o_1)
    return o_0


def _shared(
    sch: Schedule, point: Point, n: LoopRef, h: LoopRef, a: LoopRef, *rest: LoopRef
) -> LoopRef:
    """Rows or tiles of columns on all threads; gives the inner one of both loops."""
    shared, inner = (h, a) if point["share"] == "rows" else (a, h)
    sch.reorder(n, shared, inner, *rest)
    sch.unroll(n)
    sch.parallel(shared)
    return inner


def _products(sch: Schedule, plan: Plan, point: Point, dot: str) -> None:
    """The reduction: 32 pixels of a word by a scalar, the tile and a part of the sum within."""
    n, h, a, w, o, kh, kw, c = sch.loops(dot)[-8:]
    c_0, c_1 = sch.split(c, (None, WORD))
    high, across, words = _written(plan, point)
    parts = ((kh, high, plan.taps[0]), (kw, across, plan.taps[1]), (c_0, words, plan.words))
    inside = [loop for loop, count, _ in parts if count > 1]
    outside = [loop for loop, count, _ in parts if count == 1]
    sch.reorder(*outside, *inside, n, a, h, o, w, c_1)
    sch.vectorize(w, c_1)
    for loop in (*inside, n, a, h, o):
        sch.unroll(loop)
    if plan.real < plan.outputs == number(point, "groups") * WORD:
        sch.decompose_reduction(dot, sch.loops(dot)[-6 - len(inside) - len(outside)])
        sch.resize(o, plan.real)


def _estimate(func: PrimFunc, plan: Plan, machine: Machine, point: Point) -> Estimate:
    """Packets of the innermost body by the resource that it holds most, of the rest by counts."""
    rows, groups = number(point, "rows"), number(point, "groups")
    high, across, words = _written(plan, point)
    written = high * across * words
    outputs = plan.real if groups == plan.groups else groups * WORD
    dots = rows * outputs * written
    lines = min(rows * high, (rows - 1) * plan.stride[0] + high) if high > 1 else rows
    loads = lines * across * words
    weights = outputs * written / 2
    inner = max(dots / 2, loads, (dots + 2 * loads + weights) / 4, (2 * loads + weights) / 2)
    trips = plan.depth / written
    requant = rows * groups * 11 + 6
    loops = [n for n, m in zip((*plan.taps, plan.words), (high, across, words), strict=True)
             if m == 1 and n > 1]  # fmt: skip
    starts = math.prod(loops[:-1])  # of the innermost loop, in a tile
    filling = starts * 5 + inner / 4 + 4 if trips > 1 else 0
    sums = (inner * trips + 6 + filling + requant) * plan.groups / groups
    per = max(VECTOR // plan.stored, 1)
    back = 0.0
    if plan.dealt:
        registers = plan.stored // WORD
        stages = math.log2(registers)
        back = rows * (registers * 0.4 * stages + plan.width / per) + 6
    extents = {"rows": plan.rows // rows, "columns": plan.tiles}
    shared = extents[str(point["share"])]
    turns = -(-shared // machine.threads)
    tiles = math.prod(extents.values()) * plan.images
    main = (sums + back) * tiles / shared * turns
    blocks = -(-plan.source[1] // LANES) * plan.source[0] * plan.images / machine.threads
    count = plan.deep // WORD
    extra = blocks * count * (1 + 0.2 * math.log2(max(count, 1))) + machine.barrier
    extra += blocks * count + machine.barrier if plan.early else 0
    constants = sum(p.bytes for p in func.params if p.name in func.constants)
    wait = machine.dma_start + constants / machine.dma_rate
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": 1.0, "tiles": tiles, "registers": rows * groups * WORD + lines,
        "requant_packets": requant, "extra_packets": extra, "phases": 1.0,
        "unbalance": turns * machine.threads / shared, "dma_cycles": wait, "code": dots,
    }  # fmt: skip
    return Estimate(max(extra, wait) + main + 2 * machine.barrier, facts)
