"""Pooling by windows: the taps of a window as one expression over vectors of 128 bytes.

direct    for each row of the output, for each of its vectors:  y = join of all taps
rows      for each row of the output:  t = maximum over the window's rows, whole vectors
          for each of its vectors:     y = maximum over the window's columns of t

``rows`` pads the columns in ``t``. Rows outside of the input are read at the nearest row inside,
which is in the window too, so that no maximum changes; so no padded copy of the input is made.
Pixels narrower than a vector are gathered from their places (see ``target/gather.py``).
"""

from __future__ import annotations

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .direct import direct
from .move import schedule_copy, shared_axis
from .template import Estimate, Template
from .windows import LANES, Shape, padded_row, prefix, restated, shape_of, source_vectors

TAPS = 64  # of a window that is one expression
OWN = ("left", "tall", "right", "out")  # blocks of the loops over rows


def pool(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of maximum and average pooling over windows of few taps."""
    if func.attrs.get("kind") != "pool" or func.attrs["kernel"][0] * func.attrs["kernel"][1] > TAPS:
        return None
    largest = func.attrs["op"] == "max_pool2d"
    shape = shape_of(func, largest)
    if shape.gathers and shape.stride[1] > 2 and shape.deep < 32:
        return None
    x = func.params[0]
    room = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    modes = _modes(shape, largest)
    if machine.threads * padded_row(shape) > room:
        modes = tuple(mode for mode in modes if mode == "direct")
    if not modes:
        return None
    tiles = tuple(d for d in (1, 2, 4) if shape.rows % d == 0)
    shares = ("rows",) if shape.images == 1 else ("images", "rows")[: 2 if shape.images <= 4 else 1]
    space = Space((choice("mode", modes), choice("tile", tiles), choice("unroll", (1, 2, 4)),
                   choice("share", shares)),
                  (lambda point: _fits(shape, machine, room, point),))  # fmt: skip

    def schedule(point: Point) -> Schedule:
        return _schedule(func, shape, machine, point, largest)

    def estimate(point: Point) -> Estimate:
        far = x.scope == "ddr" and shape.source.name == x.name and x.bytes > room
        return _estimate(shape, machine, point, largest, far)

    return Template("pool", func, machine, space, schedule, estimate)


def _modes(shape: Shape, largest: bool) -> tuple[str, ...]:
    """How windows may be read: ``direct`` needs all that it reads in memory, slack included."""
    outside = shape.padded or shape.reach * shape.deep > shape.pitch + LANES
    direct = () if outside else ("direct",)
    return (*direct, "rows") if largest else direct


def _fits(shape: Shape, machine: Machine, room: int, point: Point) -> bool:
    taps = shape.kernel[0] * shape.kernel[1]
    rows = machine.threads * number(point, "tile") * padded_row(shape)
    if point["mode"] == "rows" and rows > room:
        return False
    return taps * number(point, "tile") * number(point, "unroll") <= 4 * TAPS


# Schedules ----------------------------------------------------------------------------------


def _schedule(
    func: PrimFunc, shape: Shape, machine: Machine, point: Point, largest: bool
) -> Schedule:
    sch = Schedule(restated(func, shape, machine, point, largest))
    if shape.source.name != func.params[0].name:
        for copy in prefix(func):
            schedule_copy(sch, copy, shared_axis(copy, machine, "rows"), 1)
    if shape.near:
        sch.unroll(*sch.loops("near"))
    for ref in sch.blocks():
        name = ref.name.split("_")[0]
        if name not in OWN:
            continue
        v, i, *lanes = sch.loops(ref)[-4 if name == "out" else -3 :]
        if name == "out":
            p, c = lanes
            if shape.gathers:
                sch.vectorize(p, c)
            else:
                sch.vectorize(c)
                sch.unroll(p)
        else:
            sch.vectorize(*lanes)
        sch.unroll(i)
        unroll = min(number(point, "unroll"), sch.get_loop(v).extent)
        if unroll > 1:
            _, inner, *_ = sch.split(v, (None, unroll), tail="peel")
            sch.unroll(inner)
    return sch


def _estimate(shape: Shape, machine: Machine, point: Point, largest: bool, far: bool) -> Estimate:
    """Loads of the windows' rows; ``far``: from DDR, where the input stays."""
    tile, unroll = number(point, "tile"), number(point, "unroll")
    (tall, wide), down = shape.kernel, shape.stride[0]
    shared = (down * (tile - 1) + tall) / tile  # rows that one row of the output loads
    gather = 2.0 if shape.gathers else 1.0
    if point["mode"] == "direct":
        each = shared * wide * gather + (0 if largest else 0.5 * tall * wide + 8)
    else:
        each = shared * source_vectors(shape) / shape.vectors + wide * gather
    inner = max(each, (tall * wide * 1.3) / 4) * tile * unroll + 3
    steps = shape.vectors / unroll
    rounds = shape.rows // tile
    if point["share"] == "images":
        turns = -(-shape.images // machine.threads) * rounds
    else:
        turns = -(-rounds // machine.threads) * shape.images
    cycles = turns * (inner * steps + 25)
    if far:
        again = (shared - down) * shape.images * shape.rows * shape.pitch / LANES
        cycles += direct(machine, again / machine.threads, LANES, turns * steps)
    facts = {"inner_packets": inner, "loop_trips": steps, "loop_starts": turns, "tiles": rounds,
             "registers": tile * unroll * 2, "code": tile * unroll * tall * wide,
             "unbalance": turns * machine.threads / (rounds * shape.images)}  # fmt: skip
    return Estimate(cycles + 40, facts)
