"""Means and averages over many pixels: sums of bytes in u16, of those in i32, then requantized.

phase 1   for each block of rows (spread over threads), for each vector of channels:
              acc = sum over rows of the sum of a row's vectors        s[block] = acc
phase 2   y = requantize(start + the sum of all blocks, and of the pixels that share a vector)

A vector holds 128 channels, or several pixels of fewer channels; pixels behind the end of a row
count 0. With one block of whole vectors both are one phase.
"""

from __future__ import annotations

from math import prod

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .fusing import share
from .sums import EXACT, LANES, Shape, planned, restated, shape_of
from .template import Estimate, Template

FEW = 64  # pixels of a window that pooling takes, where there are several windows


def reduce(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of sums over pixels, requantized."""
    if func.attrs.get("kind") not in ("reduce", "pool") or func.attrs["op"] == "max_pool2d":
        return None
    shape = shape_of(func)
    if shape is None or (func.attrs["kind"] == "pool" and shape.taps <= FEW and shape.windows > 1):
        return None
    first = shape.rows[0].extent if shape.rows else 1
    blocks = tuple(d for d in range(1, 9) if first % d == 0)
    together = tuple(r for r in (1, 2, 4, 7, 8, 16) if r == 1 or r * shape.groups <= 64)
    knobs = choice("blocks", blocks), choice("rows", together), choice("chunk", (16, 8, 32))
    space = Space(knobs, (lambda point: _fits(shape, point),))

    def schedule(point: Point) -> Schedule:
        return _schedule(func, shape, machine, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(shape, machine, point)

    return Template("reduce", func, machine, space, schedule, estimate)


def _fits(shape: Shape, point: Point) -> bool:
    rows, chunk = number(point, "rows"), number(point, "chunk")
    inner = shape.steps // number(point, "blocks")
    terms = rows * min(shape.groups, chunk)  # of one sum in u16
    if inner % rows or (rows > 1 and shape.groups > chunk) or terms > EXACT:
        return False
    last = shape.rows[-1].extent if shape.rows else 1
    own = last // number(point, "blocks") if len(shape.rows) == 1 else last
    return own % rows == 0 and (chunk == 16 or shape.groups > chunk)


# Schedules --------------------------------------------------------------------------------------


def _schedule(func: PrimFunc, shape: Shape, machine: Machine, point: Point) -> Schedule:
    plan = planned(shape, point)
    sch = Schedule(restated(func, shape, plan))
    for ref in sch.blocks():
        if ref.name == "place" or (ref.name == "requant" and not plan.fused):
            sch.vectorize(sch.loops(ref)[-1])
            if ref.name == "place":
                sch.unroll(sch.loops(ref)[-2])
            continue
        *_, p, word, byte = sch.loops(ref)
        if shape.pixels == 1:
            sch.unroll(p)
            sch.vectorize(word, byte)
        else:
            sch.vectorize(p, word, byte)
    loops = sch.loops("part")[: len(shape.kept) + 2]
    share(sch, loops, machine)
    if not plan.fused and shape.deep >= LANES:
        share(sch, sch.loops("requant")[:-1], machine)
    return sch


def _estimate(shape: Shape, machine: Machine, point: Point) -> Estimate:
    plan = planned(shape, point)
    kept = prod(axis.extent for axis in shape.kept)
    rows = shape.steps // plan.blocks
    terms = shape.groups * plan.together if plan.single else plan.step
    steps = rows * shape.groups / terms
    inner = max(terms, terms / 2 + 4) + 3
    ways = max(kept, shape.vectors, plan.blocks)
    turns = -(-ways // machine.threads) / ways * kept * shape.vectors * plan.blocks
    last = 25.0 + (0 if plan.fused else 60 + 8 * plan.blocks * shape.pixels * shape.vectors)
    facts = {"inner_packets": inner, "loop_trips": steps, "tiles": kept * shape.vectors,
             "registers": 8, "code": terms, "phases": 1 if plan.fused else 2}  # fmt: skip
    return Estimate(turns * (inner * steps + 20) + last + 40, facts)
