"""The rows that shared code asks a machine for by role: found by what they mean, never by name.

    roles = Roles(table, 128, cost)
    roles.call(turn, a.type, a, const(3, i32))     call vror(a, 3): its body is rotate(a, r)
    roles.load(i8x128, True)                       vmem, which loads so many bytes at multiples

A role is declared as a row is; the first row of the table with its body fills it. A role that no
row fills gives None, and steps that need it are not taken.
"""

# The bodies are parsed, never run.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any

from ..tir import expr as tir
from ..tir import types
from ..tir.expr import Expr
from ..tir.types import Type
from .declare import declared
from .errors import SelectError
from .instruction import Instruction, Kind, Register, size_of
from .match_rows import RowMatcher, is_loose
from .move_rows import Call, Moves, Shuffles
from .vocabulary import (
    B,
    H,
    K,
    Q,
    T,
    U,
    cast,
    concat,
    const,
    group_sum,
    i8x4,
    i16,
    i32,
    i32x2,
    imm_s32,
    iota,
    low,
    rotate,
    splat,
    tile,
    u8x4,
)

Role = Callable[..., Any]
WORD = 4  # bytes: registers are dealt by pieces of as many, or more, where lanes are gathered


# Roles: T is a register of bytes, U of unsigned ones, Q its predicate; B its bytes, K = B - 1,
# H one of halfwords.


def turn(a: T, r: i32) -> T:
    """The bytes rotated: byte ``r`` comes first."""
    return rotate(a, r)


def behind(a: T, b: T, r: i32) -> T:
    """The last ``r`` bytes of ``b``, then the first ones of ``a``."""
    return low(rotate(concat(b, a), B - (r & K)))


def first_bytes(r: i32) -> Q:
    """The first ``r`` bytes, fewer than all."""
    return iota(U) < splat(r & K, const(0, U))


def differ(a: Q, b: Q) -> Q:
    """Just one of two predicates."""
    return a ^ b


def opposite(a: Q) -> Q:
    """The opposite predicate."""
    return a ^ const(1, Q)


