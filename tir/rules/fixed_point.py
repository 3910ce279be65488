"""Fixed-point idioms lifted from plain arithmetic: widening, rounding, halving, differences.

cast(u8, (cast(i16, a) + cast(i16, b) + 1) >> 1)    ->  rounding_halving_add(a, b)
(x + 8) >> 4            (where x + 8 cannot wrap)   ->  rounding_shr(x, 4)
"""

from __future__ import annotations

from ..expr import Expr, cast, const, make, maximum, minimum, sat_cast, select
from ..ops import OPS
from ..rewrite.rule import Rule, exact, highest, lowest, number, wild
from ..types import Type, i8, i16, i32, i64, u8, u16, u32

NARROW = (u8, i8, u16, i16)
WIDER = {u8: (u16, i16, i32), i8: (i16, i32), u16: (u32, i32), i16: (i32,)}
WIDENING = {"add": "widening_add", "sub": "widening_sub", "mul": "widening_mul"}


def half(n: Expr) -> Expr:
    """2**(n - 1), what rounding adds before a shift by n."""
    return const(1, i64) << (exact(n) - 1)


# Widening -----------------------------------------------------------------------------------


def widening(a: Type, b: Type) -> tuple[Rule, ...]:
    """An operator on two casts that lose nothing is the widening operator, then a cast."""
    x, y = wild("x", a), wild("y", b)
    rules = []
    for op, name in WIDENING.items():
        exact_type = OPS[name].type_of((a, b), None)
        for wide in (i16, u16, i32):
            if not _keeps(wide, exact_type, (a, b)):
                continue
            before = make(op, cast(wide, x), cast(wide, y))
            after = cast(wide, make(name, x, y))
            rules.append(Rule(f"{name}.{wide}.{a}.{b}", before, after))
    return tuple(rules)


def _keeps(wide: Type, exact_type: Type, sources: tuple[Type, ...]) -> bool:
    """``wide`` holds both operands, and the exact result (or just as many bits of it)."""
    held = all(map(wide.holds, sources))
    return held and (wide.bits > exact_type.bits or wide == exact_type) and (
        wide.signed or not exact_type.signed
    )  # fmt: skip


# Rounding -----------------------------------------------------------------------------------


def rounding(kind: Type) -> tuple[Rule, ...]:
    """Half a unit added below a shift right rounds it."""
    x, r, n = wild("x", kind), number("r", kind), number("n", kind)
    valid = (1 <= exact(n)) & (exact(n) <= kind.bits - 1)
    is_half = valid & exact(r).equals(half(n))
    no_wrap = highest(x) + exact(r) <= kind.high
    return (
        Rule(f"rounding_shr.{kind}", (x + r) >> n, make("rounding_shr", x, n), is_half & no_wrap),
        # Two shifts, the first one truncating: floors compose, and the half is added once.
        Rule(f"shift_then_round.{kind}",
             make("rounding_shr", x >> number("a", kind), n),
             make("rounding_shr", x, number("a", kind) + n),
             valid & (0 <= exact(number("a", kind)))
             & (exact(number("a", kind)) + exact(n) <= kind.bits - 1)),
    )  # fmt: skip


def rounding_wide(kind: Type) -> tuple[Rule, ...]:
    """The same with the sum in a wider type: it cannot wrap there."""
    rules = []
    for wide in WIDER[kind]:
        x, r, n = wild("x", kind), number("r", wide), number("n", wide)
        valid = (1 <= exact(n)) & (exact(n) <= kind.bits - 1)
        rounded = make("rounding_shr", x, cast(kind, n))
        total, whole = (cast(wide, x) + r) >> n, make("rounding_shr", cast(wide, x), n)
        is_half = valid & exact(r).equals(half(n))
        rules += [
            Rule(f"rounding_shr_wide.{kind}.{wide}", cast(kind, total), rounded, is_half),
            Rule(f"rounding_shr_narrowed.{kind}.{wide}", cast(kind, whole), rounded, valid),
        ]
    return tuple(rules)


# Averages and differences -------------------------------------------------------------------


def totals(op: str, kind: Type) -> list[tuple[str, Expr]]:
    """Every way to write the exact sum or difference of a and b in a wider type."""
    a, b = wild("a", kind), wild("b", kind)
    whole = make(WIDENING[op], a, b)
    found = []
    for wide in WIDER[kind]:
        if op == "add" or wide.signed:
            found.append((f"{kind}.{wide}", make(op, cast(wide, a), cast(wide, b))))
        if wide == whole.type or wide.bits > whole.type.bits:
            found.append((f"{kind}.{wide}.lifted", cast(wide, whole)))
    return found


def averages(kind: Type) -> tuple[Rule, ...]:
    """Halves of sums and differences, in a type that holds the sum."""
    a, b = wild("a", kind), wild("b", kind)
    down, up = make("halving_add", a, b), make("rounding_halving_add", a, b)
    rules = []
    for name, total in totals("add", kind):
        rounded = make("rounding_shr", total, const(1, total.type))
        rules += [
            Rule(f"halving_add.{name}", cast(kind, total >> 1), down),
            Rule(f"rounding_halving_add.{name}", cast(kind, (total + 1) >> 1), up),
            Rule(f"rounded_half.{name}", cast(kind, rounded), up),
        ]
    for name, total in totals("sub", kind):
        if kind.signed:
            halved = cast(kind, total >> 1)
            rules.append(Rule(f"halving_sub.{name}", halved, make("halving_sub", a, b)))
    return tuple(rules)


