"""Lanes that come from different places in memory, chosen by where they are.

    select(c < 24, x[32*w + c], y[32*w + c - 24])      24 lanes of x, 24 of y, 16 of what follows

Of each operand whole registers are loaded and shuffled so that its lanes lie as far apart as they
must; then they are turned to their places, and chosen. A choice that digits of the lane's number
make is none: registers of its operands, or of a number, lie side by side. What a lane that is not
chosen holds means nothing, so digits that are 0 in all chosen lanes stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounds import Ranges
from ..evaluate_expr import evaluate_expr, loads
from ..expr import Expr, const, free_vars, is_fixed, make, rebuild
from ..linear import Linear, linear
from ..ops import with_lanes
from ..places import ALIGN
from ..row import Lanes
from ..types import boolean, vector

FEW = 1  # digits of elements that a register repeats: it is made for itself
RUNS = 8  # pieces of a register that are chosen one after another
MOVES = with_lanes(Lanes.MOVED)
Numbers = NDArray[np.int64]
Holds = NDArray[np.bool_]
Digits = list[tuple[int, int]]  # extents and strides, outermost first


def is_choice(node: Expr, names: frozenset[Expr]) -> bool:
    """Whether a condition on axes alone chooses between loads, or them and constants."""
    if node.op != "select" or not _known(node.args[0], names):
        return False
    sides = [bool(loads(side)) for side in node.args[1:]]
    numbers = (found or _is_number(side) for found, side in zip(sides, node.args[1:], strict=True))
    return any(sides) and all(numbers)


def _is_number(node: Expr) -> bool:
    return is_fixed(node)


def _known(condition: Expr, names: frozenset[Expr]) -> bool:
    return free_vars(condition) <= names and not loads(condition)


def condition(holds: Holds) -> Expr:
    """A condition that is known: runs of lanes that hold, and of lanes that do not."""
    ends = [0, *(np.flatnonzero(np.diff(holds)) + 1).tolist(), len(holds)]
    size = gcd(*ends)
    kind = vector(boolean, size)
    parts = [const(bool(holds[at]), kind) for at in range(0, len(holds), size)]
    return parts[0] if len(parts) == 1 else make("concat", *parts)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Puts lanes together: ``at`` are the axes' values in each of them, ``ranges`` those of the
    axes around, ``size`` the bytes of a register; ``gather`` loads digits, ``insert`` repeats lanes
    outside of the innermost ones, ``other`` gives any other value."""

    at: dict[Expr, Numbers]
    ranges: Ranges
    size: int
    gather: Callable[[Expr, Linear, Digits], Expr]
    insert: Callable[[Expr, int, int], Expr]
    other: Callable[[Expr], Expr]

    def value(self, node: Expr) -> Expr | None:
        """The lanes of ``node``; None where they do not lie so."""
        count = len(next(iter(self.at.values())))
        lanes, wanted = np.arange(count), np.ones(count, bool)
        if count & (count - 1):
            return None
        if any(map(_is_number, node.args[1:])) and not self._cut(node, lanes, wanted):
            return None  # a mask does
        return self._value(node, lanes, wanted)

    def _cut(self, node: Expr, lanes: Numbers, wanted: Holds) -> list[int]:
        """The digits by which a choice is cut into registers that need none: one, or several where
        a number stands beside loaded bytes that are shuffled anyway."""
        digits = _deciding(self._lanes(node.args[0], lanes), wanted, self.size)
        if any(map(_is_number, node.args[1:])):
            return digits if any(self._moves(side, lanes) for side in node.args[1:]) else []
        return digits if len(digits) == 1 and all(map(loads, node.args[1:])) else []

    def _moves(self, node: Expr, lanes: Numbers) -> bool:
        """Whether the bytes of a load do not lie side by side."""
        found = self._places(node, lanes) if node.op == "load" else None
        return found is not None and bool(found[1][1] - found[1][0] != 1)

    def _value(self, node: Expr, lanes: Numbers, wanted: Holds) -> Expr | None:
        """Those ``lanes`` of a node that are ``wanted``, and others between them."""
        if node.op == "select" and _known(node.args[0], frozenset(self.at)):
            return self._chosen(node, lanes, wanted)
        if node.op == "load" and node.type.lanes == 1:
            return self._loaded(node, lanes, wanted)
        if _is_number(node):
            return make("tile", node, attr=len(lanes))
        return self.other(node) if len(lanes) == len(next(iter(self.at.values()))) else None

    def _lanes(self, expr: Expr, lanes: Numbers) -> NDArray[Any]:
        """What an expression of the axes is in each of these lanes."""
        env: dict[str, Any] = {str(a.attr): at[lanes].reshape(-1, 1) for a, at in self.at.items()}
        return np.broadcast_to(evaluate_expr(expr, env), (len(lanes), 1))[:, 0]

    def _chosen(self, node: Expr, lanes: Numbers, wanted: Holds) -> Expr | None:
        holds = self._lanes(node.args[0], lanes)
        sides = [(node.args[1], wanted & holds), (node.args[2], wanted & ~holds)]
        for (side, _), (_, none) in (sides, sides[::-1]):
            if not none.any():
                return self._value(side, lanes, wanted)
        if digits := self._cut(node, lanes, wanted):
            return self._beside(node, digits[-1], lanes, wanted)
        yes, no = (self._value(side, lanes, kept) for side, kept in sides)
        return None if yes is None or no is None else make("select", condition(holds), yes, no)

    def _beside(self, node: Expr, digit: int, lanes: Numbers, wanted: Holds) -> Expr | None:
        """Two values, the lanes of each with another value of a digit."""
        parts = [np.arange(len(lanes)) >> digit & 1 == number for number in (0, 1)]
        low, high = (self._value(node, lanes[here], wanted[here]) for here in parts)
        if low is None or high is None:
            return None
        low, high = _alike(low, high), _alike(high, low)
        sizes = 2, len(lanes) >> digit + 1, 1 << digit
        return make("transpose", make("concat", low, high), attr=(sizes, (1, 0, 2)))

    def _loaded(self, node: Expr, lanes: Numbers, wanted: Holds) -> Expr | None:
        """A load whose wanted lanes are digits, turned so that the first of them is lane 0."""
        if (found := self._places(node, lanes)) is None:
            return None
        (start, where), count = found, len(lanes)
        whole = start.shifted(int(where[0]))
        if np.array_equal(where, where[0] + np.arange(count)) and _aligned(whole, count):
            return self.gather(node, whole, [(count, 1)])
        first = int(np.flatnonzero(wanted)[0])
        steps = _steps(where[first:] - where[first], wanted[first:], count.bit_length() - 1)
        if steps is None:
            return None
        value = self._digits(node, start.shifted(int(where[first])), steps)
        return _turned(value, first) if first else value

    def _places(self, node: Expr, lanes: Numbers) -> tuple[Linear, Numbers] | None:
        """Where a load begins, and how far from there each lane lies; None where that is not
        known."""
        form = linear(node.args[0])
        known = form.only(lambda atom: bool(free_vars(atom) & self.at.keys()))
        if not frozenset().union(*map(free_vars, known.terms)) <= self.at.keys():
            return None
        where = sum((self._lanes(atom, lanes) * step for atom, step in known.terms.items()),
                    np.zeros(len(lanes), np.int64))  # fmt: skip
        return Linear(form.plus(known, -1).terms, form.constant), where

    def runs(self, node: Expr) -> Expr | None:
        """A load whose lanes lie together in a few runs, which are no digits. Each run is loaded
        with what lies around it, so that it is where it must be."""
        count = len(next(iter(self.at.values())))
        numbers = np.arange(count)
        found = None if count & (count - 1) else self._places(node, numbers)
        if found is None:
            return None
        (start, where), every = found, np.ones(count, bool)
        away = where - numbers
        firsts = [0, *(np.flatnonzero(np.diff(away)) + 1).tolist()]
        digits = _steps(where - where[0], every, count.bit_length() - 1)
        if digits is not None or len(firsts) > RUNS:
            return None
        low, high = start.range(self.ranges)
        room = node.attr.shape[-1] + 8 * ALIGN // node.type.bits
        if low + int(away.min()) < 0 or high + int(away.max()) + count > room:
            return None  # what lies around a run may not be loaded
        value, *runs = [self.gather(node, start.shifted(int(away[first])), [(count, 1)])
                        for first in reversed(firsts)]  # fmt: skip
        for run, end in zip(runs, firsts[:0:-1], strict=True):
            value = make("select", condition(numbers < end), run, value)
        return value

    def _digits(self, node: Expr, start: Linear, steps: list[int]) -> Expr:
        """The load's lanes by digits, the innermost first: those that stand still repeat."""
        whole = self.size.bit_length() - 1  # digits of a register
        if len(steps) > whole and sum(map(bool, steps[:whole])) <= FEW:
            outer = steps.pop()
            ends = start, start.shifted(outer)
            return make("concat", *(self._digits(node, end, [*steps]) for end in ends))
        value = self.gather(node, start, _merged([step for step in steps[::-1] if step]))
        for place, times in _still(steps):
            value = self.insert(value, 1 << place, times) if place else _repeated(value, times)
        return value


