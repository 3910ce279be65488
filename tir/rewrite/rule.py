"""A rule is data: both sides are expressions over typed wildcards, the condition one over numbers.

    x, n = wild("x", i32), number("n", i32)
    Rule("shift_twice", (x >> 1) >> 1, x >> 2)

A side is written for the fewest lanes and holds for every multiple of them. ``when`` is an i64
expression over numbers and over ``lowest(x)`` and ``highest(x)``, which range analysis knows, as it
knows ``whole_lowest`` and ``whole_highest`` of the left side itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..bounds import Ranges
from ..expr import Expr, cast, walk
from ..ops import OPS, with_lanes
from ..row import Lanes
from ..types import Type, i64


@dataclass(frozen=True, slots=True)
class Wild:
    """The name of a wildcard: any value, or a constant where ``constant``."""

    name: str
    constant: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class RangeEnd:
    """The lowest or highest value that range analysis knows for a wildcard."""

    name: str
    high: bool

    def __str__(self) -> str:
        return f"{'highest' if self.high else 'lowest'}_{self.name}"


def wild(name: str, kind: Type) -> Expr:
    """Any expression of type ``kind``, or of a multiple of its lanes."""
    return Expr("var", kind, (), Wild(name))


def number(name: str, kind: Type) -> Expr:
    """A constant, equal in all lanes."""
    return Expr("var", kind, (), Wild(name, constant=True))


def lowest(value: Expr) -> Expr:
    """In a condition: no value of the wildcard is below it."""
    return Expr("var", i64, (), RangeEnd(str(value.attr), high=False))


def highest(value: Expr) -> Expr:
    """In a condition: no value of the wildcard is above it."""
    return Expr("var", i64, (), RangeEnd(str(value.attr), high=True))


WHOLE = "whole"  # names the value of a rule's left side
whole_lowest = Expr("var", i64, (), RangeEnd(WHOLE, high=False))
whole_highest = Expr("var", i64, (), RangeEnd(WHOLE, high=True))


def exact(value: Expr) -> Expr:
    """In a condition: a number's value, computed with as an i64."""
    return cast(i64, value)


@dataclass(frozen=True, slots=True)
class Rule:
    """``before`` becomes ``after`` where ``when`` holds.

    ``ordered``: operands match in the written order even where the op commutes. Every rule lowers
    ``weight``, so that rewriting ends.
    """

    name: str
    before: Expr
    after: Expr
    when: Expr | None = None
    ordered: bool = False

    @property
    def root(self) -> tuple[str, str, int]:
        return self.before.op, self.before.type.kind, self.before.type.bits

    def __str__(self) -> str:
        condition = "" if self.when is None else f"  when {self.when!r}"
        return f"{self.name}: {self.before!r} -> {self.after!r}{condition}"


@dataclass(frozen=True, slots=True)
class Law:
    """A family that holds for any operator, type and number of parts: a function gives the other
    side, or None. Only lanes are moved by laws; values are computed as before."""

    name: str
    roots: frozenset[str]
    apply: Callable[[Expr, Ranges], Expr | None]
    doc: str = ""


MOVES = with_lanes(Lanes.MOVED, Lanes.COPIED)


def weight(expr: Expr) -> tuple[int, int, int]:
    """What rules lower, in order of importance: bits computed on, nodes, and untidiness.

    Untidy are constants on the left, sums that lean right, and subtracted constants.
    """
    nodes = [node for node in walk(expr) if not _is_number(node) and node.op != "var"]
    bits = sum(_cost(node) for node in nodes)
    untidy = sum(_untidy(node) for node in nodes)
    return bits, len(nodes), untidy


def _cost(node: Expr) -> int:
    """Bits of registers that the operator fills or reads, whichever is more."""
    kind = node.type
    inside = [arg.type.bits * arg.type.lanes for arg in node.args]
    if node.op in ("cast", "sat_cast"):  # one step a halving or doubling
        few, many = sorted((kind.bits, node.args[0].type.bits))
        return kind.lanes * (many - few)
    return max(kind.bits * kind.lanes, *inside)


def _is_number(node: Expr) -> bool:
    """A constant when the rule is used."""
    if node.op == "var":
        return isinstance(node.attr, Wild) and node.attr.constant
    return node.op == "const" or (bool(node.args) and all(map(_is_number, node.args)))


def _untidy(node: Expr) -> int:
    row, score = OPS[node.op], 0
    if row.commutes and _is_number(node.args[0]) and not _is_number(node.args[1]):
        score += 1
    if node.op == "add" and node.args[1].op == "add":
        score += sum(1 for below in walk(node.args[1]) if below.op == "add")
    if node.op == "sub" and _is_number(node.args[1]):
        score += 1
    if node.op == "min" and node.args[0].op == "max":
        score += 1
    return score