def bitwise_averages(kind: Type) -> tuple[Rule, ...]:
    """(a | b) - ((a ^ b) >> 1) rounds up, (a & b) + ((a ^ b) >> 1) rounds down."""
    a, b = wild("a", kind), wild("b", kind)
    differing = make("xor", a, b) >> 1
    return (
        Rule(f"average_by_or.{kind}", make("or_", a, b) - differing,
             make("rounding_halving_add", a, b)),
        Rule(f"average_by_and.{kind}", make("and_", a, b) + differing,
             make("halving_add", a, b)),
    )  # fmt: skip


def differences(kind: Type) -> tuple[Rule, ...]:
    """The absolute difference, by every way to write it."""
    a, b = wild("a", kind), wild("b", kind)
    unsigned = Type("u", kind.bits)
    result = make("abs_diff", a, b)
    rules = [
        Rule(f"abs_diff_of_ends.{kind}", cast(unsigned, maximum(a, b) - minimum(a, b)), result),
        Rule(f"abs_diff_of_select.{kind}", cast(unsigned, select(b < a, a - b, b - a)), result),
        Rule(f"abs_diff_of_choice.{kind}", cast(unsigned, select(a < b, b - a, a - b)), result),
    ]
    for name, total in totals("sub", kind):
        rules.append(Rule(f"abs_diff.{name}", cast(unsigned, make("abs", total)), result))
    return tuple(rules)


def differences_u32() -> tuple[Rule, ...]:
    """The same where nothing is wider."""
    a, b = wild("a", u32), wild("b", u32)
    result = make("abs_diff", a, b)
    return (
        Rule("abs_diff_of_ends.u32", maximum(a, b) - minimum(a, b), result),
        Rule("abs_diff_of_select.u32", select(b < a, a - b, b - a), result),
        Rule("abs_diff_of_choice.u32", select(a < b, b - a, a - b), result),
    )


# Products and shifts ------------------------------------------------------------------------


def high_products(kind: Type, wide: Type) -> tuple[Rule, ...]:
    """A product shifted right, rounded or not: the result fits from s = bits on."""
    a, b, s, r = wild("a", kind), wild("b", kind), number("s", wide), number("r", wide)
    narrow = cast(kind, s)
    fits = (kind.bits <= exact(s)) & (exact(s) <= min(2 * kind.bits - 2, kind.high))
    some = (1 <= exact(s)) & (exact(s) <= min(2 * kind.bits - 2, kind.high))
    is_half = exact(r).equals(half(s))
    by = number("b", kind)
    forms = [("", cast(wide, a) * cast(wide, b), b), (".by", cast(wide, a) * cast(wide, by), by)]
    if OPS["widening_mul"].type_of((kind, kind), None) == wide:
        forms.append((".lifted", make("widening_mul", a, b), b))
    rules = []
    for mark, whole, factor in forms:
        for name, shifted, condition in (
            ("mul_shr", whole >> s, None),
            ("rounding_mul_shr", (whole + r) >> s, is_half),
            ("rounding_mul_shr.shifted", make("rounding_shr", whole, s), None),
        ):
            lifted = make(name.split(".")[0], a, factor, narrow)
            both = (fits, some) if condition is None else (fits & condition, some & condition)
            rules += [
                Rule(f"{name}.{kind}{mark}", cast(kind, shifted), lifted, both[0]),
                Rule(f"sat_{name}.{kind}{mark}", sat_cast(kind, shifted), lifted, both[1]),
            ]
    return tuple(rules)


def split_products(kind: Type) -> tuple[Rule, ...]:
    """A truncating product shift, then a rounding shift, is one rounding product shift.

    From s = bits on the first result fits; one bit earlier it does unless both are the lowest.
    """
    a, b = wild("a", kind), wild("b", kind)
    s, n = number("s", kind), number("n", kind)
    last = min(2 * kind.bits - 2, kind.high)
    inside = (1 <= exact(n)) & (exact(n) <= kind.bits - 1) & (exact(s) + exact(n) <= last)
    above = exact(s).equals(kind.bits - 1) & (kind.low < lowest(b))
    return (
        Rule(f"product_in_two_shifts.{kind}",
             make("rounding_shr", make("mul_shr", a, b, s), n),
             make("rounding_mul_shr", a, b, s + n),
             inside & ((kind.bits <= exact(s)) | above)),
    )  # fmt: skip


RULES = (
    *(rule for a, b in ((u8, u8), (u8, i8), (i8, u8), (i8, i8), (i16, i16), (u16, u16), (u16, i16),
                        (i16, u16))
      for rule in widening(a, b)),
    *(rule for kind in (*NARROW, u32, i32) for rule in rounding(kind)),
    *(rule for kind in NARROW for rule in rounding_wide(kind)),
    *(rule for kind in NARROW for rule in averages(kind)),
    *(rule for kind in (u8, i8, u16, i16, u32, i32) for rule in bitwise_averages(kind)),
    *(rule for kind in NARROW for rule in differences(kind)),
    *differences_u32(),
    *high_products(i16, i32),
    *high_products(i32, i64),
    *split_products(i32),
    *split_products(i16),
)  # fmt: skip