def _aligned(start: Linear, count: int) -> bool:
    """Whether an index is a multiple of a number: so many lanes are there if one of them is."""
    return not start.constant % count and all(step % count == 0 for step in start.terms.values())


def _turned(value: Expr, by: int) -> Expr:
    """The last ``by`` lanes before the others."""
    count = value.type.lanes
    size = gcd(by, count)
    starts = [at % count for at in range(-by, count - by, size)]
    return make("concat", *(make("slice", value, attr=(at, size)) for at in starts))


def _alike(value: Expr, other: Expr) -> Expr:
    """A number in all lanes as if it were loaded, and its lanes moved, as those of another value:
    so that the two are shuffled together."""

    def moved(node: Expr) -> Expr | None:
        if node.op in ("load", "tile"):
            return make("tile", value.args[0], attr=node.type.lanes)
        parts = [moved(arg) for arg in node.args] if node.op in MOVES else [None]
        return None if None in parts else rebuild(node, tuple(part for part in parts if part))

    found = moved(other) if value.op == "tile" and _is_number(value.args[0]) else None
    return value if found is None else found


def _deciding(holds: Holds, wanted: Holds, least: int) -> list[int]:
    """The digits of the lane's number on which it depends what holds in the wanted lanes, one that
    tells all by itself, if there is one; none where their values have less lanes than ``least``."""
    numbers, digits = np.arange(len(holds)), [*range(len(holds).bit_length() - 1)]
    for digit in digits:
        sides = [{*holds[wanted & (numbers >> digit & 1 == number)].tolist()} for number in (0, 1)]
        if len(sides[0]) == len(sides[1]) == 1:
            digits = [digit]
            break
    else:
        digits = [d for d in digits if ((holds != holds[numbers ^ 1 << d]) & wanted
                                        & wanted[numbers ^ 1 << d]).any()]  # fmt: skip
    return digits if len(holds) >= least << len(digits) else []


