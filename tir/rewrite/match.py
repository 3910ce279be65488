"""Matching a rule's left side against an expression, and building its right side.

The same wildcard twice must be the same expression; an operator that commutes is tried both ways. A
constant is a cast of a number to its type, if that has a type that holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..expr import Expr, const, is_number
from ..intervals import Interval
from ..ops import OPS
from ..passes.simplify import fold
from ..types import Type, vector
from .rule import End, Rule, Wild

Bindings = dict[str, Expr]
Bounds = Callable[[Expr], Interval]


def apply(rule: Rule, node: Expr, bounds: Bounds) -> Expr | None:
    """``node`` by ``rule``, or None where it does not match."""
    scale, rest = divmod(node.type.lanes, rule.before.type.lanes)
    if rest:
        return None
    bound: Bindings = {}
    if not _match(rule.before, node, scale, bound, rule.ordered):
        return None
    if rule.when is not None and not holds(rule.when, bound, bounds):
        return None
    return build(rule.after, bound, scale)


@cache
def scaled(kind: Type, scale: int) -> Type:
    return vector(kind, kind.lanes * scale)


def _match(pattern: Expr, node: Expr, scale: int, bound: Bindings, ordered: bool) -> bool:
    if pattern.op == "var":
        return _wild(pattern, node, scale, bound)
    if pattern.op != node.op or pattern.attr != node.attr:
        number = _uncast(pattern, node)
        return number is not None and _wild(pattern.args[0], number, scale, bound)
    if node.type != scaled(pattern.type, scale) or len(pattern.args) != len(node.args):
        return False
    kept = dict(bound)
    pairs = zip(pattern.args, node.args, strict=True)
    if all([_match(p, n, scale, bound, ordered) for p, n in pairs]):
        return True
    if ordered or len(node.args) != 2 or not OPS[node.op].commutes:
        return False
    bound.clear()
    bound.update(kept)
    left, right = node.args
    return _match(pattern.args[0], right, scale, bound, ordered) and _match(
        pattern.args[1], left, scale, bound, ordered
    )


def _uncast(pattern: Expr, node: Expr) -> Expr | None:
    """The number whose cast a constant is, where the pattern wants one."""
    if pattern.op != "cast" or not node.is_const or node.type.element != pattern.type.element:
        return None
    source = pattern.args[0]
    if source.op != "var" or not source.attr.constant or not source.type.is_int:
        return None
    held = source.type.low <= node.attr <= source.type.high
    return const(node.attr, scaled(source.type, node.type.lanes)) if held else None


def _wild(pattern: Expr, node: Expr, scale: int, bound: Bindings) -> bool:
    name: Wild = pattern.attr
    already = bound.get(name.name)
    if already is not None:
        return already is node
    if node.type != scaled(pattern.type, scale):
        return False
    if name.constant and not (node.is_const or is_number(node)):
        return False
    bound[name.name] = node
    return True


def build(after: Expr, bound: Bindings, scale: int) -> Expr:
    """The right side with its wildcards replaced; what became constant is folded."""
    if after.op == "var":
        return bound[after.attr.name]
    kind = scaled(after.type, scale)
    args = tuple([build(arg, bound, scale) for arg in after.args])
    built = Expr(after.op, kind, args, after.attr)
    return fold(built) if args and all(arg.is_const for arg in args) else built


# Conditions ---------------------------------------------------------------------------------

Exact = Callable[[Interval, Interval], Interval]


def _corners(function: Callable[[int, int], int]) -> Exact:
    """For functions that are monotone in each operand on its own."""

    def reach(a: Interval, b: Interval) -> Interval:
        values = [function(x, y) for x in a for y in b]
        return min(values), max(values)

    return reach


def _and(a: Interval, b: Interval) -> Interval:
    """Of conditions, and of numbers that are known."""
    if a[0] == a[1] and b[0] == b[1]:
        return a[0] & b[0], a[0] & b[0]
    return (min(a[0], b[0]), min(a[1], b[1])) if min(*a, *b) >= 0 and max(*a, *b) <= 1 else (0, 1)


def _either(a: Interval, b: Interval) -> Interval:
    if a[0] == a[1] and b[0] == b[1]:
        return a[0] | b[0], a[0] | b[0]
    return (max(a[0], b[0]), max(a[1], b[1])) if min(*a, *b) >= 0 and max(*a, *b) <= 1 else (0, 1)


def _equal(a: Interval, b: Interval) -> Interval:
    return int(a[0] == a[1] == b[0] == b[1]), int(a[0] <= b[1] and b[0] <= a[1])


DECIDED: dict[str, Exact] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _corners(lambda a, b: a * b),
    "shl": _corners(lambda a, b: a << min(max(b, 0), 64)),
    "shr": _corners(lambda a, b: a >> max(b, 0)),
    "min": _corners(min), "max": _corners(max), "and_": _and, "or_": _either, "eq": _equal,
    "lt": lambda a, b: (int(a[1] < b[0]), int(a[0] < b[1])),
    "le": lambda a, b: (int(a[1] <= b[0]), int(a[0] <= b[1])),
}  # fmt: skip


def holds(when: Expr, bound: Bindings, bounds: Bounds) -> bool:
    """Whether a condition holds whatever numbers fill the holes."""
    return decide(when, bound, bounds)[0] == 1


def decide(when: Expr, bound: Bindings, bounds: Bounds) -> Interval:
    """Between which values a condition, or a part of it, lies, in exact integers: one value, but
    for numbers of which only their class is known."""
    if when.op == "const":
        return int(when.attr), int(when.attr)
    if when.op == "cast":
        return decide(when.args[0], bound, bounds)
    if when.op == "var":
        return _number(when.attr, bound, bounds)
    a, b = (decide(arg, bound, bounds) for arg in when.args)
    return DECIDED[when.op](a, b)


def _number(name: Wild | End, bound: Bindings, bounds: Bounds) -> Interval:
    value = bound[name.name]
    low, high = (int(value.attr),) * 2 if value.is_const else bounds(value)
    if isinstance(name, Wild):
        return low, high
    end = high if name.high else low
    return end, end


# Explanation --------------------------------------------------------------------------------


def failure(rule: Rule, node: Expr, bounds: Bounds) -> str | None:
    """The first thing that keeps ``rule`` from ``node``; None where it applies."""
    scale, rest = divmod(node.type.lanes, rule.before.type.lanes)
    if rest:
        return f"lanes: a multiple of {rule.before.type.lanes} is needed, but got {node.type}"
    bound: Bindings = {}
    reason = _failure(rule.before, node, scale, bound, rule.ordered)
    if reason is None and rule.when is not None and not holds(rule.when, bound, bounds):
        parts = _failing(rule.when, bound, bounds)
        return f"condition: {parts!r} does not hold" + _known(parts, bound, bounds)
    return reason


def _failure(pattern: Expr, node: Expr, scale: int, bound: Bindings, ordered: bool) -> str | None:
    if _match(pattern, node, scale, dict(bound), ordered):
        _match(pattern, node, scale, bound, ordered)
        return None
    if pattern.op == "var":
        already = bound.get(pattern.attr.name)
        if already is not None:
            return f"operand: {pattern} must be {already!r} again, but got {node!r}"
        if node.type != scaled(pattern.type, scale):
            return f"type: {pattern} must be {scaled(pattern.type, scale)}, but got {node.type}"
        return f"constant: {pattern} must be one, but got {node!r}"
    if pattern.op != node.op:
        return f"operator: {pattern.op} is needed, but got {node.op}"
    if node.type != scaled(pattern.type, scale):
        return f"type: {scaled(pattern.type, scale)} is needed, but got {node.type}"
    if pattern.attr != node.attr:
        return f"constant: {pattern.attr} is needed, but got {node.attr}"
    for p, n in zip(pattern.args, node.args, strict=True):
        reason = _failure(p, n, scale, bound, ordered)
        if reason is not None:
            return reason
    return "operands: their order does not fit"


def _failing(when: Expr, bound: Bindings, bounds: Bounds) -> Expr:
    """The first conjunct that does not hold."""
    while when.op == "and_":
        when = when.args[1] if holds(when.args[0], bound, bounds) else when.args[0]
    return when


def _known(when: Expr, bound: Bindings, bounds: Bounds) -> str:
    if when.op not in ("eq", "lt", "le"):
        return ""
    left, right = (_spell(decide(arg, bound, bounds)) for arg in when.args)
    return f": {left} and {right}"


def _spell(known: Interval) -> str:
    return str(known[0]) if known[0] == known[1] else f"{known[0]}..{known[1]}"
