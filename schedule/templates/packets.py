"""What the body of a loop takes at the least: instructions by the pipes that they need.

    body_of(found, lanes=128, unroll=2).packets      of two vectors

A value of n bytes is n / 128 registers. Operators take an instruction a register, those in
``COUNTS`` others; the table of instructions says on which pipes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...tir.expr import Expr, walk
from ..structure import Structure

VECTOR = 128  # bytes of a register
PIPES = 4  # any of which takes a plain operator
SLOTS = 4  # instructions of a packet
DEPTH = 10  # cycles from a load to the store of what follows from it, about two latencies

# Instructions of a register, and how many of them only a multiplier, or only the permuter, takes.
COUNTS: dict[str, tuple[float, float, float]] = {
    "load": (0, 0, 0),
    "const": (0, 0, 0),
    "hole": (0, 0, 0),
    "var": (0, 0, 0),
    "tile": (0, 0, 0),
    "mul": (2, 1, 0),
    "widening_mul": (2, 1, 0),
    "rounding_mul_shr": (4, 4, 0),
    "mul_shr": (4, 4, 0),
    "rounding_shr": (1, 0, 0),
    "lookup": (8, 0, 8),
}


@dataclass(frozen=True, slots=True)
class Body:
    """Least packets of a body, instructions, registers that live at once, and its depth."""

    packets: float
    slots: float
    registers: float
    depth: float


def body_of(
    found: Structure, lanes: int, unroll: int, rows: int = 1, down: tuple[int, ...] = ()
) -> Body:
    """What ``unroll`` vectors of ``lanes`` lanes take in each of ``rows`` rows, which are ``down``
    elements apart in each operand; one lane is a scalar."""
    if lanes == 1:
        return _scalars(found, unroll * rows)
    loads, stores = (
        _loaded(found, lanes, rows, down),
        _registers(found.out.buffer.type.bytes, lanes),
    )
    plain = multiply = permute = 0.0
    varying: set[Expr] = set()  # values that follow from a load, whose lanes differ
    for node in walk(found.value):
        if node.op == "load" or not varying.isdisjoint(node.args):
            varying.add(node)
        count, products, moves = COUNTS.get(node.op, (1, 0, 0))
        size = _registers(max((node.type.bytes, *(a.type.bytes for a in node.args))), lanes)
        if node.op == "load" and node.attr in found.tables:
            count, moves = 8, 8
        if node.type.lanes == 1 and node in varying:
            plain, multiply, permute = (
                plain + count * size, multiply + products * size, permute + moves * size,
            )  # fmt: skip
    stores, plain, multiply, permute = (rows * n for n in (stores, plain, multiply, permute))
    pipes = (plain + loads + stores) / PIPES
    least = max(loads, stores, multiply / 2, permute, pipes, (loads + stores) / 2) * unroll
    slots = (plain + loads + stores) * unroll + 2
    packets = max(least, slots / SLOTS, 1.0)
    return Body(packets, slots, (loads + stores + plain / 4) * unroll, DEPTH)


def _loaded(found: Structure, lanes: int, rows: int, down: tuple[int, ...]) -> float:
    """Registers that all rows load: those that several rows read once."""
    places = {
        (use.buffer.name, use.start + row * step)
        for use, step in zip(found.reads, down or (0,) * len(found.reads), strict=True)
        for row in range(rows)
        if use.steps
    }
    sizes = {use.buffer.name: use.buffer.type.bytes for use in found.reads}
    return sum(_registers(sizes[name], lanes) for name, _ in places)


def _registers(size: int, lanes: int) -> float:
    return max(size * lanes / VECTOR, 1.0)


def _scalars(found: Structure, unroll: int) -> Body:
    """Element by element: two memory accesses a packet, the result an operator at a time."""
    loads, nodes = len(found.reads), sum(1 for node in walk(found.value) if node.args)
    slots = (loads + nodes + 1) * unroll + 2
    return Body(max(slots / 2, nodes), slots, loads + 1, DEPTH)
