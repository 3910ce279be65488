"""Contractions with pixels in lanes: words of four channels by weights as the scalar operand.

    [copy x into xp, rows as they are]        where rows are no whole registers of words
    deal: words of 32 neighbouring pixels     [row, channel // 4, column, channel % 4]
    parallel rows
      columns, outputs                        a tile of sums in registers
        taps, words                           32 pixels of a word by four weights, as they are
        requantize: four outputs of 32 pixels narrow into one register
      deal back                               where a pixel of the result has more than four outputs

Neither an offset of the weights nor sums of the inputs are needed. Tiles of 32 pixels are parts

    rows      of rows, of which the last may run on beyond its row
    image     of the image, where windows are single pixels that follow each other in memory
    padded    of rows as long as those of the padded input, one behind the other
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...target.dsp.machine import Machine
from ...tir.linear import linear
from ...tir.stmt import PrimFunc, stored_in
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, kernel_of, run_to
from .contraction_inputs import copy_rows
from .template import Estimate, Template

REGISTERS = 24  # vector registers that a tile may plan with
MOST = 32  # registers of words that are dealt together
SPARED = 0.8  # of the tiles, at most, where rows of the padded input are one
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
    real: int  # outputs that mean something
    early: bool  # the input is copied, then dealt
    pads: bool
    form: str  # what tiles are parts of

    @property
    def flat(self) -> bool:
        return self.form == "image"

    @property
    def tiles(self) -> int:
        """Tiles of 32 columns, of which the last may run on."""
        return -(-self.columns // LANES)

    @property
    def width(self) -> int:
        """Columns of a tile, equal ones where they divide a row; each is computed in 32 lanes."""
        width, per = self.columns // self.tiles, max(VECTOR // self.stored, 1)
        return width if self.columns % self.tiles == width % per == 0 else LANES

    @property
    def whole(self) -> bool:
        return self.columns % self.width == 0

    @property
    def together(self) -> int:
        """Channels whose words are dealt together."""
        return min(self.deep, MOST * WORD // self.stride[1])

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
        if self.flat:
            return rows * columns * self.deep
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
    outputs = min(-(-real[3] // WORD) * WORD, stored)
    if columns % max(VECTOR // stored, 1) or outputs > 32 or stored > VECTOR:
        return None
    high, across = (axis.extent for axis in kernel.taps)
    down, along = kernel.down, kernel.stride
    copied = kernel.copy
    x = copied.reads[0].buffer
    block = LANES * along
    pads = not kernel.unpadded(rows, columns)
    early = x.shape[2] % block != 0 or copied.axes[2].extent % block != 0
    if along & (along - 1) or (x.shape[3] & (x.shape[3] - 1) and x.shape[3] % VECTOR):
        return None  # words would not be dealt by digits of their number
    if along > MOST:
        return None
    pixels = images * rows * columns
    flat = (high, across, down, along) == (1, 1, 1, 1) and not pads and pixels % LANES == 0
    flat = flat and (images, rows, columns) == x.shape[:3]
    source, form = kernel.source(rows, columns), "rows"
    padded = -(-rows * source[1] // LANES)
    if flat:
        images, rows, columns, early, form = 1, pixels // LANES, LANES, False, "image"
        source = rows, columns
    elif down == along == 1 and stored > WORD and padded < SPARED * rows * -(-columns // LANES):
        rows, columns, early, form = padded, LANES, True, "padded"
    return Plan(images, rows, columns, outputs, stored, depth // WORD, x.shape[3],
                (high, across), (down, along), source, real[3], early, pads, form)  # fmt: skip


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
    place = _places(kernel, plan)
    back = None
    if plan.dealt:
        back = sch.cache_write(last, kernel.result.name, "reg").name
    wide = _inputs(sch, kernel, plan, place)
    results = [kernel.dot.out.buffer.name]
    if back is not None:
        (made,) = stored_in(sch.get_block(last))
        sch.set_scope(made.name, "tcm")
        results.append(made.name)
    for block in (last, dot):
        if plan.outputs < plan.stored:
            sch.resize(sch.loops(block)[3], plan.outputs)
        if plan.form == "padded":
            sch.resize(sch.loops(block)[2], wide)
    for constant in sch.func.constants:
        sch.trim(constant)
    sch.transform_layout(kernel.weights.name, lambda kh, kw, c, o: (
        o // WORD, kh, kw, c // WORD, o % WORD, c % WORD))  # fmt: skip
    if plan.form == "padded":
        for result in results:
            sch.transform_layout(result, lambda n, h, w, o: (n, h * wide + w, o))
    for block in (last, dot):
        _tiles_of_columns(sch, block, plan)
    for result in results:
        sch.transform_layout(result, place)
    within = _outputs(sch, plan, point, last, back)
    sch.compute_at(dot, within)
    _products(sch, plan, point, dot)
    sch.transform_layout(results[0], lambda n, h, a, w, o: (n, h, a, o, w))
    for result in results[1:]:
        if plan.form == "padded":
            sch.transform_layout(result, lambda n, h, a, w, o: (
                n, o // WORD, h * LANES + w, o % WORD))  # fmt: skip
        else:
            sch.transform_layout(result, lambda n, h, a, w, o: (
                n, h, a, o // WORD, w, o % WORD))  # fmt: skip
    return sch


Place = Callable[..., tuple[Any, ...]]


def _places(kernel: Kernel, plan: Plan) -> Place:
    """Where an element of a result lies: image, row, tile, lane, output."""
    _, rows, columns, _ = kernel.result.shape

    def image(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        pixel = (n * rows + h) * columns + w
        return 0, pixel // LANES, 0, pixel % LANES, o

    known: dict[str, Place] = {
        "rows": lambda n, h, w, o: (n, h, w // plan.width, w % plan.width, o),
        "image": image,
        "padded": lambda n, q, o: (n, q // LANES, 0, q % LANES, o),
    }
    return known[plan.form]


def _tiles_of_columns(sch: Schedule, block: str, plan: Plan) -> None:
    """Tiles of 32 pixels."""
    n, h, w = sch.loops(block)[:3]
    if plan.form == "rows":
        sch.divide(run_to(sch, block, 2, plan.width), plan.width)
    elif plan.form == "image":
        sch.divide(sch.join(n, h, w), LANES)
    else:
        sch.join(h, w)
        sch.divide(run_to(sch, block, 1, LANES), LANES)


def _pixels(sch: Schedule, block: str, plan: Plan) -> list[LoopRef]:
    """The loops of a block over images, rows, columns, and the others."""
    loops = sch.loops(block)
    if not plan.flat:
        return loops
    return [*sch.split(sch.fuse(*loops[:3]), (1, None, LANES)), *loops[3:]]


def _tiled(sch: Schedule, block: str, plan: Plan) -> list[LoopRef]:
    """The loops of a block over images, rows, tiles, lanes, and the others."""
    *_, n, h, w, o = loops = sch.loops(block)[-5:]
    if plan.form == "rows":
        return loops
    if plan.form == "image":
        return [*sch.split(h, (1, None, 1)), w, o]
    return [n, *sch.split(h, (None, 1)), w, o]


def _inputs(sch: Schedule, kernel: Kernel, plan: Plan, place: Place) -> int:
    """Words of neighbouring pixels side by side; columns that are read in turns lie in as many
    rows of words. Gives the columns of a row of pixels."""
    assert kernel.copy is not None
    dot, near, step = kernel.dot.block, kernel.input.name, plan.stride[1]
    deal = kernel.copy.block
    if plan.flat:
        sch.trim(near)
        _dealt_channels(sch, deal, plan)
        count = sch.get_buffer(near).shape[3] // WORD
        sch.transform_layout(near, lambda n, h, w, c: (
            place(n, h, w, c)[1] * count + c // WORD, place(n, h, w, c)[3], c % WORD))  # fmt: skip
        _deal(sch, deal, plan, True)
        return plan.columns
    start = linear(kernel.copy.out.index[2]).constant
    if plan.form == "padded":
        return _rows_as_one(sch, kernel, plan)
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
    _dealt_channels(sch, deal, plan)
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
        _deal(sch, name, plan, name == deal)
    return whole


def _rows_as_one(sch: Schedule, kernel: Kernel, plan: Plan) -> int:
    """Words of pixels of the padded input, its rows one behind the other; gives their columns."""
    assert kernel.copy is not None
    near, fill, copy = kernel.input.name, kernel.fill, kernel.copy.block
    sch.trim(near)
    wide = sch.get_buffer(near).shape[2]
    for name in [fill.block, copy] if fill is not None and plan.pads else [copy]:
        _dealt_channels(sch, name, plan)
        copy_rows(sch, name, 1)
    sch.transform_layout(near, lambda n, h, w, c: (n, h * wide + w, c))
    deal = sch.cache_read(kernel.dot.block, near, "tcm").name
    q = run_to(sch, deal, 1, LANES)
    n, q, c = sch.loops(deal)
    q_0, q_1 = sch.split(q, (None, LANES))
    some = min(sch.get_loop(c).extent, plan.together) // WORD
    c_0, c_1, c_2 = sch.split(c, (None, some, WORD))
    sch.transform_layout(deal, lambda n, q, c: (n, c // WORD, q, c % WORD))
    sch.reorder(n, q_0, c_0, c_1, q_1, c_2)
    sch.vectorize(c_1, q_1, c_2)
    sch.unroll(n)
    sch.parallel(q_0)
    return wide


def _dealt_channels(sch: Schedule, deal: str, plan: Plan) -> None:
    """Channels that are dealt: a power of two of words, or whole parts of those."""
    words = WORD << (plan.words - 1).bit_length()
    run_to(sch, deal, 3, min(words, plan.together))


def _deal(sch: Schedule, block: str, plan: Plan, together: bool) -> None:
    """Registers of words, all channels of their pixels ``together``; rows on all threads."""
    n, h, w, c = _pixels(sch, block, plan)
    step = plan.stride[1]
    w_0, w_1, w_2 = sch.split(w, (None, LANES, step))
    some = min(sch.get_loop(c).extent, plan.together) // WORD
    c_0, c_1, c_2 = sch.split(c, (None, some, WORD))
    sch.reorder(n, h, w_0, c_0, c_1, w_2, w_1, c_2)
    if together:
        sch.vectorize(c_1, w_2, w_1, c_2)
    else:
        sch.vectorize(w_1, c_2)
        sch.unroll(c_0)
        sch.unroll(c_1)
        sch.unroll(w_2)
    sch.unroll(n)
    sch.parallel(h)


def _outputs(sch: Schedule, plan: Plan, point: Point, last: str, back: str | None) -> LoopRef:
    """Tiles the result; returns the loop under which a tile of sums is computed."""
    rows, groups = number(point, "rows"), number(point, "groups")
    place = None if back is None else _back(sch, plan, point, back)
    if place is not None:
        sch.compute_at(last, place)
    if plan.form == "rows":
        run_to(sch, last, -2, LANES)
    n, h, a, w, o = _tiled(sch, last, plan)
    if back is None:
        groups = 1
    o_0, o_1, o_2 = sch.split(o, (None, groups, WORD))
    if place is None:
        h_0, h = sch.split(h, (None, rows))
        shared, other = (h_0, a) if point["share"] == "rows" else (a, h_0)
        sch.reorder(n, shared, other, o_0, h, o_1, w, o_2)
        sch.unroll(n)
        sch.parallel(shared)
    else:
        sch.reorder(n, a, o_0, h, o_1, w, o_2)
    sch.vectorize(w, o_2)
    sch.unroll(h)
    sch.unroll(o_1)
    return o_0


def _back(sch: Schedule, plan: Plan, point: Point, back: str) -> LoopRef | None:
    """Puts registers of four outputs where they belong; gives the loop under which these are made,
    or None where they are made before."""
    per = max(VECTOR // plan.stored, 1)
    n, h, w, o = _pixels(sch, back, plan)
    o_0, o_1 = sch.split(o, (None, WORD))
    if plan.form == "padded" or (not plan.whole and point["share"] == "columns"):
        w_0, w_1 = sch.split(w, (None, per))
        sch.vectorize(w_1, o_0, o_1)
        sch.unroll(n)
        sch.parallel(h if sch.get_loop(h).extent > 1 else w_0)
        return None
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    if plan.whole:
        a, w_0, w_1 = sch.split(w, (None, plan.width // per, per))
        shared, inner = (h_0, a) if point["share"] == "rows" else (a, h_0)
        sch.reorder(n, shared, inner, h_1, w_0, w_1, o_0, o_1)
        sch.unroll(w_0)
    else:
        w_0, w_1 = sch.split(w, (None, per))
        shared = inner = h_0
    sch.vectorize(w_1, o_0, o_1)
    sch.unroll(h_1)
    sch.unroll(n)
    sch.parallel(shared)
    return inner


def _products(sch: Schedule, plan: Plan, point: Point, dot: str) -> None:
    """The reduction: 32 pixels of a word by a scalar, the tile and a part of the sum within."""
    own = {"rows": 8, "padded": 7, "image": 6}[plan.form]
    *outer, w, o, kh, kw, c = sch.loops(dot)[-own:]
    c_0, c_1 = sch.split(c, (None, WORD))
    high, across, words = _written(plan, point)
    parts = ((kh, high, plan.taps[0]), (kw, across, plan.taps[1]), (c_0, words, plan.words))
    inside = [loop for loop, count, _ in parts if count > 1]
    outside = [loop for loop, count, _ in parts if count == 1]
    sch.reorder(*outside, *inside, *outer, o, w, c_1)
    sch.vectorize(w, c_1)
    for loop in (*inside, *outer, o):
        sch.unroll(loop)
    if plan.real < plan.outputs == number(point, "groups") * WORD:
        sch.decompose_reduction(dot, [*outside, *inside, *outer][0])
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
    if not plan.whole and point["share"] == "columns":
        back += (machine.barrier + 30) / max(tiles / shared * turns, 1)
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
