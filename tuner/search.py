"""Searches over the points of one kernel, by ask and tell.

    search = evolution(task, seed=0)
    while points := search.ask():
        search.tell(points, [task.measure(point).cost for point in points])

``ask`` gives a batch of points that were not asked before, the default point first, and nothing
when there are no more; its size is the search's own and never depends on who measures. A search is
a pure function of its task, seed and what it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import inf
from random import Random
from typing import Protocol

import numpy as np

from ..schedule.knobs import Point, key
from .model import Model, Rows, fit
from .task import Task

Trial = tuple[Point, float | None]  # a point and its cost, None if it failed

BATCHES = (4, 4, 8, 8, 8, 8, 8, 16)  # small at first: few trials reach many kernels, and teach soon


class Search(Protocol):
    """Proposes points and learns their costs."""

    def ask(self) -> list[Point]:
        """The next batch; empty when every point was asked."""

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        """The costs of points that were asked, None for a failed one."""


class _Base:
    """What searches share: the batch sizes, and which points were asked."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.space = task.space
        self.rng = Random(f"{seed}:{task.key}")
        self._asked: set[str] = set()
        self._batches = iter(BATCHES)
        self._rest: Iterator[Point] | None = None

    def ask(self) -> list[Point]:
        count = next(self._batches, BATCHES[-1])
        first = [] if self._asked else [self.task.default]
        batch = self._fresh(first, count)
        return batch + self._fresh(self._propose(count - len(batch)), count - len(batch))

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        """Nothing to learn."""

    def _propose(self, count: int) -> Iterable[Point]:
        """Points in the order in which they should be tried; more than count do no harm."""
        return self._random()

    def _fresh(self, points: Iterable[Point], count: int) -> list[Point]:
        """The first so many points that were not asked before; they count as asked."""
        fresh: list[Point] = []
        for point in points if count > 0 else ():
            if (spelled := key(point)) not in self._asked:
                self._asked.add(spelled)
                fresh.append(point)
                if len(fresh) == count:
                    break
        return fresh

    def _random(self) -> Iterator[Point]:
        """Random points until they only repeat, then all that are left."""
        repeats = 0
        while repeats < 64:
            point = self.space.sample(self.rng)
            repeats = repeats + 1 if key(point) in self._asked else 0
            yield point
        if self._rest is None:
            self._rest = self.space.walk(self.rng)
        yield from self._rest


class RandomSearch(_Base):
    """Valid points by chance."""


class Exhaustive(_Base):
    """All valid points in the order of the space."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__(task, seed)
        self._all = iter(task.space)

    def _propose(self, count: int) -> Iterable[Point]:
        return self._all


class Evolution(_Base):
    """Mutations and crossings of good points, ranked by the cost model, with some chance."""

    survey = 512  # random points that the prior ranks for the first batch
    newcomers = 128  # random points in each later population
    tries = 8  # blind draws for each of them, where most points break a constraint
    parents = 16  # best trials in it
    offspring = 192  # new points a generation
    generations = 4
    chance = 0.12  # of a point of a batch to be random

    def __init__(self, task: Task, seed: int, warm: Sequence[Trial] = ()) -> None:
        super().__init__(task, seed)
        self._trials: list[Trial] = []
        self._warm = [(point, cost) for point, cost in warm if task.space.contains(point)]
        self._described: dict[str, tuple[list[float], float]] = {}

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        self._trials += zip(points, costs, strict=True)

    def _propose(self, count: int) -> Iterable[Point]:
        trials = self._warm + self._trials
        good = sorted((cost, i) for i, (_, cost) in enumerate(trials) if cost is not None)
        parents = [trials[i][0] for _, i in good[: self.parents]]
        if len({cost for cost, _ in good}) < 3:
            ranked = parents + self._by_prior()
        else:
            ranked = self._evolve(parents, self._fit(trials))
        return self._mix(ranked)

    def _mix(self, ranked: list[Point]) -> Iterator[Point]:
        """The ranked points with some random ones among them, then random ones only."""
        chance = self._random()
        for point in ranked:
            if self.rng.random() < self.chance:
                yield from islice(chance, 1)
            yield point
        yield from chance

    def _by_prior(self) -> list[Point]:
        """A survey of the space, the analytically best points first."""
        survey = self.space.survey(self.rng, self.survey, self.survey * self.tries)
        return sorted(survey, key=lambda point: self._describe(point)[1])

    def _evolve(self, parents: list[Point], model: Model) -> list[Point]:
        """Points that the model ranks high, bred over some generations, best first."""
        pool: dict[str, Point] = {}
        scores: dict[str, float] = {}

        def add(points: Iterable[Point]) -> None:
            new = {key(point): point for point in points}
            new = {spelled: point for spelled, point in new.items() if spelled not in pool}
            pool.update(new)
            scores.update(zip(new, self._scores(model, list(new.values())), strict=True))

        add(parents)
        add(self.space.survey(self.rng, self.newcomers, self.newcomers * self.tries))
        for point in parents[:2]:
            add(self.space.neighbours(point))
        for _ in range(self.generations):
            ranked = sorted(pool, key=lambda spelled: -scores[spelled])
            add(self._breed([pool[spelled] for spelled in ranked[: 4 * self.parents]]))
        return [pool[spelled] for spelled in sorted(pool, key=lambda spelled: -scores[spelled])]

    def _breed(self, ranked: list[Point]) -> Iterator[Point]:
        """Children of ranked points; the better a point, the more children."""
        for _ in range(self.offspring):
            one = ranked[min(self.rng.randrange(len(ranked)) for _ in range(2))]
            if self.rng.random() < 0.35:
                yield self.space.crossover(one, self.rng.choice(ranked), self.rng)
            else:
                yield self.space.mutate(one, self.rng)

    def _fit(self, trials: Sequence[Trial]) -> Model:
        rows, priors = self._rows([point for point, _ in trials])
        return fit(rows, priors, np.array([inf if cost is None else cost for _, cost in trials]))

    def _scores(self, model: Model, points: list[Point]) -> list[float]:
        return [float(score) for score in model.scores(*self._rows(points))] if points else []

    def _rows(self, points: Iterable[Point]) -> tuple[Rows, Rows]:
        described = [self._describe(point) for point in points]
        return np.array([row for row, _ in described]), np.array([prior for _, prior in described])

    def _describe(self, point: Point) -> tuple[list[float], float]:
        """The features and the prior of a point, computed once."""
        spelled = key(point)
        if spelled not in self._described:
            row = [*self.space.features(point), *self.task.features(point)]
            self._described[spelled] = row, self.task.prior(point)
        return self._described[spelled]


SEARCHES: dict[str, Callable[[Task, int, Sequence[Trial]], Search]] = {
    "evolution": Evolution,
    "random": lambda task, seed, warm: RandomSearch(task, seed),
    "exhaustive": lambda task, seed, warm: Exhaustive(task, seed),
}
