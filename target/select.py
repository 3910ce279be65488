"""Instruction selection: expressions of register size are covered by the instruction table.

Each row's body is a pattern; a node is covered by the row that takes in most of the expression
below it (GCC's combiner asks the same question: do these operations together make one
instruction?). A node with several users stays a value of its own, unless it has no register form,
or is but another one made wider.

    acc + group_sum(cast(i32, w) * cast(i32, tile(x, 32)), 4)     is     vrmpyub_acc(acc, w, x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass

from ..tir.bounds import bounds
from ..tir.expr import Expr, const, is_fixed, walk
from ..tir.rewrite.match import may_match
from ..tir.types import Type
from .expansions import Expansion
from .instruction import Instruction, Parameter, Register, has_register, register_class
from .match_rows import LANE_OPS, RowMatcher, is_loose
from .selection_record import Covered, Expanded, SelectionRecord, Trial


@dataclass(frozen=True, slots=True)
class Cover:
    """A node as one instruction: ``operands`` by the row's parameters; ``inside`` counts the
    operators that the instruction does in one."""

    row: Instruction
    operands: tuple[Expr, ...]
    inside: int


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A row with the facts that matching needs often."""

    row: Instruction
    body: Expr
    loose: bool  # matches whatever the signs of lanes
    inside: int  # operators

    @staticmethod
    def of(row: Instruction, body: Expr) -> _Pattern:
        return _Pattern(row, body, is_loose(row), sum(1 for node in walk(body) if node.args))


class Selector:
    """Finds covers in a table of rows; ``expansions`` apply where no row does. ``refused`` are
    rows that must not be used, with the reason; ``costs`` is what units cost that cost more than
    1."""

    def __init__(
        self,
        rows: Iterable[Instruction],
        expansions: Iterable[Expansion],
        refused: Mapping[str, str] | None = None,
        costs: Mapping[str, int] | None = None,
    ) -> None:
        self.costs = costs or {}
        self._by_root: dict[tuple[str, Type], list[_Pattern]] = {}
        self._by_arms: dict[tuple[str, Type, tuple[str, ...]], list[_Pattern]] = {}
        self._by_op: dict[str, list[_Pattern]] = {}
        self.by_name = {}
        self.refused = dict(refused or {})
        self.record: SelectionRecord | None = None
        for row in rows:
            self.by_name[row.name] = row
            if row.covers and row.body is not None:
                pattern = _Pattern.of(row, row.body)
                self._by_op.setdefault(row.body.op, []).append(pattern)
                for kind in _kinds(pattern) if row.name not in self.refused else ():
                    self._by_root.setdefault((row.body.op, kind), []).append(pattern)
        self.expansions: dict[str, list[Expansion]] = {}
        for expansion in expansions:
            self.expansions.setdefault(expansion.op, []).append(expansion)

    def recording(self, record: SelectionRecord) -> Selector:
        """The same selector, which also writes down what it does and why."""
        fresh = copy(self)
        fresh.record = record
        return fresh

    def cover(self, node: Expr, users: Callable[[Expr], int]) -> Cover | None:
        """The best row for ``node``; ``users`` counts the users that a value has (0: it is none
        that could be shared)."""
        best: Cover | None = None
        if node.op == "call":
            name = str(node.attr)
            best = None if name in self.refused else Cover(self.by_name[name], node.args, 1)
        else:
            for pattern in self._patterns(node):
                best = self._match_row(pattern, node, users, RowMatcher(pattern.loose))
                if best is not None:
                    break
        if self.record is not None:
            row, operands = (best.row, best.operands) if best else (None, ())
            trials = self._trials(node, users, best)
            self.record.events.append(Covered(node, row, operands, trials))
        return best

    def _patterns(self, node: Expr) -> list[_Pattern]:
        """The rows whose root and the operators right below it agree with the node's, the best
        ones first."""
        arms = tuple([arg.op for arg in node.args])
        key = node.op, node.type, arms
        if key not in self._by_arms:
            rows = self._by_root.get((node.op, node.type), ())
            fit = [pattern for pattern in rows if may_match(pattern.body, arms)]
            self._by_arms[key] = sorted(fit, key=self._rank)
        return self._by_arms[key]

    def expand(self, node: Expr, early: bool = False) -> Expr | None:
        """``node`` in smaller steps, if an expansion applies; ``early``: only one that comes
        before any row is tried."""
        for expansion in self.expansions.get(node.op, ()):
            found = expansion.rewrite(node) if expansion.early or not early else None
            if found is not None:
                if self.record is not None:
                    self.record.events.append(Expanded(node, found, expansion.name, early))
                return found
        return None

    def _match_row(
        self, pattern: _Pattern, node: Expr, users: Callable[[Expr], int], matcher: RowMatcher
    ) -> Cover | None:
        """The node by this row, or None; ``matcher`` then has the reason."""
        row = pattern.row
        if not matcher.match(pattern.body, node):
            return None
        for inner, _, _ in matcher.inside:
            shared = users(inner) > matcher.uses(inner)
            if shared and not _widens(inner):  # somebody else needs a value that would vanish
                matcher.refuse(_others, inner)
                return None
        operands = []
        for parameter in row.parameters:
            bound = matcher.bound.get(parameter.variable)
            if bound is None and parameter.fixed:
                bound = const(parameter.low, parameter.type)  # a register that the row fixes
            if not _encodes(row, parameter, bound):
                matcher.refuse(_misfit, parameter, bound)
                return None
            assert bound is not None
            operands.append(bound)
        return Cover(row, tuple(operands), pattern.inside)

    def _rank(self, of: Cover | _Pattern) -> tuple[int, int, int]:
        """More operators in one; then the cheaper unit; then immediates rather than registers."""
        registers = sum(p.register is not Register.IMMEDIATE for p in of.row.parameters)
        return -of.inside, self.costs.get(_unit(of), 1), registers

    # For the record ---------------------------------------------------------------------------

    def _trials(
        self, node: Expr, users: Callable[[Expr], int], best: Cover | None
    ) -> tuple[Trial, ...]:
        """All rows with the node's operator, the nearest ones first."""
        patterns = self._by_op.get(node.op, ()) if node.op != "call" else ()
        found = [self._trial(pattern, node, users, best) for pattern in patterns]
        found.sort(key=lambda t: (bool(t.reason), not t.matched, not t.near, -t.met, -t.inside))
        return tuple(found)

    def _trial(
        self, pattern: _Pattern, node: Expr, users: Callable[[Expr], int], best: Cover | None
    ) -> Trial:
        matcher, row = RowMatcher(pattern.loose), pattern.row
        found = self._match_row(pattern, node, users, matcher)
        if found is None:
            return Trial(row, pattern.inside, matcher.met, False, matcher.reason)
        if row.name in self.refused:
            reason = self.refused[row.name]
        else:
            assert best is not None
            reason = "" if best.row is row else self._why_worse(found, best)
        return Trial(row, pattern.inside, pattern.inside, True, reason)

    def _why_worse(self, lost: Cover, won: Cover) -> str:
        """The first part of the rank in which ``lost`` is behind."""
        if lost.inside < won.inside:
            return f"fewer: takes {lost.inside} in one, {won.row.name} {won.inside}"
        (_, a, more), (_, b, less) = self._rank(lost), self._rank(won)
        if a > b:
            return f"unit: {_unit(lost)} is dearer than {_unit(won)} of {won.row.name}"
        if more > less:
            return f"registers: {more} are read, {won.row.name} reads {less}"
        return f"equal: {won.row.name} comes first in the table"


