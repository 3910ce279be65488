"""A rule applied to an expression: matching its left side, and building its right side.

A constant is a cast of a number to its type, if that has a type that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from ..bounds import node_bounds
from ..expr import Expr, const, is_fixed, walk
from ..intervals import Interval
from ..ops import OPS
from ..simplifier import fold
from ..type_rules import compared
from ..types import vector
from .match import Matcher, brief
from .rule import WHOLE, RangeEnd, Rule, Wild

Bindings = Mapping[str, Expr]
Bounds = Callable[[Expr], Interval]


def apply(rule: Rule, node: Expr, bounds: Bounds) -> Expr | None:
    """``node`` by ``rule``, or None where it does not match."""
    matcher = RuleMatcher(rule.ordered)
    if not matcher.fits(rule, node, bounds):
        return None
    return build(scaled(rule.after, node.type.lanes // rule.before.type.lanes), matcher.bound)


def failure(rule: Rule, node: Expr, bounds: Bounds) -> str | None:
    """What keeps ``rule`` from ``node``; None where it applies."""
    matcher = RuleMatcher(rule.ordered)
    return None if matcher.fits(rule, node, bounds) else matcher.reason


class RuleMatcher(Matcher):
    """Matches a rule's left side, whose variables are ``Wild``."""

    def fits(self, rule: Rule, node: Expr, bounds: Bounds) -> bool:
        scale, rest = divmod(node.type.lanes, rule.before.type.lanes)
        if rest:
            return self.refuse(_no_multiple, rule, node)
        if not self.match(scaled(rule.before, scale), node):
            return False
        if rule.when is None:
            return True
        named = {wild.attr.name: value for wild, value in self.bound.items()} | {WHOLE: node}
        return holds(rule.when, named, bounds) or self.refuse(_condition, rule.when, named, bounds)

    def stands(self, variable: Expr, node: Expr) -> bool:
        return not variable.attr.constant or is_fixed(node)

    def number(self, pattern: Expr, node: Expr) -> bool:
        """Whether the pattern casts a number, and the node is what the cast gives."""
        if pattern.op != "cast" or not node.is_const or node.type is not pattern.type:
            return False
        source = pattern.args[0]
        if source.op != "var" or not source.attr.constant or not source.type.is_int:
            return False
        held = source.type.low <= node.attr <= source.type.high
        return held and self.match(source, const(node.attr, source.type))

    def difference(self, pattern: Expr, node: Expr, known: Expr | None) -> str:
        if pattern.op == "var" and known is None and node.type is pattern.type:
            return f"constant: {pattern} must be one, but got {brief(node)}"
        return super().difference(pattern, node, known)


@cache
def scaled(side: Expr, scale: int) -> Expr:
    """A side for ``scale`` times the lanes."""
    done: dict[Expr, Expr] = {}
    for node in walk(side):
        kind = vector(node.type, node.type.lanes * scale)
        done[node] = Expr(node.op, kind, tuple(done[arg] for arg in node.args), node.attr)
    return done[side]


def build(after: Expr, bound: Mapping[Expr, Expr]) -> Expr:
    """The right side with its wildcards replaced; what became constant is folded."""
    if after.op == "var":
        return bound[after]
    args = tuple([build(arg, bound) for arg in after.args])
    built = Expr(after.op, after.type, args, after.attr)
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


def _no_multiple(rule: Rule, node: Expr) -> str:
    return f"lanes: a multiple of {rule.before.type.lanes} is needed, but got {node.type}"


def _condition(when: Expr, bound: Bindings, bounds: Bounds) -> str:
    """The first conjunct that does not hold, and what is known of its sides."""
    while when.op == "and_":
        when = when.args[1] if holds(when.args[0], bound, bounds) else when.args[0]
    known = ""
    if OPS[when.op].rule is compared:
        left, right = (_spell(decide(arg, bound, bounds)) for arg in when.args)
        known = f": {left} and {right}"
    return f"condition: {when!r} does not hold{known}"


def _spell(known: Interval) -> str:
    return str(known[0]) if known[0] == known[1] else f"{known[0]}..{known[1]}"
