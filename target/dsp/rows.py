"""The rows that selection asks for by role: loads, stores, moves, constants, splats."""

from __future__ import annotations

from functools import cache

from ...tir.types import Type
from ..errors import SelectError
from ..expansions import EXPANSIONS
from ..instruction import Instruction, Register
from ..select import Selector
from ..trees import size_of
from .instructions import instructions
from .scalar import INSTRUCTIONS as SCALAR
from .wide import INSTRUCTIONS as WIDE

_LOADS = {("u", 1): "loadrub", ("i", 1): "loadrb", ("u", 2): "loadruh", ("i", 2): "loadrh"}
_STORES = {1: "storerb", 2: "storerh", 4: "storeri", 8: "storerd"}
_SPLATS = {8: "lvsplatb", 16: "lvsplath", 32: "lvsplatw"}
_MOVES = {
    Register.VECTOR: "vassign",
    Register.PAIR: "vassignp",
    Register.SCALAR: "tfr",
    Register.DOUBLE: "tfrp",
    Register.PREDICATE: "pred_move",
}


@cache
def rows(version: int) -> dict[str, Instruction]:
    """All rows of hardware ``version``: scalar ones first, then vectors."""
    return {**SCALAR, **WIDE, **instructions(version)}


@cache
def selector(version: int, forbidden: frozenset[str] = frozenset()) -> Selector:
    """The selector over the rows of hardware ``version``, without those that are forbidden."""
    table = rows(version)
    refused = {name: _PIPES for name, row in table.items() if _costly(row, table, version)}
    refused |= dict.fromkeys(forbidden, "forbidden: it must not be used here")
    return Selector(table.values(), EXPANSIONS, refused)


_PIPES = "pipes: product and sum apart take as many pipes and leave a multiplier free"


def _costly(row: Instruction, table: dict[str, Instruction], version: int) -> bool:
    """Accumulating products that hold both multipliers where plain ones hold one: product and
    sum apart take as many pipes, but leave a multiplier free."""
    plain = table.get(row.name.removesuffix("_acc"), row)
    return (row.unit_at(version), plain.unit_at(version)) == ("VX_DV", "VX")


class Roles:
    """Finds rows by role for one version."""

    def __init__(self, version: int) -> None:
        self.rows = rows(version)

    def _row(self, name: str) -> Instruction:
        if name not in self.rows:
            raise SelectError(f"select: the machine has no {name}")
        return self.rows[name]

    def load(self, kind: Type, aligned: bool) -> Instruction:
        size = size_of(kind)
        if size >= 128:
            return self._row("vmem" if aligned else "vmemu")
        if size == 8:
            return self._row("loadrd")
        return self._row(_LOADS.get((kind.kind, size), "loadri"))

    def store(self, kind: Type, aligned: bool) -> Instruction:
        if size_of(kind) >= 128:
            return self._row("vmem_store" if aligned else "vmemu_store")
        return self._row(_STORES[size_of(kind)])

    def move(self, register: Register) -> Instruction:
        return self._row(_MOVES[register])

    def constant(self) -> Instruction:
        return self._row("tfrsi")

    def combine(self) -> Instruction:
        return self._row("combinew")

    def splat(self, bits: int) -> Instruction:
        return self._row(_SPLATS[bits])

    def add_immediate(self) -> Instruction:
        return self._row("addi")


@cache
def roles(version: int) -> Roles:
    """The rows by role of hardware ``version``."""
    return Roles(version)
