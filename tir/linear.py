"""Linear forms of integer expressions: ``3*i + 4*j + 7`` as terms and a constant.

    >>> linear(var("i") * 3 + 7)
    Linear({i: 3}, 7)

Terms are variables, or whole sub-expressions that are not linear (``i // 4``, ``i % 4``), so every
integer expression has a linear form; two equal forms are equal expressions. ``linear`` is for
indices, which never wrap: it looks into divisions, too. ``sum_of`` is exact modulo 2**bits, so it
holds for all arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from .bounds import Ranges, bounds
from .expr import Expr, const, rebuild
from .intervals import Interval
from .quick import quick
from .types import Type, i32


@quick
@dataclass(frozen=True, slots=True)
class Linear:
    """``constant`` + the sum of coefficient * atom; no coefficient is 0."""

    terms: Mapping[Expr, int]
    constant: int

    def __repr__(self) -> str:
        return f"Linear({dict(self.terms)}, {self.constant})"

    def plus(self, other: Linear, scale: int = 1) -> Linear:
        """``self + scale * other``."""
        if not scale:
            return self
        terms = dict(self.terms)
        for atom, coefficient in other.terms.items():
            total = terms.get(atom, 0) + scale * coefficient
            if total:
                terms[atom] = total
            else:
                terms.pop(atom, None)
        return Linear(terms, self.constant + scale * other.constant)

    def times(self, scale: int) -> Linear:
        return _ZERO.plus(self, scale)

    def shifted(self, by: int) -> Linear:
        """``self + by``."""
        return Linear(self.terms, self.constant + by) if by else self

    def only(self, wanted: Callable[[Expr], bool]) -> Linear:
        """The terms whose atoms are wanted, without the constant."""
        return Linear({a: c for a, c in self.terms.items() if wanted(a)}, 0)

    def divided(self, n: int) -> tuple[Linear, Linear]:
        """Quotient and rest with ``self == quotient * n + rest``: terms whose coefficient ``n``
        divides go to the quotient."""
        whole = {a: c // n for a, c in self.terms.items() if c % n == 0}
        rest = {a: c for a, c in self.terms.items() if c % n}
        return Linear(whole, self.constant // n), Linear(rest, self.constant % n)

    def range(self, ranges: Ranges, known: dict[Expr, Interval] | None = None) -> Interval:
        """Lowest and highest exact value."""
        low = high = self.constant
        known = {} if known is None else known
        for atom, coefficient in self.terms.items():
            ends = [coefficient * end for end in bounds(atom, ranges, known)]
            low, high = low + min(ends), high + max(ends)
        return low, high


_ZERO = Linear({}, 0)
_memo: dict[Expr, Linear] = {}


def linear(expr: Expr) -> Linear:
    """The linear form of an i32 expression; parts that are not linear become atoms."""
    found = _memo.get(expr)
    if found is None:
        found = _memo[expr] = _linear(expr)
    return found


def _linear(expr: Expr) -> Linear:
    match expr.op:
        case "const":
            return Linear({}, int(expr.attr))
        case "add" | "sub":
            return linear(expr.args[0]).plus(linear(expr.args[1]), 1 if expr.op == "add" else -1)
        case "mul":
            a, b = map(linear, expr.args)
            if not b.terms:
                return a.times(b.constant)
            if not a.terms:
                return b.times(a.constant)
        case "shl":
            by = linear(expr.args[1])
            if not by.terms:
                return linear(expr.args[0]).times(1 << by.constant)
    if expr.args:
        fresh = rebuild(
            expr, tuple(from_linear(linear(a)) if a.type == i32 else a for a in expr.args)
        )
        folded = _fold_division(fresh)
        if folded is not None:
            return folded
        return Linear({fresh: 1}, 0)
    return Linear({expr: 1}, 0)


def _fold_division(expr: Expr) -> Linear | None:
    """(c*n + r) // n = c + r//n and (c*n + r) % n = r % n, for the part that n divides."""
    if expr.op not in ("floordiv", "mod") or not expr.args[1].is_const:
        return None
    n, form = int(expr.args[1].attr), linear(expr.args[0])
    if not form.terms:
        return Linear({}, form.constant // n if expr.op == "floordiv" else form.constant % n)
    whole, rest = form.divided(n)
    if not whole.terms and not whole.constant:
        return None
    left = linear(Expr(expr.op, i32, (from_linear(rest), expr.args[1])))
    return left if expr.op == "mod" else left.plus(whole)


def joined(form: Linear) -> Linear:
    """Digits put together again: c*n*(x // n) + c*(x % n) is c*x, and c*n*(x % m // n) + c*(x % n)
    is c*(x % m) where n divides m; the last digit of x + c*n is that of x."""
    for atom, coefficient in form.terms.items():
        if atom.op != "mod" or not atom.args[1].is_const:
            continue
        n = int(atom.args[1].attr)
        for upper, scale in form.terms.items():
            whole = _whole_of(atom.args[0], upper, n) if scale == coefficient * n else None
            if whole is not None:
                terms = {a: c for a, c in form.terms.items() if a not in (atom, upper)}
                return joined(Linear(terms, form.constant).plus(linear(whole), coefficient))
    return form


def _whole_of(value: Expr, upper: Expr, n: int) -> Expr | None:
    """What ``upper * n + value % n`` is, where ``upper`` is a digit above: value, or value % m; or
    that of a value some n further, whose last digit is the same."""
    if upper in _quotients(value, n):
        return value
    if upper.op != "floordiv" or upper.args[1] is not const(n, i32):
        return None
    inner = upper.args[0]
    if inner.op != "mod" or not inner.args[1].is_const:
        return inner if _further(inner, value, n) else None
    whole = int(inner.args[1].attr) % n == 0 and _further(inner.args[0], value, n)
    return inner if whole else None


def _further(one: Expr, other: Expr, n: int) -> bool:
    """Whether two values differ by a multiple of ``n``."""
    apart = linear(one).plus(linear(other), -1)
    return all(part % n == 0 for part in (apart.constant, *apart.terms.values()))


def _quotients(value: Expr, n: int) -> list[Expr]:
    """The ways in which ``value // n`` may be written."""
    found = [Expr("floordiv", i32, (value, const(n, i32)))]
    if value.op == "floordiv" and value.args[1].is_const:
        whole = const(n * int(value.args[1].attr), i32)
        found.append(Expr("floordiv", i32, (value.args[0], whole)))
    return found


def from_linear(form: Linear) -> Expr:
    """The canonical expression: terms in order of creation of their atoms, the constant last."""
    total: Expr | None = None
    for atom, coefficient in sorted(form.terms.items(), key=lambda item: item[0].number):
        term = atom if coefficient == 1 else atom * coefficient
        total = term if total is None else total + term
    if total is None:
        return const(form.constant, i32)
    return total + form.constant if form.constant else total


def row_major(shape: Sequence[int], index: Sequence[Expr]) -> Linear:
    """The number of an element of an array in memory."""
    form, stride = _ZERO, 1
    for extent, part in zip(reversed(shape), reversed(index), strict=True):
        form = form.plus(linear(part), stride)
        stride *= extent
    return form


def canonical(expr: Expr) -> Expr:
    """``expr`` brought into its canonical linear form."""
    return from_linear(linear(expr))


@cache
def sum_of(expr: Expr) -> Linear:
    """The normal form where whatever is no sum or product with a constant is an atom."""
    if not expr.type.is_int:
        return Linear({expr: 1}, 0)
    match expr.op:
        case "const":
            return Linear({}, int(expr.attr))
        case "add":
            return sum_of(expr.args[0]).plus(sum_of(expr.args[1]))
        case "sub":
            return sum_of(expr.args[0]).plus(sum_of(expr.args[1]), -1)
        case "mul" if expr.args[1].is_const:
            return sum_of(expr.args[0]).times(int(expr.args[1].attr))
        case "mul" if expr.args[0].is_const:
            return sum_of(expr.args[1]).times(int(expr.args[0].attr))
        case "shl" if expr.args[1].is_const and 0 <= expr.args[1].attr < expr.type.bits:
            return sum_of(expr.args[0]).times(1 << int(expr.args[1].attr))
    return Linear({expr: 1}, 0)


def from_sum(form: Linear, kind: Type) -> Expr:
    """The canonical expression: large coefficients first, equal ones by text, the constant last."""
    terms = sorted(form.terms.items(), key=lambda term: (-abs(term[1]), -term[1], text(term[0])))
    total: Expr | None = None
    first = next((i for i, (_, c) in enumerate(terms) if c > 0), 0)
    terms.insert(0, terms.pop(first)) if terms else None
    for atom, coefficient in terms:
        if total is not None and coefficient < 0:
            total = total - (atom * -coefficient if coefficient != -1 else atom)
        else:
            part = atom if coefficient == 1 else atom * const(coefficient, kind)
            total = part if total is None else total + part
    if total is None:
        return const(form.constant, kind)
    if form.constant < 0:
        return total - -form.constant
    return total + form.constant if form.constant else total


@cache
def text(atom: Expr) -> str:
    """A sort key that is the same in every process."""
    from .spell import show_expr

    return show_expr(atom)
