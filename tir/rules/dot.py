"""Dot products: sums over groups of lanes, in the shapes of dot-product instructions.

group_sum(group_sum(x, 2), 2)        ->  group_sum(x, 4)
group_sum(x * 3, 4)                  ->  group_sum(x, 4) * 3
"""

from __future__ import annotations

from ..expr import make
from ..rewrite.rule import Rule, number, wild
from ..types import Type, i16, i32, vector


def groups(kind: Type) -> tuple[Rule, ...]:
    """Sums of sums: the groups multiply."""
    rules = []
    for inner, outer in ((2, 2), (2, 4), (4, 2)):
        x = wild("x", vector(kind, inner * outer))
        twice = make("group_sum", make("group_sum", x, attr=inner), attr=outer)
        once = make("group_sum", x, attr=inner * outer)
        rules.append(Rule(f"group_twice.{inner}.{outer}.{kind}", twice, once))
    return tuple(rules)


def factors(kind: Type) -> tuple[Rule, ...]:
    """A factor that all lanes share is multiplied once, after the sum."""
    rules = []
    for n in (2, 4):
        x, c = wild("x", vector(kind, n)), number("c", vector(kind, n))
        one = make("deinterleave", c, attr=(0, n))
        before = make("group_sum", x * c, attr=n)
        after = make("group_sum", x, attr=n) * one
        rules.append(Rule(f"factor_out.{n}.{kind}", before, after))
    return tuple(rules)


RULES = tuple(rule for kind in (i16, i32) for rule in (*groups(kind), *factors(kind)))
