"""The search over a whole model: which of their points kernels have in it, and its own decisions.

    program(ready, choices)                      # of a few walks, for those who do not tune
    search = ModelSearch(model, seed=0)          # as the tuner knows searches
    search.tell(points, [model.measure(point).cost for point in (points := search.ask())])

A local search. What it asks differs from the best point so far in one decision: those of the whole
model first, then kernel by kernel, those that are furthest from their bounds first, another of the
points that are known to work, at last another thread that begins. Where several of a batch were
better, the next one begins with all of them together; where none is better any more, pairs come by
chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from operator import itemgetter
from random import Random

from ..schedule.knobs import Point, key
from ..target.program import THREADS
from ..tuner.measure import Measurer
from ..tuner.run import Best, Progress
from .choose import Choice
from .decisions import Decisions, values
from .kernel_task import KernelTask
from .model_program import (
    ArrangedModel,
    ModelParts,
    ModelProgram,
    Together,
    by_themselves,
    codes_of,
    is_whole,
)
from .prepare import Ready
from .whole_model import WholeModel, parted, spelled

BATCH = 8  # walks of a turn
TURNS = 1024  # changes to look at for a batch: some were asked before
KNOWN = 4  # points of a kernel that are looked at, the cheapest ones
WORSE = 1.3  # times the cycles of the cheapest one, up to which others are


def program(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """The best program of a model's kernels at these points, which go by the kernels' keys: of all
    ways in which constants come, then of how long bytes rest, then of who brings constants."""
    if not is_whole(ready):
        return by_themselves(ready, choices)
    parts, codes, threads = ModelParts(ready), codes_of(ready, choices), ready.machine.threads
    some = values(len(codes), threads)
    comings = product(some["lead"], some["ahead"])
    ways = (ArrangedModel(parts, codes, Decisions(lead, ahead, rest=0)) for lead, ahead in comings)
    best = min(ways, key=lambda way: way.cycles)
    for name in ("rest", "carrier"):
        for value in some[name]:
            if value != getattr(best.decisions, name):
                found = ArrangedModel(parts, codes, best.decisions.but(name, value))
                best = found if found.cycles < best.cycles else best
    return best.program()


@dataclass(frozen=True, slots=True)
class Change:
    """A decision of a model that is another one: the point of the kernels of one key, the thread
    that begins a kernel, or else one for the whole model."""

    name: str
    value: Point | int
    begins: bool = False

    def of(self, point: Point) -> Point:
        kernels, decisions = parted(point)
        if not isinstance(self.value, int):
            return spelled({**kernels, self.name: self.value}, decisions)
        make = decisions.begun if self.begins else decisions.but
        return spelled(kernels, make(self.name, self.value))


class ModelSearch:
    """Proposes points of a model and learns their costs; hears of points of kernels that work."""

    def __init__(self, model: WholeModel, seed: int) -> None:
        self.model = model
        self._rng = Random(f"{seed}:{model.key}")
        self._known: dict[str, dict[str, tuple[float, Point]]] = {name: {} for name in model.tasks}
        self._asked: dict[str, tuple[Change, ...]] = {}  # points, and how they came to be
        self._best: Point = model.default
        self._cost: float | None = None
        self._gains: list[Change] = []  # of the last batch
        self._changes = self._turns()
        for name, choice in model.defaults.items():
            self.know(name, choice.point, choice.cost.cycles)

    @classmethod
    def begin(
        cls,
        ready: Ready,
        defaults: Mapping[str, Choice],
        others: Mapping[str, Sequence[Choice]],
        measurer: Measurer,
        seed: int,
    ) -> ModelSearch | None:
        """The search from the defaults, which knows ``others``; None for a model of one kernel, or
        of which some are missing."""
        if not is_whole(ready) or len(ready.kernels) == 1:
            return None
        search = cls(WholeModel(ready, defaults, program(ready, defaults), measurer), seed)
        for name, choices in others.items():
            for choice in choices:
                search.model.know(name, choice)
                search.know(name, choice.point, choice.cost.cycles)
        return search

    def found(self, best: Best) -> Together | None:
        """The best point that was tried."""
        if best.cost is None:
            return None
        _, decisions = parted(best.point)
        cycles = int(best.cost)
        return Together(self.model.choices(best.point), decisions, cycles, cycles)

    def know(self, name: str, point: Point, cost: float) -> None:
        """A kernel works at a point, and takes so long by itself."""
        self._known[name].setdefault(key(point), (cost, point))

    def hear(self, progress: Progress) -> None:
        """A trial was written: as a callback of the tuner."""
        record = progress.record
        if record is not None and record.cost is not None and record.kernel in self._known:
            task = self.model.tasks[record.kernel]
            self.know(record.kernel, task.point(record.point), record.cost)

    def ask(self) -> list[Point]:
        first = self._asking(self._gains) if len(self._gains) != 1 else []
        return first + self.more(BATCH - len(first))

    def more(self, count: int) -> list[Point]:
        """Further points; none where there is nothing new."""
        found: list[Point] = []
        for changes in islice(self._changes, TURNS):
            found += self._asking(changes)
            if len(found) == count:
                break
        return found

    def tell(self, points: Sequence[Point], costs: Sequence[float | None]) -> None:
        before, gains = self._cost, dict[str, Change]()
        worked = [(cost, n) for n, cost in enumerate(costs) if cost is not None]
        for cost, n in sorted(worked):
            if self._cost is None or cost < self._cost:
                self._best, self._cost = points[n], cost
            if before is not None and cost < before:
                changes = self._asked[key(points[n])]
                gains = {**{one.name: one for one in changes}, **gains}
        self._gains = list(gains.values())

    def _asking(self, changes: Sequence[Change]) -> list[Point]:
        """The best point so far with some changes, if it was not asked before."""
        point = self._best
        for change in changes:
            point = change.of(point)
        kernels, decisions = parted(point)
        defaults = self.model.defaults
        kernels = {name: own for name, own in kernels.items() if own != defaults[name].point}
        point = spelled(kernels, decisions)
        if key(point) in self._asked:
            return []
        self._asked[key(point)] = tuple(changes)
        return [point]

    def _turns(self) -> Iterator[Sequence[Change]]:
        """As long as one gains: all kernels on one number of threads, one change after another;
        then pairs of them."""
        while True:
            before = self._cost
            yield from self._alike()
            for change in self._each():
                yield (change,)
            if self._cost == before:
                changes = list(self._each())
                for _ in changes:
                    yield self._rng.choice(changes), self._rng.choice(changes)

    def _alike(self) -> Iterator[Sequence[Change]]:
        """Kernels at the points that are cheapest by themselves; and on one number of threads,
        where they have a point for it."""
        by_cost = [(name, min(known.values(), key=itemgetter(0))[1])
                   for name, known in self._known.items()]  # fmt: skip
        yield [Change(name, point) for name, point in by_cost]
        for threads in range(self.model.ready.machine.threads, 0, -1):
            found = {task.key: self._points(task.key) for task in self.model.ready.tasks}
            yield [Change(name, point) for name, points in found.items()
                   for point in points if point.get(THREADS) == threads][::-1]  # fmt: skip

    def _each(self) -> Iterator[Change]:
        """All that may be another one."""
        ready = self.model.ready
        threads = ready.machine.threads
        tasks = sorted(ready.tasks, key=self._lost, reverse=True)
        for task in tasks:
            yield from (Change(task.key, point) for point in self._points(task.key))
        for name, some in values(len(ready.kernels), threads).items():
            yield from (Change(name, value) for value in some)
        for task in tasks:
            names = [one.name for one in ready.kernels if one.key == task.key]
            yield from (Change(name, at, True) for name in names for at in range(threads))

    def _lost(self, task: KernelTask) -> float:
        """The cycles that all occurrences of a kernel take above its bound."""
        return task.weight * (min(cost for cost, _ in self._known[task.key].values()) - task.bound)

    def _points(self, name: str) -> list[Point]:
        """The points of a kernel that may be good in the model: the cheapest one of each number of
        threads first. Of those of one cost there one is enough."""
        found = sorted(self._known[name].items(), key=lambda item: (item[1][0], item[0]))
        least = found[0][1][0]
        ranks: dict[object, int] = defaultdict(int)
        costs: dict[tuple[object, float], tuple[int, Point]] = {}
        for _, (cost, point) in found:
            threads = point.get(THREADS)
            if cost <= WORSE * least and (threads, cost) not in costs:
                costs[threads, cost] = ranks[threads], point
                ranks[threads] += 1
        return [point for _, point in sorted(costs.values(), key=itemgetter(0))][:KNOWN]
