"""Contractions with summed channels in lanes, for few pixels of few outputs.

    pixels, outputs, tiles of them            32 partial sums of each, in lanes
      taps, channels / 128                    128 channels of a pixel by as many weights
    fold: 32 lanes of each sum are added, 32 sums at a time
    requantize

Weights stay signed, and no sums of the inputs are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from .contraction import LANES, VECTOR, WORD, Kernel, kernel_of
from .contraction_inputs import copy_rows, in_place
from .fusing import partial_results
from .template import Estimate, Template

SUMS = 256  # of a kernel, at most
FOLD = 70  # packets in which 32 sums of 32 lanes each are added


@dataclass(frozen=True, slots=True)
class Plan:
    """The extents of one kernel in this form."""

    images: int
    rows: int
    columns: int  # that mean something
    outputs: int  # that mean something
    stored: tuple[int, int]  # columns and channels of the result
    taps: int
    depth: int  # registers of channels

    @property
    def wide(self) -> bool:
        """Whether sums of neighbouring outputs are folded together, not of pixels."""
        return self.stored[1] > WORD

    @property
    def folds(self) -> int:
        """Registers of sums: of 32 pixels of an output, or 32 outputs of a pixel."""
        rows = self.images * self.rows
        if self.wide:
            return rows * self.columns * -(-self.outputs // LANES)
        return rows * self.outputs


def folded(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with summed channels in lanes; None for other kernels."""
    kernel = kernel_of(func)
    if kernel is None:
        return None
    plan = plan_of(func, kernel)
    if plan is None:
        return None
    space = Space(_knobs(plan), (partial(_fits, plan),))
    return Template("folded", func, machine, space, partial(_schedule, func, kernel, plan),
                    partial(_estimate, func, plan, machine))  # fmt: skip


