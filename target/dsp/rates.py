"""The most that one packet can do: products, bytes loaded, bytes stored.

Derived from the instruction table: the rows that a version has, by their units, as many of them as
fit one packet of the machine.

>>> rates(Machine())
Rates(products=256, loaded=136, stored=128)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ...tir.expr import Expr, walk
from ..instruction import Instruction, Kind
from . import scalar_rows
from .instructions import instructions
from .machine import DspMachine
from .pack import EMPTY, Packer, packer


@dataclass(frozen=True, slots=True)
class Rates:
    """The most that a packet of one thread can do."""

    products: int
    loaded: int  # bytes
    stored: int  # bytes


@lru_cache(maxsize=64)
def rates(machine: DspMachine) -> Rates:
    """The most of each that a packet holds."""
    return Rates(_most(machine, products), _most(machine, _loaded), _most(machine, _stored))


def products(row: Instruction) -> int:
    """The products of data that a row makes: a lane of each multiplication in its body is one."""
    if row.kind is not Kind.COMPUTE or row.name in scalar_rows.INSTRUCTIONS or row.body is None:
        return 0  # a scalar's product beside hundreds is left out
    return sum(
        node.type.lanes
        for node in walk(row.body)
        if "mul" in node.op and not any(_constant(part) for part in node.args[:2])
    )


def _constant(factor: Expr) -> bool:
    return not any(node.op == "var" for node in walk(factor))


def _loaded(row: Instruction) -> int:
    return row.bytes if row.kind is Kind.LOAD else 0


def _stored(row: Instruction) -> int:
    return row.bytes if row.kind is Kind.STORE else 0


def _most(machine: DspMachine, value: Callable[[Instruction], int]) -> int:
    """The greatest sum of values of rows that fit one packet; 1 at least, to divide by."""
    numbers = {name: number for number, (name, _) in enumerate(machine.units)}
    best: dict[int, int] = {}
    for row in (*instructions(machine.version).values(), *scalar_rows.INSTRUCTIONS.values()):
        number = numbers.get(row.unit_at(machine.version))
        if number is not None and value(row):
            best[number] = max(best.get(number, 0), value(row))
    return max(_fill(packer(machine), EMPTY, sorted(best.items())), 1)


def _fill(automaton: Packer, state: int, rows: list[tuple[int, int]]) -> int:
    """The greatest sum of values that still fits; no row before one that was taken is tried."""
    found = [0]
    for i, (unit, value) in enumerate(rows):
        following = automaton.fit(state, unit)
        if following >= 0:
            found.append(value + _fill(automaton, following, rows[i:]))
    return max(found)
