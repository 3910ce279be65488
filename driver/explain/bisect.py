"""The first rewrite of lifting with which a kernel's result is wrong.

    verdict = bisect(task, point, Limits())
    verdict.first, verdict.rewrite       # None, None where all of them keep the bytes

The interpreter is asked first. It runs the lifted kernel as it stands: it finds a rule that is
wrong. If it sees nothing, the compiled code is asked: it finds the rewrite that lays open a fault
of a pass behind lifting. Both are held to the operator's evaluator, on inputs with extremes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...schedule.knobs import Point
from ...tir.interpret import interpret
from ...tir.rewrite.engine import Attempt, Budget, bad_rewrite
from ..compiler import REFUSALS
from ..kernel_task import CodeTask
from .variant import Limits, Variant

INTERPRETER, CODE = "interpreter", "compiled code"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``first``: the number of the first bad one of ``rewrites``; 0: wrong without any; None: all
    are right. ``by`` says what was run, ``message`` how its bytes differ."""

    kernel: str
    rewrites: int
    first: int | None = None
    by: str = ""
    rewrite: Attempt | None = None
    message: str = ""

    @property
    def text(self) -> str:
        """One sentence."""
        if self.first is None:
            return (
                f"{self.kernel}: after all {self.rewrites} rewrites interpreter and compiled code "
                "give the evaluator's bytes"
            )
        if self.first == 0:
            where = (
                "the kernel itself or its evaluator"
                if self.by == INTERPRETER
                else "schedule, selection or code"
            )
            return (
                f"{self.kernel}: the {self.by} is wrong without any rewrite, so look at {where}, "
                f"not at the rules: {self.message}"
            )
        cause = (
            "its two sides differ"
            if self.by == INTERPRETER
            else "the interpreter agrees with it, so look at what the code does with its result"
        )
        return (
            f"{self.kernel}: rewrite {self.first} of {self.rewrites} is the first with which the "
            f"{self.by} is wrong; {cause}: {self.message}"
        )

    def as_dict(self) -> dict[str, Any]:
        change = self.rewrite
        return {
            "kernel": self.kernel, "rewrites": self.rewrites, "first": self.first, "by": self.by,
            "rule": change and change.rule, "before": change and repr(change.site),
            "after": change and repr(change.result), "message": self.message,
        }  # fmt: skip


def bisect(task: CodeTask, point: Point, limits: Limits) -> Verdict:
    """The verdict on one kernel at ``point``; limits hold besides."""
    done = Variant(task, limits).rewrites()
    for by, difference in ((INTERPRETER, _interpreted), (CODE, _compiled)):
        first = bad_rewrite(_judge(task, point, limits, difference), len(done))
        if first is not None:
            message = difference(_at_most(task, limits, first), point)
            rewrite = done[first - 1] if first else None
            return Verdict(task.name, len(done), first, by, rewrite, message)
    return Verdict(task.name, len(done))


Difference = Callable[[Variant, Point], str]


def _judge(
    task: CodeTask, point: Point, limits: Limits, difference: Difference
) -> Callable[[Budget], bool]:
    def right(budget: Budget) -> bool:
        assert budget.left is not None
        return not difference(_at_most(task, limits, budget.left), point)

    return right


def _at_most(task: CodeTask, limits: Limits, rewrites: int) -> Variant:
    return Variant(task, Limits(limits.rules, limits.rows, rewrites))


def _interpreted(variant: Variant, _: Point) -> str:
    """How the bytes of the lifted kernel differ from those that it must give; "" if they do not."""
    stored = [array.copy() for array in variant.values.stored]
    interpret(variant.lifted, *stored)
    return variant.values.difference(stored)


def _compiled(variant: Variant, point: Point) -> str:
    """The same for the code; a kernel that has none under the limits shows no fault."""
    try:
        here, _ = variant.near(point)
        _, message = variant.check(here)
    except REFUSALS:
        return ""
    return message
