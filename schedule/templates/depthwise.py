"""Depthwise convolution: four neighbouring pixels of a channel in a word, four taps a vrmpy.

parallel bands of rows (or blocks of channels)
  deal the band's input rows into words of four pixels            (see ``taps.py``)
  ways                                       weights, biases, multipliers in registers
    rows, quads of columns                   a tile of sums, all taps unrolled
    requantize: four pixels of 32 channels narrow into one register
  deal the quads back into rows of pixels
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, flag
from ..schedule import Schedule
from ..state import LoopRef
from .taps import QUAD, Window, by_taps, window_of
from .template import Estimate, Template

REGISTERS = 28  # vector registers that a tile may plan with


def depthwise(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a depthwise convolution; None for other kernels."""
    if func.attrs.get("kind") != "depthwise":
        return None
    window = window_of(func)
    if window.depth < 32:
        return None
    space = Space(_knobs(window), (_fits(window),))

    def schedule(point: Point) -> Schedule:
        dealt = by_taps(func, int(point["step"]), bool(point["fused"]))
        return _schedule(dealt, window, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(window, machine, point)

    return Template("depthwise", func, machine, space, schedule, estimate)


def divisors(number: int) -> tuple[int, ...]:
    return tuple(d for d in range(1, number + 1) if number % d == 0)


def _knobs(window: Window) -> tuple[Knob, ...]:
    rows = divisors(window.output[0])
    return (
        choice("step", (2, 4, 1)),
        choice("band", rows),
        choice("rows", tuple(d for d in rows if d <= 4)),
        choice("quads", tuple(d for d in divisors(window.quads) if d <= 4)),
        choice("share", ("rows", "channels") if window.blocks > 1 else ("rows",)),
        choice("inner", ("columns", "rows")),
        flag("fused"),
        flag("keep"),
        choice("deal", (1, 2, 4)),
    )


def _fits(window: Window) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        band, rows, quads = (int(point[name]) for name in ("band", "rows", "quads"))
        if band % rows or window.groups(int(point["step"])) % int(point["deal"]):
            return False
        if point["fused"] and window.output[1] < window.quads * QUAD:
            return False
        if point["keep"] and (_weights(window, int(point["step"])) > 18 or _whole(window, point)):
            return False
        return rows * quads * _reach(window, point) <= 72

    return fits


def _whole(window: Window, point: Point) -> bool:
    """Whether a tile has all ways of its channels."""
    return bool(point["fused"]) and window.ways > 1


def _reach(window: Window, point: Point) -> int:
    """Products of a quad of one way (or of all)."""
    products = QUAD * window.kernel[0] * window.reach(int(point["step"]))
    return products * (window.ways if _whole(window, point) else 1)


def _weights(window: Window, step: int) -> int:
    """Registers of one way's weights."""
    return len(window.phases(step)) * window.kernel[0] * window.reach(step)


def _schedule(func: PrimFunc, window: Window, point: Point) -> Schedule:
    sch = Schedule(func)
    _prepare_input(sch)
    outer = _bands(sch, point)
    _tile(sch, window, point, outer)
    sch.compute_at("deal", outer)
    *_, g, j, i, t = sch.loops("deal")
    _, g_1 = sch.split(g, (None, int(point["deal"])))
    sch.vectorize(j, i, t)
    sch.unroll(g_1)
    return sch


def _prepare_input(sch: Schedule) -> None:
    """The padded copy: rows on all threads, by whole registers."""
    names = [ref.name for ref in sch.blocks()]
    for name in ("left", "copy", "right", "above", "below"):
        if name in names:
            sch.vectorize(sch.loops(name)[-1])
    if "copy" in names:
        n, h, *_ = sch.loops("copy")
        sch.parallel(sch.fuse(n, h))
    for name in ("above", "below"):
        if name in names:
            n, v, *_ = sch.loops(name)
            sch.unroll(n)
            sch.parallel(v)


def _bands(sch: Schedule, point: Point) -> LoopRef:
    """The loops that bands and blocks of channels share; gives the innermost of them."""
    names = [ref.name for ref in sch.blocks()]
    ends = [name for name in ("undeal", "last") if name in names] or ["requant"]
    n, oh, b, *_ = sch.loops(ends[0])
    h_0, h_1 = sch.split(oh, (None, int(point["band"])))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    sch.reorder(n, shared, other, h_1)
    sch.unroll(n)
    sch.parallel(shared)
    if "requant" not in ends:
        for name in ends:
            sch.vectorize(*sch.loops(name)[-3:])
        sch.compute_at("requant", other)
    return other


def _tile(sch: Schedule, window: Window, point: Point, outer: LoopRef) -> None:
    """A band: tiles of sums below the loops that walk over it, then requantized."""
    *_, q, j, i, p = loops = sch.loops("requant")
    h = loops[loops.index(outer) + 1] if point["fused"] else loops[-6]
    h_0, h_1 = sch.split(h, (None, int(point["rows"])))
    q_0, q_1 = sch.split(q, (None, int(point["quads"])))
    walk = [h_0, q_0] if point["inner"] == "columns" else [q_0, h_0]
    if _whole(window, point):
        sch.reorder(*walk, h_1, q_1, j, i, p)
        sch.vectorize(j, i, p)
    else:
        sch.reorder(j, *walk, h_1, q_1, i, p)
        sch.vectorize(i, p)
    sch.unroll(h_1)
    sch.unroll(q_1)
    sch.compute_at("dot", walk[1])
    _products(sch)
    if point["keep"]:
        for block, name in (("dot", "w"), ("dot", "bias"), ("requant", "mult")):
            _keep(sch, block, name, j)


def _products(sch: Schedule) -> None:
    """All sums of a tile written out: 32 channels by four taps a product."""
    n, oh, b, q, p, j, i, kh, k, t = sch.loops("dot")[-10:]
    sch.reorder(n, oh, b, q, p, j, kh, k, i, t)
    sch.vectorize(i, t)
    for loop in (n, oh, b, q, p, j, kh, k):
        sch.unroll(loop)


def _keep(sch: Schedule, block: str, name: str, place: LoopRef) -> None:
    """One way's constants in registers while its tiles are computed."""
    copy = sch.cache_read(block, name, "reg")
    sch.compute_at(copy, place)
    count = len(sch.get_buffer(name).shape)
    loops = sch.loops(copy)[-count:]
    lanes = 2 if name == "w" else 1
    sch.vectorize(*loops[-lanes:])
    for loop in loops[:-lanes]:
        sch.unroll(loop)


def _estimate(window: Window, machine: Machine, point: Point) -> Estimate:
    return Estimate(1.0, {})
