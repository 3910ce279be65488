"""Every rule: it applies, keeps values, leaves others alone, is cheaper, and is proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import z3
from hypothesis import HealthCheck, given, settings

from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, cast, const, free_vars, make, var
from dovetail.tir.passes.lift import lift
from dovetail.tir.rewrite import proofs
from dovetail.tir.rewrite.apply import apply, failure
from dovetail.tir.rewrite.engine import Budget, Rewriter, bad_rewrite, explain
from dovetail.tir.rewrite.prove import Refuted, main, prove
from dovetail.tir.rewrite.rule import Rule, number, weight, wild
from dovetail.tir.rewrite.rule import exact as value_of
from dovetail.tir.rewrite.smt import Products, meaning
from dovetail.tir.rules import LAWS, RULES, lifting_rules
from dovetail.tir.script import parse, show, show_expr
from dovetail.tir.simplifier import simplify
from dovetail.tir.types import i8, i16, i32, u8, vector
from tests.tir.generate import values
from tests.tir.helpers import keeps, lift_expr, rewrites, same_meaning, same_values
from tests.tir.sampling import Sample, samples


def interleaved(name: str, lanes: int) -> Expr:
    half = [var(f"{name}{n}", vector(i16, lanes // 2)) for n in range(2)]
    return make("interleave", *half)


def repeated(name: str, lanes: int) -> Expr:
    return make("repeat", var(name, vector(u8, lanes // 2)), attr=2)


NUMBERS = tuple(
    const(n, vector(kind, 4)) for kind in (u8, i8, i16, i32) for n in (0, 1, 3, 127, kind.low)
)
LEAVES = (var("x", vector(u8, 4)), var("y", vector(i16, 4)), var("z", vector(u8, 4)),
          interleaved("v", 4), repeated("w", 4))  # fmt: skip
IDS = [rule.name for rule in RULES]
PARTS = 8  # that processes prove at once
CONDITIONAL = [rule for rule in RULES if rule.when is not None]


def applied(rule: Rule, sample: Sample) -> Expr | None:
    named = {node.attr: node for node in free_vars(sample.before)}
    ranges = {named[name]: ends for name, ends in sample.ranges.items() if name in named}
    return apply(rule, sample.before, Rewriter((), ranges).bounds)


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_rule_applies_and_keeps_values(rule: Rule) -> None:
    for scale in (1, 4):
        found = samples(rule, scale)
        assert found, "no numbers fulfil the condition"
        for sample in found:
            same_meaning(sample.before, sample.after, sample.ranges)
            if not sample.before.is_const:
                got = applied(rule, sample)
                assert got is not None and show_expr(got) == show_expr(sample.after)


@pytest.mark.parametrize("rule", CONDITIONAL, ids=[rule.name for rule in CONDITIONAL])
def test_a_rule_does_not_touch_what_its_condition_forbids(rule: Rule) -> None:
    found = samples(rule, holds=False)
    assert found, "the condition forbids nothing"
    for sample in found:
        assert applied(rule, sample) is None


def test_every_rule_makes_it_cheaper() -> None:
    for rule in RULES:
        assert weight(rule.after) < weight(rule.before), rule.name


def test_names_are_given_once() -> None:
    assert len(set(IDS)) == len(IDS)


# Lifting: what people write, and what must stay --------------------------------------------

LIFTED = [
    ("cast(u8, max(min(rounding_mul_shr(a, b, 40) + 3, 255), 0))",
     "sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(a, b, 40)), 3))"),
    ("cast(u8, max(min(rounding_mul_shr(a, b, 33) + 3, 200), 7))",
     "max(min(sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(a, b, 33)), 3)), 200), 7)"),
    ("cast(u8, max(min(rounding_mul_shr(a, b, 20), 252), -3) + 3)",
     "sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(a, b, 20)), 3))"),
    ("cast(u8, max(min(a, 255), 0))", "sat_cast(u8, a)"),
    ("cast(i8, min(max(a, -128), 127))", "sat_cast(i8, a)"),
    ("cast(u8, min(max(a, 3), 100))", "max(min(sat_cast(u8, a), 100), 3)"),
    ("(p + 8) >> 4", "(p + 8) >> 4"),
    ("cast(u8, (cast(i32, p) + 8) >> 4)", "rounding_shr(p, 4)"),
    ("((cast(i32, p) - 3) * 5 + 8) >> 4", "cast(i32, rounding_shr((cast(i16, p) + -3) * 5, 4))"),
    ("max(min((cast(i32, p) * 9 + cast(i32, q) * -7) >> 3, 99), -5)",
     "cast(i32, max(min(cast(i16, p) * 9 + cast(i16, q) * -7 >> 3, 99), -5))"),
    ("cast(u8, min(abs(cast(i32, p) * 3 - cast(i32, q) * 4), 255))",
     "sat_cast(u8, abs(cast(i16, p) * 3 - cast(i16, q) * 4))"),
    ("cast(u8, (cast(i16, p) + cast(i16, q) + 1) >> 1)", "rounding_halving_add(p, q)"),
    ("cast(u8, (cast(u16, p) + cast(u16, q)) >> 1)", "halving_add(p, q)"),
    ("cast(u8, (cast(i32, p) + cast(i32, q) + 1) >> 1)", "rounding_halving_add(p, q)"),
    ("(p | q) - ((p ^ q) >> 1)", "rounding_halving_add(p, q)"),
    ("cast(u8, abs(cast(i16, p) - cast(i16, q)))", "abs_diff(p, q)"),
    ("select(q < p, p - q, q - p)", "abs_diff(p, q)"),
    ("max(p, q) - min(p, q)", "abs_diff(p, q)"),
    ("cast(u8, min(cast(i32, p) + cast(i32, q), 255))", "sat_add(p, q)"),
    ("cast(u8, max(cast(i16, p) - cast(i16, q), 0))", "sat_sub(p, q)"),
    ("sat_cast(i16, cast(i32, s) + cast(i32, t))", "sat_add(s, t)"),
    ("cast(i32, p) * cast(i32, v)", "cast(i32, widening_mul(p, v))"),
    ("cast(i16, p) * cast(i16, v)", "widening_mul(p, v)"),
    ("cast(i32, (cast(i64, a) * cast(i64, b) + (1 << 40)) >> 41)", "rounding_mul_shr(a, b, 41)"),
    ("sat_cast(i16, (cast(i32, s) * cast(i32, t) + 16384) >> 15)", "rounding_mul_shr(s, t, 15)"),
    ("cast(i32, (cast(i64, a) * 1518500250 + (1 << 40)) >> 41)",
     "rounding_mul_shr(a, 1518500250, 41)"),
    ("sat_cast(i16, cast(i32, s) * 300 >> 4)", "mul_shr(s, 300, 4)"),
    ("rounding_shr(mul_shr(a, b, 32), 5)", "rounding_mul_shr(a, b, 37)"),
    ("sat_cast(u8, sat_cast(i16, a))", "sat_cast(u8, a)"),
    ("select(s < t, s, t)", "min(s, t)"),
    ("max(min(max(min(s, 90), 3), 80), -5)", "max(min(s, 80), 3)"),
    ("group_sum(group_sum(a, 2), 2)", "group_sum(a, 4)"),
    ("a + (b + (a + b))", "a + b + a + b"),
    ("interleave(s, t) + interleave(t, s)", "interleave(s + t, t + s)"),
    ("deinterleave(interleave(s, t), 1, 2)", "t"),
    ("interleave(deinterleave(s, 0, 2), deinterleave(s, 1, 2))", "s"),
    ("concat(slice(s, 0, 4), slice(s, 4, 4))", "s"),
    ("slice(concat(s, t), 10, 4)", "slice(t, 2, 4)"),
    ("tile(s, 4) * tile(t, 4) + 3", "tile(s * t + 3, 4)"),
    ("deinterleave(repeat(s, 2), 1, 2)", "s"),
]  # fmt: skip
KINDS = {"a": "i32x8", "b": "i32x8", "p": "u8x8", "q": "u8x8", "v": "i8x8", "s": "i16x8",
         "t": "i16x8"}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), LIFTED, ids=[before for before, _ in LIFTED])
def test_idioms_are_lifted(before: str, after: str) -> None:
    ranges = {name: (-(1 << 20), 1 << 20) for name in "ab" if "252), -3" in before}
    rewrites(lift_expr, before, after, ranges, **KINDS)


@pytest.mark.parametrize("text", [
    "rounding_shr(rounding_shr(a, 3), 3)",  # rounding twice is not rounding once
    "(a + 8) >> 4",  # may wrap
    "cast(i32, cast(i64, a) * 2147483648 >> 41)",  # the factor is no i32
    "sat_cast(u8, rounding_mul_shr(a, b, 20) + 3)",  # may wrap
    "sat_cast(u8, sat_add(sat_cast(i16, a), 300))",
    "rounding_halving_add(rounding_halving_add(p, q), rounding_halving_add(q, q))",
    "cast(u8, max(min(s, 300), 0))",  # keeps low bits above 255
    "sat_cast(i8, sat_cast(u8, a))",  # the smaller type is not within the other
    "interleave(s, t) + s2",
    "interleave(s, t) + concat(s, t)",
    "deinterleave(interleave(s, t), 0, 4)",
    "mul_shr(mul_shr(a, b, 31), b, 3)",
    "(s | t) - ((s ^ t) >> 2)",
])  # fmt: skip
def test_what_must_stay(text: str) -> None:
    keeps(lift_expr, text, s2="i16x16", **KINDS)


def test_lifting_a_kernel_keeps_its_bytes() -> None:
    func = parse("""
