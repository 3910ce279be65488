"""The default point of a kernel: of those that the estimate likes best, the cheapest once packed.

    pick = Pick(task.bound, ranked(task))
    while wave := pick.wave():
        pick.tell(wave, [perform(task, "measure", point, pick.nests) for point in wave])
    pick.point

A wave is packed whole, by any number of workers: what comes next depends on its costs alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from random import Random
from typing import Protocol

from ..schedule.knobs import Point, Space, key
from ..target.errors import SelectError
from ..tuner.task import Measured

PACKED = 24  # points that the choice of a default may pack
_FIRST, _WAVE = 4, 2  # points of the first wave, and of later ones
_IDLE = 3  # waves that bring nothing better, after which no more are packed
_OTHERS = 4  # of so many points, one is the likeliest of all instead of the first of an estimate
_SAMPLED = 400  # points that the estimate ranks for it
_PARENTS, _CHILDREN, _GENERATIONS = 16, 64, 3
_DRAWS = 24  # points that tell how well a number of threads is guessed to do
_WORSE = 1.25  # times the guess of all threads, up to which fewer are tried


class Estimated(Protocol):
    """A kernel whose points have an estimate."""

    def parts(self, spare: bool = False) -> Iterable[tuple[float, Callable[[], Space]]]:
        """The points on all threads, and on fewer: the bound there, and their space; or the
        ``spare`` ones for where none of these has code."""

    def prior(self, point: Point) -> float: ...


def ranked(task: Estimated, spare: bool = False) -> list[list[Point]]:
    """Points in the order in which they should be packed, by numbers of threads: all of them, then
    those whose points are not guessed to be much worse."""
    found: list[list[Point]] = []
    best = guess = math.inf
    for least, part in task.parts(spare):
        if least >= best:
            continue
        space = part()
        drawn = space.survey(Random(0), _DRAWS, _SAMPLED)
        here = max(min(map(task.prior, drawn), default=math.inf), least)
        if found and here > _WORSE * guess:
            continue
        found.append(_ranked(task, space))
        guess = min(guess, here)
        for first in found[-1][:1]:
            best = min(best, max(task.prior(first), least))
    return found


def _ranked(task: Estimated, space: Space) -> list[Point]:
    """The points of a space: mostly one of each estimate first, then the others."""
    rng = Random(0)
    points = _sampled(space, rng)
    costs = {name: task.prior(point) for name, point in points.items()}
    for _ in range(_GENERATIONS if len(points) > _PARENTS else 0):
        parents = sorted(points, key=costs.__getitem__)[:_PARENTS]
        for number in range(_CHILDREN):
            child = space.mutate(points[parents[number % _PARENTS]], rng)
            if (name := key(child)) not in points:
                points[name], costs[name] = child, task.prior(child)
    order = sorted(points, key=costs.__getitem__)
    leaders = list({costs[name]: name for name in reversed(order)}.values())[::-1]
    return [points[name] for name in _mixed(leaders, order)]


def _mixed(leaders: Sequence[str], order: Sequence[str]) -> list[str]:
    """Leaders, now and then with the next of all between them: points of one estimate often differ
    little, but not always."""
    found: dict[str, None] = {}
    either = chain(leaders, order), iter(order)
    while len(found) < len(order):
        turn = either[len(found) % _OTHERS == _OTHERS - 1]
        found[next(name for name in turn if name not in found)] = None
    return list(found)


def _sampled(space: Space, rng: Random) -> dict[str, Point]:
    """All points of a small space, or a sample, by their spelling."""
    every = space.every(_SAMPLED)
    if every is None:
        every = [space.sample(rng) for _ in range(_SAMPLED)]
    return {key(point): point for point in every}


@dataclass(slots=True)
class _Part:
    """Ranked points on one number of threads, and the best of those that were packed."""

    points: Sequence[Point]
    most: float  # points to try where none has code
    cost: int | None = None
    point: Point = field(default_factory=dict)
    packed: int = 0
    next: int = 0
    idle: int = 0  # waves since the last gain
    nests: set[str] = field(default_factory=set)

    def wave(self, bound: float) -> list[Point]:
        """The next points to pack; none where the choice is made, or has taken long enough."""
        count = min(_WAVE if self.next else _FIRST, PACKED - self.packed)
        made = self.cost is not None and (self.idle >= _IDLE or self.cost <= bound)
        if made or (self.cost is None and self.next >= self.most):
            count = 0
        wave = list(self.points[self.next : self.next + count])
        self.next += len(wave)
        return wave

    def tell(self, found: Sequence[tuple[Point, int]]) -> None:
        """The points of a wave that were packed, with their cycles."""
        before = self.cost
        for point, cycles in found:
            if self.cost is None or cycles < self.cost:
                self.cost, self.point = cycles, point
        self.packed += len(found)
        if found:
            self.idle = 0 if before is None or self.cost != before else self.idle + 1


def _unpacked(parts: Sequence[Sequence[Point]]) -> list[_Part]:
    """On fewer threads kernels have no code where on all of them they have none."""
    return [_Part(points, PACKED if n else math.inf) for n, points in enumerate(parts)]


class Pick:
    """The choice among ranked points, wave by wave, part by part. A part ends with waves that
    bring nothing better in it, with ``PACKED`` points that were packed, or with a cost that none
    can beat; only where none has code are more points tried, at last ``spare`` ones. No part
    depends on another one: the choice for a machine of more threads is among those for fewer."""

    def __init__(
        self,
        bound: float,
        parts: Sequence[Sequence[Point]],
        spare: Callable[[], Sequence[Sequence[Point]]] = list,
    ) -> None:
        self.bound, self._spare = bound, spare
        self.refusal = "its space is empty"
        self.packed = 0
        self._parts = _unpacked(parts)
        self._nests: dict[str, int | None] = {}  # the cycles of each
        self._now = 0

    @property
    def nests(self) -> frozenset[str]:
        """The nests that were packed."""
        return frozenset(self._nests)

    @property
    def cost(self) -> int | None:
        """The cycles of the best one."""
        return min((part.cost for part in self._parts if part.cost is not None), default=None)

    @property
    def point(self) -> Point:
        """The best one."""
        return next(part.point for part in self._parts if part.cost == self.cost)

    def wave(self) -> list[Point]:
        """The next points to pack; none where the choice is made. SelectError if there is none."""
        while self._now < len(self._parts):
            if wave := self._parts[self._now].wave(self.bound):
                return wave
            self._now += 1
            if self._now == len(self._parts) and self.cost is None:
                self._parts += _unpacked(self._spare())
                self._spare = list
        if self.cost is None:
            count = sum(len(part.points) for part in self._parts)
            raise SelectError(f"no schedule of its {count} that were tried works: {self.refusal}")
        return []

    def tell(self, points: Sequence[Point], answers: Sequence[Measured]) -> None:
        """What packing a wave gave."""
        part = self._parts[self._now]
        costs: list[tuple[Point, int]] = []
        for point, found in zip(points, answers, strict=True):
            name = found.nest or key(point)
            if name not in self._nests:
                self._nests[name] = found.cycles
                self.packed += found.cycles is not None
                self.refusal = found.message or self.refusal
            cycles = self._nests[name]
            if name not in part.nests and cycles is not None:
                costs.append((point, cycles))
            part.nests.add(name)
        part.tell(costs)
