"""Interval analysis: between which values every lane of an integer expression lies.

>>> bounds(i * 16 + j, {i: (0, 7), j: (0, 15)})
(0, 127)

Where the exact result may leave the type it wraps, so that only the type's own range holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .expr import Expr, walk
from .types import Type

Interval = tuple[int, int]
Ranges = Mapping[Expr, Interval]


def type_range(kind: Type) -> Interval:
    """All values of an integer or bool element."""
    return (0, 1) if kind.kind == "b" else (kind.low, kind.high)


def bounds(root: Expr, ranges: Ranges, known: dict[Expr, Interval] | None = None) -> Interval:
    """The lowest and highest value of an integer or bool ``root``.

    ``ranges`` holds what is known of variables and of any other node (a load); ``known`` keeps
    results between calls that have the same ranges.
    """
    known = {} if known is None else known
    if root in known:
        return known[root]
    for node in walk(root):
        if node not in known and node.type.kind != "f":
            found = ranges.get(node)
            if found is None:
                found = node_bounds(node, [known[arg] for arg in node.args if arg in known])
            known[node] = found
    return known[root]


def node_bounds(node: Expr, given: Sequence[Interval]) -> Interval:
    """The lowest and highest value of an operation on operands in the intervals ``given``."""
    whole = type_range(node.type)
    if node.op == "const":
        return int(node.attr), int(node.attr)
    if node.op == "hole":
        return int(node.attr.low), int(node.attr.high)
    rule = RULES.get(node.op)
    if rule is None or any(arg.type.kind == "f" for arg in node.args):
        return whole
    low, high = rule(node, given)
    if node.op in SATURATING:
        return _saturated((low, high), whole)
    return (low, high) if whole[0] <= low and high <= whole[1] else whole


def _saturated(exact: Interval, whole: Interval) -> Interval:
    low, high = (min(max(value, whole[0]), whole[1]) for value in exact)
    return low, high


# Rules: (node, intervals of the operands) -> interval of the exact result ---------------------

Rule = Callable[[Expr, Sequence[Interval]], Interval]


def _corners(function: Callable[[int, int], int], a: Interval, b: Interval) -> Interval:
    """For functions that are monotone in each operand on its own."""
    values = [function(x, y) for x in a for y in b]
    return min(values), max(values)


def _floordiv(node: Expr, given: Sequence[Interval]) -> Interval:
    a, b = given
    return type_range(node.type) if b[0] <= 0 <= b[1] else _corners(lambda x, y: x // y, a, b)


def _mod(node: Expr, given: Sequence[Interval]) -> Interval:
    (low, high), (least, most) = given
    if least <= 0:
        return type_range(node.type)
    if least == most and low // most == high // most:
        return low % most, high % most
    return 0, min(most - 1, high) if low >= 0 else most - 1


def _and(_: Expr, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    if a >= 0 and c >= 0:
        return 0, min(b, d)
    if a >= 0 or c >= 0:
        return 0, b if a >= 0 else d
    return -(1 << max(-a, -c, b + 1, d + 1).bit_length()), max(b, d)


def _or(node: Expr, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    if a >= 0 and c >= 0:
        return (max(a, c) if node.op == "or_" else 0), (1 << max(b, d).bit_length()) - 1
    reach = 1 << max(b, d, -a - 1, -c - 1, 0).bit_length()
    return -reach, reach - 1


def _shift(node: Expr, given: Sequence[Interval]) -> Interval:
    (low, high), (least, most) = given
    if not 0 <= least <= most < node.type.bits:
        return type_range(node.type)
    if node.op == "shl":
        return _corners(lambda x, y: x << y, (low, high), (least, most))
    return _corners(lambda x, y: x >> y, (low, high), (least, most))


def _rounding_shift(value: int, by: int) -> int:
    return value if by == 0 else (value + (1 << (by - 1))) >> by


def _rounding_shr(node: Expr, given: Sequence[Interval]) -> Interval:
    if not 0 <= given[1][0] <= given[1][1] < 64:
        return type_range(node.type)
    low, high = _corners(_rounding_shift, *given)  # between the corners 0 may be reached: -1 >> 1
    return min(low, 0) if given[0][0] < 0 else low, max(high, 0) if given[0][1] >= 0 else high


def _mul_shr(node: Expr, given: Sequence[Interval]) -> Interval:
    a, b, (least, most) = given
    if not 0 <= least <= most < 64:
        return type_range(node.type)
    product = _corners(lambda x, y: x * y, a, b)
    shift = _rounding_shift if node.op == "rounding_mul_shr" else lambda x, y: x >> y
    low, high = _corners(shift, product, (least, most))
    return min(low, 0) if product[0] < 0 else low, max(high, 0) if product[1] >= 0 else high


def _abs(_: Expr, given: Sequence[Interval]) -> Interval:
    low, high = given[0]
    return (low, high) if low >= 0 else (0 if high >= 0 else -high, max(-low, high))


def _abs_diff(_: Expr, given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return max(a - d, c - b, 0), max(b - c, d - a)


def _select(node: Expr, given: Sequence[Interval]) -> Interval:
    condition, yes, no = given
    if condition[0] == condition[1]:
        return yes if condition[0] else no
    return _union(node, (yes, no))


def _union(_: Expr, given: Sequence[Interval]) -> Interval:
    return min(low for low, _ in given), max(high for _, high in given)


def _first(_: Expr, given: Sequence[Interval]) -> Interval:
    return given[0]


def _compare(decide: Callable[[Interval, Interval], bool | None]) -> Rule:
    def rule(_: Expr, given: Sequence[Interval]) -> Interval:
        known = decide(given[0], given[1])
        return (0, 1) if known is None else (int(known), int(known))

    return rule


def _equal(a: Interval, b: Interval) -> bool | None:
    if a[1] < b[0] or b[1] < a[0]:
        return False
    return True if a[0] == a[1] == b[0] == b[1] else None


def _less(a: Interval, b: Interval) -> bool | None:
    return True if a[1] < b[0] else False if a[0] >= b[1] else None


def _at_most(a: Interval, b: Interval) -> bool | None:
    return True if a[1] <= b[0] else False if a[0] > b[1] else None


def _add(_: Expr, given: Sequence[Interval]) -> Interval:
    return given[0][0] + given[1][0], given[0][1] + given[1][1]


def _sub(_: Expr, given: Sequence[Interval]) -> Interval:
    return given[0][0] - given[1][1], given[0][1] - given[1][0]


def _both(function: Callable[[int, int], Any]) -> Rule:
    return lambda _, given: _corners(function, given[0], given[1])


RULES: dict[str, Rule] = {
    "cast": _first, "sat_cast": _first,
    "add": _add, "sub": _sub, "mul": _both(lambda x, y: x * y),
    "floordiv": _floordiv, "mod": _mod, "min": _both(min), "max": _both(max),
    "and_": _and, "or_": _or, "xor": _or, "shl": _shift, "shr": _shift,
    "eq": _compare(_equal), "lt": _compare(_less), "le": _compare(_at_most),
    "abs": _abs, "select": _select,
    "widening_add": _add, "widening_sub": _sub, "widening_mul": _both(lambda x, y: x * y),
    "sat_add": _add, "sat_sub": _sub, "rounding_shr": _rounding_shr,
    "mul_shr": _mul_shr, "rounding_mul_shr": _mul_shr,
    "halving_add": _both(lambda x, y: (x + y) >> 1),
    "rounding_halving_add": _both(lambda x, y: (x + y + 1) >> 1),
    "halving_sub": lambda _, g: ((g[0][0] - g[1][1]) >> 1, (g[0][1] - g[1][0]) >> 1),
    "abs_diff": _abs_diff,
    "group_sum": lambda node, g: (g[0][0] * node.attr, g[0][1] * node.attr),
    "interleave": _union, "deinterleave": _first, "concat": _union, "slice": _first,
    "transpose": _first, "tile": _first, "repeat": _first, "lookup": _first,
}  # fmt: skip
SATURATING = {"sat_cast", "sat_add", "sat_sub", "rounding_shr", "mul_shr", "rounding_mul_shr"}
