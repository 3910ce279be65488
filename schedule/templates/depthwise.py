"""Depthwise convolution: four neighbouring pixels of a channel in a word, four taps a vrmpy.

    parallel bands of rows (or blocks of channels)
      deal the band's input rows into words of four pixels            (see ``taps.py``)
      ways                                       weights, biases, multipliers in registers
        rows, quads of columns                   a tile of sums, all taps unrolled
        requantize: four pixels of 32 channels narrow into one register
      deal the quads back into rows of pixels

Words of all rows may be made before the bands instead, so that rows at the ends of bands are dealt
only once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, flag, number
from ..schedule import Schedule
from ..state import LoopRef
from .direct import direct
from .padded import VECTOR, prepare_rows, share
from .taps import QUAD, Window, by_taps, window_of
from .template import Estimate, Template

MOST = 400  # products of a quad, all of which are written out


def depthwise(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a depthwise convolution; None for other kernels."""
    if func.attrs.get("kind") != "depthwise":
        return None
    window = window_of(func)
    knobs = _knobs(window) if window.depth >= 32 else ()
    fits = _fits(func, window, machine)
    least: Point = {knob.name: min(knob.values) for knob in knobs}
    if not knobs or not fits(least | {"early": True}) or _products_of(window, 1) > MOST:
        return None
    space = Space(knobs, (fits,))

    def schedule(point: Point) -> Schedule:
        dealt = by_taps(func, number(point, "step"), bool(point["fused"]))
        return _schedule(dealt, window, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(func, window, machine, point)

    return Template("depthwise", func, machine, space, schedule, estimate)


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
        flag("early"),
        choice("deal", (1, 2, 4)),
    )


def _fits(func: PrimFunc, window: Window, machine: Machine) -> Callable[[Point], bool]:
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")

    def fits(point: Point) -> bool:
        band, rows, quads = (number(point, name) for name in ("band", "rows", "quads"))
        if band % rows or window.groups(number(point, "step")) % number(point, "deal"):
            return False
        if point["fused"] and (window.ways > 1 or window.output[1] < window.quads * QUAD):
            return False
        if _Costs(window, point).scratch(machine.threads)[2] > free:
            return False
        step = number(point, "step")
        if point["keep"] and _weights(window, step) + 4 * rows > 24:
            return False
        return rows * quads == 1 or rows * quads * _products_of(window, step) <= 72

    return fits


def _products_of(window: Window, step: int) -> int:
    """Instructions of a quad of one way."""
    return QUAD * window.kernel[0] * window.reach(step)


def _weights(window: Window, step: int) -> int:
    """Registers of one way's weights."""
    return len(window.phases(step)) * window.kernel[0] * window.reach(step)


def _schedule(func: PrimFunc, window: Window, point: Point) -> Schedule:
    sch = Schedule(func)
    prepare_rows(sch)
    outer = _bands(sch, point)
    _tile(sch, point, outer)
    if point["early"]:
        share(sch, *sch.loops("deal")[:2])
    else:
        sch.compute_at("deal", outer)
    *_, g, j, i, t = sch.loops("deal")
    _, g_1 = sch.split(g, (None, number(point, "deal")))
    sch.vectorize(j, i, t)
    sch.unroll(g_1)
    return sch


def _bands(sch: Schedule, point: Point) -> LoopRef:
    """The loops that bands and blocks of channels share; gives the innermost of them."""
    names = [ref.name for ref in sch.blocks()]
    ends: list[str] = [name for name in ("undeal", "last", "rest") if name in names]
    ends = ends or ["requant"]
    n, oh, b, *_ = sch.loops(ends[0])
    h_0, h_1 = sch.split(oh, (None, number(point, "band")))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    sch.reorder(shared, n, other, h_1)
    sch.parallel(shared)
    if "requant" not in ends:
        for name in ends:
            sch.vectorize(*sch.loops(name)[-2 if name == "rest" else -3 :])
        sch.compute_at("requant", other)
    return other


def _tile(sch: Schedule, point: Point, outer: LoopRef) -> None:
    """A band: tiles of sums below the loops that walk over it, then requantized."""
    *_, q, j, i, p = loops = sch.loops("requant")
    h = loops[loops.index(outer) + 1] if point["fused"] else loops[-6]
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "quads")))
    walk = [h_0, q_0] if point["inner"] == "columns" else [q_0, h_0]
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


