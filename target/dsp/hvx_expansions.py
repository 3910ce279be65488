"""Operators in steps of several HVX instructions: what no single row computes.

rounding_mul_shr(a, m, 31)    ->    vmpyo(vmpye(a, m), a, m), rounded
"""

from __future__ import annotations

from ...tir.expr import Expr, const, make
from ...tir.types import i32
from ..expansions import EXPANSIONS as SHARED
from ..expansions import Expansion, less
from ..numbers import count_of, spread
from .quotients import by_number, rest_by_number

ENTRIES = 32  # of a table, that one instruction looks up


def _requantize(node: Expr) -> Expr | None:
    """rounding_mul_shr(a, m, s) with s > 31: floors compose, so the product may first be shifted
    by 31: floor((a*m + 2**(s-1)) / 2**s) = rounding_shr(floor(a*m / 2**31), s - 31)."""
    a, m, s = node.args
    known = count_of(s, 31, 62)
    if known is None or node.type.lanes == 1 or (a.type.element, m.type.element) != (i32, i32):
        return None
    count, least, most = known
    if most == 31:
        low = Expr("call", node.type, (a, m), "vmpyewuh")
        return Expr("call", node.type, (low, a, m), "vmpyowh_rnd_sacc")
    if least == 31:
        return None
    high = make("mul_shr", a, m, const(31, s.type))
    return make("rounding_shr", high, spread(less(count, 31), s))


def _high_words(node: Expr) -> Expr | None:
    """mul_shr(a, m, 31) is vmpye (low half of m, shifted by 16) then vmpyo (high half, by 15 more);
    floors compose."""
    a, m, s = node.args
    words = (a.type.element, m.type.element) == (i32, i32) and node.type.lanes > 1
    if not words or count_of(s, 31, 31) is None:
        return None
    low = Expr("call", node.type, (a, m), "vmpyewuh")
    return Expr("call", node.type, (low, a, m), "vmpyowh_sacc")


def _by_halves(node: Expr) -> Expr | None:
    """The low word of a product of words: modulo 2**32, a*b is a times the low half of b, and the
    low half of a times the high half of b, 16 bits further left."""
    a, b = node.args
    if node.type.lanes == 1 or node.type.element != i32:
        return None
    crossed = Expr("call", node.type, (a, b), "vmpyieoh")
    return Expr("call", node.type, (crossed, a, b), "vmpyiewuh_acc")


def _by_entries(node: Expr) -> Expr | None:
    """A table of 256 bytes in two registers, whose halves are interleaved as look-ups read them:
    each looks up 32 entries, and gives 0 for bytes that mean others."""
    table, index = node.args
    if table.op != "concat" or len(table.args) != 2 or index.type.lanes == 1:
        return None
    halves, total = [_halves_interleaved(half) for half in table.args], None
    each = halves[0].type.lanes // ENTRIES
    for part in range(len(halves) * each):
        source, number = halves[part // each], const(part, i32)
        if total is None:
            total = Expr("call", node.type, (index, source, number), "vlutvvbi")
        else:
            total = Expr("call", node.type, (total, index, source, number), "vlutvvb_oracci")
    return total


def _halves_interleaved(register: Expr) -> Expr:
    lanes = register.type.lanes // 2
    low, high = (make("slice", register, attr=(at, lanes)) for at in (0, lanes))
    return make("interleave", low, high)


EXPANSIONS = (
    Expansion("rounding_mul_shr", _requantize, early=True),
    Expansion("lookup", _by_entries, early=True),
    Expansion("mul_shr", _high_words, early=True),
    Expansion("floordiv", by_number),
    Expansion("mod", rest_by_number),
    *SHARED,
    Expansion("mul", _by_halves),
)
