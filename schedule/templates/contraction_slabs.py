"""Contractions whose weights do not fit into TCM: taps outermost, sums of all pixels in TCM.

    channel block, tap, part of the input channels      one slab of weights each, brought by DMA
      parallel rows, columns                             while the slab before it is used
        words of the slab: a tile of sums in registers   loaded from TCM and stored back
    requantize the block

Every weight is read from DDR once. See ``contraction_outputs.py`` for the tile and the order of
channels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import VECTOR, WORD
from .contraction_plan import (
    REGISTERS,
    Beginning,
    Plan,
    beginning,
    plan_for,
    room_of,
    slabs_of,
    sum_cycles,
)
from .direct import direct
from .packets import DEPTH, Ops, ops_of
from .template import Estimate, Template
from .tiles import Tiles, around, busiest, products

_SLAB = 1 << 16  # bytes of weights that come together, at most
_PHASES = 200  # slabs, each a phase of its own: more would be too much code


def slabs(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction too large for the machine's TCM; None for others."""
    plan = plan_for(func)
    if plan is None or plan.images > 1:
        return None
    sums = _sums(plan)
    taps = plan.blocks * math.prod(plan.taps)
    words = tuple(
        d
        for d in divisors(plan.words)
        if d * 4 * plan.block <= _SLAB and taps * (plan.words // d) <= _PHASES
    )
    near = room_of(func, plan, plan.sources[-1], machine, 1).slabs == math.inf
    if near or 2 * sums > machine.tcm or not words:
        return None
    space = Space(_knobs(plan, words), (partial(_fits, plan),))
    made = ops_of(plan.kernel.last, VECTOR)
    return Template("slabs", func, machine, space,
                    partial(_schedule, beginning(func, plan), func, plan),
                    partial(_estimate, func, plan, machine, made))  # fmt: skip


def _sums(plan: Plan) -> int:
    """Bytes of the sums of a block of channels."""
    return plan.height * plan.widths[-1] * plan.block * 4


def _knobs(plan: Plan, words: tuple[int, ...]) -> tuple[Knob, ...]:
    return (
        choice("columns", plan.tiles(REGISTERS)),
        choice("rows", divisors(plan.height, 8)),
        choice("words", _thinned(words)),
        choice("steps", (1, 2, 4)),
        choice("share", ("rows", "columns")),
    )


def _thinned(words: tuple[int, ...]) -> tuple[int, ...]:
    """The largest, and smaller ones that are at most two thirds of the next."""
    found = [words[-1]]
    for number_ in reversed(words):
        if 3 * number_ <= 2 * found[0]:
            found.insert(0, number_)
    return tuple(found)


def _fits(plan: Plan, point: Point) -> bool:
    tile = number(point, "rows") * number(point, "columns") * plan.ways
    steps = number(point, "steps")
    if tile + plan.ways + 2 > REGISTERS or number(point, "words") % steps:
        return False
    return tile * steps <= 128


def _schedule(begin: Beginning, func: PrimFunc, plan: Plan, point: Point) -> Schedule:
    sch, kernel = begin(plan.width(number(point, "columns"))), plan.kernel
    ways, block = plan.ways, plan.block
    sch.transform_layout(kernel.weights.name, slabs_of(plan, number(point, "words")))
    for name in kernel.by_output(func):
        sch.transform_layout(name, lambda o: (o // block, o % ways, (o // ways) % 32))
    acc = kernel.dot.out.buffer.name
    sch.transform_layout(acc, lambda n, h, w, o: (
        o // block, n, h, w, o % ways, (o // ways) % 32))  # fmt: skip
    sch.set_scope(acc, "tcm")
    o_0 = _outputs(sch, plan, point)
    sch.compute_at(kernel.dot.block, o_0)
    _products(sch, plan, point)
    return sch


def _outputs(sch: Schedule, plan: Plan, point: Point) -> LoopRef:
    """The requantization, a block of channels a phase; returns the loop over the blocks."""
    n, h, w, o = sch.loops(plan.kernel.last.block)
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    o_0, o_1, o_2 = sch.split(o, (None, 32, plan.ways))
    sch.reorder(o_0, n, h, w_0, w_1, o_1, o_2)
    sch.vectorize(w_1, o_1, o_2)
    sch.unroll(o_0, n)
    sch.parallel(h)
    return o_0


def _products(sch: Schedule, plan: Plan, point: Point) -> None:
    """One phase for the initial sums, one for each slab."""
    dot = plan.kernel.dot.block
    *_, n, h, w, o, kh, kw, c = sch.loops(dot)
    o_1, o_2 = sch.split(o, (32, plan.ways))
    c_0, words, c_1, c_2 = sch.split(
        c, (None, number(point, "words") // number(point, "steps"), number(point, "steps"), 4)
    )
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    shared, other = (h_0, w_0) if point["share"] == "rows" else (w_0, h_0)
    sch.reorder(kh, kw, c_0, n, shared, other, words, c_1, h_1, w_1, o_2, o_1, c_2)
    start = sch.decompose_reduction(dot, kh)
    sch.vectorize(o_1, c_2)
    sch.unroll(kh, kw, c_0, n, c_1, h_1, w_1, o_2)
    sch.parallel(shared)
    _first(sch, start.name)


def _first(sch: Schedule, name: str) -> None:
    """The initial sums: rows on all threads."""
    *_, n, shared, _other, _h, _w, o_2, o_1 = sch.loops(name)
    sch.vectorize(o_1)
    sch.unroll(n, o_2)
    sch.parallel(shared)


def _estimate(func: PrimFunc, plan: Plan, machine: Machine, made: Ops, point: Point) -> Estimate:
    """Tiles of a slab's words, or the slab's transfer, for each slab."""
    rows, columns, steps = (number(point, name) for name in ("rows", "columns", "steps"))
    words, vectors, dots = number(point, "words"), plan.ways, rows * columns * plan.ways
    phases = plan.blocks * math.prod(plan.taps) * (plan.words // words)
    width = plan.width(columns)
    source, left = plan.source(width), replace(machine, tcm=machine.tcm - _sums(plan))
    room = room_of(func, plan, source, left, phases)
    extents = {"rows": plan.height // rows, "columns": width // columns}
    shared, inner = extents.pop(str(point["share"])), extents.values()
    busy = busiest(shared, machine)
    body = products(dots, vectors, rows * columns, plan.ways, steps)
    items = (dots + vectors + rows * columns) * steps
    nest = Tiles(math.prod(inner) * busy, around(inner, shared, machine), (words // steps,), steps,
                 items, body, Ops(loads=dots), Ops(stores=dots), dots, vectors)  # fmt: skip
    each = nest.each(machine)
    if room.slabs < 1:
        each += direct(machine, nest.bodies * body.loads, VECTOR, nest.bodies)
    if not room.near:
        each += direct(machine, nest.bodies * body.words, WORD, nest.bodies)
    slab, moved = nest.tiles * each + machine.barrier, words * WORD * plan.block / machine.dma_rate
    if room.slabs >= 2:
        slab = max(slab, moved)
    elif room.slabs >= 1:
        slab += moved + machine.dma_start
    results = plan.height * width * plan.outputs / VECTOR / machine.threads
    requant = (made + Ops(loads=2 * WORD, stores=1)).packets * results
    requant += Ops(plain=1, loads=1, stores=1).packets * results * WORD
    requant += plan.blocks * 2 * (machine.barrier + DEPTH)
    extra = sum_cycles(plan, source, machine, room.near)
    first = machine.dma_start + moved
    facts = nest.facts(nest.tiles * phases * shared / busy) | {
        "requant_packets": requant, "extra_packets": extra, "phases": phases,
        "dma_cycles": phases * moved, "first_wait": first, "code": body.multiply * phases,
    }  # fmt: skip
    return Estimate(max(extra, first) + phases * slab + requant, facts)
