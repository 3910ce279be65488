"""Matching a rule's left side against an expression, and building its right side.

The same wildcard twice must be the same expression; an operator that commutes is tried both ways. A
constant is a cast of a number to its type, if that has a type that holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..bounds import node_bounds
from ..expr import Expr, const, is_fixed
from ..intervals import Interval
from ..ops import OPS
from ..simplifier import fold
from ..types import Type, vector
from .rule import RangeEnd, Rule, Wild

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
    if name.constant and not is_fixed(node):
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


def holds(when: Expr, bound: Bindings, bounds: Bounds) -> bool:
    """Whether a condition holds whatever numbers fill the holes."""
    return decide(when, bound, bounds)[0] == 1


def decide(when: Expr, bound: Bindings, bounds: Bounds) -> Interval:
    """Between which values a condition, or a part of it, lies: one value, but for numbers of which
    only their class is known."""
    if when.op == "var":
        return _number(when.attr, bound, bounds)
    return node_bounds(when, [decide(arg, bound, bounds) for arg in when.args])


def _number(name: Wild | RangeEnd, bound: Bindings, bounds: Bounds) -> Interval:
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
