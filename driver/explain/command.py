"""The body of ``dovetail explain``: the dump, the comparison under limits, the bisection.

answer(Question(kernel="relu_1"), "resnet8", source, None, "dsp", None, Recipe())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...quant.recipe import Recipe
from ...target.protocol import Target
from .. import own, printed
from ..api import compile_ready
from ..given import Given
from ..progress import watching
from ..source import SAVED, ModelSource, require_untouched, saved
from ..targets import parse
from .bisect import bisect
from .found import (
    Coded,
    Compared,
    Explained,
    compared,
    explained,
    narrow,
    narrowed,
    require_named,
    total,
    under,
)  # fmt: skip
from .text import Wanted, kernel_lines
from .variant import Limits, limits, row_named, rules_named


@dataclass(frozen=True, slots=True)
class Question:
    """What the options of the command ask for."""

    kernel: str | None = None
    rule: str | None = None
    everything: bool = False
    forbidden: tuple[str, ...] = ()
    rewrites: int | None = None
    bisect: bool = False
    json: bool = False


def answer(
    question: Question,
    model: str,
    source: Callable[[], ModelSource],
    log: Path | None,
    target: str,
    workers: int | None,
    recipe: Recipe,
) -> bool:
    """Prints the answer; False where bytes are wrong."""
    tuned: Coded | None = None
    if model.endswith(SAVED):
        tuned = narrow(saved(model, log, recipe), question.kernel)
    machine = parse(target) if tuned is None else tuned.ready.machine
    bounds = limits(question.forbidden, question.rewrites, machine)
    shown = _wanted(question, machine)
    if tuned is None:
        tuned = _compiled(source(), log, target, question.kernel, workers, recipe)
    if question.bisect:
        return search(tuned, bounds, question.json)
    if not bounds:
        dump([explained(task, tuned) for task in tuned.ready.tasks], tuned, shown, question.json)
        return True
    rows = compared(tuned, bounds)
    if (question.kernel or question.rule) and not question.json:
        dump([under(row, tuned) for row in rows if row.outcome.cycles], tuned, shown, False)
    return compare(rows, tuned, bounds, question.json)


def _wanted(question: Question, target: Target) -> Wanted:
    name = question.rule
    if name is None:
        return Wanted(question.everything)
    names = rules_named(name) or {row_named(name, target, "rule")}
    return Wanted(question.everything, frozenset(names))


def _compiled(
    source: ModelSource, log: Path | None, target: str, kernel: str | None, workers: int | None,
    recipe: Recipe,
) -> Coded:  # fmt: skip
    """The model at its points; without a log, only the kernels that were asked for."""
    if source.kernel is not None:
        require_untouched(recipe, f"{source.name} is a kernel, which is not quantized")
        require_named([source.kernel.name], kernel)
        return own.compile(source.kernel, target, log, executor=workers or 0)
    with watching("kernels") as watcher:
        given = Given.of(target, workers, 600.0, recipe, (watcher.hear,))
        found = given.ready(source.model, source.inputs, watcher.batches(source.calibration))
        some = narrowed(found, kernel)  # refuses an unknown name before anything is compiled
        ready = some if log is None else found
        tuned = compile_ready(ready, given, log)
    return narrow(tuned, kernel)


def dump(found: list[Explained], tuned: Coded, shown: Wanted, json: bool) -> None:
    """Prints for each kernel what lifting and selection did, and why other rows were refused."""
    if json:
        kernels = [kernel.as_dict(shown.all) for kernel in found]
        printed.print_json({"target": tuned.target, "kernels": kernels})
        return
    for kernel in found:
        printed.lines((line.wrapped, line.style) for line in kernel_lines(kernel, shown))


def compare(rows: list[Compared], tuned: Coded, bounds: Limits, json: bool) -> bool:
    """Prints cycles and bytes with and without the limits; True if all bytes are right."""
    exact = all(row.outcome.exact for row in rows if row.outcome.cycles is not None)
    before, after = total(rows)
    if json:
        printed.print_json({
            "target": tuned.target, "limits": str(bounds), "cycles": before,
            "limited_cycles": after, "exact": exact, "kernels": [row.as_dict() for row in rows],
        })  # fmt: skip
        return exact
    printed.table(
        ("kernel", "times", "cycles", "limited", "change", "bytes", "note"),
        [_row(row) for row in rows], str(bounds),
    )  # fmt: skip
    less = "no code for all kernels" if after is None else f"{after:,} cycles"
    print(f"\n{before:,} cycles on {tuned.target}; {bounds}: {less}")
    return exact


def _row(row: Compared) -> tuple[str | int, ...]:
    cycles, found = row.cycles, row.outcome
    if found.cycles is None:
        return row.task.name, row.task.weight, cycles, "", "", "", row.note
    change = f"{100 * (found.cycles - cycles) / cycles:+.1f} %"
    same = "equal" if found.exact else "DIFFER"
    return row.task.name, row.task.weight, cycles, f"{found.cycles:,}", change, same, row.note


def search(tuned: Coded, bounds: Limits, json: bool) -> bool:
    """Prints the first bad rewrite of each kernel; True if no kernel has one."""
    found = [bisect(task, tuned.choices[task.key].point, bounds) for task in tuned.ready.tasks]
    good = all(verdict.first is None for verdict in found)
    if json:
        kernels: list[dict[str, Any]] = [verdict.as_dict() for verdict in found]
        printed.print_json({"target": tuned.target, "exact": good, "kernels": kernels})
        return good
    for verdict in found:
        print(verdict.text)
        if verdict.rewrite is not None:
            print(f"  {verdict.rewrite}")
    return good
