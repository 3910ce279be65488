"""Contractions of groups: 32 words of a register each times its own weights, lane by lane.

    [copy x into xp]                        where there are pads
    parallel rows, or blocks of channels
      kernel columns; rows and words        a word of each group, for all of its outputs
        tile: rows x registers x 4          all in registers
      requantize the tile                   four vectors of sums narrow into one register

A block is 128 channels of the result (or all, where fewer are stored: a register then holds
several pixels); its channel ``lane * 4 + way`` is lane ``lane`` of way ``way``. A lane reads the
word of its group, so that as many lanes read a word as the group has words of outputs; they lie as
they are read. Weights are signed: products of two vectors need no sums of the input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, kernel_of
from .contraction_inputs import copy_rows, in_place
from .template import Estimate, Template

TILE = 24  # sums in registers
BODY = 160  # products that are written out


@dataclass(frozen=True, slots=True)
class Plan:
    """The extents of one kernel in this form."""

    kernel: Kernel
    images: int
    rows: int
    registers: int  # of a row of the result and a block
    stored: int  # channels of the result
    inputs: int  # of a group
    outputs: int
    taps: tuple[int, int]

    @property
    def block(self) -> int:
        return min(self.stored, VECTOR)

    @property
    def pixels(self) -> int:
        """Pixels of a register."""
        return VECTOR // self.block

    @property
    def together(self) -> int:
        """Groups of a block."""
        return self.block // self.outputs

    @property
    def spread(self) -> bool:
        """Whether words do not lie as lanes read them."""
        return max(self.inputs, self.outputs) > WORD

    @property
    def blocks(self) -> int:
        return self.stored // self.block

    @property
    def words(self) -> int:
        return self.inputs // WORD


def groups(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction of groups; None for other kernels."""
    plan = plan_for(func)
    if plan is None:
        return None
    space = Space(_knobs(plan), (partial(_fits, plan),))
    return Template("groups", func, machine, space,
                    partial(_schedule, func, plan), partial(_estimate, plan, machine))  # fmt: skip