def _steps(where: Numbers, wanted: Holds, digits: int) -> list[int] | None:
    """How far a step of each digit of the lane's number moves; 0 where it is 0 in all wanted lanes;
    None where that does not say where these are."""
    numbers, steps = np.arange(len(where)), list[int]()
    for digit in range(digits):
        there = 1 << digit
        if not (wanted & (numbers >> digit & 1 == 1)).any():
            steps.append(0)
        elif wanted[there] and where[there] > 0:
            steps.append(int(where[there]))
        else:
            return None
    found = sum(((numbers >> digit & 1) * step for digit, step in enumerate(steps)), 0 * numbers)
    return steps if np.array_equal(found[wanted], where[wanted]) else None


def _still(steps: list[int]) -> Iterator[tuple[int, int]]:
    """The places of digits that stand still, neighbours as one, with the values that they take."""
    place = 0
    for still, group in groupby(steps, lambda step: not step):
        count = len([*group])
        if still:
            yield place, 1 << count
        place += count


def _repeated(value: Expr, times: int) -> Expr:
    """Each lane so many times, a power of two."""
    if value.type.lanes == 1:
        return make("tile", value, attr=times)
    while times > 1:
        value, times = make("interleave", value, value), times // 2
    return value


def _merged(steps: list[int]) -> Digits:
    """Steps of binary digits, outermost first, as digits as large as they can be."""
    found: Digits = []
    for step in steps:
        if found and found[-1][1] == 2 * step:
            found[-1] = found[-1][0] * 2, step
        else:
            found.append((2, step))
    return found
