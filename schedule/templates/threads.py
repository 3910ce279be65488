"""How many threads share a kernel: a knob beside those of its template.

On k threads a kernel is scheduled, guessed and packed as on a machine that has k: fewer of them
wait less for each other and for DDR, and one alone has no barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random

from ...target.machine_facts import Machine
from ...target.program import THREADS
from ...tir.stmt import For, LoopKind, PrimFunc, walk_stmt
from ..knobs import Point, Space, choice, fixed, number
from ..schedule import Schedule
from .template import Estimate, Template

On = Callable[[int], Template | None]  # a kernel's template on so many threads, if it has one
EACH = 8  # threads up to which each number of them is a choice; beyond, halves of all


def shared(on: On, machine: Machine) -> Template | None:
    """The template on any number of the machine's threads; None where all have none."""
    found, counts = on(machine.threads), _counts(machine.threads)
    if found is None or len(counts) == 1:
        return found
    alone = cache(partial(_alone, on, found.space))

    def valid(point: Point) -> bool:
        return alone(number(point, THREADS)).valid(point)

    def schedule(point: Point) -> Schedule:
        return _of(on, point).schedule(point)

    def estimate(point: Point) -> Estimate:
        return _of(on, point).estimate(point)

    knobs = *found.space.knobs, choice(THREADS, counts)
    space = AnyThreads(knobs, (valid,), all=alone(counts[0]))
    parts = {count: partial(alone, count) for count in counts}
    return Shared(found.name, found.func, machine, space, schedule, estimate, parts=parts, on=on)


def _of(on: On, point: Point) -> Template:
    found = on(number(point, THREADS))
    assert found is not None  # on so many threads there are no points
    return found


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
        func = _of(self.on, point).apply(point)
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


def _alone(on: On, all_: Space, threads: int) -> Space:
    """The points on so many threads that there are on ``all_``, too, as far as knobs go."""
    found = on(threads)
    if found is None:
        return fixed(all_, THREADS, threads, lambda point: False)
    few = {} if found.space.knobs == all_.knobs else {k.name: {*k.values} for k in all_.knobs}

    def known(point: Point) -> bool:
        return all(name in point and point[name] in values for name, values in few.items())

    return fixed(found.space, THREADS, threads, known)
