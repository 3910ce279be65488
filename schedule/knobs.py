"""Knob spaces as plain data: what a template leaves open, and how to walk through it.

A knob is a name and the finite tuple of its values; a space is knobs plus constraints, and a point
is a dict that gives each knob a value, ready for JSON.

    >>> space = Space((split("oc", 64, parts=2), choice("unroll", (1, 2, 4)), flag("stream")))
    >>> space.size
    42
    >>> space.point({"oc": [8, 8], "unroll": 2, "stream": False})
    {'oc': (8, 8), 'unroll': 2, 'stream': False}
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, permutations, product
from random import Random
from typing import Any

from .errors import ScheduleError

Value = int | str | bool | tuple[int, ...] | tuple[str, ...]
Point = dict[str, Value]
Constraint = Callable[[Point], bool]

_TRIES = 64  # blind draws before the space is walked
_WALK = 1 << 20  # points a walk looks at before it gives up
_COUNTED = 1 << 16  # raw points up to which valid points are counted, not estimated


def divisors(extent: int, most: int | None = None) -> tuple[int, ...]:
    """The sizes of tiles that fill an extent, up to ``most``, in ascending order."""
    last = extent if most is None else min(extent, most)
    return tuple(d for d in range(1, last + 1) if extent % d == 0)


@dataclass(frozen=True, slots=True)
class Knob:
    """One open decision; kind is ``split``, ``choice``, ``order`` or ``flag``."""

    name: str
    kind: str
    values: tuple[Value, ...]
    _index: dict[Value, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {value: i for i, value in enumerate(self.values)}
        if not index or len(index) != len(self.values):
            raise ScheduleError(
                f"{self.kind}: a knob needs at least one value and no value twice, "
                f"but {self.name!r} got {self.values!r}"
            )
        shapes = {(type(value), isinstance(value, tuple) and len(value)) for value in self.values}
        if len(shapes) > 1:
            raise ScheduleError(
                f"{self.kind}: the values of a knob must be of one type and length, "
                f"but {self.name!r} got {self.values!r}"
            )
        object.__setattr__(self, "_index", index)

    def index(self, value: object) -> int:
        """The place of value among the values; an error names the knob and what it takes."""
        try:
            found = self._index.get(value, -1)  # type: ignore[call-overload]
        except TypeError:
            found = -1
        if found < 0 or type(self.values[found]) is not type(value):
            shown = ", ".join(map(repr, self.values[:8])) + (
                ", ..." if len(self.values) > 8 else ""
            )
            raise ScheduleError(
                f"point: knob {self.name!r} takes one of its {len(self.values)} values ({shown}), "
                f"but got {value!r}"
            )
        return int(found)

    def moves(self, value: Value) -> tuple[Value, ...]:
        """The values one small step away: a prime factor moved, a neighbour, two items swapped."""
        match value:
            case tuple() if self.kind == "order":
                near = _swapped(value)
            case tuple():
                near = _refactored(value)
            case bool() | str():
                near = [other for other in self.values if other != value]
            case _:
                at = self.index(value)
                near = list(self.values[max(at - 1, 0) : at] + self.values[at + 1 : at + 2])
        return tuple(other for other in near if other in self._index)

    def features(self, value: Value) -> tuple[float, ...]:
        """Numbers that describe value to a cost model; as many for each value of the knob."""
        match value:
            case tuple() if self.kind == "order":
                return tuple(float(value.index(item)) for item in sorted(value))
            case tuple():
                return tuple(_log(part) for part in value)
            case str():
                return tuple(float(value == other) for other in self.values)
            case bool():
                return (float(value),)
            case _:
                return (_log(value),)


def _log(value: int | str) -> float:
    number = float(value)
    return math.copysign(math.log2(1 + abs(number)), number)


def _swapped(items: tuple[Any, ...]) -> list[Value]:
    """Every order that differs from items by one exchange of neighbours."""
    return [(*items[:i], items[i + 1], items[i], *items[i + 2 :]) for i in range(len(items) - 1)]


def _refactored(parts: tuple[Any, ...]) -> list[Value]:
    """Every tuple with the same product that has one prime factor in another place."""
    near: list[Value] = []
    for source, part in enumerate(parts):
        for prime in _primes(part):
            for target in range(len(parts)):
                if target != source:
                    moved = list(parts)
                    moved[source] //= prime
                    moved[target] *= prime
                    near.append(tuple(moved))
    return near


def _primes(number: int) -> list[int]:
    """The different prime factors of number, ascending."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            found.append(divisor)
            while number % divisor == 0:
                number //= divisor
        divisor += 1
    return found + ([number] if number > 1 else [])


