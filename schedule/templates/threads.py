"""How many threads share a kernel: a knob beside those of its template.

On k threads a kernel is scheduled, guessed and packed as on a machine that has k: fewer of them
wait less for each other and for DDR, and one alone has no barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random

from ...target.dsp.machine import Machine
from ...target.program import THREADS
from ...tir.stmt import For, LoopKind, PrimFunc, walk_stmt
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from .template import Estimate, Template

On = Callable[[int], Template]  # a kernel's template on so many threads
EACH = 8  # threads up to which each number of them is a choice; beyond, halves of all


def shared(on: On, machine: Machine) -> Template:
    """The template on any number of the machine's threads."""
    found, counts = on(machine.threads), _counts(machine.threads)
    if len(counts) == 1:
        return found
    alone = cache(partial(_alone, on, found.space))

    def valid(point: Point) -> bool:
        return alone(number(point, THREADS)).valid(point)

    def schedule(point: Point) -> Schedule:
        return on(number(point, THREADS)).schedule(point)

    def estimate(point: Point) -> Estimate:
        return on(number(point, THREADS)).estimate(point)

    knobs = *found.space.knobs, choice(THREADS, counts)
    space = AnyThreads(knobs, (valid,), all=alone(counts[0]))
    parts = {count: partial(alone, count) for count in counts}
    return Shared(found.name, found.func, machine, space, schedule, estimate, parts=parts, on=on)


def _counts(threads: int) -> tuple[int, ...]:
    """Numbers of threads, the greatest first."""
    found = range(threads, 0, -1)
    return tuple(n for n in found if threads <= EACH or n in (threads >> k for k in range(6)))


@dataclass(frozen=True)
class Shared(Template):
    """A template on any number of threads: ``on`` so many."""

    on: On = field(kw_only=True)

    def apply(self, point: Point) -> PrimFunc:
        """The scheduled kernel, on no more threads than its loops keep busy."""
        threads = number(point, THREADS)
        func = self.on(threads).apply(point)
        shared = (s.extent for s in walk_stmt(func.body)
                  if isinstance(s, For) and s.kind is LoopKind.PARALLEL)  # fmt: skip
        return replace(func, attrs={**func.attrs, THREADS: min(threads, max(shared, default=1))})


@dataclass(frozen=True)
class AnyThreads(Space):
    """The points of a template on each number of threads; blind draws are on ``all`` of them."""

    all: Space = field(kw_only=True)

    def point(self, data: Mapping[str, object]) -> Point:
        """Where data do not say on how many threads, as before there was a choice, it is all."""
        return super().point({THREADS: self.knobs[-1].values[0], **data})

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        return self.all.survey(rng, count, tries)


@dataclass(frozen=True)
class Alone(Space):
    """The points of a template on one number of threads."""

    own: Space = field(kw_only=True)

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        threads, (known, _) = {THREADS: self.knobs[-1].values[0]}, self.constraints
        found = self.own.survey(rng, count, tries)
        return [{**point, **threads} for point in found if known(point)]


def _alone(on: On, all_: Space, threads: int) -> Space:
    """The points on so many threads that there are on ``all_``, too, as far as knobs go."""
    own = on(threads).space
    same = own.knobs == all_.knobs
    values = {} if same else {knob.name: frozenset(knob.values) for knob in all_.knobs}

    def known(point: Point) -> bool:
        return all(name in point and point[name] in few for name, few in values.items())

    return Alone((*own.knobs, choice(THREADS, (threads,))), (known, own.valid), own=own)