def plan_of(func: PrimFunc, kernel: Kernel) -> Plan | None:
    """The extents; None where this form does not fit."""
    images, rows, columns, stored = kernel.result.shape
    _, _, real, outputs = kernel.real(func)
    depth = kernel.depth.extent if kernel.depth else 0
    if (
        len(kernel.taps) != 2
        or not depth
        or depth % VECTOR
        or images * rows * real * outputs > SUMS
    ):
        return None
    taps = math.prod(axis.extent for axis in kernel.taps)
    return Plan(images, rows, real, outputs, (columns, stored), taps, depth // VECTOR)


def _knobs(plan: Plan) -> tuple[Knob, ...]:
    return (
        choice("tile", divisors(plan.outputs, 8)),
        choice("columns", divisors(plan.columns, 8)),
        choice("steps", divisors(plan.depth, 8)),
        choice("share", ("none", "outputs", "columns")),
    )


def _fits(plan: Plan, point: Point) -> bool:
    tile = number(point, "tile") * number(point, "columns")
    if point["share"] == "outputs" and number(point, "tile") == plan.outputs:
        return False
    if point["share"] == "columns" and number(point, "columns") == plan.columns:
        return False
    return tile <= 16 and tile * number(point, "steps") <= 64


def _schedule(func: PrimFunc, kernel: Kernel, plan: Plan, point: Point) -> Schedule:
    sch = Schedule(func)
    dot, last, acc = kernel.dot.block, kernel.last.block, kernel.dot.out.buffer.name
    sch.set_scope(acc, "tcm")
    _, inner = sch.divide(sch.loops(dot)[-1], VECTOR)
    part, _ = sch.divide(inner, WORD)
    some, sums = partial_results(sch, dot, part)
    if plan.wide and plan.columns < plan.stored[0]:
        sch.resize(sch.loops(dot)[2], plan.columns)
    for at, extent in ((2, plan.columns), (3, plan.outputs)):
        sch.resize(sch.loops(some)[at], extent)
    sch.trim(kernel.weights.name)
    _inputs(sch, kernel, plan)
    sch.transform_layout(kernel.weights.name, lambda kh, kw, c, o: (kh, kw, o, c))
    if plan.wide:
        sch.transform_layout(sums, lambda j, n, h, w, o: (n, h, w, o, j))
    else:
        sch.transform_layout(sums, lambda j, n, h, w, o: (n, h, o, w, j))
        sch.transform_layout(acc, lambda n, h, w, o: (n, h, w // LANES, o, w % LANES))
    _partial(sch, point, some)
    _fold(sch, dot, plan)
    _requantize(sch, last, plan)
    return sch


def _inputs(sch: Schedule, kernel: Kernel, plan: Plan) -> None:
    """The input where it lies, or with its pads."""
    if kernel.copy is None:
        return
    if kernel.unpadded(plan.rows, plan.columns):
        in_place(sch, kernel)
        return
    sch.trim(kernel.input.name)
    for part in (kernel.fill, kernel.copy):
        if part is not None:
            copy_rows(sch, part.block, 1)


def _partial(sch: Schedule, point: Point, some: str) -> None:
    """The partial sums: tiles of pixels and outputs, 128 channels a product."""
    n, h, w, o, *taps, c, j, t = sch.loops(some)
    w_0, w_1 = sch.split(w, (None, number(point, "columns")))
    o_0, o_1 = sch.split(o, (None, number(point, "tile")))
    c_0, c_1 = sch.split(c, (None, number(point, "steps")))
    outer = {"outputs": [o_0, n, h, w_0], "columns": [w_0, n, h, o_0]}.get(
        str(point["share"]), [n, h, w_0, o_0]
    )
    sch.reorder(*outer, *taps, c_0, c_1, w_1, o_1, j, t)
    sch.vectorize(j, t)
    sch.unroll(c_1, w_1, o_1)
    if point["share"] != "none":
        sch.parallel(outer[0])


def _fold(sch: Schedule, dot: str, plan: Plan) -> None:
    """32 sums of neighbouring outputs, or pixels, from 32 lanes each."""
    n, h, w, o, part = sch.loops(dot)
    if plan.wide:
        _, lane = sch.split(o, (None, LANES))
    else:
        w_0, lane = sch.split(w, (None, LANES))
        sch.reorder(n, h, w_0, o, lane, part)
    sch.vectorize(lane, part)


def _requantize(sch: Schedule, last: str, plan: Plan) -> None:
    """Registers of results."""
    w, o = sch.loops(last)[2:]
    if plan.stored[1] > VECTOR:
        _, lane = sch.split(o, (None, VECTOR))
        sch.vectorize(lane)
        return
    _, w_1 = sch.split(w, (None, VECTOR // plan.stored[1]))
    sch.vectorize(w_1, o)


def _estimate(func: PrimFunc, plan: Plan, machine: Machine, point: Point) -> Estimate:
    """Products by loads and multipliers, folds by counts."""
    tile, columns = number(point, "tile"), number(point, "columns")
    steps = number(point, "steps")
    inner = steps * max(tile * columns, tile + columns)
    trips = plan.taps * plan.depth / steps
    tiles = plan.images * plan.rows * plan.columns // columns * plan.outputs // tile
    shared = {"outputs": plan.outputs // tile, "columns": plan.columns // columns}.get(
        str(point["share"]), 1
    )
    turns = -(-shared // machine.threads) / shared
    products = (inner * trips + tile * columns * 2 + 12) * tiles * turns
    phases = 3 if shared > 1 else 1
    constants = sum(p.bytes for p in func.params if p.name in func.constants)
    wait = machine.dma_start + constants / machine.dma_rate
    rest = plan.folds * FOLD + plan.images * plan.rows * 30 + phases * machine.barrier
    facts = {
        "inner_packets": inner, "dots_per_packet": tile * columns * steps / inner,
        "loop_trips": trips, "tiles": tiles, "registers": tile * columns + tile,
        "requant_packets": 30.0, "extra_packets": rest, "phases": phases, "dma_cycles": wait,
        "first_wait": wait, "code": tile * columns * steps,
    }  # fmt: skip
    return Estimate(wait + products + rest, facts)
