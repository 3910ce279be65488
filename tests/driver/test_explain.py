"""explain: what it tells is what the compiler did; forbidden rules, limits, and bisection."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from dovetail.driver.api import compile as compile_model
from dovetail.driver.cli import app
from dovetail.driver.explain import bisect as bisection
from dovetail.driver.explain.bisect import CODE, INTERPRETER, Verdict, bisect
from dovetail.driver.explain.code import sections
from dovetail.driver.explain.found import compared, explained, narrow
from dovetail.driver.explain.variant import Limits, Variant, limits
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.tuned import Tuned
from dovetail.schedule.knobs import Point
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.selection_record import Covered
from dovetail.tir.expr import make
from dovetail.tir.passes import lift as lifting
from dovetail.tir.rewrite.engine import Attempt, RuleSet
from dovetail.tir.rewrite.rule import Rule, wild
from dovetail.tir.rules import LAWS, RULES
from dovetail.tir.types import i32

NET = """
import torch


def build():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.ReLU(),
                              torch.nn.Conv2d(8, 32, 3))
    x = torch.randn(1, 4, 6, 6)
    return net.eval(), (x,), [(x,)]
"""

MODEL = "net.py:build"
NAMES = "a rule of lifting, a family of rules or an instruction that covers values by its meaning"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 32, 3)).eval()
    x = torch.randn(1, 4, 6, 6)
    return compile_model(net, (x,), [(x,)], executor=0)


@pytest.fixture
def task(tuned: Tuned) -> KernelTask:
    """The second convolution: it has a zero point."""
    return tuned.ready.tasks[1]


@pytest.fixture
def point(tuned: Tuned, task: KernelTask) -> Point:
    return tuned.choices[task.key].point


def call(*words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--workers", "0"])


def ok(*words: str) -> str:
    found = call("explain", MODEL, *words)
    assert found.exit_code == 0, found.output
    return found.stdout


def of_json(*words: str) -> Any:
    return json.loads(ok(*words, "--json"))


# What it tells ------------------------------------------------------------------------------


def test_the_record_is_of_the_code_that_is_measured(tuned: Tuned, task: KernelTask) -> None:
    found = explained(task, tuned)
    choice = tuned.choices[task.key]
    assert (found.cycles, found.point) == (choice.cost.cycles, choice.point)
    written = Counter[str]()
    for section in found.sections:
        for value in section.values:
            written[value.row or "none"] += value.count
        for (row, _), count in section.memory.items():
            written[row] += count
    made = Counter(op.instruction.name for op in task.program(choice.point).ops())
    assert written.pop("lvsplatw") < made["lvsplatw"]  # constants are splats too
    assert all(made[name] == count for name, count in written.items())


def test_equal_values_are_shown_once(tuned: Tuned, task: KernelTask) -> None:
    found = explained(task, tuned)
    values = [value for section in found.sections for value in section.values]
    dot = next(value for value in values if value.row == "vrmpyub_acc")
    assert dot.chain and dot.count > 1 and dot.inside == 6
    assert dot.text.startswith("acc + group_sum(")
    variant = Variant(task, Limits())
    variant.program(found.point)
    assert len(values) < len(variant.record.events) / 2
    assert sections(variant.record, task.machine.unit) == found.sections


def test_the_dump_is_readable(here: Path) -> None:
    text = ok("--kernel", "conv2d_1")
    lines = text.splitlines()
    assert lines[0].startswith("conv2d_1: conv2d, ")
    assert max(map(len, lines)) <= 100
    assert "  lifting: 5 rewrites: " in text
    assert "       3 zero_point_then_saturate.u8\n" in text
    assert "         -> sat_cast(u8, sat_add(sat_cast(i16, b), " in text
    assert "requantize (before its users are known): rounding_mul_shr(a, b, " in text
    assert "- vaddw: fewer: takes 1 in one, vrmpyub_acc 6" in text
    assert "operator:" not in text
    assert "relu" not in text
    everything = ok("--kernel", "conv2d_1", "--all")
    assert re.search("- operator: cast is needed, but got load: (.*, )?cast_twice", everything)
    assert "is needed, but got" in everything.split("combining:")[1]


def test_one_rule_or_row_is_followed(here: Path) -> None:
    text = ok("--kernel", "conv2d_1", "--rule", "min_then_saturate")
    assert "- operator: min is needed, but got sat_add: min_then_saturate (2 rules)" in text
    assert "zero_point_then_saturate.u8\n" not in text
    text = ok("--kernel", "conv2d_1", "--rule", "vrmpyubv_acc")
    assert "- vrmpyubv_acc: pipes: product and sum apart" in text
    assert "vasrw(" not in text


def test_json(here: Path) -> None:
    found = of_json("--kernel", "conv2d_1")
    (kernel,) = found["kernels"]
    assert list(kernel) == [
        "name", "names", "kind", "template", "point", "cycles", "nodes", "apart", "lifting",
        "combining",
    ]  # fmt: skip
    rules = [attempt["rule"] for site in kernel["lifting"] for attempt in site["attempts"]]
    assert "zero_point_then_saturate.u8" in rules
    value = next(section["values"][0] for section in kernel["combining"] if section["values"])
    assert list(value) == [
        "name", "type", "row", "unit", "operators", "expression", "operands", "count", "chain",
        "tried",
    ]  # fmt: skip


def test_a_saved_model_is_explained(here: Path, tuned: Tuned) -> None:
    tuned.save("m.dovetail")
    found = call("explain", "m.dovetail", "--kernel", "conv2d_1", "--json")
    (kernel,) = json.loads(found.stdout)["kernels"]
    assert kernel["cycles"] == narrow(tuned, "conv2d_1").kernels[0].cycles
    found = call("explain", "m.dovetail", "--log", "run.jsonl")
    assert (found.exit_code, found.stderr) == (
        2, "error: log: a saved model has its points already, but --log was given\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ("--kernel", "convd_1"),
            "kernel: must be a part of the name of one of relu, conv2d_1, but got 'convd_1'; "
            "near it are conv2d_1",
        ),
        (
            ("--rule", "vrmpyub_ac"),
            f"rule: must be {NAMES}, but got 'vrmpyub_ac'; near it are vrmpyub_acc, vrmpyubv_acc, "
            "vmpyub_acc",
        ),
        (("--forbid", "###"), f"forbid: must be {NAMES}, but got '###'"),
        (("--rewrite-limit", "-1"), "rewrite-limit: must not be negative, but got -1"),
    ],
)
def test_wrong_names_are_one_sentence(here: Path, words: tuple[str, ...], message: str) -> None:
    found = call("explain", MODEL, *words)
    assert (found.exit_code, found.stderr) == (2, f"error: {message}\n")


# Limits -------------------------------------------------------------------------------------


def test_a_forbidden_rule_costs_cycles_and_keeps_bytes(here: Path) -> None:
    (here / "net.py").write_text(NET.replace("6, 6", "34, 34"))
    found = of_json("--kernel", "conv2d_1", "--forbid", "zero_point_then_saturate")
    (kernel,) = found["kernels"]
    assert found["exact"] and kernel["exact"]
    assert kernel["limited_cycles"] > kernel["cycles"]
    text = ok("--kernel", "conv2d_1", "--forbid", "zero_point_then_saturate")
    assert "- forbidden: it must not be used here: zero_point_then_saturate" in text
    assert "without zero_point_then_saturate: " in text.splitlines()[-1]
    assert " equal" in text and "vaddhsat(" not in text
    assert "vaddhsat(" in ok("--kernel", "conv2d_1")


def test_a_forbidden_row_is_replaced(task: KernelTask, point: Point) -> None:
    limited = Variant(task, limits(("vasrw_acc",), None, dsp()))
    outcome = limited.outcome(point)
    assert outcome.exact and outcome.cycles is not None
    assert "vasrw_acc" not in {op.instruction.name for op in limited.program(point).ops()}
    covers = [event for event in limited.record.events if isinstance(event, Covered)]
    lost = {t.reason for event in covers for t in event.trials if t.row.name == "vasrw_acc"}
    assert "forbidden: it must not be used here" in lost


def test_a_row_that_nothing_replaces_is_told(tuned: Tuned) -> None:
    row = compared(narrow(tuned, "conv2d_1"), limits(("vmpyewuh",), None, dsp()))[0]
    assert row.outcome.cycles is None
    assert "asks for vmpyewuh by name, but it is forbidden" in row.note


def test_rewrites_are_limited(task: KernelTask, point: Point) -> None:
    whole = Variant(task, Limits()).rewrites()
    for most in (0, 2, len(whole)):
        some = Variant(task, Limits(rewrites=most))
        assert some.rewrites() == whole[:most]
    assert Variant(task, Limits(rewrites=2)).outcome(point).exact


# Bisection ----------------------------------------------------------------------------------


def test_bisection_finds_nothing_where_all_is_right(here: Path) -> None:
    assert ok("--kernel", "conv2d_1", "--bisect") == (
        "conv2d_1: after all 5 rewrites interpreter and compiled code give the evaluator's bytes\n"
    )


def test_bisection_finds_a_wrong_rule(
    task: KernelTask, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, m, s = wild("x", i32), wild("m", i32), wild("s", i32)
    wrong = Rule("forgets_to_round", make("rounding_mul_shr", x, m, s), make("mul_shr", x, m, s))
    rules = RuleSet((*RULES, wrong, *LAWS))
    monkeypatch.setattr(lifting, "lifting_rules", lambda: rules)
    found = bisect(task, point, Limits())
    assert found.rewrite is not None and found.rewrite.rule == "forgets_to_round"
    assert found.by == INTERPRETER and "bytes differ" in found.message
    assert found.first == 2 and found.rewrites == 6
    assert bisect(task, point, limits_without(wrong)).first is None


def limits_without(rule: Rule) -> Limits:
    return Limits(rules=frozenset({rule.name}))


def test_bisection_finds_the_rewrite_that_the_code_gets_wrong(
    task: KernelTask, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(variant: Variant, _: Point) -> str:
        return "7 bytes differ" if len(variant.rewrites()) >= 3 else ""

    monkeypatch.setattr(bisection, "_compiled", broken)
    found = bisect(task, point, Limits())
    assert (found.first, found.by, found.rewrites) == (3, CODE, 5)
    assert found.rewrite is not None and found.rewrite.rule == "zero_point_then_saturate.u8"


def test_verdicts_say_where_to_look() -> None:
    change = Attempt("rule", wild("x", i32), wild("y", i32))
    assert Verdict("k", 5, 3, INTERPRETER, change, "2 bytes differ").text == (
        "k: rewrite 3 of 5 is the first with which the interpreter is wrong; its two sides differ: "
        "2 bytes differ"
    )
    assert Verdict("k", 5, 3, CODE, change, "2 bytes differ").text == (
        "k: rewrite 3 of 5 is the first with which the compiled code is wrong; the interpreter "
        "agrees with it, so look at what the code does with its result: 2 bytes differ"
    )
    assert Verdict("k", 5, 0, CODE, None, "2 bytes differ").text == (
        "k: the compiled code is wrong without any rewrite, so look at schedule, selection or "
        "code, not at the rules: 2 bytes differ"
    )


def test_a_kernel_without_code_shows_no_fault(
    task: KernelTask, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SelectError("none")

    monkeypatch.setattr(Variant, "check", refuse)
    assert bisect(task, point, Limits()).first is None


# Rules --------------------------------------------------------------------------------------


def rules(*words: str) -> Result:
    return CliRunner().invoke(app, ["rules", *words])


def test_rules_are_listed_by_family() -> None:
    lines = rules().stdout.splitlines()
    assert lines[0].split() == ["family", "rules", "before", "after"]
    assert lines[-1] == (
        f"{len(RULES) + len(LAWS)} rules in {len(lines) - 3} families; of each family the first "
        "one is shown"
    )


def test_a_rule_is_shown_with_algebra_and_proof() -> None:
    text = rules("zero_point_then_saturate.u8").stdout.splitlines()
    assert text[:5] == [
        "zero_point_then_saturate.u8",
        "  algebra  Where |zero| <= 255, x beyond i16 is beyond the target's range with the zero "
        "point too.",
        "  before   sat_cast(u8, x + zero)",
        "  after    sat_cast(u8, sat_add(sat_cast(i16, x), cast(i16, zero)))",
        "  when     (-255 <= zero) & (zero <= 255) & ((highest_x + zero <= 2147483647) & "
        "(-2147483648 <= lowest_x + zero))",
    ]
    assert text[5].startswith("  proof    z3, bit-vectors, all values under the condition; record")
    proof = json.loads(rules("halving_add.u8.u16", "--json").stdout)["rules"][0]["proof"]
    assert proof.startswith("z3, bit-vectors, all values; all 65,536 values run")


def test_each_rule_has_its_algebra() -> None:
    found = json.loads(rules("--json").stdout)["rules"]
    assert all(rule["algebra"] for rule in found)


def test_unknown_rules_are_one_sentence() -> None:
    found = rules("clamp_then_cas")
    assert found.exit_code == 2
    assert found.stderr.startswith(
        "error: rules: must be the name of a rule or of a family, but got 'clamp_then_cas'; near "
        "it are clamp_then_cast"
    )