def requantize(acc: Buffer[i32, (4, 32)], m: Buffer[i32, (32,)], y: Buffer[u8, (4, 32)]):
    for i in range(4):
        for j in range(32):
            with block("requantize"):
                vi = spatial(4, i)
                vj = spatial(32, j)
                y[vi, vj] = cast(u8, max(min(rounding_mul_shr(acc[vi, vj], m[vj], 40) - 3, 90), 5))
""")
    result = lift(func)
    assert "sat_add(sat_cast(i16, rounding_mul_shr(acc[vi, vj], m[vj], 40)), -3)" in show(result)
    same_values(func, result)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(values(vector(i16, 4), LEAVES, 3) | values(vector(u8, 4), LEAVES, 3))
def test_lifting_keeps_any_value(value: Expr) -> None:
    result = lift_expr(value)
    same_meaning(value, result)
    assert lift_expr(result) is result


# The engine ---------------------------------------------------------------------------------


def test_budget_bisection_and_forbidden_rules() -> None:
    x, y = var("x", vector(i32, 4)), var("y", vector(i32, 4))
    text = cast(i8, lift_expr(x)) + cast(i8, y)
    root = cast(u8, cast(i16, (x + (y + x)) * 3 * 4)) + cast(u8, cast(i16, text))
    assert Rewriter(RULES, budget=Budget(0))(root) is root
    whole = Rewriter(RULES)
    result = whole(root)
    total = sum(whole.counts.values())
    assert total > 2
    assert Rewriter(RULES, budget=Budget(total))(root) is result
    assert Rewriter(RULES, budget=Budget(1))(root) is not result
    assert whole.counts["mul_twice.i32"] == 1
    without = Rewriter(RULES, forbidden=("mul_twice.i32",))
    without(root)
    assert without.counts["mul_twice.i32"] == 0
    assert bad_rewrite(lambda b: Rewriter(RULES, budget=b)(root) is not result, total) == total


def test_an_attempt_says_what_failed() -> None:
    x, n, r = wild("x", i32), number("n", i32), number("r", i32)
    rule = Rule("round", (x + r) >> n, x, value_of(r).equals(value_of(n) * 2))
    a = var("a", vector(i32, 4))
    bounds = Rewriter(()).bounds
    assert failure(rule, (a + 4) >> 2, bounds) is None
    assert failure(rule, (a * 4) >> 2, bounds) == "operator: add is needed, but got mul"
    assert failure(rule, (a + 5) >> 2, bounds) == (
        "condition: cast(i64, r) == cast(i64, n) * 2 does not hold: 5 and 4"
    )
    assert failure(rule, (a + a) >> 2, bounds) == "constant: r must be one, but got a"
    twice, b = Rule("twice", x + (x >> r), x), var("b", vector(i32, 4))
    assert failure(twice, a + (b >> 2), bounds) == (
        "operand: x must be the same value each time, but got a and b"
    )
    assert failure(twice, a + (a >> b), bounds) == "constant: r must be one, but got b"
    attempts = explain((rule,), (a + 4) >> 2)
    assert [str(attempt) for attempt in attempts] == ["round: a + 4 >> 2 -> a"]


# Proofs -------------------------------------------------------------------------------------


def test_all_records_are_valid() -> None:
    lifting_rules()
    assert set(proofs.recorded()) == set(IDS)


def test_a_changed_rule_does_not_load() -> None:
    rule = next(rule for rule in RULES if rule.name == "sat_add.u8.i16")
    changed = Rule(rule.name, rule.before, rule.before)
    with pytest.raises(proofs.UnprovenRule, match="but its proof is stale; run python -m"):
        proofs.require_proofs([changed])
    with pytest.raises(proofs.UnprovenRule, match="but its proof is missing"):
        proofs.require_proofs([Rule("new", rule.before, rule.after)])


def test_wrong_rules_are_refuted() -> None:
    x, n = wild("x", i32), number("n", i32)
    a, b = wild("a", u8), wild("b", u8)
    wrong = [
        Rule("wraps", (x + 8) >> 4, (x >> 4) + ((x >> 3) & 1)),
        Rule("average", a + b >> 1, simplify(a & b) + ((a ^ b) >> 1)),
        Rule("shift", (x >> n) << n, x),
        Rule("sign", cast(i16, cast(u8, wild("s", i8))), cast(i16, wild("s", i8))),
    ]
    for rule in wrong:
        with pytest.raises(Refuted, match="both sides must be equal"):
            prove(rule)


@pytest.mark.parametrize("part", range(PARTS))
def test_all_proofs_hold(part: int) -> None:
    """From scratch, whatever the records say; a proof that takes too long fails, too."""
    for rule in RULES[part::PARTS]:
        prove(rule)


def test_a_changed_prover_has_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {file.name for file in proofs.PROVER}
    assert names == {"proofs.py", "prove.py", "smt.py", "match.py", "apply.py", "arithmetic.py",
                     "row.py", "intervals.py", "bounds.py"}  # fmt: skip
    for at, file in enumerate(proofs.PROVER):
        changed = tmp_path / file.name
        changed.write_text(file.read_text() + "\n")
        files = (*proofs.PROVER[:at], changed, *proofs.PROVER[at + 1 :])
        with monkeypatch.context() as patch:
            patch.setattr(proofs, "PROVER", files)
            with pytest.raises(proofs.UnprovenRule, match="but its proof is stale"):
                proofs.require_proofs(RULES[:1])


def test_a_proof_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail.tir.rewrite.prove.SECONDS", 0.05)
    slow = next(rule for rule in RULES if rule.name == "sat_rounding_mul_shr.i16")
    with pytest.raises(Refuted, match=r"a proof must be found within 0.05 s, but got none"):
        prove(slow)


def test_all_rules_are_proven_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proven: list[str] = []
    monkeypatch.setattr("dovetail.tir.rewrite.prove.prove", lambda rule: proven.append(rule.name))
    records = proofs.FILE.read_text()
    monkeypatch.setattr(proofs, "FILE", tmp_path / "proofs.json")
    main(["--scratch"])
    assert proven == IDS
    assert proofs.FILE.read_text() == records
    assert capsys.readouterr().out == f"{len(RULES)} rules are proven\n"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(values(vector(i16, 4), NUMBERS, 3) | values(vector(u8, 4), NUMBERS, 3))
def test_the_logic_of_the_prover_is_the_meaning(value: Expr) -> None:
    lanes = [z3.simplify(lane).as_long() for lane in meaning(value, {}, Products())]
    want = np.broadcast_to(evaluate_expr(value, {}), (4,))
    assert lanes == [int(lane) % (1 << value.type.bits) for lane in want]


def test_laws_are_named() -> None:
    assert {law.name for law in LAWS} == {"spread_join", "spread_copy", "cancel"}
