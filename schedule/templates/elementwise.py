"""Operators that work point by point on tensors stored alike: vectors of 128 bytes, any order.

for f in parallel(vectors / unroll):  # contiguous, a share a thread
    unrolled: load operands, compute, store
"""

from __future__ import annotations

from dataclasses import replace

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, transform, var, walk
from ...tir.stmt import Block, For, Iter, LoopKind, PrimFunc, Store
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .nests import reshaped
from .offset import find_block
from .template import Estimate, Template

LANES = 128
UNROLLS = (1, 2, 3, 4, 6, 8)
_FREE = {
    "load",
    "const",
    "hole",
    "var",
    "cast",
    "tile",
}  # operators that take no multiplier or adder
_COSTLY = {"widening_mul": 2.0, "rounding_mul_shr": 8.0}


def elementwise(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of operators whose operands and result have one shape."""
    if func.attrs.get("kind") != "elementwise" or func.attrs.get("repeats"):
        return None
    return pointwise("elementwise", func, machine, packets(func))


def packets(func: PrimFunc) -> float:
    """A guess of the packets that a vector of 128 results takes."""
    store = find_block(func.body, "point").body
    assert isinstance(store, Store)
    return 1.0 + sum(
        0.5 if node.op in _FREE else _COSTLY.get(node.op, 1.0) for node in walk(store.value)
    )


def pointwise(
    name: str, func: PrimFunc, machine: Machine, each: float, unrolls: tuple[int, ...] = UNROLLS
) -> Template:
    """The template of a kernel whose one block, ``point``, runs over all that is stored."""
    flat = flattened(func)
    vectors = find_block(flat.body, "point").iters[0].extent
    space = Space((choice("unroll", tuple(d for d in unrolls if vectors % d == 0)),))

    def schedule(point: Point) -> Schedule:
        sch = Schedule(flat)
        vector, lanes = sch.loops("point")
        steps, unrolled = sch.split(vector, (None, number(point, "unroll")))
        sch.vectorize(lanes)
        sch.unroll(unrolled)
        sch.parallel(steps)
        return sch

    def estimate(point: Point) -> Estimate:
        unroll = number(point, "unroll")
        turns = -(-(vectors // unroll) // machine.threads)
        inner = each * unroll + 2.0 / unroll
        facts = {"inner_packets": inner, "loop_trips": turns, "loop_starts": 1, "tiles": vectors,
                 "registers": 4 * unroll, "code": unroll * each,
                 "unbalance": turns * unroll * machine.threads / vectors}  # fmt: skip
        return Estimate(turns * inner + 30, facts)

    return Template(name, flat, machine, space, schedule, estimate)


def flattened(func: PrimFunc) -> PrimFunc:
    """``func`` with its activations as rows of 128 bytes, and ``point`` a loop over rows."""
    block = find_block(func.body, "point")
    store = block.body
    assert isinstance(store, Store)
    index = tuple(it.axis for it in block.iters)
    row, lane = var("vrow"), var("vlane")
    moved = {
        p: replace(p, shape=(p.size // LANES, LANES)) for p in func.params if len(p.shape) == 4
    }

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.args != index:
            return None
        return Expr("load", expr.type, (row, lane), moved[expr.attr])

    output = moved[store.buffer]
    value = transform(store.value, node)
    loops = (("row", row, output.shape[0]), ("lane", lane, LANES))
    iters = tuple(Iter(axis, extent, False, var(name)) for name, axis, extent in loops)
    body = Block(block.name, iters, Store(output, (row, lane), value))
    nest: For | Block = body
    for name, _, extent in reversed(loops):
        nest = For(var(name), extent, LoopKind.SERIAL, nest)
    return reshaped(func, moved, nest)
