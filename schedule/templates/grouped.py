"""Grouped convolution: the pixels' words as scalars, 32 outputs of one group as a vector.

padded rows, sums of groups and of windows                  (see ``groups.py``)
groups one after another, each with its weights when they are there; or among the next
parallel rows or groups
  kh, kw, c/4                            one word of four inputs by 32 outputs a vector
    tile: rows x quads x vectors         all in registers
  requantize the tile                    ways or pixels narrow into one register
pixels dealt back, where a register holds several
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, flag, number
from ..schedule import Schedule
from ..state import LoopRef
from .groups import WORD, Groups, by_groups, groups_of
from .padded import VECTOR, prepare_rows, share
from .template import Estimate, Template

REGISTERS = 28  # vector registers that a tile may plan with


def grouped(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a convolution of several groups; None for other kernels."""
    groups = groups_of(func)
    if groups is None:
        return None
    restated = by_groups(func)
    space = Space(_knobs(groups), (_fits(groups),))

    def schedule(point: Point) -> Schedule:
        return _schedule(restated, groups, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(groups, machine, point)

    return Template("grouped", func, machine, space, schedule, estimate)


def _knobs(groups: Groups) -> tuple[Knob, ...]:
    return (
        choice("rows", tuple(d for d in divisors(groups.output[0]) if d <= 8)),
        choice("quads", tuple(d for d in divisors(groups.quads) if d <= 8)),
        choice("vectors", tuple(d for d in divisors(groups.vectors) if d <= 4)),
        choice("steps", tuple(d for d in divisors(groups.inputs // WORD) if d <= 8)),
        choice("share", ("rows", "groups")),
        choice("inner", ("columns", "rows", "groups")),
        flag("stream"),
    )


def _sums(groups: Groups, point: Point) -> tuple[int, int]:
    """Sums of a tile, and its vectors of weights."""
    columns = number(point, "vectors") * groups.ways
    return number(point, "rows") * number(point, "quads") * groups.pixels * columns, columns


def _fits(groups: Groups) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        sums, columns = _sums(groups, point)
        if point["stream"] and (groups.count > 16 or "groups" in (point["share"], point["inner"])):
            return False
        return sums + columns + 2 <= REGISTERS and sums * number(point, "steps") <= 96

    return fits


def _schedule(func: PrimFunc, groups: Groups, point: Point) -> Schedule:
    sch = Schedule(func)
    prepare_rows(sch)
    n, h, _, e, c = sch.loops("csum")
    c_0, c_1 = sch.split(c, (None, min(groups.inputs, VECTOR)))
    sch.reorder(c_0, e, c_1)
    sch.vectorize(e, c_1)
    share(sch, n, h)
    n, h, v, e, kh, kw = sch.loops("wsum")
    sch.reorder(v, kh, kw, e)
    sch.vectorize(e)
    sch.unroll(kh)
    sch.unroll(kw)
    share(sch, n, h)
    _tile(sch, point)
    names = [ref.name for ref in sch.blocks()]
    ends = [name for name in ("undeal", "last", "rest") if name in names]
    for name in ends:
        sch.vectorize(*sch.loops(name)[-2 if name == "rest" else -4 :])
    if ends:
        share(sch, *sch.loops(ends[0])[:2])
    return sch


def _tile(sch: Schedule, point: Point) -> None:
    """Tiles of sums below the loops that walk over them, then requantized."""
    n, oh, q, g, o, i, j, p = sch.loops("requant")
    h_0, h_1 = sch.split(oh, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "quads")))
    o_0, o_1 = sch.split(o, (None, number(point, "vectors")))
    walk = {"groups": g, "rows": h_0, "columns": q_0}
    outer = [walk.pop("groups")] if point["stream"] else []
    shared = walk.pop(str(point["share"]))
    last = walk.pop(str(point["inner"]), None)
    order = [n, *walk.values(), o_0, *([] if last is None else [last])]
    lanes = [loop for loop in (i, j, p) if sch.get_loop(loop).extent > 1]
    single = [loop for loop in (j, p) if loop not in lanes]
    sch.reorder(*outer, shared, *order, h_1, q_1, o_1, *single, *lanes)
    sch.vectorize(*lanes)
    for loop in (*outer, h_1, q_1, o_1):
        sch.unroll(loop)
    sch.parallel(shared)
    sch.compute_at("dot", order[-1])
    _products(sch, point)


def _products(sch: Schedule, point: Point) -> None:
    *_, n, oh, q, g, o, p, j, i, kh, kw, c, t = sch.loops("dot")
    c_0, c_1 = sch.split(c, (None, number(point, "steps")))
    inner: list[LoopRef] = [n, oh, q, g, o, p, j]
    sch.reorder(kh, kw, c_0, c_1, *inner, i, t)
    sch.vectorize(i, t)
    for loop in (c_1, *inner):
        sch.unroll(loop)


def _estimate(groups: Groups, machine: Machine, point: Point) -> Estimate:
    """Packets of the inner loop by multipliers and loads, of the rest by rough counts."""
    sums, columns = _sums(groups, point)
    steps, lines = number(point, "steps"), sums // columns
    dots = sums * steps
    inner = max(math.ceil(dots / 2), math.ceil((steps * (lines + columns) + 2) / 2),
                steps * columns, 3)  # fmt: skip
    starts = groups.kernel[0] * groups.kernel[1]
    trips = starts * groups.inputs // WORD // steps
    per_tile = inner * trips + inner * 0.8 + 8 + sums * 3.4 + lines * 3 + 12
    extents = {"rows": groups.output[0] // number(point, "rows"), "groups": groups.count,
               "columns": groups.quads // number(point, "quads")}  # fmt: skip
    tiles = math.prod(extents.values()) * groups.vectors // number(point, "vectors")
    shared = extents[str(point["share"])]
    turns = -(-shared // machine.threads)
    main = per_tile * tiles * groups.images / shared * turns
    rows, width = groups.padding
    extra = rows * (width * groups.depth / VECTOR * 3.5 + 20)
    out = groups.output[0] * groups.quads * groups.count * groups.vectors * 3
    extra += groups.sums / 32 * starts * groups.output[0] + (out if groups.pixels > 1 else 0)
    extra = extra * groups.images / machine.threads + 5 * machine.barrier
    weights = groups.count * groups.outputs * groups.inputs * starts / machine.dma_rate
    if point["stream"]:
        extra += (groups.count - 1) * (machine.barrier + 30)
        wait = max(weights / groups.count - extra, 0.0) + max(weights - main, 0.0)
    else:
        wait = max(weights - extra, 0.0)
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": 1.0, "tiles": tiles, "registers": sums + columns,
        "requant_packets": sums * 3.4, "extra_packets": extra, "phases": shared,
        "unbalance": turns * machine.threads / shared, "dma_cycles": weights,
        "first_wait": wait, "code": dots,
    }  # fmt: skip
    return Estimate(main + extra + wait, facts)
