"""Softmax by vectors of 128 bytes: the axis runs over vectors, and over lanes that are then folded.

for each row, on threads:
    m = maximum over the row's vectors                         folded over lanes
    e = table[m - x], its low and high bytes by look-ups       kept as bytes
    s = sum of e in i32, 4 registers                           folded over lanes
    r = floor(2**30 / s), bit by bit in every lane
    y = min((e * r + 2**(shift-1)) >> shift, 255)

Lanes of one sum lie ``fold`` bytes apart: 1 for an axis of channels, the bytes of a pixel for an
axis of pixels that share a vector, none where the axis runs over vectors alone. Folding by halves
leaves the result in all lanes: each step adds the register rotated, by way of memory.
"""

from __future__ import annotations

from math import prod

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc, Store
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from ..structure import flat_form
from .move import Axis
from .offset import find_block
from .softmax_rows import Shape, restated, shared_axis
from .template import Estimate, Template

LANES = 128


def softmax(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of softmax over more than 64 channels, or over pixels."""
    if func.attrs.get("kind") != "softmax":
        return None
    shape = shape_of(func)
    if shape is None:
        return None
    space = Space((choice("unroll", (1, 2, 4)),))

    def schedule(point: Point) -> Schedule:
        return _schedule(func, shape, machine, point)

    def estimate(point: Point) -> Estimate:
        rows = prod(axis.extent for axis in shape.rows)
        vectors = shape.vectors + bool(shape.edge)
        each = vectors * (30.0 + 6 / number(point, "unroll")) + 200
        shared = shared_axis(shape, machine).extent if shape.rows else 1
        turns = -(-shared // machine.threads) / shared * rows
        facts = {"inner_packets": each, "loop_trips": turns, "code": number(point, "unroll")}
        return Estimate(turns * each + 350, facts)

    return Template("softmax", func, machine, space, schedule, estimate)


def shape_of(func: PrimFunc) -> Shape | None:
    """The rows; None where an axis of few channels shares its vector with other rows."""
    block, out = find_block(func.body, "max"), find_block(func.body, "out")
    x, y = func.params[0], func.params[-1]
    assert isinstance(block.body, Store) and isinstance(out.body, Store)
    come = flat_form(x, block.body.value.args[1].args)
    to = flat_form(y, out.body.index)
    if x.size != y.size or x.shape != y.shape:
        return None
    along = next(it for it in block.iters if it.reduce)
    strides = {it.axis: come.terms.get(it.axis, 0) for it in block.iters}
    extents = {it.axis: it.extent for it in block.iters if it.extent > 1}
    deep, start = x.shape[3], (to.constant, come.constant)
    step, length = strides[along.axis], along.extent
    kept = [v for v in extents if v is not along.axis]
    channel = next((v for v in kept if strides[v] == 1), None)
    if step == 1:
        if deep < LANES:
            return None
        rows = [Axis(str(v.attr), extents[v], strides[v], strides[v]) for v in kept]
        return Shape(tuple(rows), length // LANES, length % LANES, LANES, 1, start)
    if channel is None or extents[channel] != deep:
        return None
    rest = [v for v in kept if v is not channel]
    if step == deep and deep < LANES:
        rows = [Axis(str(v.attr), extents[v], strides[v], strides[v]) for v in rest]
        size = length * deep
        return Shape(tuple(rows), size // LANES, size % LANES, LANES, deep, start)
    run = deep
    pixel = next((v for v in rest if strides[v] == deep), None)
    if pixel is not None:
        run, rest = deep * extents[pixel], [v for v in rest if v is not pixel]
    if run % LANES:
        return None
    rows = [Axis(str(v.attr), extents[v], strides[v], strides[v]) for v in rest]
    rows.append(Axis("lanes", run // LANES, LANES, LANES))
    return Shape(tuple(rows), length, 0, step, 0, start)


# Schedules --------------------------------------------------------------------------------------


def _schedule(func: PrimFunc, shape: Shape, machine: Machine, point: Point) -> Schedule:
    sch = Schedule(restated(func, shape, machine))
    for ref in sch.blocks():
        loops = sch.loops(ref)[len(shape.rows) :]
        lanes = 2 if str(sch.get_loop(loops[-1]).axis.attr).endswith("byte") else 1
        sch.vectorize(*loops[-lanes:])
        if lanes == 1:
            for loop in loops[:-1]:
                sch.unroll(loop)
            continue
        unroll = min(number(point, "unroll"), sch.get_loop(loops[0]).extent)
        if unroll > 1:
            _, inner, *_ = sch.split(loops[0], (None, unroll), tail="peel")
            sch.unroll(inner)
    return sch