def factorizations(extent: int, parts: int) -> list[tuple[int, ...]]:
    """All ways to write extent as an ordered product of ``parts`` factors, in ascending order."""
    if parts == 1:
        return [(extent,)]
    return [
        (first, *rest)
        for first in range(1, extent + 1)
        if extent % first == 0
        for rest in factorizations(extent // first, parts - 1)
    ]


def split(
    name: str,
    extent: int,
    parts: int = 2,
    candidates: Sequence[int | tuple[int, ...]] | None = None,
) -> Knob:
    """How a loop is cut: all factorizations into parts, or the candidates (sizes or tuples)."""
    if candidates is not None:
        return Knob(name, "split", tuple(candidates))
    if extent < 1 or parts < 2:
        raise ScheduleError(
            f"split: extent must be at least 1 and parts at least 2, "
            f"but {name!r} got extent={extent}, parts={parts}"
        )
    return Knob(name, "split", tuple(factorizations(extent, parts)))


def choice(name: str, values: Sequence[int | str]) -> Knob:
    """One of some numbers (neighbours in the list are near) or some words."""
    return Knob(name, "choice", tuple(values))


def order(name: str, items: Sequence[str]) -> Knob:
    """The items in any order."""
    return Knob(name, "order", tuple(permutations(items)))


def flag(name: str) -> Knob:
    """Off or on."""
    return Knob(name, "flag", (False, True))


def key(point: Mapping[str, object]) -> str:
    """The one spelling of a point: JSON with sorted names, tuples and lists alike."""
    return json.dumps(point, sort_keys=True, separators=(",", ":"))


def number(point: Mapping[str, Value], name: str) -> int:
    """A knob whose value is a whole number."""
    value = point[name]
    assert isinstance(value, int)
    return value


@dataclass(frozen=True)
class Space:
    """All points of some knobs that meet every constraint (point -> bool)."""

    knobs: tuple[Knob, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        names = [knob.name for knob in self.knobs]
        if len(set(names)) != len(names):
            raise ScheduleError(f"space: knobs must have different names, but got {names}")

    @cached_property
    def size(self) -> int:
        """The number of raw points, constraints aside."""
        return math.prod(len(knob.values) for knob in self.knobs)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the knobs and their values."""
        text = json.dumps([(knob.name, knob.kind, knob.values) for knob in self.knobs])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def valid(self, point: Point) -> bool:
        """Whether a point of these knobs meets every constraint."""
        for constraint in self.constraints:
            if not constraint(point):
                return False
        return True

    def point(self, data: Mapping[str, object]) -> Point:
        """The point that JSON data spell; an error names the unknown knob or value."""
        names = [knob.name for knob in self.knobs]
        for name in data:
            if name not in names:
                raise ScheduleError(
                    f"point: the knobs must be those of the space ({', '.join(names)}), "
                    f"but got {name!r}"
                )
        for name in names:
            if name not in data:
                raise ScheduleError(f"point: each knob needs a value, but {name!r} has none")
        made = {knob.name: _tupled(data[knob.name]) for knob in self.knobs}
        return {knob.name: knob.values[knob.index(made[knob.name])] for knob in self.knobs}

    def contains(self, point: Mapping[str, object]) -> bool:
        """Whether a point meets the constraints; an unknown knob or value is a ScheduleError."""
        return self.valid(self.point(point))

    def at(self, index: int) -> Point:
        """The raw point with this number, 0 up to size."""
        made: Point = {}
        for knob in reversed(self.knobs):
            index, place = divmod(index, len(knob.values))
            made[knob.name] = knob.values[place]
        return {knob.name: made[knob.name] for knob in self.knobs}

    def __iter__(self) -> Iterator[Point]:
        """All valid points, the last knob fastest."""
        names = [knob.name for knob in self.knobs]
        for values in product(*(knob.values for knob in self.knobs)):
            point = dict(zip(names, values, strict=True))
            if self.valid(point):
                yield point

    def sample(self, rng: Random) -> Point:
        """A valid point: blind draws first, then a walk from a random place."""
        if found := self.survey(rng, 1, _TRIES) or list(islice(self.walk(rng), 1)):
            return found[0]
        raise ScheduleError(
            f"sample: some point must meet the constraints, but none of "
            f"{min(self.size, _WALK)} tried of {self.size} does"
        )

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        """Up to ``count`` valid points by ``tries`` blind draws; the same point may come twice."""
        found: list[Point] = []
        for _ in range(tries if count else 0):
            point = {knob.name: rng.choice(knob.values) for knob in self.knobs}
            if self.valid(point):
                found.append(point)
                if len(found) == count:
                    break
        return found

    def walk(self, rng: Random) -> Iterator[Point]:
        """Different valid points in a scattered order: all of a space of up to 2^20 raw points."""
        start, step = rng.randrange(self.size), _coprime(rng.randrange(self.size) | 1, self.size)
        for i in range(min(self.size, _WALK)):
            point = self.at((start + i * step) % self.size)
            if self.valid(point):
                yield point

    def neighbours(self, point: Point) -> list[Point]:
        """All valid points that differ from point by one small step of one knob."""
        near = (
            {**point, knob.name: value}
            for knob in self.knobs
            for value in knob.moves(point[knob.name])
        )
        return [other for other in near if self.valid(other)]

    def mutate(self, point: Point, rng: Random) -> Point:
        """A valid point near another: one or two knobs take a small step or any value."""
        open_knobs = [knob for knob in self.knobs if len(knob.values) > 1]
        for _ in range(_TRIES if open_knobs else 0):
            made = dict(point)
            for _ in range(1 if rng.random() < 0.6 else 2):
                knob = rng.choice(open_knobs)
                moves = knob.moves(made[knob.name]) if rng.random() < 0.6 else ()
                made[knob.name] = rng.choice(moves or knob.values)
            if made != point and self.valid(made):
                return made
        return self.sample(rng)

    def crossover(self, one: Point, other: Point, rng: Random) -> Point:
        """A valid point that has each knob from one of two parents, or else one of them changed."""
        for _ in range(_TRIES // 4):
            made = {name: rng.choice((value, other[name])) for name, value in one.items()}
            if self.valid(made):
                return made
        return self.mutate(one, rng)

    def count(self) -> tuple[int, bool]:
        """The number of valid points, and whether it is exact; large spaces are estimated."""
        if not self.constraints:
            return self.size, True
        if self.size <= _COUNTED:
            return sum(1 for _ in self), True
        rng, draws = Random(0), 4096
        hits = sum(self.valid(self.at(rng.randrange(self.size))) for _ in range(draws))
        return round(self.size * hits / draws), False

    def every(self, most: int) -> list[Point] | None:
        """All valid points, or None where there are more than ``most`` or too many to look at."""
        if self.size > (_COUNTED if self.constraints else most):
            return None
        found = list(islice(self, most + 1))
        return found if len(found) <= most else None

    def features(self, point: Point) -> list[float]:
        """Numbers that describe point to a cost model; as many for each point of the space."""
        return [number for knob in self.knobs for number in knob.features(point[knob.name])]


@dataclass(frozen=True)
class Fixed(Space):
    """The points of ``own`` with a last knob that has one value; it may have fewer of them."""

    own: Space = field(kw_only=True)

    def survey(self, rng: Random, count: int, tries: int) -> list[Point]:
        last = {self.knobs[-1].name: self.knobs[-1].values[0]}
        found = ({**point, **last} for point in self.own.survey(rng, count, tries))
        return [point for point in found if self.fits(point)]

    def fits(self, point: Point) -> bool:
        """Whether a point of ``own`` is one of these."""
        return all(constraint(point) for constraint in self.constraints[1:])


def fixed(own: Space, name: str, value: Value, *constraints: Constraint) -> Fixed:
    """The points of a space that meet more constraints, with one more knob of one value."""
    kind = "flag" if isinstance(value, bool) else "choice"
    return Fixed((*own.knobs, Knob(name, kind, (value,))), (own.valid, *constraints), own=own)


def _tupled(value: object) -> object:
    """Lists, as JSON gives them, as tuples."""
    return tuple(value) if isinstance(value, list) else value


def _coprime(step: int, size: int) -> int:
    while math.gcd(step, size) != 1:
        step += 1
    return step
