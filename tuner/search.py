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
from functools import cached_property
from itertools import chain, cycle
from random import Random
from typing import Protocol

from ..options.registry import Registry
from ..schedule.knobs import Point
from .candidates import Candidates, Spelled, spell
from .ranker import Ranker
from .ranking import Ranking, chosen
from .task import Task

Trial = tuple[Point, float | None]  # a point and its cost, None if it failed

BATCHES = (4, 4, 8, 8, 8, 8, 8, 16)  # small at first: few trials reach many kernels, and teach soon


class Searcher(Protocol):
    """Proposes points and learns their costs."""

    def ask(self) -> list[Point]:
        """The next batch; empty when every point was asked."""

    def more(self, count: int) -> list[Point]:
        """Further points of the last batch, instead of some that turned out to be no trials."""

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        """The costs of points that were asked, None for a failed one."""


class _Base:
    """The state of every search: the batch sizes, and which points were asked."""

    def __init__(
        self, task: Task, seed: int, warm: Sequence[Trial] = (), ranker: Ranker | None = None
    ) -> None:
        self.task = task
        self.space = task.space
        self.rng = Random(f"{seed}:{task.key}")
        self._asked: set[Spelled] = set()
        self._batches = iter(BATCHES)
        self._rest: Iterator[Point] | None = None
        self._proposed: Iterator[Point] = iter(())

    def ask(self) -> list[Point]:
        count = next(self._batches, BATCHES[-1])
        first = self._fresh([] if self._asked else [self.task.default], count)
        self._proposed = iter(self._propose(count - len(first)))
        return first + self.more(count - len(first))

    def more(self, count: int) -> list[Point]:
        return self._fresh(self._proposed, count)

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        """Nothing to learn."""

    def _propose(self, count: int) -> Iterable[Point]:
        """Points in the order in which they should be tried; more than count do no harm."""
        return self._random()

    def _fresh(self, points: Iterable[Point], count: int) -> list[Point]:
        """The first ``count`` points that were not asked before; they count as asked."""
        fresh: list[Point] = []
        for point in points if count > 0 else ():
            if (spelled := spell(self.space, point)) not in self._asked:
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
            repeats = repeats + 1 if spell(self.space, point) in self._asked else 0
            yield point
        if self._rest is None:
            self._rest = self.space.walk(self.rng)
        yield from self._rest


SEARCHES = Registry[Callable[[Task, int, Sequence[Trial], Ranker | None], Searcher]]()


@SEARCHES.row("evolution", "mutations and crossings of good points, ranked by a model")
class Evolution(_Base):
    """Mutations and crossings of good points, ranked by who does it best, of many kinds.

    A batch has no two points of one kind (see ``candidates.py``) as long as there are others, and
    every other one is, if possible, of a kind that was not measured yet.
    """

    survey = 256  # random points that the prior ranks for the first batch
    newcomers = 48  # random points that come to each later one
    tries = 8  # blind draws for each of them, where most points break a constraint
    parents = 32  # best candidates that have children
    offspring = 64  # new points a generation
    generations = 2
    again = 2  # best points of warm logs that come before all others
    kept = 1024  # candidates that stay for the next batch
    chance = 0.12  # of a point of a batch to be random

    def __init__(
        self, task: Task, seed: int, warm: Sequence[Trial] = (), ranker: Ranker | None = None
    ) -> None:
        super().__init__(task, seed)
        self._known, self._ranker = Candidates(task), ranker
        self._live: list[int] = []  # candidates, the best of the batch before first
        self._trials: list[tuple[int, float | None]] = []
        for point, cost in warm:
            if task.space.contains(point):
                self.tell([point], [cost])

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        self._trials += zip(map(self._known.number, points), costs, strict=True)

    def _propose(self, count: int) -> Iterable[Point]:
        good = sorted((cost, number) for number, cost in self._trials if cost is not None)
        rank = self.ranking().order
        best = [number for _, number in good[: self.parents]]
        wanted = self.newcomers if self._live else self.survey
        new = self._known.add(self.space.survey(self.rng, wanted, wanted * self.tries))
        for number in best[:2]:
            new += self._known.add(self.space.neighbours(self._known.points[number]))
        ranked = rank(list(dict.fromkeys(best + self._live + new)))
        for _ in range(self.generations):
            ranked = rank(list(dict.fromkeys(ranked + self._breed(ranked[: self.parents]))))
        self._live = ranked[: self.kept]
        found_before = [self._known.points[number] for number in best[: self.again]]
        return chain(found_before, self._spread(ranked))

    def _breed(self, ranked: list[int]) -> list[int]:
        """Children of ranked candidates; the better one is, the more it has."""
        parents = [self._known.points[number] for number in ranked]
        return self._known.add(self._children(parents))

    def _children(self, parents: list[Point]) -> Iterator[Point]:
        for _ in range(self.offspring if parents else 0):
            one = parents[min(self.rng.randrange(len(parents)) for _ in range(2))]
            if self.rng.random() < 0.35:
                yield self.space.crossover(one, self.rng.choice(parents), self.rng)
            else:
                yield self.space.mutate(one, self.rng)

    def ranking(self) -> Ranking:
        """Who ranks the next batch."""
        return chosen(self._known, self._trials, self._ranker)

    def _spread(self, ranked: list[int]) -> Iterator[Point]:
        """Ranked candidates of different kinds with some random points, then whatever is left."""
        known, kinds = self._known, self._known.kinds
        tried = {kinds[number] for number, _ in self._trials}
        taken = set() if tried else {kinds[known.number(self.task.default)]}
        left = [n for n in ranked if known.spelled[n] not in self._asked]
        novel = iter([n for n in left[: len(left) // 2 + 1] if kinds[n] not in tried])
        either = iter(left)
        for turn in cycle((True, False)):
            chance = self._strangers() if self.rng.random() < self.chance else ()
            turns = chain(chance, novel if turn else (), either)
            number = next((n for n in turns if kinds[n] not in taken), None)
            if number is None:
                break
            taken.add(kinds[number])
            yield known.points[number]
        yield from (known.points[number] for number in left)
        yield from self._random()

    def _strangers(self) -> list[int]:
        """A few random points that were not asked before."""
        drawn = self.space.survey(self.rng, 4, 4 * self.tries)
        return self._known.add(p for p in drawn if spell(self.space, p) not in self._asked)


@SEARCHES.row("random", "valid points by chance")
class RandomSearch(_Base):
    """Valid points by chance."""


@SEARCHES.row("exhaustive", "all valid points in the order of the space")
class Exhaustive(_Base):
    """All valid points in the order of the space."""

    @cached_property
    def _all(self) -> Iterator[Point]:
        return iter(self.space)

    def _propose(self, count: int) -> Iterable[Point]:
        return self._all
