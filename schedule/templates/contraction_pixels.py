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

Words are four channels, or, of few channels, four neighbouring kernel columns of one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Point, Space, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD, Contraction, kernel_of, run_to
from .contraction_pixels_inputs import pixels_of, places_of, prepare
from .contraction_pixels_plan import (
    PixelsPlan,
    apart,
    by_columns,
    estimate_of,
    fits,
    knobs_of,
    plan_of,
    spreads,
    written,
)
from .fusing import made_by
from .packets import ops_of
from .template import Template


def pixels(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with pixels in lanes; None for other kernels."""
    return _template("pixels", func, machine, plan_of)


def columns(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with pixels in lanes and kernel columns in words; None for
    other kernels, and where words of channels are no more."""
    return _template("columns", func, machine, by_columns)


def _template(
    name: str,
    func: PrimFunc,
    machine: Machine,
    planned: Callable[[PrimFunc, Contraction], PixelsPlan | None],
) -> Template | None:
    kernel = kernel_of(func, machine.vector_bytes)
    plan = None if kernel is None else planned(func, kernel)
    if kernel is None or plan is None or not kernel.alone(func):
        return None  # another image does not lie along pixels
    if plan.scratch + sum(p.bytes for p in func.params if p.scope == "tcm") > machine.tcm:
        return None
    space, spread = Space(knobs_of(plan), (partial(fits, plan, machine),)), spreads(plan, machine)
    made = ops_of(kernel.last, plan.vector, machine)
    others = kernel.others(func) * plan.outputs // plan.stored * (plan.lanes if spread else 1)
    return Template(name, func, machine, space, partial(_schedule, func, kernel, plan, spread),
                    partial(estimate_of, plan, machine, made, others, spread))  # fmt: skip


def _schedule(
    func: PrimFunc, kernel: Contraction, plan: PixelsPlan, spread: bool, point: Point
) -> Schedule:
    sch = Schedule(func)
    dot, last = kernel.dot.block, kernel.last.block
    if kernel.fill is not None and not plan.pads:
        sch.border(kernel.fill.block)
    place = places_of(kernel, plan)
    back = None
    if plan.dealt:
        back = sch.cache_write(last, kernel.result.name, "reg").name
    wide = prepare(sch, kernel, plan, place)
    results = [kernel.dot.out.buffer.name]
    if back is not None:
        made = made_by(sch, last)
        sch.set_scope(made, "tcm")
        results.append(made)
    for block in (last, dot):
        if plan.outputs < plan.stored:
            sch.resize(sch.loops(block)[3], plan.outputs)
        if plan.form == "padded":
            sch.resize(sch.loops(block)[2], wide)
    for constant in sch.logical.constants:
        sch.trim(constant)
    if plan.inputs:
        sch.transform_layout(kernel.weights.name, lambda p, kh, t, c, o: (
            o // WORD, kh, t // WORD, c, o % WORD, t % WORD + p * WORD))  # fmt: skip
    else:
        sch.transform_layout(kernel.weights.name, lambda kh, kw, c, o: (
            o // WORD, kh, kw, c // WORD, o % WORD, c % WORD))  # fmt: skip
    if plan.form == "padded":
        for result in results:
            sch.transform_layout(result, lambda n, h, w, o: (n, h * wide + w, o))
    for block in (last, dot):
        _tiles_of_columns(sch, block, plan)
    for result in results:
        sch.transform_layout(result, place)
    if plan.form == "rows":
        run_to(sch, dot, 3, plan.lanes)
    within = _outputs(sch, plan, point, last, back)
    if spread:
        _spread(sch, kernel, plan)
    sch.compute_at(dot, within)
    _products(sch, plan, point, dot)
    sch.transform_layout(results[0], lambda n, h, a, w, o: (n, h, a, o, w))
    for result in results[1:]:
        if plan.form == "padded":
            sch.transform_layout(result, lambda n, h, a, w, o: (
                n, o // WORD, h * plan.lanes + w, o % WORD))  # fmt: skip
        else:
            sch.transform_layout(result, lambda n, h, a, w, o: (
                n, h, a, o // WORD, w, o % WORD))  # fmt: skip
    return sch


def _spread(sch: Schedule, kernel: Contraction, plan: PixelsPlan) -> None:
    """Stores what is constant of an output once for each lane, so that tiles need not repeat it."""
    dot, last = kernel.dot.block, kernel.last.block
    lanes = {"rows": 3, "padded": 2, "image": 1}[plan.form]
    late = {use.buffer.name for use in kernel.last.reads}
    for name in sorted(sch.logical.constants.keys() - {kernel.weights.name}):
        if name in late:
            sch.repeat(last, name, sch.loops(last)[-2])
        else:
            sch.repeat(dot, name, sch.loops(dot)[lanes])


def _tiles_of_columns(sch: Schedule, block: str, plan: PixelsPlan) -> None:
    """Tiles of 32 pixels, or of less."""
    n, h, w = sch.loops(block)[:3]
    if plan.form == "rows":
        sch.divide(run_to(sch, block, 2, plan.width), plan.width)
    elif plan.form == "image":
        sch.divide(sch.join(n, h, w), plan.lanes)
    else:
        sch.join(h, w)
        sch.divide(run_to(sch, block, 1, plan.lanes), plan.lanes)


def _tiled(sch: Schedule, block: str, plan: PixelsPlan) -> list[LoopRef]:
    """The loops of a block over images, rows, tiles, lanes, and the others."""
    loops = sch.loops(block)
    if plan.form == "rows":
        return loops[-5:]
    *n, h, w, o = loops[-3 - (plan.form == "padded") :]
    if plan.form == "image":
        return [*sch.split(h, (1, None, 1)), w, o]
    return [*n, *sch.split(h, (None, 1)), w, o]


def _outputs(sch: Schedule, plan: PixelsPlan, point: Point, last: str, back: str | None) -> LoopRef:
    """Tiles the result; returns the loop under which a tile of sums is computed."""
    rows, groups = number(point, "rows"), number(point, "groups")
    place = None if back is None else _back(sch, plan, point, back)
    if place is not None:
        sch.compute_at(last, place)
    if plan.form == "rows":
        run_to(sch, last, -2, plan.lanes)
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
    sch.unroll(h, o_1)
    return o_0


def _back(sch: Schedule, plan: PixelsPlan, point: Point, back: str) -> LoopRef | None:
    """Puts registers of four outputs where they belong; gives the loop under which these are made,
    or None where they are made before."""
    per = max(plan.vector // plan.stored, 1)
    n, h, w, o = pixels_of(sch, back, plan)
    o_0, o_1 = sch.split(o, (None, WORD))
    if apart(plan, point):
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
    sch.unroll(h_1, n)
    sch.parallel(shared)
    return inner


def _products(sch: Schedule, plan: PixelsPlan, point: Point, dot: str) -> None:
    """The reduction: 32 pixels of a word by a scalar, the tile and a part of the sum within."""
    own = {"rows": 8, "padded": 7, "image": 6}[plan.form]
    if plan.inputs:
        *outer, w, o, kh, kw, lane, some = sch.loops(dot)[-own - 1 :]
    else:
        *outer, w, o, kh, kw, c = sch.loops(dot)[-own:]
        some, lane = sch.split(c, (None, WORD))
    high, across, words = written(plan, point)
    parts = ((kh, high, plan.taps[0]), (kw, across, plan.taps[1]), (some, words, plan.words))
    inside = [loop for loop, count, _ in parts if count > 1]
    outside = [loop for loop, count, _ in parts if count == 1]
    sch.reorder(*outside, *inside, *outer, o, w, lane)
    sch.vectorize(w, lane)
    sch.unroll(*inside, *outer, o)
    if plan.real < plan.outputs == number(point, "groups") * WORD:
        sch.decompose_reduction(dot, [*outside, *inside, *outer][0])
        sch.resize(o, plan.real)
