"""The rewriting engine: rules to a fixpoint, operands before users, and why rules did not apply.

    rewriter = Rewriter(RULES, ranges)
    lifted = rewriter(expr)                    # rewriter.counts: how often each rule fired

Rules are found by operator and element type; the order among them does not matter for the result's
meaning. A ``Budget`` shared by several rewriters stops after so many rewrites, to find a bad one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..bounds import Ranges, bounds
from ..expr import Expr, is_number, rebuild, walk
from ..intervals import Interval
from .apply import apply, failure
from .match import may_match
from .rule import Law, Rule


@dataclass(slots=True)
class Budget:
    """``left`` more rewrites may happen; None: any number."""

    left: int | None = None

    def take(self) -> bool:
        """Whether one more rewrite may happen; it is counted as done."""
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rule tried at an expression: the new expression, or the first reason against it."""

    rule: str
    site: Expr
    result: Expr | None
    reason: str = ""

    def __str__(self) -> str:
        outcome = f"-> {self.result!r}" if self.result is not None else f"no: {self.reason}"
        return f"{self.rule}: {self.site!r} {outcome}"


@dataclass(slots=True)
class RuleSet:
    """Rules by the operator and element type of their root."""

    rules: tuple[Rule | Law, ...]
    index: dict[tuple[Any, ...], list[Rule]] = field(default_factory=dict)
    laws: dict[str, list[Law]] = field(default_factory=dict)
    near: dict[tuple[Any, ...], list[Rule | Law]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules:
            if isinstance(rule, Law):
                for root in rule.roots:
                    self.laws.setdefault(root, []).append(rule)
            else:
                self.index.setdefault(rule.root, []).append(rule)

    def at(self, node: Expr, arms: tuple[str, ...] | None) -> list[Rule | Law]:
        """The rules whose root may be ``node``, and whose operators right below may be ``arms``."""
        root = node.op, node.type.kind, node.type.bits
        found = self.near.get((root, arms))
        if found is None:
            rules = self.index.get(root, ())
            fit = [rule for rule in rules if arms is None or may_match(rule.before, arms)]
            found = self.near[root, arms] = [*fit, *self.laws.get(node.op, ())]
        return found


class Rewriter:
    """Rewrites under fixed ranges; keeps results, so one serves a whole function body."""

    def __init__(
        self,
        rules: RuleSet | Iterable[Rule | Law],
        ranges: Ranges | None = None,
        *,
        budget: Budget | None = None,
        forbidden: Iterable[str] = (),
        trace: list[Attempt] | None = None,
    ) -> None:
        self.rules = rules if isinstance(rules, RuleSet) else RuleSet(tuple(rules))
        self.ranges: Ranges = ranges or {}
        self.budget, self.trace = budget or Budget(), trace
        self.forbidden = frozenset(forbidden)
        self.counts: Counter[str] = Counter()
        self.known: dict[Expr, Interval] = {}
        self.done: dict[Expr, Expr] = {}

    def __call__(self, root: Expr) -> Expr:
        for node in walk(root):
            if node not in self.done:
                fresh = rebuild(node, tuple([self.done[arg] for arg in node.args]))
                self.done[node] = self._normal(fresh)
        return self.done[root]

    def bounds(self, expr: Expr) -> Interval:
        return bounds(expr, self.ranges, self.known)

    def _normal(self, node: Expr) -> Expr:
        """``node``, whose operands no rule fits, until no rule fits it."""
        if node in self.done:
            return self.done[node]
        fresh = None if is_number(node) else self._step(node)
        result = node if fresh is None else self(fresh)
        self.done[node] = result
        return result

    def _step(self, node: Expr) -> Expr | None:
        arms = tuple([arg.op for arg in node.args]) if self.trace is None else None
        for rule in self.rules.at(node, arms):
            if rule.name in self.forbidden:
                self._forbade(rule, node)
                continue
            fresh = self._applied(rule, node)
            stopped = fresh is not None and not self.budget.take()
            if self.trace is not None:
                self.trace.append(self._attempt(rule, node, fresh, stopped))
            if fresh is not None and not stopped:
                self.counts[rule.name] += 1
                return fresh
        return None

    def _forbade(self, rule: Rule | Law, node: Expr) -> None:
        """Notes a rule that would have applied."""
        if self.trace is not None and self._applied(rule, node) is not None:
            self.trace.append(Attempt(rule.name, node, None, "forbidden: it must not be used here"))

    def _applied(self, rule: Rule | Law, node: Expr) -> Expr | None:
        if isinstance(rule, Law):
            return rule.apply(node, self.ranges)
        return apply(rule, node, self.bounds)

    def _attempt(self, rule: Rule | Law, node: Expr, fresh: Expr | None, stopped: bool) -> Attempt:
        if stopped:
            return Attempt(rule.name, node, None, "limit: no more rewrites may happen")
        if fresh is not None:
            return Attempt(rule.name, node, fresh)
        if isinstance(rule, Law):
            return Attempt(rule.name, node, None, "lanes: they are not moved alike")
        return Attempt(rule.name, node, None, failure(rule, node, self.bounds) or "")


def explain(rules: Iterable[Rule | Law], root: Expr, ranges: Ranges | None = None) -> list[Attempt]:
    """Every attempt in rewriting ``root``, in order."""
    trace: list[Attempt] = []
    Rewriter(rules, ranges, trace=trace)(root)
    return trace


def bad_rewrite(apply_with: Callable[[Budget], bool], most: int = 1 << 20) -> int | None:
    """The number of the first rewrite that spoils the result, by bisection; None if none does,
    and 0 if the result is wrong without any.

    ``apply_with(budget)`` rewrites under a budget and says whether the result is still right.
    """
    if apply_with(Budget(most)):
        return None
    if not apply_with(Budget(0)):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if apply_with(Budget(middle)):
            low = middle
        else:
            high = middle
    return high