def _encodes(row: Instruction, parameter: Parameter, bound: Expr | None) -> bool:
    """Whether an operand can hold the matched value: an immediate in range, or a register."""
    if bound is None:
        return False
    if parameter.register is Register.IMMEDIATE:
        known = bounds(bound, {}) if is_fixed(bound) else None
        return known is not None and parameter.low <= known[0] <= known[1] <= parameter.high
    kind, vector = bound.type, row.vector
    return has_register(kind, vector) and register_class(kind, vector) is parameter.register


def _widens(inner: Expr) -> bool:
    """Whether a value is what an instruction reads made wider, which costs it nothing."""
    return inner.op == "cast" and inner.type.is_int and inner.args[0].type.bits < inner.type.bits


def _others(inner: Expr) -> str:
    return f"users: others need the inner {inner.op} of {inner.type}"


def _misfit(parameter: Parameter, bound: Expr | None) -> str:
    if bound is None:
        return f"operand: nothing says what {parameter.name} is"
    if parameter.register is not Register.IMMEDIATE:
        wanted = parameter.register.name.lower()
        return f"register: {parameter.name} must be a {wanted}, but got {bound.type}"
    got = str(bound.attr) if bound.is_const else f"a {bound.op} of {bound.type}"
    return f"immediate: {parameter.name} must be {parameter.low}..{parameter.high}, but got {got}"


def _unit(of: Cover | _Pattern) -> str:
    return of.row.unit[0][1]


def _kinds(pattern: _Pattern) -> list[Type]:
    """The types of result that a row can compute."""
    kind = pattern.body.type
    if not kind.is_int or not (pattern.loose or pattern.body.op in LANE_OPS):
        return [kind]
    return [Type(sign, kind.bits, kind.lanes) for sign in "iu"]
