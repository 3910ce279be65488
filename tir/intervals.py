"""Intervals of exact results: between which values an operator lies, given those of its operands.

    >>> from_corners(lambda a, b: a - b, "+-")(i32, None, [(0, 7), (1, 2)])
    (-2, 6)

Most operators rise or fall with each operand alone: their ends are their meaning at ends of the
operands. The others have formulas here, which their rows in ``tir/ops.py`` name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from .types import Type

Interval = tuple[int, int]
Rule = Callable[[Type, Any, Sequence[Interval]], Interval]  # (type, attr, operands) -> exact result


def type_range(kind: Type) -> Interval:
    """All values of an integer or bool element."""
    return kind.low, kind.high


def from_corners(meaning: Callable[..., int], rises: str) -> Rule:
    """Of a ``meaning`` that rises (+), falls (-) or does either (*) with each operand alone."""
    if rises == "**":
        return lambda _, __, given: _reached([meaning(a, b) for a in given[0] for b in given[1]])
    if len(rises) != 2:
        return lambda _, __, given: _reached([meaning(*ends) for ends in product(*given)])
    x, y = (int(way == "-") for way in rises)

    def rule(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
        a, b = given
        return meaning(a[x], b[y]), meaning(a[1 - x], b[1 - y])

    return rule


def _reached(values: list[int]) -> Interval:
    return min(values), max(values)


def where_counts_fit(rule: Rule, counts: Sequence[int], most: int | None) -> Rule:
    """``rule`` where the operands at ``counts`` are shifts by 0 to ``most`` bits (None: those of
    the element); else anything."""

    def guarded(kind: Type, attr: Any, given: Sequence[Interval]) -> Interval:
        for low, high in [given[place] for place in counts]:
            if not 0 <= low <= high <= (kind.bits - 1 if most is None else most):
                return type_range(kind)
        return rule(kind, attr, given)

    return guarded


# Formulas -----------------------------------------------------------------------------------


def floordiv(kind: Type, _: Any, given: Sequence[Interval]) -> Interval:
    a, b = given
    if b[0] <= 0 <= b[1]:
        return type_range(kind)
    return _reached([x // y for x in a for y in b])


def mod(kind: Type, _: Any, given: Sequence[Interval]) -> Interval:
    (low, high), (least, most) = given
    if least <= 0:
        return type_range(kind)
    if least == most and low // most == high // most:
        return low % most, high % most
    return 0, min(most - 1, high) if low >= 0 else most - 1


def common_bits(kind: Type, _: Any, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    if kind.bits == 1 or (a == b and c == d):
        return a & c, b & d
    if a >= 0 and c >= 0:
        return 0, min(b, d)
    if a >= 0 or c >= 0:
        return 0, b if a >= 0 else d
    return -(1 << max(-a, -c, b + 1, d + 1).bit_length()), max(b, d)


def either_bits(kind: Type, _: Any, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    if kind.bits == 1 or (a == b and c == d):
        return a | c, b | d
    if a >= 0 and c >= 0:
        return max(a, c), (1 << max(b, d).bit_length()) - 1
    return _any_bits(given)


def other_bits(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return (0, (1 << max(b, d).bit_length()) - 1) if a >= 0 and c >= 0 else _any_bits(given)


def _any_bits(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    reach = 1 << max(b, d, -a - 1, -c - 1, 0).bit_length()
    return -reach, reach - 1


def equal(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return int(a == b == c == d), int(a <= d and c <= b)


def size(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    low, high = given[0]
    return (low, high) if low >= 0 else (0 if high >= 0 else -high, max(-low, high))


def apart(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return max(a - d, c - b, 0), max(b - c, d - a)


def selected(kind: Type, attr: Any, given: Sequence[Interval]) -> Interval:
    condition, yes, no = given
    if condition[0] == condition[1]:
        return yes if condition[0] else no
    return union(kind, attr, (yes, no))


def union(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    return min(low for low, _ in given), max(high for _, high in given)


def first(_: Type, __: Any, given: Sequence[Interval]) -> Interval:
    return given[0]


def times_lanes(_: Type, lanes: int, given: Sequence[Interval]) -> Interval:
    low, high = given[0]
    return low * lanes, high * lanes
