"""Points of a kernel's space held to the operator's exact bytes, and whole models to theirs.

hold(task, 50, Random(0))        # the points that ran: the default and 50 others
hold_whole(found)                # the model's bytes at the default points
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from dovetail.driver.choose import Choice
from dovetail.driver.compiler import Compiled
from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.model_search import program
from dovetail.driver.prepare import Ready
from dovetail.driver.runtime import Runtime
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Array
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.knobs import Point, key

Record = Callable[[str, object], None]

TARGETS = ("dsp", "dsp(tcm=256 << 10)")
DRAWS = 20  # for each point that is wanted: some are refused, some come twice


def hold(task: KernelTask, count: int, rng: Random) -> list[Point]:
    """Checks the default and ``count`` random points, or as many as there are."""
    tried = {key(task.default)}
    right = [held(task, task.compiled(task.default))]
    for _ in range(DRAWS * count):
        point = task.space.sample(rng)
        if len(right) > count:
            break
        if key(point) in tried:
            continue
        tried.add(key(point))
        try:
            code = task.compiled(point)
        except ScheduleError:
            continue  # the point says in a sentence why it does not fit
        right.append(held(task, code))
    return right


def held(task: KernelTask, code: Compiled) -> Point:
    """The point of code that is right."""
    right, message = task.check(code.point)
    assert right, f"{task.name} on {task.machine.name} at {key(code.point)}: {message}"
    return code.point


def hold_whole(found: Ready, inputs: Sequence[Array]) -> None:
    """Checks a whole model at its default points, on integers."""
    choices = {task.key: Choice.of(task, task.default) for task in found.tasks}
    runtime = Runtime(found, choices, program(found, choices))
    pairs = zip(runtime.run(inputs), evaluate(found.graph, inputs), strict=True)
    for name, (got, wanted) in zip(found.graph.outputs, pairs, strict=True):
        assert got.shape == wanted.shape, name
        assert np.array_equal(got, wanted), f"{name} on {found.machine.name}"


def told(task: KernelTask, points: Sequence[Point]) -> str:
    """What a slice ran, in a few words."""
    return f"{task.name} ({task.template.name}) at {len(points)} points, last {key(points[-1])}"
