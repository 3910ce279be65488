"""Sums of bytes times numbers in words, shifted right: as two sums of halfwords.

    (a * 601 + b * 457 - 90) >> 10        601 = 2 * 256 + 89, 457 = 2 * 256 - 55
    h = a * 2 + b * 2                     l = a * 89 - b * 55 - 90
    (h + (l >> 8)) >> 2

Floors compose: floor((256 h + l) / 2**s) = floor((h + floor(l / 256)) / 2**(s - 8)). Numbers that
are added after the shift are added before it, times 2**s.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, make, sat_cast
from ..tir.intervals import Interval
from ..tir.linear import Linear, sum_of
from ..tir.types import Type, i8, i16, i32, u8, u16

BYTE = 8


@dataclass(frozen=True, slots=True)
class Scaled:
    """``form`` / 2**``shift``, rounded down, exactly; the form's terms are bytes."""

    form: Linear
    shift: int

    @property
    def ends(self) -> Interval:
        low, high = ends_of(self.form)
        return low >> self.shift, high >> self.shift


def ends_of(form: Linear) -> Interval:
    """The least and the largest value of a sum of bytes."""
    parts = [(n * t.type.low, n * t.type.high) for t, n in form.terms.items()]
    return (sum(map(min, parts)) + form.constant, sum(map(max, parts)) + form.constant)


def in_halfwords(node: Expr) -> Expr | None:
    """A shifted sum of words, or a saturated one, computed in halfwords; None where it is none."""
    narrow = node.op in ("cast", "sat_cast") and node.type.bits == 8
    found = scaled(node.args[0] if narrow else node)
    if found is None or found.shift < BYTE or len(found.form.terms) < 1:
        return None
    low, high = found.ends
    if not narrow:
        value = _split(found) if node.type.low <= low and high <= node.type.high else None
        return None if value is None else cast(node.type.element, value)
    if node.op == "cast" and not node.type.low <= low <= high <= node.type.high:
        return None
    value = _split(found)
    return None if value is None else sat_cast(node.type.element, value)


def scaled(node: Expr) -> Scaled | None:
    """What a value is as a scaled sum, if it is one in words that never wraps nor saturates."""
    if not node.type.is_int:
        return None
    match node.op:
        case "shr" | "rounding_shr" if node.type.bits == 32 and node.args[1].is_const:
            form, by = _exact(node.args[0]), int(node.args[1].attr)
            if form is None or not 0 < by < 31:
                return None
            return Scaled(form.shifted(1 << by - 1 if node.op == "rounding_shr" else 0), by)
        case "cast" | "sat_cast":
            return _kept(scaled(node.args[0]), node.type)
        case "add" | "sat_add" if node.args[1].is_const:
            inner = scaled(node.args[0])
            if inner is None:
                return None
            more = int(node.args[1].attr) << inner.shift
            return _kept(Scaled(inner.form.shifted(more), inner.shift), node.type)
    return None


def _kept(value: Scaled | None, kind: Type) -> Scaled | None:
    """The value where a type holds it."""
    if value is None:
        return None
    low, high = value.ends
    return value if kind.low <= low and high <= kind.high else None


def _exact(node: Expr) -> Linear | None:
    """A sum over bytes that its type holds, so that it does not wrap."""
    whole = sum_of(node)
    form = Linear({}, whole.constant)
    for atom, times in whole.terms.items():
        source = atom.args[0] if atom.op == "cast" else None
        if source is None or not source.type.is_int or source.type.bits > 16:
            return None
        inner = Linear({source: 1}, 0) if source.type.bits == 8 else _exact(source)
        if inner is None:
            return None
        form = form.plus(inner, times)
    low, high = ends_of(form)
    return form if node.type.low <= low and high <= node.type.high else None


def _split(value: Scaled) -> Expr | None:
    """High and low factors apart; None where they, or what they sum, are too large."""
    form, shift = _reduced(value)
    low, high = (end >> BYTE for end in ends_of(form))
    kind = next((k for k in (i16, u16) if k.low <= low and high <= k.high), None)
    least = {t: (n - i8.low) % (1 << BYTE) + i8.low for t, n in form.terms.items()}
    most = {t: (n - least[t]) >> BYTE for t, n in form.terms.items()}
    if kind is None or shift < BYTE or not all(i8.low <= n <= u8.high for n in most.values()):
        return None
    below = Linear({t: n for t, n in least.items() if n}, 0)
    number = _balanced(form.constant, ends_of(below))
    if number is None:
        return None
    if not below.terms:
        return None
    total = _sum(below.shifted(number)) >> BYTE
    above = Linear({t: n for t, n in most.items() if n}, form.constant - number >> BYTE)
    total = _sum(above) + total if above.terms else total + above.constant
    total = total if kind == i16 else cast(kind, total)
    return total >> shift - BYTE if shift > BYTE else total


def _reduced(value: Scaled) -> tuple[Linear, int]:
    """Without the power of two that all factors share."""
    common = min((n & -n).bit_length() - 1 for n in value.form.terms.values())
    by = min(common, value.shift - BYTE)
    terms = {term: n >> by for term, n in value.form.terms.items()}
    return Linear(terms, value.form.constant >> by), value.shift - by


def _balanced(constant: int, ends: Interval) -> int | None:
    """The number, or what is left of it but for multiples of 256, that keeps a sum a halfword."""
    for number in (constant, constant % (1 << BYTE)):
        if i16.low <= ends[0] + number and ends[1] + number <= i16.high:
            return number
    return None


def _sum(form: Linear) -> Expr:
    """In halfwords, modulo 2**16."""
    total: Expr | None = None
    for term, times in form.terms.items():
        wide = cast(i16, term)
        part = wide if times == 1 else wide * times
        total = part if total is None else total + part
    assert total is not None, "a sum has terms"
    return total + form.constant if form.constant else total


def widened_product(node: Expr) -> Expr | None:
    """A product by a number in words as one of halfwords, which is exact."""
    if node.op != "mul" or node.type.element != i32 or not node.args[1].is_const:
        return None
    value, number = node.args[0], int(node.args[1].attr)
    source = value.args[0] if value.op == "cast" else value
    if not source.type.is_int or source.type.bits > 16 or number == 1:
        return None
    low, high = bounds(source, {})
    halves = (i16, i16) if i16.low <= number <= i16.high and high <= i16.high else (u16, u16)
    if not (halves[0].low <= low and high <= halves[0].high):
        return None
    if not halves[1].low <= number <= halves[1].high:
        return None
    factor = const(number, Type(halves[1].kind, 16, node.type.lanes))
    return cast(i32, make("widening_mul", cast(halves[0], source), factor))


def wide_product(node: Expr) -> Expr | None:
    """A product of halfwords that is shifted by another number than those that rows know: in words,
    which saturate to the same halfwords."""
    shift = {"mul_shr": "shr", "rounding_mul_shr": "rounding_shr"}.get(node.op)
    if shift is None or node.type.bits != 16:
        return None
    a, b, count = node.args
    known = count.is_const and count.attr == 15
    if known and (node.op == "rounding_mul_shr" or b.is_const or b.op in ("tile", "repeat")):
        return None
    product = make("widening_mul", a, b)
    wide = product.type.element
    by = const(count.attr, product.type) if count.is_const else cast(wide, count)
    return sat_cast(node.type.element, make(shift, product, by))