@dataclass(frozen=True, slots=True)
class _Costs:
    """Packets of the parts of one point, by what they hold most."""

    window: Window
    point: Point

    def number(self, name: str) -> int:
        return number(self.point, name)

    @property
    def step(self) -> int:
        return self.number("step")

    @property
    def padded(self) -> float:
        """A row of the padded copy."""
        win = self.window
        vectors = win.columns(self.step) * win.depth / VECTOR
        return vectors * (2 if win.pads[1] * win.depth % VECTOR else 1) + 12

    @property
    def dealt(self) -> float:
        """A row of one block in words: stores for whole registers, permutations for parts."""
        each = {1: 3.2, 2: 3.2, 4: 4.1}[self.window.ways]
        return self.window.groups(self.step) * each + 4

    @property
    def undealt(self) -> float:
        """A row of one block of the output."""
        each = {1: 3.0, 2: 3.2, 4: 4.1}[self.window.ways]
        return 0.0 if self.point["fused"] else self.window.quads * each + 8

    @property
    def loads(self) -> int:
        """Of a tile and one way."""
        win, rows, quads = self.window, self.number("rows"), self.number("quads")
        lines = min(rows * win.kernel[0], (rows - 1) * win.stride[0] + win.kernel[0])
        pixels = range(0, QUAD * quads * win.stride[1], win.stride[1])
        groups = {p // self.step + k * (QUAD // self.step)
                  for p in pixels for k in range(win.reach(self.step))}  # fmt: skip
        kept = 0 if self.point["keep"] else _weights(win, self.step) + 2
        return lines * len(groups) + kept

    @property
    def tile(self) -> tuple[float, int]:
        """Packets of a tile, and its products."""
        quads = self.number("rows") * self.number("quads")
        dots = quads * _products_of(self.window, self.step)
        turn = 2 * quads if self.point["fused"] else 0
        loads, multiplies = self.loads, dots / 2 + 8 * quads
        pipes = (2 * dots + 22 * quads + turn + loads) / 4
        return max(loads, multiplies, pipes), dots

    @property
    def registers(self) -> int:
        held = _weights(self.window, self.step) + 2 if self.point["keep"] else 4
        return held + 4 * self.number("rows")

    @property
    def lines(self) -> int:
        """Input rows of a band."""
        win = self.window
        last = (self.number("band") - 1) * win.stride[0]
        return last + (win.kernel[0] - 1) * win.dilation[0] + 1

    def scratch(self, threads: int) -> tuple[int, int, int]:
        """Bytes of the padded copy, of all words, and of the threads' own buffers."""
        win = self.window
        row = win.groups(self.step) * win.block * QUAD
        xp = 0 if win.direct(self.step) else win.images * win.rows * win.columns(self.step)
        out = 0 if self.point["fused"] else self.number("band") * win.quads * win.block * QUAD
        if self.point["early"]:
            return xp * win.depth, win.images * win.rows * win.blocks * row, out * threads
        return xp * win.depth, 0, (out + self.lines * row) * threads

    def traffic(self, func: PrimFunc, machine: Machine) -> float:
        """Cycles of accesses to buffers that do not fit into TCM, the smallest placed first; each
        vector is waited for."""
        xp, xt, own = self.scratch(machine.threads)
        data = [p for p in func.params if p.name in ("x", "y")]
        free = machine.tcm - own - sum(p.bytes for p in data if p.scope == "tcm")
        # A band reads its rows, and as many pixels a group as the step leaves to the next one.
        again = self.lines / (self.number("band") * self.window.stride[0]) * QUAD / self.step
        times = self.window.kernel[0] + 1
        weights = _weights(self.window, self.step) * self.window.ways * self.window.blocks * VECTOR
        read = self.window.output[0] / self.number("band")
        if not self.point["keep"]:
            read *= self.window.quads / self.number("quads")
        far = [(xp, xp + xp * again), (xt, times * xt), (weights, weights * read)]
        total = 0.0
        for size, weight in sorted(far):
            total += weight if size > free else 0
            free -= size if size <= free else 0
        vectors = total / VECTOR / machine.threads
        return direct(machine, vectors, VECTOR, vectors)


def _estimate(func: PrimFunc, window: Window, machine: Machine, point: Point) -> Estimate:
    """Packets by the resource that each part holds most; loops start in two iterations or so."""
    costs = _Costs(window, point)
    band, threads = number(point, "band"), machine.threads
    bands = window.output[0] // band
    shared, others = (bands, window.blocks) if point["share"] == "rows" else (window.blocks, bands)
    turns = -(-shared // threads)
    tile, dots = costs.tile
    tiles = band // number(point, "rows") * (window.quads // number(point, "quads"))
    early = bool(point["early"])
    body = window.ways * (tiles * tile + 1.5 * tile + 30) + band * costs.undealt + 30
    body += 0.0 if early else costs.lines * costs.dealt + 20
    cycles = body * window.images * others * turns
    extra = 60.0
    if early:
        rows = -(-window.rows // threads) * window.images
        extra += rows * window.blocks * costs.dealt + machine.barrier
    if not window.direct(costs.step):
        rows = -(-min(window.size[0], window.rows) // threads) * window.images
        extra += rows * costs.padded + 2 * machine.barrier
        extra += window.columns(costs.step) * window.depth / VECTOR / threads
    traffic = costs.traffic(func, machine)
    facts = {
        "inner_packets": tile, "dots_per_packet": dots / tile, "loop_trips": tiles,
        "loop_starts": window.ways * others * turns, "tiles": tiles * window.ways * others * shared,
        "registers": costs.registers, "requant_packets": 8.0, "extra_packets": extra,
        "phases": shared, "unbalance": turns * threads / shared, "dma_cycles": traffic,
        "code": dots,
    }  # fmt: skip
    return Estimate(cycles + extra + traffic, facts)
