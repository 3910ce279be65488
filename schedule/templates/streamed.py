"""Dense convolution whose weights do not fit into TCM: taps outermost, sums of all pixels in TCM.

    channel block, tap, part of the input channels      one slab of weights each, brought by DMA
      parallel rows, columns                             while the slab before it is used
        words of the slab: a tile of sums in registers   loaded from TCM and stored back
    requantize the block

Every weight is read from DDR once. See ``conv2d.py`` for the tile and the order of channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .conv2d import REGISTERS, prepare_inputs
from .dense import VECTOR, Shape, room_of, shape_for
from .direct import direct
from .offset import offset_weights
from .template import Estimate, Template

_SLAB = 1 << 16  # bytes of weights that come together, at most
_PHASES = 200  # slabs, each a phase of its own: more would be too much code


def streamed(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a dense convolution too large for the machine's TCM; None for others."""
    shape = shape_for(func, machine)
    if shape is None or shape.images > 1:
        return None
    sums = shape.height * shape.width * shape.block * 4
    taps = shape.blocks * math.prod(shape.taps)
    words = tuple(
        d
        for d in divisors(shape.words)
        if d * 4 * shape.block <= _SLAB and taps * (shape.words // d) <= _PHASES
    )
    near = room_of(func, shape, machine, 1).slabs == math.inf
    if near or 2 * sums > machine.tcm or not words:
        return None
    offset = offset_weights(func, shape.pitch)
    space = Space(_knobs(shape, words), (_fits(shape),))

    def schedule(point: Point) -> Schedule:
        return _schedule(offset, shape, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(func, shape, machine, point)

    return Template("streamed", func, machine, space, schedule, estimate)


def _knobs(shape: Shape, words: tuple[int, ...]) -> tuple[Knob, ...]:
    return (
        choice("columns", tuple(d for d in divisors(shape.width) if d % shape.pixels == 0)),
        choice("rows", tuple(d for d in divisors(shape.height) if d <= 8)),
        choice("words", _thinned(words)),
        choice("steps", (1, 2, 4)),
        choice("share", ("rows", "columns")),
        choice("copy", (1, 2, 4)),
        choice("fill", (1, 2, 4)),
        choice("sums", tuple(d for d in divisors(shape.columns // 32) if d <= 8)),
        choice("depths", tuple(d for d in divisors(max(shape.depth // 128, 1)) if d <= 8)),
    )


def _thinned(words: tuple[int, ...]) -> tuple[int, ...]:
    """The largest, and smaller ones that are at most two thirds of the next."""
    found = [words[-1]]
    for number_ in reversed(words):
        if 3 * number_ <= 2 * found[0]:
            found.insert(0, number_)
    return tuple(found)


def _fits(shape: Shape) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        tile = number(point, "rows") * number(point, "columns") * shape.ways
        steps = number(point, "steps")
        if tile + shape.ways + 2 > REGISTERS or number(point, "words") % steps:
            return False
        return tile * steps <= 128

    return fits


def _schedule(func: PrimFunc, shape: Shape, point: Point) -> Schedule:
    sch = Schedule(func)
    ways, block, (_, kernel) = shape.ways, shape.block, shape.taps
    words = number(point, "words")
    parts = shape.words // words

    def slab(kh: Any, kw: Any, c: Any, o: Any) -> tuple[Any, ...]:
        number_ = ((o // block * shape.taps[0] + kh) * kernel + kw) * parts + c // (4 * words)
        return number_, c // 4 % words, o % ways, o // ways % 32, c % 4

    sch.transform_layout("w", slab)
    for name in ("bias", "mult"):
        sch.transform_layout(name, lambda o: (o // block, o % ways, (o // ways) % 32))
    sch.transform_layout("acc", lambda n, h, w, o: (
        o // block, n, h, w, o % ways, (o // ways) % 32))  # fmt: skip
    sch.set_scope("acc", "tcm")
    prepare_inputs(sch, shape, point)
    o_0 = _outputs(sch, shape, point)
    sch.compute_at("dot", o_0)
    _products(sch, shape, point)
    return sch


def _outputs(sch: Schedule, shape: Shape, point: Point) -> LoopRef:
    """The requantization, a block of channels a phase; returns the loop over the blocks."""
    n, h, w, o = sch.loops("requant")
    w_0, w_1 = sch.split(w, (None, shape.pixels))
    o_0, o_1, o_2 = sch.split(o, (None, 32, shape.ways))
    sch.reorder(o_0, n, h, w_0, w_1, o_1, o_2)
    sch.vectorize(w_1, o_1, o_2)
    sch.unroll(o_0)
    sch.unroll(n)
    sch.parallel(h)
    return o_0


def _products(sch: Schedule, shape: Shape, point: Point) -> None:
    """One phase for the initial sums, one for each slab."""
    *_, n, h, w, o, kh, kw, c = sch.loops("dot")
    o_1, o_2 = sch.split(o, (32, shape.ways))
    c_0, words, c_1, c_2 = sch.split(
        c, (None, number(point, "words") // number(point, "steps"), number(point, "steps"), 4)
    )
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    shared, other = (h_0, w_0) if point["share"] == "rows" else (w_0, h_0)
    sch.reorder(kh, kw, c_0, n, shared, other, words, c_1, h_1, w_1, o_2, o_1, c_2)
    start = sch.decompose_reduction("dot", kh)
    sch.vectorize(o_1, c_2)
    for loop in (kh, kw, c_0, n, c_1, h_1, w_1, o_2):
        sch.unroll(loop)
    sch.parallel(shared)
    _first(sch, start.name)


def _first(sch: Schedule, name: str) -> None:
    """The initial sums: rows on all threads."""
    *_, n, shared, _other, _h, _w, o_2, o_1 = sch.loops(name)
    sch.vectorize(o_1)
    for loop in (n, o_2):
        sch.unroll(loop)
    sch.parallel(shared)


def _estimate(func: PrimFunc, shape: Shape, machine: Machine, point: Point) -> Estimate:
    """Multiplying a slab's words for each tile, its sums loaded and stored; or the transfers."""
    rows, columns = number(point, "rows"), number(point, "columns")
    words, vectors = number(point, "words"), shape.ways
    tile = rows * columns
    slabs = shape.blocks * math.prod(shape.taps) * (shape.words // words)
    sums = shape.height * shape.width * shape.block * 4
    room = room_of(func, shape, replace(machine, tcm=machine.tcm - sums), slabs)
    inner = max(tile * vectors / 2, vectors, (tile + vectors) / 2)
    if room.slabs < 1:
        inner += direct(machine, vectors, VECTOR, 1)
    if not room.padded:
        inner += direct(machine, tile, 4, 1)
    extent = {"rows": shape.height // rows, "columns": shape.width // columns}
    shared = extent[str(point["share"])]
    tiles = math.prod(extent.values()) / shared * -(-shared // machine.threads)
    per_slab = tiles * (inner * words + 2 * tile * vectors + 14) + machine.barrier * 2
    moved = words * 4 * shape.block / machine.dma_rate
    if room.slabs >= 2:
        per_slab = max(per_slab, moved)
    elif room.slabs >= 1:
        per_slab += moved + machine.dma_start
    requant = shape.height * shape.width * shape.outputs / 32 * 3 / machine.threads
    pixels = shape.rows * shape.columns
    extra = pixels * (shape.depth / 128 * 2 + 2) / machine.threads + 5 * machine.barrier
    first = machine.dma_start + moved
    facts = {"inner_packets": inner, "loop_trips": words, "tiles": tiles, "phases": slabs,
             "dma_cycles": slabs * moved, "extra_packets": extra, "first_wait": first}  # fmt: skip
    return Estimate(max(extra, first) + slabs * per_slab + requant, facts)
