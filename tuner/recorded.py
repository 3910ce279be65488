"""A task that answers from a log: searches can be compared on recorded trials, without a compiler.

task = recorded(task, read("run.jsonl").records())
search = Evolution(task, seed=1)          # proposes recorded points only
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space, key
from .records import LogError, TrialRecord
from .task import OK, Measured, Task, TaskSpec


@dataclass(frozen=True)
class RecordedSpace(Space):
    """A space of just these points."""

    points: tuple[Point, ...] = ()

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(map(key, self.points))

    def valid(self, point: Point) -> bool:
        return key(point) in self._keys

    def count(self) -> tuple[int, bool]:
        return len(self.points), True

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def sample(self, rng: Random) -> Point:
        return rng.choice(self.points)

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        return [self.sample(rng) for _ in range(count)]

    def walk(self, rng: Random) -> Iterator[Point]:
        return iter(rng.sample(self.points, len(self.points)))

    def mutate(self, point: Point, rng: Random) -> Point:
        """The nearest of sixteen recorded points, by the number of knobs that differ."""
        near = (self.sample(rng) for _ in range(16))
        return min(near, key=lambda other: _distance(point, other) or len(point) + 1)

    def crossover(self, one: Point, other: Point, rng: Random) -> Point:
        """Of sixteen recorded points, the nearest to both parents."""
        near = (self.sample(rng) for _ in range(16))
        return min(near, key=lambda child: _distance(one, child) + _distance(other, child))


def _distance(one: Point, other: Point) -> int:
    return sum(value != other[name] for name, value in one.items())


@dataclass(frozen=True)
class Recorded:
    """A task whose measurements are those of a log."""

    task: Task
    space: Space
    default: Point
    records: dict[str, TrialRecord]

    @property
    def key(self) -> str:
        return self.task.key

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
    def weight(self) -> int:
        return self.task.weight

    @property
    def bound(self) -> float:
        return self.task.bound

    @property
    def simulated(self) -> bool:
        return self.task.simulated

    @property
    def spec(self) -> TaskSpec | None:
        return self.task.spec

    def nest(self, point: Point) -> str:
        return self.records[key(point)].nest

    def measure(self, point: Point) -> Measured:
        record = self.records[key(point)]
        return Measured(
            record.status, record.cycles, record.message, time=record.time, seconds=record.seconds
        )

    def check(self, point: Point) -> tuple[bool, str]:
        record = self.records[key(point)]
        return record.status == OK, record.message

    @property
    def columns(self) -> tuple[str, ...]:
        return self.task.columns

    def prior(self, point: Point) -> float:
        return self.task.prior(point)

    def features(self, point: Point) -> NDArray[np.float64]:
        return self.task.features(point)


def recorded(task: Task, records: Iterable[TrialRecord]) -> Recorded:
    """The task restricted to its recorded points; the first record of a point counts."""
    found: dict[str, TrialRecord] = {}
    for record in records:
        if record.kernel == task.key:
            found.setdefault(key(record.point), record)
    if not found:
        raise LogError(
            f"simulate: the log must have trials of the kernel, but has none of {task.name!r}"
        )
    points = tuple(task.space.point(record.point) for record in found.values())
    default = task.default if key(task.default) in found else points[0]
    return Recorded(task, RecordedSpace(task.space.knobs, (), points), default, found)
