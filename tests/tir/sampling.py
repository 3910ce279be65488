"""Values for a rule's wildcards under which its condition holds."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dovetail.tir.bounds import bounds
from dovetail.tir.expr import Expr, const, var, walk
from dovetail.tir.intervals import Interval
from dovetail.tir.rewrite.apply import build, holds, scaled
from dovetail.tir.rewrite.rule import WHOLE, Rule, Wild
from dovetail.tir.types import Type, i64, vector

TRIES = 50_000


@dataclass(frozen=True)
class Sample:
    """A rule with its wildcards as variables (of ``scale`` times the lanes) and constants."""

    before: Expr
    after: Expr
    ranges: dict[str, Interval]


def candidates(kind: Type, chance: random.Random) -> list[int]:
    """Numbers of ``kind`` that conditions like: shift counts, powers of two, edges."""
    powers = [1 << n for n in range(kind.bits)]
    some = [*range(kind.bits), *powers, -1, -7, 100, 255, kind.low, kind.high, kind.high // 2]
    some += [chance.randint(-300, 300) for _ in range(8)]
    return [value for value in dict.fromkeys(some) if kind.low <= value <= kind.high]


def intervals(kind: Type) -> list[Interval]:
    """Ranges of values: all, no negative ones, small ones."""
    if kind.kind == "b":
        return [(0, 1)]
    whole = (kind.low, kind.high)
    return [whole, (kind.low + 1, kind.high), (0, kind.high // 2), (max(kind.low, -9), 9)]


def samples(rule: Rule, scale: int = 1, wanted: int = 3, holds: bool = True) -> list[Sample]:
    """Up to ``wanted`` samples where the condition does or does not hold."""
    chance = random.Random(rule.name)
    wilds = sorted({n for n in walk(rule.before) if n.op == "var"}, key=lambda n: str(n.attr))
    numbers = [n for n in wilds if isinstance(n.attr, Wild) and n.attr.constant]
    values = [n for n in wilds if n not in numbers]
    pools = [candidates(n.type, chance) for n in numbers]
    found: list[Sample] = []
    for _ in range(TRIES):
        choice = {str(n.attr): chance.choice(pool) for n, pool in zip(numbers, pools, strict=True)}
        ends = {str(v.attr): chance.choice(intervals(v.type)) for v in values}
        if _holds(rule, choice, ends) == holds:
            found.append(_sample(rule, choice, ends, wilds, scale))
        if len(found) == wanted or (not choice and rule.when is None):
            break
    return found


def _holds(rule: Rule, numbers: dict[str, int], ends: dict[str, Interval]) -> bool:
    if rule.when is None:
        return True
    bound = {name: const(value, i64) for name, value in numbers.items()}
    bound |= {name: var(name, i64) for name in ends}
    wilds = {n for n in walk(rule.before) if n.op == "var"}
    bound[WHOLE] = whole = _sample(rule, numbers, ends, [*wilds], 1).before
    ranges = {node: ends[node.attr] for node in walk(whole) if node.op == "var"}
    return holds(rule.when, bound, lambda v: bounds(whole, ranges) if v is whole else ends[v.attr])


def _sample(
    rule: Rule, numbers: dict[str, int], ends: dict[str, Interval], wilds: list[Expr], scale: int
) -> Sample:
    bound = {}
    for wild in wilds:
        name, kind = str(wild.attr), vector(wild.type, wild.type.lanes * scale)
        value = const(numbers[name], kind) if name in numbers else var(name, kind)
        bound[scaled(wild, scale)] = value
    before, after = (build(scaled(side, scale), bound) for side in (rule.before, rule.after))
    return Sample(before, after, ends)
