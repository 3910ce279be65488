"""Matching an expression against a pattern: the left side of a rule, or the body of an instruction.

Operators, what they hold, types and operands must agree; an operator that commutes is tried both
ways, and the same variable twice must be the same expression. What else a variable, a type or a
number may be, kinds of ``Matcher`` say: that of rules (``tir/rewrite/apply.py``) and that of
instructions (``target/match_rows.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..expr import Expr, is_number
from ..ops import OPS


class Matcher:
    """Matches one pattern once. It knows why it did not: the ``reason`` is the difference on the
    way that came furthest, where ``met`` operators agreed."""

    agreed = 0  # operators, on the way that is being tried
    met = -1
    failed: tuple[Any, ...]  # what says why, and of what

    def __init__(self, ordered: bool = False) -> None:
        self.ordered = ordered  # operands have the order that is written
        self.bound: dict[Expr, Expr] = {}  # what variables are
        # Operands that operators of the pattern take in, each with its user and its place there.
        self.inside: list[tuple[Expr, Expr, int]] = []

    def match(self, pattern: Expr, node: Expr) -> bool:
        known, op = None, pattern.op
        if op == "var":
            known = self.bound.get(pattern)
            if known is node:
                return True
            if (
                known is None
                and (pattern.type is node.type or self.alike(pattern, node))
                and self.stands(pattern, node)
            ):
                self.bound[pattern] = node
                return True
        elif (node.op == "const" != op or is_number(node)) and self.number(pattern, node):
            return True
        elif (
            op == node.op
            and pattern.attr == node.attr
            and (pattern.type is node.type or self.alike(pattern, node))
            and len(pattern.args) == len(node.args)
        ):
            if not pattern.args or self._all(pattern.args, node):
                return True
            if self.ordered or len(node.args) != 2 or not OPS[op].commutes:
                return False
            return self._all(pattern.args[::-1], node)
        if self.agreed > self.met:
            self.met, self.failed = self.agreed, (self.difference, pattern, node, known)
        return False

    def _all(self, patterns: tuple[Expr, ...], node: Expr) -> bool:
        """Whether operands match; where one does not, those before it are forgotten."""
        bound, inside, agreed = len(self.bound), len(self.inside), self.agreed
        self.agreed = agreed + 1
        for place, arg in enumerate(node.args):
            if not self.match(patterns[place], arg):
                break
            if arg.args and patterns[place].op != "var":
                self.inside.append((arg, node, place))
        else:
            return True
        while len(self.bound) > bound:
            self.bound.popitem()
        del self.inside[inside:]
        self.agreed = agreed
        return False

    # What kinds of patterns say of themselves -------------------------------------------------

    def stands(self, variable: Expr, node: Expr) -> bool:
        """Whether a variable may be a node of its type."""
        return True

    def alike(self, pattern: Expr, node: Expr) -> bool:
        """Whether types that differ agree."""
        return False

    def number(self, pattern: Expr, node: Expr) -> bool:
        """Whether a number fits a pattern that is not written so, and is no variable."""
        return False

    # Why it did not match ---------------------------------------------------------------------

    @property
    def reason(self) -> str:
        """What kept it from matching: ``kind: what must hold, but got this``."""
        says, *of = self.failed
        return str(says(*of))

    def refuse(self, says: Callable[..., str], *of: Any) -> bool:
        """All operators agree, but what matches cannot be used; other ways do not count."""
        self.met, self.failed = self.agreed, (says, *of)
        return False

    def difference(self, pattern: Expr, node: Expr, known: Expr | None) -> str:
        if known is not None:
            both = f"{brief(known)} and {brief(node)}"
            return f"operand: {pattern} must be the same value each time, but got {both}"
        if pattern.op not in (node.op, "var"):
            return f"operator: {pattern.op} is needed, but got {node.op}"
        if pattern.type is not node.type and not self.alike(pattern, node):
            return f"type: {pattern.type} is needed, but got {node.type}"
        if pattern.attr == node.attr:
            return f"lanes: {len(pattern.args)} parts are needed, but got {len(node.args)}"
        kind = "constant" if pattern.op == "const" else "lanes"
        return f"{kind}: {pattern.attr} is needed, but got {node.attr}"


def may_match(pattern: Expr, arms: tuple[str, ...]) -> bool:
    """Whether the operators right below the root agree, in one order or the other."""
    wanted = [arg.op for arg in pattern.args]

    def agree(order: list[str]) -> bool:
        pairs = zip(order, arms, strict=False)
        return all(w in ("var", a) or a == "const" for w, a in pairs)

    return agree(wanted) or (OPS[pattern.op].commutes and agree(wanted[::-1]))


def brief(node: Expr) -> str:
    """A value within a sentence."""
    text = repr(node)
    return text if len(text) <= 40 else f"a {node.op} of {node.type}"
