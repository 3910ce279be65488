"""The points that a search knows, each described once: features, prior and kind.

    known = Candidates(task)
    numbers = known.add(points)            # each point has one number, however often it comes
    rows, guesses = known.rows(numbers), known.guesses(numbers)

Two points are of one kind if the task's features do not tell them apart: they differ in knobs of
which the analytic model says nothing, and mostly cost nearly the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space, Value
from .model import Rows, guess_of
from .ranker import Ranker
from .task import Task

Spelled = tuple[Value, ...]


def spell(space: Space, point: Point) -> Spelled:
    """The values of a point in the order of the knobs: equal for equal points."""
    return tuple([point[knob.name] for knob in space.knobs])


@dataclass(slots=True)
class Candidates:
    """Points by number, in the order in which they came."""

    task: Task
    points: list[Point] = field(default_factory=list)
    spelled: list[Spelled] = field(default_factory=list)
    kinds: list[bytes] = field(default_factory=list)
    priors: list[float] = field(default_factory=list)
    _rows: list[list[float]] = field(default_factory=list)
    _facts: list[NDArray[np.float64]] = field(default_factory=list)
    _ranked: dict[tuple[Ranker, int], float] = field(default_factory=dict)
    _numbers: dict[Spelled, int] = field(default_factory=dict)

    def add(self, points: Iterable[Point]) -> list[int]:
        """The numbers of points, without repetition; new ones are described."""
        return list(dict.fromkeys(self.number(point) for point in points))

    def number(self, point: Point) -> int:
        """The number of a point, which is described if it is new."""
        spelled = spell(self.task.space, point)
        found = self._numbers.setdefault(spelled, len(self.points))
        if found == len(self.points):
            features = np.asarray(self.task.features(point), dtype=np.float64)
            self.points.append(point)
            self.spelled.append(spelled)
            self.kinds.append(features.tobytes())
            self.priors.append(self.task.prior(point))
            self._facts.append(features)
            self._rows.append([*self.task.space.features(point), *features.tolist()])
        return found

    def facts(self, numbers: Sequence[int]) -> Rows:
        """The task's features, a row a number."""
        return np.array([self._facts[number] for number in numbers])

    def guesses(self, numbers: Sequence[int]) -> Rows:
        """What the priors guess, higher is better."""
        return guess_of(np.array([self.priors[number] for number in numbers]))

    def ranked(self, ranker: Ranker, numbers: Sequence[int]) -> Rows:
        """The scores by a ranker, which scores each point once."""
        new = [n for n in dict.fromkeys(numbers) if (ranker, n) not in self._ranked]
        if new:
            scores = ranker.scores(self.facts(new), self.guesses(new)).tolist()
            self._ranked.update({(ranker, n): s for n, s in zip(new, scores, strict=True)})
        return np.array([self._ranked[ranker, n] for n in numbers])

    def rows(self, numbers: Sequence[int]) -> Rows:
        """The values of the knobs and the task's features, a row a number."""
        return np.array([self._rows[number] for number in numbers])
