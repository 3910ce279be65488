"""Costs of kernels at points, and the default points, found in worker processes.

    found = choose(tasks, {}, measurer)             # the default of each
    found[task.key].point, found[task.key].cost.cycles

Workers run these jobs as they run the tuner's; the job of an empty point is to rank the points
among which the default is chosen. Those of one kernel are spread over the workers.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space, key
from ..target.cost import Cost
from ..target.errors import SelectError
from ..tuner.measure import Measurer
from ..tuner.run import Callback, Progress
from ..tuner.task import OK, Measured, TaskSpec
from ..tuner.task import rebuild as rebuild_task
from .defaults import Pick, ranked
from .kernel_code import KernelCode
from .kernel_task import CodeTask


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel's point and its cost at this point."""

    point: Point
    cost: Cost
    code: bytes = field(default=b"", compare=False, repr=False)  # packed, for a model's program

    @classmethod
    def of(cls, task: CodeTask, point: Point) -> Choice:
        """Compiles a kernel at a point."""
        found = task.compiled(point)
        code = KernelCode.of(found.program, found.listing, task.machine.threads)
        return cls(point, found.cost, code.packed())

    def read(self, task: CodeTask) -> KernelCode:
        """The kernel's code; compiled again where only its point was kept."""
        return KernelCode.read(self.code or Choice.of(task, self.point).code)


@dataclass(frozen=True, slots=True)
class Chosen(Measured):
    """A measurement with the chosen point and its cost."""

    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Ranked(Measured):
    """The points of a kernel in the order in which they should be packed, part by part."""

    parts: tuple[tuple[Point, ...], ...] = ()


class Chooser:
    """A kernel for workers: an empty point means "rank the points"; others are costed."""

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
    def spec(self) -> TaskSpec:
        return TaskSpec("dovetail.driver.choose:rebuild", pickle.dumps(self.task.spec))

    def nest(self, point: Point) -> str:
        return self.task.nest(point) if point else ""

    def measure(self, point: Point) -> Measured:
        if not point:
            return Ranked(OK, parts=tuple(map(tuple, ranked(self.task))))
        choice = Choice.of(self.task, point)
        return Chosen(OK, choice.cost.cycles, choice=choice)

    def check(self, point: Point) -> tuple[bool, str]:
        return self.task.check(point)

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

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
    callbacks: Sequence[Callback] = (),
    meanwhile: Callable[[], object] | None = None,
    others: dict[str, list[Choice]] | None = None,
) -> dict[str, Choice]:
    """The cost of each task at its point in ``points``, or at its default; by key. ``meanwhile``
    runs here while workers measure the first ones; ``others`` takes all points that were packed.

    SelectError names the kernel that has no code.
    """
    large_first = sorted(tasks, key=lambda task: -task.size)
    waiting = deque(_Choosing(task, measurer, points.get(task.key)) for task in large_first)
    if meanwhile is not None:
        meanwhile()
    found: dict[str, Choice] = {}
    while waiting:
        one = waiting.popleft()
        choice = one.step()
        if choice is None:
            waiting.append(one)
            continue
        found[one.task.key] = choice
        if others is not None:
            others[one.task.key] = list(one.choices.values())
        costs = (
            task.weight * (found[task.key].cost.cycles if task.key in found else task.bound)
            for task in tasks
        )
        cycles = float(choice.cost.cycles)
        progress = Progress(one.task, len(found) - 1, len(tasks), cycles, sum(costs))
        for callback in callbacks:
            callback(progress)
    return found


class _Choosing:
    """A kernel whose cost is under way: at its point, or at points among which its default is."""

    def __init__(self, task: CodeTask, measurer: Measurer, point: Point | None) -> None:
        self.task, self.chooser, self.measurer = task, Chooser(task), measurer
        self.pick = None if point is None else Pick(task.bound, [[point]])
        self.choices: dict[str, Choice] = {}
        self._start([{}] if self.pick is None else self.pick.wave())

    def _start(self, points: list[Point]) -> None:
        known = frozenset[str]() if self.pick is None else self.pick.nests
        self.points = points
        self.answers = self.measurer.start(self.chooser, "measure", points, known)

    def step(self) -> Choice | None:
        """Waits for what is under way; the choice if it is made, and else the next wave begins."""
        answers = self.answers()
        if self.pick is None:
            if not isinstance(answers[0], Ranked):
                raise self._without_code(answers[0].message)
            spare = partial(ranked, self.task, spare=True)
            self.pick = Pick(self.task.bound, answers[0].parts, spare)
        else:
            for point, answer in zip(self.points, answers, strict=True):
                if isinstance(answer, Chosen) and answer.choice is not None:
                    self.choices[key(point)] = answer.choice
            self.pick.tell(self.points, answers)
        try:
            wave = self.pick.wave()
        except SelectError as error:
            raise self._without_code(str(error)) from None
        if not wave:
            return self.choices[key(self.pick.point)]
        self._start(wave)
        return None

    def _without_code(self, message: str) -> SelectError:
        return SelectError(
            f"compile: each kernel needs code for {self.task.machine.name}, but "
            f"{self.task.name!r} ({self.task.kind}, {self.task.origin}) has none: {message}"
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