def plan_for(func: PrimFunc) -> Plan | None:
    """The extents; None for other kernels, and where words of groups do not fill registers."""
    kernel = kernel_of(func, grouped=True)
    if kernel is None or kernel.depth is None or kernel.copy is None or len(kernel.taps) != 2:
        return None
    images, rows, columns, stored = kernel.result.shape
    inputs, outputs = kernel.depth.extent, kernel.output.extent
    block = min(stored, VECTOR)
    pixels = VECTOR // block
    if VECTOR % block or stored % block or block < LANES or columns % pixels:
        return None
    if outputs % WORD or inputs % WORD or outputs >= block or block % outputs:
        return None
    high, wide = (axis.extent for axis in kernel.taps)
    registers = -(-min(kernel.real(func)[2], columns) // pixels)
    return Plan(kernel, images, rows, registers, stored, inputs, outputs, (high, wide))


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    return (
        choice("rows", divisors(plan.rows, 4)),
        choice("registers", divisors(plan.registers, 6)),
        choice("steps", divisors(plan.words * plan.taps[0], 9)),
        choice("wide", (False, True) if plan.taps[1] > 1 else (False,)),
        choice("share", ("rows", "blocks") if plan.blocks > 1 else ("rows",)),
        choice(
            "inner", ("registers", "rows", "blocks") if plan.blocks > 1 else ("registers", "rows")
        ),
    )


def _body(plan: Plan, point: Point) -> tuple[int, int, int]:
    """Registers of bytes of a tile, and steps over taps and words: those that are written out, and
    those of a loop."""
    tile = number(point, "rows") * number(point, "registers")
    steps, (high, wide) = number(point, "steps"), plan.taps
    return tile, steps * (wide if point["wide"] else 1), high * plan.words // steps


def _fits(plan: Plan, point: Point) -> bool:
    tile, steps, _ = _body(plan, point)
    return tile * WORD <= TILE and tile * WORD * steps <= BODY


def _schedule(func: PrimFunc, plan: Plan, point: Point) -> Schedule:
    sch, kernel = Schedule(func), plan.kernel
    dot, last = kernel.dot.block, kernel.last.block
    block, pixels, weights = plan.block, plan.pixels, kernel.weights.name
    late = {use.buffer.name for use in kernel.last.reads}
    for name in (last, dot):
        sch.resize(sch.loops(name)[2], plan.registers * pixels)
        sch.divide(sch.loops(name)[2], pixels)
        for constant in (*kernel.by_output(func), weights):
            if (constant in late) == (name == last):
                sch.repeat(name, constant, sch.loops(name)[3])
    _, inner = sch.divide(sch.loops(last)[4], block)
    sch.divide(inner, WORD)
    sch.divide(sch.loops(dot)[5], WORD)
    sch.divide(sch.loops(dot)[4], plan.together)
    sch.divide(sch.loops(dot)[-1], WORD)
    sch.transform_layout(kernel.dot.out.buffer.name, lambda n, h, w, o: (
        n, h, w // pixels, o // block, o % WORD, w % pixels, o % block // WORD))  # fmt: skip
    sch.transform_layout(weights, lambda kh, kw, c, o, p: (
        o // block, kw, kh, c // WORD, o % WORD, p, o % block // WORD, c % WORD))  # fmt: skip
    for name in kernel.by_output(func):
        sch.transform_layout(name, lambda o, p: (o // block, o % WORD, p, o % block // WORD))
    _input(sch, plan)
    sch.compute_at(dot, _tile(sch, plan, point))
    _products(sch, plan, point)
    return sch


def _input(sch: Schedule, plan: Plan) -> None:
    """What windows read: with its pads, and each word as often as lanes read it."""
    kernel, dot, near = plan.kernel, plan.kernel.dot.block, plan.kernel.input.name
    assert kernel.copy is not None
    columns = plan.registers * plan.pixels
    if not plan.spread and kernel.unpadded(plan.rows, columns):
        in_place(sch, kernel)
        return
    sch.trim(near)
    depth = sch.get_buffer(near).shape[3]
    parts = bordered(sch, kernel, plan.pixels, depth, True, depth)
    if not plan.spread:
        for name in parts:
            copy_rows(sch, name, 1)
        return
    inputs, together = plan.inputs, plan.together
    sch.repeat(dot, near, sch.loops(dot)[6])
    sch.transform_layout(near, lambda n, h, w, c, a: (
        n, c // (inputs * together), h, c % inputs // WORD, w, c // inputs % together, a,
        c % WORD))  # fmt: skip
    for name in parts:
        _spread(sch, plan, name)


def _spread(sch: Schedule, plan: Plan, name: str) -> None:
    """A copy whose words lie as lanes read them, rows on all threads."""
    n, h, w, c, a = sch.loops(name)
    g_0, g_1, s, t = sch.split(c, (None, plan.together, plan.words, WORD))
    s_0, s_1 = sch.split(s, (None, min(plan.words, 8)))
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    sch.reorder(n, h, g_0, s_0, w_0, s_1, w_1, g_1, a, t)
    sch.vectorize(s_1, w_1, g_1, a, t)
    sch.unroll(n)
    sch.parallel(h)


def _tile(sch: Schedule, plan: Plan, point: Point) -> LoopRef:
    """Tiles of the requantization; gives the loop under which a tile is computed."""
    n, h, q, p, b, i, j = sch.loops(plan.kernel.last.block)
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "registers")))
    walk = {"rows": h_0, "registers": q_0, "blocks": b}
    shared = walk.pop(str(point["share"]))
    last = walk.pop(str(point["inner"]), None)
    order = [n, *walk.values(), *([] if last is None else [last])]
    sch.reorder(shared, *order, h_1, q_1, p, i, j)
    sch.unroll(h_1, q_1)
    sch.vectorize(p, i, j)
    sch.parallel(shared)
    return order[-1]


def _products(sch: Schedule, plan: Plan, point: Point) -> None:
    """The sums of a tile: a word of each lane's group by four of its outputs, one after another."""
    n, h, q, p, b, g, a, j, kh, kw, s, t = sch.loops(plan.kernel.dot.block)[-12:]
    sch.reorder(n, b, kw, kh, s, h, q, j, p, g, a, t)
    loop, steps = sch.split(sch.fuse(kh, s), (None, number(point, "steps")))
    if point["wide"]:
        sch.reorder(loop, steps, kw)
        sch.unroll(kw)
    sch.vectorize(p, g, a, t)
    sch.unroll(steps, h, q, j)


def _words(plan: Plan, point: Point) -> int:
    """Registers of words that a body loads: neighbouring columns have some in common."""
    rows, registers = number(point, "rows"), number(point, "registers")
    wide = plan.taps[1] if point["wide"] else 1
    apart = plan.pixels * plan.kernel.stride * (registers - 1) + wide
    return number(point, "steps") * rows * min(registers * wide, apart)


def _estimate(plan: Plan, machine: Machine, point: Point) -> Estimate:
    """Packets by the resource that each part holds most; many sums leave no registers in which
    iterations could overlap."""
    tile, steps, trips = _body(plan, point)
    dots, loads = tile * WORD * steps, steps * WORD + _words(plan, point)
    inner = max(dots / 2, loads, (2 * dots + loads) / 4)
    inner *= 1.1 if tile <= 2 else 1.25 if tile == 3 else 1.5 + dots / 200
    starts = 1 if point["wide"] else plan.taps[1]
    if trips == 1:
        trips, starts = starts, trips
    per_tile = (inner * trips + (inner / 2 + 6 if trips > 1 else 0)) * starts + 9 * tile + 8
    count = {"rows": plan.rows // number(point, "rows"),
             "registers": plan.registers // number(point, "registers"),
             "blocks": plan.blocks}  # fmt: skip
    shared = count[str(point["share"])]
    turns = -(-shared // machine.threads)
    tiles = plan.images * math.prod(count.values())
    main = per_tile * tiles / shared * turns
    tall, wide = plan.kernel.source(plan.rows, plan.registers * plan.pixels)
    copied = plan.images * tall * wide * plan.blocks * plan.together * plan.inputs / VECTOR
    extra = copied * max(plan.outputs // WORD, 1) * 1.5 / machine.threads + 4 * machine.barrier
    weights = plan.kernel.weights.bytes / machine.dma_rate
    wait = max(weights + machine.dma_start - extra, 0.0)
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": starts, "tiles": tiles, "registers": tile * WORD + WORD,
        "requant_packets": 9.0 * tile, "extra_packets": extra, "phases": shared,
        "unbalance": turns * machine.threads / shared, "dma_cycles": weights, "first_wait": wait,
        "code": dots,
    }  # fmt: skip
    return Estimate(main + extra + wait, facts)