def shared_bits(a: U, r: u8x4) -> Q:
    """Bytes that share a bit with those of a word."""
    return const(0, U) < (a & tile(r, B // 4))


def everywhere(r: i32) -> T:
    """The low bits of a scalar in each lane of ``T``."""
    return splat(r, const(0, T))


def weighted_pairs(a: U, r: i8x4) -> H:
    """Each two bytes by two of a word's, summed."""
    return group_sum(cast(i16, a) * cast(i16, tile(r, B // 4)), 2)


def couple(a: i32, b: i32) -> i32x2:
    """A pair of scalars: ``a`` the high one."""
    return concat(b, a)


def plus_number(a: i32, n: imm_s32) -> i32:
    """A sum with an immediate."""
    return a + n


def number(n: imm_s32) -> i32:
    """An immediate in a register."""
    return n


class Roles:
    """The rows of one table by role. ``bytes`` are those of a vector register; ``cost`` says how
    many pipes a register a row takes that moves bytes, None where no shuffle may use it."""

    def __init__(
        self,
        rows: Mapping[str, Instruction],
        bytes: int,
        cost: Callable[[Instruction], float | None],
    ) -> None:
        self.rows, self.bytes = rows, bytes
        self._calls: dict[tuple[Role, str], Call | None] = {}
        self._found: dict[Hashable, Instruction | None] = {}
        found = (Moves.of(row, bytes, cost(row)) for row in rows.values())
        moves = [move for move in found if move is not None]
        self.shuffles = Shuffles(moves, bytes)
        self.deals = {move.piece: move for move in reversed(moves) if move.piece >= WORD}

    def call(self, role: Role, kind: Type, *operands: Expr) -> Expr | None:
        """A value of ``kind`` by the row that fills a role."""
        found = self._filled(role)
        return None if found is None else found(kind, *operands)

    def fills(self, role: Role) -> bool:
        """Whether the machine has a row for a role."""
        return self._filled(role) is not None

    def first_lanes(self, count: int, kind: Type) -> Expr | None:
        """Whether a lane of ``kind`` is one of the first ``count``, fewer than all."""
        place = tir.const(count * (self.bytes // kind.lanes), types.i32)
        return self.call(first_bytes, kind, place)

    def load(self, kind: Type, aligned: bool) -> Instruction:
        """The row that loads a value of ``kind``, of less than a word by its sign."""
        return self._known(self._load, "loads", kind, aligned)

    def _load(self, kind: Type, aligned: bool) -> Instruction | None:
        size, sign = self._access(kind), kind.kind if size_of(kind) < WORD else ""
        rows = [row for row in self.rows.values() if row.kind is Kind.LOAD and not row.parameters]
        found = [r for r in rows if r.bytes == size and r.result and sign in r.result.kind]
        return _reaching(found, aligned)

    def store(self, kind: Type, aligned: bool) -> Instruction:
        """The row that stores a value of ``kind``."""
        return self._known(self._store, "stores", kind, aligned)

    def _store(self, kind: Type, aligned: bool) -> Instruction | None:
        rows = [row for row in self.rows.values() if row.kind is Kind.STORE]
        size = self._access(kind)
        found = [row for row in rows if row.bytes == size and len(row.parameters) == 1]
        return _reaching(found, aligned)

    def _access(self, kind: Type) -> int:
        return min(size_of(kind), self.bytes)

    def move(self, register: Register) -> Instruction:
        """The row that copies a register."""
        return self._known(self._copying, "copies a", register)

    def _copying(self, register: Register) -> Instruction | None:
        for row in self.rows.values():
            if row.body is not None and row.body.op == "var":
                if row.result_register is row.parameters[0].register is register:
                    return row
        return None

    def constant(self) -> Instruction:
        return self._known(self._row, "means", number)

    def combine(self) -> Instruction:
        return self._known(self._row, "means", couple)

    def splat(self, bits: int) -> Instruction:
        return self._known(self._row, "means", everywhere, f"i{bits}x{self.bytes * 8 // bits}")

    def add_immediate(self) -> Instruction:
        return self._known(self._row, "means", plus_number)

    def _row(self, role: Role, kind: str = "") -> Instruction | None:
        found = self._filled(role, kind)
        return None if found is None else found.row

    def _known(
        self, find: Callable[..., Instruction | None], what: str, *asked: Hashable
    ) -> Instruction:
        """What was found before, or is now; SelectError where the machine has none."""
        key = what, *asked
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = find(*asked)
        if found is None:
            words = " ".join(filter(None, map(_spelled, asked)))
            raise SelectError(f"select: the machine has no row that {what} {words}")
        return found

    def _filled(self, role: Role, kind: str = "") -> Call | None:
        key = role, kind
        if key not in self._calls:
            wanted = _declared(role, kind, self.bytes)
            found = (_as_role(row, wanted) for row in self.rows.values())
            self._calls[key] = next((call for call in found if call), None)
        return self._calls[key]


def _spelled(asked: object) -> str:
    """What was asked for, in words; of addresses none are needed."""
    if isinstance(asked, Register):
        return asked.name.lower()
    return "" if isinstance(asked, bool) else getattr(asked, "__name__", None) or str(asked)


def _reaching(rows: list[Instruction], aligned: bool) -> Instruction | None:
    """The row for addresses that are multiples of a register, or for any."""
    return (max if aligned else min)(rows, key=lambda row: row.align, default=None)


@cache
def _declared(role: Role, kind: str, size: int) -> Instruction:
    words = {"T": kind or f"i8x{size}", "U": f"u8x{size}", "Q": f"boolx{size}", "B": size,
             "K": size - 1, "H": f"i16x{size // 2}"}  # fmt: skip
    return declared(role, words, size)


def _as_role(row: Instruction, wanted: Instruction) -> Call | None:
    """How a row is called for a role; None where it means something else."""
    if row.kind is not Kind.COMPUTE or row.body is None or wanted.body is None:
        return None
    matcher = RowMatcher(is_loose(row))
    if row.result_register is not wanted.result_register or not matcher.match(
        row.body, wanted.body
    ):
        return None
    given = {p.name: at for at, p in enumerate(wanted.parameters)}
    order: list[int | Expr] = []
    for parameter in row.parameters:
        bound = matcher.bound.get(parameter.variable)
        at = None if bound is None or bound.op != "var" else given[str(bound.attr)]
        if at is not None and wanted.parameters[at].register is parameter.register:
            order.append(at)
        elif parameter.fixed and bound is None:
            order.append(tir.const(parameter.low, parameter.type))
        else:
            return None
    return Call(row, tuple(order))
