"""The default point of a kernel: of those that the estimate likes best, the cheapest once packed.

    pick = Pick(task.bound, ranked(task))
    while wave := pick.wave():
        pick.tell(wave, [perform(task, "measure", point, pick.nests) for point in wave])
    pick.point

A wave is packed whole, by any number of workers: what comes next depends on its costs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from ..schedule.knobs import Point, Space, key
from ..target.errors import SelectError
from ..tuner.task import DUPLICATE, Measured

PACKED = 24  # points that the choice of a default may pack
_WAVE = 4
_SAMPLED = 400  # points that the estimate ranks for it
_PARENTS, _CHILDREN, _GENERATIONS = 16, 64, 3


class Estimated(Protocol):
    """A kernel whose points have an estimate."""

    @property
    def space(self) -> Space: ...

    def prior(self, point: Point) -> float: ...


def ranked(task: Estimated) -> list[Point]:
    """Points in the order in which they should be packed: first one of each estimate, then the
    others."""
    rng = Random(0)
    points = _sampled(task.space, rng)
    costs = {name: task.prior(point) for name, point in points.items()}
    for _ in range(_GENERATIONS if len(points) > _PARENTS else 0):
        parents = sorted(points, key=costs.__getitem__)[:_PARENTS]
        for number in range(_CHILDREN):
            child = task.space.mutate(points[parents[number % _PARENTS]], rng)
            if (name := key(child)) not in points:
                points[name], costs[name] = child, task.prior(child)
    order = sorted(points, key=costs.__getitem__)
    leaders = list({costs[name]: name for name in reversed(order)}.values())[::-1]
    return [points[name] for name in dict.fromkeys([*leaders, *order])]


def _sampled(space: Space, rng: Random) -> dict[str, Point]:
    """All points of a small space, or a sample, by their spelling."""
    every = space.every(_SAMPLED)
    if every is None:
        every = [space.sample(rng) for _ in range(_SAMPLED)]
    return {key(point): point for point in every}


@dataclass(slots=True)
class Pick:
    """The choice among ranked points, wave by wave. It ends with a wave that brings nothing better,
    with ``PACKED`` points that were packed, or with a cost that none can beat; only where none has
    code are more points tried."""

    bound: float
    points: Sequence[Point]
    cost: int | None = None
    point: Point = field(default_factory=dict)
    refusal: str = "its space is empty"
    packed: int = 0
    _nests: set[str] = field(default_factory=set)
    _next: int = 0
    _idle: bool = False

    @property
    def nests(self) -> frozenset[str]:
        """The nests that were packed."""
        return frozenset(self._nests)

    def wave(self) -> list[Point]:
        """The next points to pack; none where the choice is made. SelectError if there is none."""
        count = min(_WAVE, PACKED - self.packed)
        if self.cost is not None and (self._idle or self.cost <= self.bound):
            count = 0
        wave = list(self.points[self._next : self._next + count])
        self._next += len(wave)
        if not wave and self.cost is None:
            raise SelectError(
                f"no schedule of its {len(self.points)} that were tried works: {self.refusal}"
            )
        return wave

    def tell(self, points: Sequence[Point], answers: Sequence[Measured]) -> None:
        """What packing a wave gave."""
        before, packed = self.cost, self.packed
        for point, found in zip(points, answers, strict=True):
            if found.status == DUPLICATE or found.nest in self._nests:
                continue
            if found.nest:
                self._nests.add(found.nest)
            if found.cycles is None:
                self.refusal = found.message
                continue
            self.packed += 1
            if self.cost is None or found.cycles < self.cost:
                self.cost, self.point = found.cycles, point
        self._idle = before is not None and self.cost == before and self.packed > packed
