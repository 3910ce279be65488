"""Contractions of groups: 32 words of a register each times its own weights, lane by lane.

    [copy x into xp]                        where there are pads
    parallel rows, or blocks of channels
      kernel rows and words; columns        a word of each group, for all of its outputs
        tile: rows x registers x 4          all in registers
      requantize the tile                   four vectors of sums narrow into one register

A block is 128 channels of the result (or all, where fewer are stored: a register then holds
several pixels); its channel ``lane * 4 + way`` is lane ``lane`` of way ``way``. A lane reads the
word of its group, so that as many lanes read a word as the group has words of outputs; they lie as
they are read. Weights are signed: products of two vectors need no sums of the input.
"""

from __future__ import annotations

from functools import partial

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD, bordered
from .contraction_inputs import in_place
from .contraction_plan import ContractionPlan, plan_for
from .lanes import in_rows
from .packets import Ops, ops_of
from .plans import SPARE
from .template import Estimate, Template
from .tiles import PhaseTimes, Tiles, walk_of

BODY = 160  # products that are written out


def groups(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction of groups whose words fill registers; None for others."""
    plan = plan_for(func, machine.vector_bytes)
    if plan is None or plan.dealt or plan.kernel.copy is None or plan.size % WORD:
        return None
    space = Space(_knobs(plan), (partial(_fits, plan, machine),))
    made = ops_of(plan.kernel.last, plan.vector, machine)
    others = plan.kernel.others(func) * plan.pixels
    return Template("groups", func, machine, space, partial(_schedule, func, plan),
                    partial(_estimate, plan, machine, made, others))  # fmt: skip


def _spread(plan: ContractionPlan) -> bool:
    """Whether words do not lie as lanes read them."""
    return max(plan.words, plan.size // WORD) > 1


def _knobs(plan: ContractionPlan) -> tuple[Knob, ...]:
    return (
        choice("rows", divisors(plan.height, 4)),
        choice("registers", divisors(plan.registers, 6)),
        choice("steps", divisors(plan.words * plan.taps[0], 9)),
        choice("share", ("rows", "blocks") if plan.blocks > 1 else ("rows",)),
    )


def _body(plan: ContractionPlan, point: Point) -> tuple[int, int, int]:
    """Registers of bytes of a tile, and steps over taps and words: those that are written out, all
    of a row of taps among them, and those of a loop."""
    tile = number(point, "rows") * number(point, "registers")
    steps, (high, wide) = number(point, "steps"), plan.taps
    return tile, steps * wide, high * plan.words // steps


def _fits(plan: ContractionPlan, machine: Machine, point: Point) -> bool:
    tile, steps, _ = _body(plan, point)
    held = tile * (2 * WORD + 1) + WORD + SPARE
    return held <= machine.vectors and tile * WORD * steps <= BODY


def _schedule(func: PrimFunc, plan: ContractionPlan, point: Point) -> Schedule:
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


def _input(sch: Schedule, plan: ContractionPlan) -> None:
    """What windows read: with its pads, and each word as often as lanes read it."""
    kernel, dot, near = plan.kernel, plan.kernel.dot.block, plan.kernel.input.name
    assert kernel.copy is not None
    columns = plan.registers * plan.pixels
    if not _spread(plan) and kernel.unpadded(plan.height, columns):
        in_place(sch, kernel)
        return
    sch.trim(near)
    depth = sch.get_buffer(near).shape[3]
    parts = bordered(sch, kernel, plan.pixels, depth, True, depth)
    if not _spread(plan):
        for name in parts:
            in_rows(sch, name, plan.vector)
        return
    inputs, together = plan.words * WORD, plan.together
    sch.repeat(dot, near, sch.loops(dot)[6])
    sch.transform_layout(near, lambda n, h, w, c, a: (
        n, c // (inputs * together), h, c % inputs // WORD, w, c // inputs % together, a,
        c % WORD))  # fmt: skip
    for name in parts:
        _copy(sch, plan, name)


def _copy(sch: Schedule, plan: ContractionPlan, name: str) -> None:
    """A copy whose words lie as lanes read them, rows on all threads."""
    n, h, w, c, a = sch.loops(name)
    g_0, g_1, s, t = sch.split(c, (None, plan.together, plan.words, WORD))
    s_0, s_1 = sch.split(s, (None, min(plan.words, 8)))
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    sch.reorder(n, h, g_0, s_0, w_0, s_1, w_1, g_1, a, t)
    sch.vectorize(s_1, w_1, g_1, a, t)
    sch.unroll(n)
    sch.parallel(h)


def _tile(sch: Schedule, plan: ContractionPlan, point: Point) -> LoopRef:
    """Tiles of the requantization; gives the loop under which a tile is computed."""
    n, h, q, p, b, i, j = sch.loops(plan.kernel.last.block)
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "registers")))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    sch.reorder(shared, n, other, q_0, h_1, q_1, p, i, j)
    sch.unroll(h_1, q_1)
    sch.vectorize(p, i, j)
    sch.parallel(shared)
    return q_0


def _products(sch: Schedule, plan: ContractionPlan, point: Point) -> None:
    """The sums of a tile: a word of each lane's group by four of its outputs, one after another."""
    n, h, q, p, b, g, a, j, kh, kw, s, t = sch.loops(plan.kernel.dot.block)[-12:]
    sch.reorder(n, b, kh, s, kw, h, q, j, p, g, a, t)
    _, steps = sch.split(sch.fuse(kh, s), (None, number(point, "steps")))
    sch.vectorize(p, g, a, t)
    sch.unroll(steps, kw, h, q, j)


def _words(plan: ContractionPlan, point: Point) -> int:
    """Registers of words that a body loads: neighbouring columns have some in common."""
    rows, registers = number(point, "rows"), number(point, "registers")
    wide = plan.taps[1]
    apart = plan.pixels * plan.kernel.stride * (registers - 1) + wide
    return number(point, "steps") * rows * min(registers * wide, apart)


def _estimate(
    plan: ContractionPlan, machine: Machine, made: Ops, others: int, point: Point
) -> Estimate:
    """Tiles of the longest thread, once the input lies as lanes read it."""
    tile, steps, trips = _body(plan, point)
    sums, words = tile * WORD, _words(plan, point)
    extents = {"rows": plan.height // number(point, "rows"), "blocks": plan.blocks,
               "registers": plan.registers // number(point, "registers")}  # fmt: skip
    walk = walk_of(extents, point["share"], plan.images, machine)
    body = Ops(2 * sums * steps, sums * steps, 0, steps * WORD + words)  # products, then sums
    head, tail = Ops(sums, 0, 0, WORD), made * tile + Ops(loads=WORD)
    nest = Tiles(walk, (trips,), steps, int(body.count), body, head, tail, sums, WORD)
    each = nest.cycles(machine) + machine.barrier, plan.kernel.weights.bytes * plan.pixels
    return PhaseTimes(_prepared(plan, machine), [each], 1, others, machine).estimate(nest, 0.0)


def _prepared(plan: ContractionPlan, machine: Machine) -> float:
    """Cycles of the phases that copy the input, words as often as lanes read them."""
    if not _spread(plan) and plan.kernel.unpadded(plan.height, plan.registers * plan.pixels):
        return 0.0
    tall, wide = plan.kernel.source(plan.height, plan.registers * plan.pixels)
    copied = plan.images * tall * wide * plan.blocks * plan.together * plan.words / plan.lanes
    copied *= max(plan.size // WORD, 1) / machine.threads
    each = Ops(plain=1, permute=_spread(plan), loads=1, stores=1)
    return (each * copied).packets(machine.issue) + 2 * machine.barrier
