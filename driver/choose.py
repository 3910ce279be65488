"""Costs of kernels at points, and the default points, found in worker processes.

    found = choose(tasks, {}, measurer)             # the default of each
    found[task.key].point, found[task.key].cost.cycles

Workers run these jobs as they run the tuner's; the job of an empty point is to choose the default.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space
from ..target.dsp.cycles import Cost
from ..target.errors import SelectError
from ..tuner.measure import Measurer
from ..tuner.task import OK, Measured, Spec
from ..tuner.task import rebuild as rebuild_task
from .task import CodeTask

Heard = Callable[[CodeTask, "Choice", int], None]  # the number of all kernels


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel's point and its cost at this point."""

    point: Point
    cost: Cost


@dataclass(frozen=True, slots=True)
class Chosen(Measured):
    """A measurement with the chosen point and its cost."""

    choice: Choice | None = None


class Chooser:
    """A kernel for workers: an empty point means "choose the default"; others are costed."""

    simulated = True

    def __init__(self, task: CodeTask) -> None:
        self.task = task

    @property
    def key(self) -> str:
        return f"choice of {self.task.key}"

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        return self.task.form

    @property
    def kind(self) -> str:
        return self.task.kind

    @property
    def space(self) -> Space:
        return self.task.space

    @property
    def default(self) -> Point:
        return {}

    @property
    def weight(self) -> int:
        return self.task.weight

    @property
    def bound(self) -> float:
        return self.task.bound

    @property
    def spec(self) -> Spec:
        return Spec("dovetail.driver.choose:rebuild", pickle.dumps(self.task.spec))

    def nest(self, point: Point) -> str:
        return ""

    def measure(self, point: Point) -> Measured:
        point = point or self.task.default
        cost = self.task.compiled(point).cost
        return Chosen(OK, cost.cycles, choice=Choice(point, cost))

    def check(self, point: Point) -> tuple[bool, str]:
        return self.task.check(point or self.task.default)

    def prior(self, point: Point) -> float:
        return 1.0

    def features(self, point: Point) -> NDArray[np.float64]:
        return np.zeros(0)


class Member(Chooser):
    """One of the kernels of one form: equal in key and code, not in numbers and weights."""

    def __init__(self, task: CodeTask, number: int) -> None:
        super().__init__(task)
        self.number = number

    @property
    def key(self) -> str:
        return f"member {self.number} of {self.task.key}"


def rebuild(payload: bytes) -> Chooser:
    """A worker's copy of the chooser."""
    task = rebuild_task(pickle.loads(payload))
    assert isinstance(task, CodeTask)
    return Chooser(task)


def choose(
    tasks: Sequence[CodeTask],
    points: Mapping[str, Point],
    measurer: Measurer,
    heard: Heard | None = None,
) -> dict[str, Choice]:
    """The cost of each task at its point in ``points``, or at its default; by key.

    SelectError names the kernel that has no code.
    """
    large_first = sorted(tasks, key=lambda task: -task.size)
    waiting = [
        (task, measurer.start(Chooser(task), "measure", [points.get(task.key, {})]))
        for task in large_first
    ]
    found: dict[str, Choice] = {}
    for task, answers in waiting:
        found[task.key] = _taken(task, answers()[0])
        if heard:
            heard(task, found[task.key], len(tasks))
    return found


def _taken(task: CodeTask, answer: Measured) -> Choice:
    if isinstance(answer, Chosen) and answer.choice is not None:
        return answer.choice
    raise SelectError(
        f"compile: each kernel needs code for {task.machine.name}, but {task.name!r} "
        f"({task.kind}, {task.origin}) has none: {answer.message}"
    )


def differing(
    kernels: Sequence[CodeTask], points: Mapping[str, Point], measurer: Measurer
) -> list[tuple[CodeTask, str]]:
    """The kernels whose code at their points in ``points``, by key, gives other bytes with their
    own numbers and weights than it must, and where."""
    waiting = [
        (task, measurer.start(Member(task, number), "check", [points[task.key]]))
        for number, task in enumerate(kernels)
        if task.key in points
    ]
    found = [(task, answers()[0]) for task, answers in waiting]
    return [(task, answer.message) for task, answer in found if answer.status != OK]
