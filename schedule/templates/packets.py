"""What the body of a loop takes at the least: instructions by the pipes that they need.

    body_of(found, 128, 2, reach, machine).packets      of two vectors of 128 lanes

A value of n bytes is n / ``vector_bytes`` registers. Operators take an instruction a register,
some of them others, by the ``Issue`` of the machine, which also says how many a cycle takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...target.machine_facts import Issue, Machine
from ...tir.expr import Expr, walk
from ...tir.quick import quick
from ...tir.stmt import Buffer
from ..structure import Structure

FREE = dict.fromkeys(("load", "const", "hole", "var", "tile"), (0.0, 0.0, 0.0))
ONE = (1.0, 0.0, 0.0)  # instruction of a register, on any pipe


@quick
@dataclass(frozen=True, slots=True)
class Ops:
    """Instructions of a body: ``plain`` ones on any pipe, those on multipliers and on the permuter
    among them, with the multipliers that they take; ``words`` are loads of scalars."""

    plain: float = 0.0
    multiply: float = 0.0
    permute: float = 0.0
    loads: float = 0.0
    words: float = 0.0
    stores: float = 0.0

    def __add__(self, other: Ops) -> Ops:
        return Ops(self.plain + other.plain, self.multiply + other.multiply,
                   self.permute + other.permute, self.loads + other.loads,
                   self.words + other.words, self.stores + other.stores)  # fmt: skip

    def __mul__(self, n: float) -> Ops:
        return Ops(self.plain * n, self.multiply * n, self.permute * n, self.loads * n,
                   self.words * n, self.stores * n)  # fmt: skip

    @property
    def count(self) -> float:
        return self.plain + self.loads + self.words + self.stores

    def packets(self, issue: Issue) -> float:
        """The fewest, by what is held most."""
        accesses = (self.loads + self.words + self.stores) / issue.accesses
        return max(self.multiply / issue.products, self.permute / issue.shuffles,
                   self.loads / issue.loads, self.stores / issue.stores, accesses,
                   self.count / issue.slots, 1.0)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BodyCost:
    """Least packets of a body, instructions, registers that live at once, and its depth."""

    packets: float
    slots: float
    registers: float
    depth: float


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a body reads: in ``rows`` steps, each ``down`` elements from the last, vectors of
    ``part`` pieces, ``across`` elements from one to the next, of ``spans`` elements each; the last
    three of each operand."""

    rows: int
    part: int
    down: tuple[int, ...]
    across: tuple[int, ...]
    spans: tuple[int, ...]

    def starts(self, operand: int, vectors: int, pieces: int) -> list[int]:
        """Where the first pieces of each vector begin, from the operand's first element."""
        return [
            row * self.down[operand] + (vector * self.part + piece) * self.across[operand]
            for row in range(self.rows)
            for vector in range(vectors)
            for piece in range(pieces)
        ]


def body_of(found: Structure, lanes: int, unroll: int, reach: Reach, machine: Machine) -> BodyCost:
    """What ``unroll`` vectors of ``lanes`` lanes take in each row; one lane is a scalar."""
    rows, vector, issue = reach.rows, machine.vector_bytes, machine.issue
    if lanes == 1:
        return _scalars(found, unroll * rows, issue)
    loads = _loaded(found, lanes, unroll, reach, vector)
    stores = rows * unroll * _registers(found.out.buffer.type.bytes, lanes, vector)
    made = ops_of(found, lanes, machine) * (rows * unroll)
    ops = replace(made, loads=loads, stores=stores)
    slots = ops.count + 2
    packets = max(ops.packets(issue), slots / issue.slots)
    return BodyCost(packets, slots, loads + stores + ops.plain / 4, issue.depth)


def ops_of(found: Structure, lanes: int, machine: Machine) -> Ops:
    """What the operators of ``lanes`` lanes of a block take, its loads and stores left out."""
    known, vector = {**machine.issue.operators, **FREE}, machine.vector_bytes
    plain = multiply = permute = 0.0
    varying: set[Expr] = set()  # values that follow from a load, whose lanes differ
    for node in walk(found.value):
        if node.op == "load" or not varying.isdisjoint(node.args):
            varying.add(node)
        count, products, moves = known.get(node.op, ONE)
        widest = max(node.type.bytes, *(a.type.bytes for a in node.args), 0)
        size = _registers(widest, lanes, vector)
        if node.op == "load" and node.attr in found.tables:
            count, products, moves = known.get("lookup", ONE)
        if node.type.lanes == 1 and node in varying:
            plain, multiply, permute = (
                plain + count * size, multiply + products * size, permute + moves * size,
            )  # fmt: skip
    return Ops(plain, multiply, permute)


def _loaded(found: Structure, lanes: int, unroll: int, reach: Reach, vector: int) -> float:
    """Registers that all vectors load: those that several read once, where they are whole ones."""
    alone: dict[Buffer, set[int]] = {}  # first elements of vectors
    whole: dict[Buffer, set[int]] = {}  # aligned registers
    for number, use in enumerate(found.reads):
        if not use.steps:
            continue
        first = reach.starts(number, unroll, 1)
        alone.setdefault(use.buffer, set()).update(use.start + at for at in first)
        size, registers = use.buffer.type.bytes, whole.setdefault(use.buffer, set())
        for at in {use.start + at for at in reach.starts(number, unroll, reach.part)}:
            end = (at + reach.spans[number]) * size
            registers.update(range(at * size // vector, -(-end // vector)))
    return sum(
        min(len(alone[buffer]) * _registers(buffer.type.bytes, lanes, vector), len(whole[buffer]))
        for buffer in alone
    )


def _registers(size: int, lanes: int, vector: int) -> float:
    return max(size * lanes / vector, 1.0)


def _scalars(found: Structure, unroll: int, issue: Issue) -> BodyCost:
    """Element by element: memory accesses side by side, the result an operator at a time."""
    loads, nodes = len(found.reads), sum(1 for node in walk(found.value) if node.args)
    slots = (loads + nodes + 1) * unroll + 2
    return BodyCost(max(slots / issue.accesses, nodes), slots, loads + 1, issue.depth)
