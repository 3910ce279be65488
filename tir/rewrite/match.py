"""Matching a rule's left side against an expression, and building its right side.

The same wildcard twice must be the same expression; an operator that commutes is tried both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..bounds import Interval
from ..expr import Expr
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
    if rule.when is not None and not decide(rule.when, bound, bounds):
        return None
    return build(rule.after, bound, scale)


@cache
def scaled(kind: Type, scale: int) -> Type:
    return vector(kind, kind.lanes * scale)


def _match(pattern: Expr, node: Expr, scale: int, bound: Bindings, ordered: bool) -> bool:
    if pattern.op == "var":
        return _wild(pattern, node, scale, bound)
    if pattern.op != node.op or pattern.attr != node.attr:
        return False
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


def _wild(pattern: Expr, node: Expr, scale: int, bound: Bindings) -> bool:
    name: Wild = pattern.attr
    already = bound.get(name.name)
    if already is not None:
        return already is node
    if node.type != scaled(pattern.type, scale) or (name.constant and not node.is_const):
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

DECIDED: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "shl": lambda a, b: a << min(max(b, 0), 64), "shr": lambda a, b: a >> max(b, 0),
    "min": min, "max": max, "and_": lambda a, b: a & b, "or_": lambda a, b: a | b,
    "eq": lambda a, b: a == b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
}  # fmt: skip


def decide(when: Expr, bound: Bindings, bounds: Bounds) -> int:
    """The value of a condition, or of a part of it, in exact integers."""
    if when.op == "const":
        return int(when.attr)
    if when.op == "cast":
        return decide(when.args[0], bound, bounds)
    if when.op == "var":
        return _number(when.attr, bound, bounds)
    a, b = (decide(arg, bound, bounds) for arg in when.args)
    return DECIDED[when.op](a, b)


def _number(name: Wild | End, bound: Bindings, bounds: Bounds) -> int:
    value = bound[name.name]
    if isinstance(name, Wild):
        return int(value.attr)
    return bounds(value)[name.high]


# Explanation --------------------------------------------------------------------------------


def failure(rule: Rule, node: Expr, bounds: Bounds) -> str | None:
    """The first thing that keeps ``rule`` from ``node``; None where it applies."""
    scale, rest = divmod(node.type.lanes, rule.before.type.lanes)
    if rest:
        return f"lanes: a multiple of {rule.before.type.lanes} is needed, but got {node.type}"
    bound: Bindings = {}
    reason = _failure(rule.before, node, scale, bound, rule.ordered)
    if reason is None and rule.when is not None and not decide(rule.when, bound, bounds):
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
        when = when.args[1] if decide(when.args[0], bound, bounds) else when.args[0]
    return when


def _known(when: Expr, bound: Bindings, bounds: Bounds) -> str:
    if when.op not in ("eq", "lt", "le"):
        return ""
    left, right = (decide(arg, bound, bounds) for arg in when.args)
    return f": {left} and {right}"
