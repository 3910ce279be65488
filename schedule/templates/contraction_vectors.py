"""Contractions of groups whose vectors of outputs share registers of bytes: sums in TCM.

    parallel rows, columns or vectors of 32 outputs of one group
      kernel rows, columns, words            a tile of sums in registers, each word for one vector
    requantize all                           four vectors of sums narrow into one register

Inputs are summed as for ``contraction_outputs.py``, for weights are unsigned here, too.
"""

from __future__ import annotations

import math
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from .contraction import LANES, WORD
from .contraction_plan import Beginning, Plan, beginning, plan_for, sum_cycles
from .fusing import share
from .template import Estimate, Template

TILE = 16  # sums in registers
BODY = 128  # products that are written out


def vectors(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction of groups of fewer outputs than a block; None for others."""
    plan = plan_for(func, grouped=True)
    if plan is None or plan.dealt:
        return None
    return Template("vectors", func, machine, Space(_knobs(plan), (_fits,)),
                    partial(_schedule, beginning(func, plan), func, plan, machine),
                    partial(_estimate, plan, machine))  # fmt: skip


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    return (
        choice("columns", divisors(plan.widths[0], TILE)),
        choice("rows", divisors(plan.height, 8)),
        choice("steps", divisors(plan.words, 16)),
        choice("share", ("rows", "columns", "channels")),
    )


def _fits(point: Point) -> bool:
    tile = number(point, "rows") * number(point, "columns")
    return 4 <= tile <= TILE and tile * number(point, "steps") <= BODY


def _schedule(
    begin: Beginning, func: PrimFunc, plan: Plan, machine: Machine, point: Point
) -> Schedule:
    sch = begin(plan.widths[0])
    dot, last = plan.kernel.dot, plan.kernel.last.block
    sch.divide(sch.loops(dot.block)[4], LANES)
    sch.transform_layout(plan.kernel.weights.name, lambda kh, kw, c, o: (
        o // LANES, kh, kw, c // WORD, o % LANES, c % WORD))  # fmt: skip
    for name in plan.kernel.by_output(func):
        sch.transform_layout(name, lambda o: (o // LANES, o % LANES))
    acc = dot.out.buffer.name
    sch.transform_layout(acc, lambda n, h, w, o: (o // LANES, n, h, w, o % LANES))
    sch.set_scope(acc, "tcm")
    n, h, w, o = sch.loops(last)
    w_0, w_1 = sch.split(w, (None, plan.pixels))
    o_0, o_1, o_2 = sch.split(o, (None, plan.ways, LANES))
    sch.reorder(n, h, w_0, o_0, w_1, o_1, o_2)
    sch.vectorize(w_1, o_1, o_2)
    sch.unroll(n)
    share(sch, (h, w_0, o_0), machine)
    _products(sch, dot.block, point)
    return sch


def _products(sch: Schedule, dot: str, point: Point) -> None:
    """The sums of a tile of one vector, its first values before."""
    n, h, w, g, v, lane, kh, kw, c = sch.loops(dot)
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    c_0, c_1, c_2 = sch.split(c, (None, number(point, "steps"), WORD))
    sch.reorder(n, h_0, w_0, g, v, kh, kw, c_0, c_1, h_1, w_1, lane, c_2)
    tiles = {"rows": h_0, "columns": w_0, "channels": sch.fuse(g, v)}
    shared = tiles.pop(str(point["share"]))
    sch.reorder(shared, n, *tiles.values())
    start = sch.decompose_reduction(dot, kh)
    sch.vectorize(lane, c_2)
    sch.unroll(c_1, h_1, w_1)
    *_, h_1, w_1, lane = sch.loops(start)
    sch.vectorize(lane)
    sch.unroll(h_1, w_1)
    sch.parallel(shared)


def _estimate(plan: Plan, machine: Machine, point: Point) -> Estimate:
    """Packets of tiles by multipliers and loads: two words of a pixel are one."""
    rows, columns, steps = (number(point, name) for name in ("rows", "columns", "steps"))
    tile, taps = rows * columns, math.prod(plan.taps)
    dots, words = tile * steps, tile * (-(-steps // 2))
    inner = max(dots / 2, steps, (words + steps) / 2, (dots + words + steps) / 4)
    inner *= 1.05 if dots <= 64 else 1.2
    trips = plan.words // steps
    per_tile = (inner * trips + 5) * taps + 6 * tile + 12
    count = {"rows": plan.height // rows, "columns": plan.widths[0] // columns,
             "channels": plan.outputs // LANES}  # fmt: skip
    shared = count[str(point["share"])]
    turns = -(-shared // machine.threads)
    tiles = plan.images * math.prod(count.values())
    main = per_tile * tiles / shared * turns
    sums = plan.images * plan.height * plan.widths[0] * plan.outputs / LANES
    extra = sum_cycles(plan, plan.sources[0], machine, True)
    requant = sums * 4 / machine.threads + machine.barrier
    weights = plan.weights / machine.dma_rate
    wait = max(weights + machine.dma_start - extra, 0.0)
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": taps, "tiles": tiles, "registers": tile + 1, "requant_packets": requant,
        "extra_packets": extra, "phases": shared, "unbalance": turns * machine.threads / shared,
        "dma_cycles": weights, "first_wait": wait, "code": dots,
    }  # fmt: skip
    return Estimate(main + extra + requant + wait + 2 * machine.barrier, facts)
