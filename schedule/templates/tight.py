"""Kernels that need more than TCM, or wait long for DDR: which template, how many rows at a time.

The knob ``strip`` says how many rows of the output are computed at a time (0: all), see
``strips.py``, the knob ``way`` by which template; the others are that template's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from random import Random

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, Value, choice
from ..placing.transfers import PLACES
from .contraction import local
from .direct import direct
from .in_strips import Taking, cuts_of, heights, in_strips, strips_of
from .template import Estimate, Template

Key = tuple[int, str]  # rows of a strip, the template's name

HEIGHTS = 8  # of strips, to choose from
WORTH = 3  # starts of a transfer that images in DDR take, from which on strips are tried, too
LEAST = 0.05  # the share of the best way's draws that a bad way has
PHASES = 320  # of all strips, one for each slab of weights or block of a chain


@dataclass(frozen=True)
class Tight(Template):
    """A template of several."""

    ways: Mapping[Key, Template] = field(default_factory=dict)

    def function(self, point: Point) -> PrimFunc:
        return self.ways[key_of(point)].function(point)


@dataclass(frozen=True)
class Ways(Space):
    """The spaces of several templates as one."""

    ways: Mapping[Key, Template] = field(default_factory=dict)
    guess: Callable[[Point], Estimate] | None = None

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        """Blind draws; ways are drawn the more often the better their points are guessed to be."""
        found: list[Point] = []
        keys, weights = list(self.ways), list(accumulate(self._weights))
        for _ in range(tries):
            (key,) = rng.choices(keys, cum_weights=weights)
            found += self._draws(key, rng, 1, 1)
            if len(found) == count:
                break
        return found

    def _draws(self, key: Key, rng: Random, count: int, tries: int) -> list[Point]:
        """Blind draws of one way; knobs that it does not have take their first value."""
        points = (
            {**self._least, **point, "strip": key[0], "way": key[1]}
            for point in self.ways[key].space.survey(rng, count, tries)
        )
        return [point for point in points if self.valid(point)]

    @cached_property
    def _least(self) -> Point:
        return {knob.name: knob.values[0] for knob in self.knobs}

    def count(self) -> tuple[int, bool]:
        """The points of all ways."""
        counts = [template.space.count() for template in self.ways.values()]
        return sum(points for points, _ in counts), all(exact for _, exact in counts)

    @cached_property
    def _weights(self) -> list[float]:
        """Of each way: by the best guess of a few draws, against the best of all."""
        assert self.guess is not None
        best = []
        for key in self.ways:
            points = self._draws(key, Random(0), 24, 512)
            best.append(min((self.guess(point).cycles for point in points), default=math.inf))
        return [max((min(best) / guess) ** 3, LEAST) for guess in best]


def key_of(point: Point) -> Key:
    rows, name = point["strip"], point["way"]
    assert isinstance(rows, int) and isinstance(name, str)
    return rows, name


def tight(func: PrimFunc, machine: Machine, taking: Taking) -> Template | None:
    """The templates that take ``func`` as one; where it needs more than TCM, or its images in DDR
    take long, strips of rows too, by all templates that take these; None where there are none."""
    ways: dict[Key, Template] = {(0, template.name): template for template in taking(func, machine)}
    own = sum(b.bytes for b in local(func))
    near = PLACES * own + sum(p.bytes for p in func.params) <= machine.tcm
    free = machine.tcm - own - sum(p.bytes for p in func.params if p.scope == "tcm")
    far = sum(_images(func)) / machine.dma_rate
    cut = not near or far > WORTH * machine.dma_start
    cuts = _cuts(func, machine, taking) if cut else {}
    ways |= cuts
    first = next(iter(ways.values()), None)
    if first is None:
        return None
    if len(ways) == 1:
        guess = first.estimate
        return replace(first, estimate=lambda point: _at_once(func, machine, free, guess(point)))

    def estimate(point: Point) -> Estimate:
        key = key_of(point)
        found = ways[key].estimate(point)
        return found if key in cuts else _at_once(func, machine, free, found)

    knobs = _knobs(ways)
    space = Ways(knobs, (_constraint(knobs, ways), _short(cuts)), ways, estimate)
    return Tight(first.name, first.func, machine, space, first.schedule, estimate, ways)


def _images(func: PrimFunc) -> list[int]:
    """Bytes of the images in DDR."""
    return [p.bytes for p in func.params if p.scope == "ddr" and p.name not in func.constants]


def _at_once(func: PrimFunc, machine: Machine, free: int, estimate: Estimate) -> Estimate:
    """The estimate with the time that images in DDR take to start and to come, while nothing is
    computed but edges; constants come behind them, while what needs none is. Results go as they are
    computed (``placing/straight``), or after it. Of images that do not fit into the ``free`` bytes
    of TCM, each vector is waited for."""
    images = _images(func)
    waits = 0.0
    for size in sorted(images):
        waits += 0 if size <= free else size / machine.vector_bytes / machine.threads
        free -= size if size <= free else 0
    result = func.params[-1]
    gone = result.bytes if result.scope == "ddr" else 0
    moved = (sum(images) - gone) / machine.dma_rate + direct(
        machine, 0, machine.vector_bytes, waits
    )
    cycles = estimate.cycles + moved
    if len(images) > (gone > 0):
        ready, first, edges = (
            estimate.facts.get(name, 0.0) for name in ("extra_packets", "first_wait", "edges")
        )
        cycles += max(ready - edges + machine.dma_start, first) - max(ready, first)
    storing, before = (estimate.facts.get(name, n) for name, n in (("storing", 1), ("before", 0)))
    behind = _behind(gone, storing, estimate.cycles - before, machine)
    return Estimate(cycles + behind, estimate.facts)


def _behind(result: int, storing: float, cycles: float, machine: Machine) -> float:
    """Cycles until so many bytes of a result are in DDR, once they are computed in ``cycles``, by
    as many phases as are ``storing`` them."""
    if not result:
        return 0.0
    if storing * machine.ddr_latency < machine.dma_start + machine.barrier:
        return max(result / machine.dma_rate - cycles, 0.0) + machine.ddr_latency
    return result / machine.dma_rate + machine.dma_start


def _cuts(func: PrimFunc, machine: Machine, taking: Taking) -> dict[Key, Template]:
    """The kernel in strips, by each template that takes these."""
    found: list[Mapping[Key, Template]] = []
    for at in cuts_of(func, machine):
        for rows in heights(func, at):
            strips = strips_of(func, rows, at)
            ways = in_strips(func, machine, taking, strips) if strips else ()
            if cuts := {(rows, way.name): way for way in ways}:
                found.append(cuts)
        if found:
            break
    step = max(-(-len(found) // HEIGHTS), 1)
    return {key: cut for cuts in found[::step] for key, cut in cuts.items()}


def _knobs(ways: Mapping[Key, Template]) -> tuple[Knob, ...]:
    """Knobs of all templates, each with all values that it has in one of them."""
    values: dict[str, dict[Value, None]] = {}
    kinds: dict[str, str] = {}
    for template in ways.values():
        for knob in template.space.knobs:
            kinds[knob.name] = knob.kind
            values.setdefault(knob.name, {}).update(dict.fromkeys(knob.values))
    rows, names = (list(dict.fromkeys(part)) for part in zip(*ways, strict=True))
    first = Knob("strip", "choice", tuple(sorted(rows))), choice("way", tuple(names))
    return *first, *(Knob(n, kinds[n], _ordered(tuple(v))) for n, v in values.items())


def _ordered(values: tuple[Value, ...]) -> tuple[Value, ...]:
    numbers = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else values


def _short(cuts: Mapping[Key, Template]) -> Callable[[Point], bool]:
    """Phases are code: strips of many slabs of weights are too much of it."""

    def fits(point: Point) -> bool:
        cut = cuts.get(key_of(point))
        return cut is None or cut.estimate(point).facts["phases"] <= PHASES

    return fits


def _constraint(knobs: tuple[Knob, ...], ways: Mapping[Key, Template]) -> Callable[[Point], bool]:
    """A point of one of the ways; knobs that the way does not have take their first value."""
    least = {knob.name: knob.values[0] for knob in knobs[2:]}
    known = {
        key: {knob.name: frozenset(knob.values) for knob in template.space.knobs}
        for key, template in ways.items()
    }

    def fits(point: Point) -> bool:
        own = known.get(key_of(point))
        if own is None:
            return False
        for name, value in least.items():
            if point[name] not in own[name] if name in own else point[name] != value:
                return False
        return ways[key_of(point)].space.valid(point)

    return fits
