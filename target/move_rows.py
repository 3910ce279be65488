"""Rows that only move bytes, read by their bodies: on which digits of a byte's number they work.

A byte's number in a pair of registers has a digit more than its place in one: -1 names it here. So
``interleave(b, a)`` of two registers is the rotation (-1, 0, 1, ..., 6): the register's number
becomes digit 0, which becomes digit 1, and so on. A shortest path over such rows brings bytes into
any order of their digits.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr, const
from ..tir.ops import OPS
from ..tir.recent import Recent
from ..tir.types import Type
from .instruction import Instruction, Kind
from .match_rows import LANE_OPS

TRIED = 1000  # arrangements that the search for a path looks at

Digits = tuple[int, ...]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A row with the order of its operands: places in what is given, or constants."""

    row: Instruction
    order: tuple[int | Expr, ...]

    def __call__(self, kind: Type, *operands: Expr) -> Expr:
        args = (operands[at] if isinstance(at, int) else at for at in self.order)
        return Expr("call", kind, tuple(args), self.row.name)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """A row on digits: ``places`` are rotated, each to the next one (the last to the first); a
    place of -1 is the digit that tells two registers apart. ``call`` takes the high and the low
    register, or just one. ``piece``: the bytes by which it parts a pair in turns, the even pieces
    low and the odd ones high; 0 where it does not."""

    call: Call
    places: tuple[int, ...]
    digits: int
    cost: float | None = None  # pipes a register; None: not for shuffles

    @staticmethod
    def of(row: Instruction, size: int, cost: float | None) -> Moves | None:
        """None where a row does something else."""
        digits = size.bit_length() - 1
        taken = [at for at, p in enumerate(row.parameters) if not p.fixed]
        whole = [row.parameters[at].type for at in taken]
        if row.kind is not Kind.COMPUTE or row.body is None or not _only_moves(row.body):
            return None
        if any(kind.kind == "b" or kind.lanes * kind.bytes != size for kind in whole):
            return None
        if row.body.type.lanes * row.body.type.bytes != size * len(taken) or len(taken) > 2:
            return None
        for order in (taken[::-1], taken):  # the low register's place comes first
            numbers = {row.parameters[at].name: number for number, at in enumerate(order)}
            cycle = _cycle(_bytes_of(row.body, numbers, size), digits)
            if cycle:
                given = {at: len(order) - 1 - number for number, at in enumerate(order)}
                args = tuple(given[at] if at in given else const(p.low, p.type)
                             for at, p in enumerate(row.parameters))  # fmt: skip
                return Moves(Call(row, args), cycle, digits, cost)
        return None

    @property
    def pairs(self) -> bool:
        return -1 in self.places

    @property
    def piece(self) -> int:
        lowest = self.places[-1]
        down = (-1, *range(self.digits - 1, lowest - 1, -1))
        return 1 << lowest if self.places == down else 0


def _only_moves(node: Expr) -> bool:
    return node.op == "var" or (node.op in LANE_OPS and all(map(_only_moves, node.args)))


def _bytes_of(body: Expr, numbers: dict[str, int], size: int) -> Numbers:
    """For each byte of a row's result, the byte of its operands that it is."""

    def value(node: Expr) -> Numbers:
        if node.op == "var":
            return np.arange(node.type.lanes) + numbers[str(node.attr)] * node.type.lanes
        return moved_lanes(node, [value(arg) for arg in node.args])

    each = body.type.bytes
    return (value(body)[:, None] * each + np.arange(each)).reshape(-1)


def moved_lanes(node: Expr, args: Sequence[Numbers]) -> Numbers:
    """What a lane operator makes of the numbers of bytes."""
    return OPS[node.op].value(node.type, node.attr, *args)


def _cycle(where: Numbers, digits: int) -> tuple[int, ...]:
    """The digits that are rotated, the one that numbers registers first; none where all stay, or
    where these are no rotation."""
    count = len(where).bit_length() - 1
    sources = [int(where[1 << k]).bit_length() - 1 for k in range(count)]
    lanes = np.arange(len(where))
    total = sum(((lanes >> k) & 1) << source for k, source in enumerate(sources) if source >= 0)
    if sorted(sources) != [*range(count)] or not np.array_equal(total, where):
        return ()
    following = {source: k for k, source in enumerate(sources) if source != k}
    if not following:
        return ()
    start = max(following) if max(following) == digits else min(following)
    found = [start]
    while (after := following[found[-1]]) != start:
        found.append(after)
    return tuple(-1 if k == digits else k for k in found) if len(found) == len(following) else ()


Move = tuple[Moves, int]  # with the digit that numbers registers, or 0
Path = tuple[tuple[Move, ...], Digits]  # and the digits of all places after it


class Shuffles:
    """The rows of a machine by which bytes change places: of those that do the same, the cheapest
    one. ``digits`` are those of a byte's place in a register of ``bytes``."""

    def __init__(self, moves: Iterable[Moves], bytes: int) -> None:
        self.bytes, self.digits = bytes, bytes.bit_length() - 1
        best: dict[tuple[int, ...], Moves] = {}
        for move in moves:
            known = best.get(move.places)
            if move.cost is not None and (known is None or move.cost < _price(known)):
                best[move.places] = move
        self.moves = sorted(best.values(), key=lambda m: (_price(m), -len(m.places), m.places))
        self.by_places = best
        self._paths = Recent[tuple[Path | None]](1 << 10)

    def exchange(self, place: int) -> Moves | None:
        """What exchanges a digit of the place with one that numbers registers."""
        return self.by_places.get((-1, place))

    def path(self, wanted: Digits) -> Path | None:
        """The cheapest moves after which each place in a register holds the digit that is wanted
        there; None where there are none, or none were found in time."""
        return self._paths(wanted, lambda: (self._path(wanted),))[0]

    def _path(self, wanted: Digits) -> Path | None:
        start = tuple(range(len(wanted)))
        turned = min(
            filter(None, (self._rotated(wanted), self._exchanged(wanted))), key=_cost, default=None
        )
        limit = _cost(turned) if turned else float("inf")
        queue: list[tuple[float, int, Digits, tuple[Move, ...]]] = [(0, 0, start, ())]
        seen: set[Digits] = set()
        number = 0
        while queue and queue[0][0] < limit and len(seen) < TRIED:
            cost, _, state, path = heapq.heappop(queue)
            if state in seen:
                continue
            if state[: self.digits] == wanted[: self.digits]:
                return path, state
            seen.add(state)
            for move in self.moves:
                for digit in range(self.digits, len(wanted)) if move.pairs else (0,):
                    number += 1
                    fresh = _turned(state, move, digit)
                    if fresh not in seen:
                        entry = cost + _price(move), number, fresh, (*path, (move, digit))
                        heapq.heappush(queue, entry)
        return turned

    def _exchanged(self, wanted: Digits) -> Path | None:
        """Digits of the place exchanged one by one with those that number registers; one that is
        needed in another place goes by way of a register's number."""
        swap = [self.exchange(place) for place in range(self.digits)]
        if len(wanted) == self.digits:
            return None
        state, moves = tuple(range(len(wanted))), list[Move]()

        def take(place: int, digit: int) -> bool:
            nonlocal state
            move = swap[place]
            if move is None:
                return False
            moves.append((move, digit))
            state = _turned(state, move, digit)
            return True

        for place in range(self.digits):
            at = state.index(wanted[place])
            if at == place:
                continue
            if at < self.digits:
                if not take(at, self.digits):
                    return None
                at = self.digits
            if not take(place, at):
                return None
        return tuple(moves), state

    def _rotated(self, wanted: Digits) -> Path | None:
        """Three or more rotations of one kind, each of which brings a digit in from the numbers of
        registers at one end of the lanes, and takes one out at the other end."""
        best: Path | None = None
        for move in self.moves:
            inner = [place for place in move.places if place >= 0] if move.pairs else []
            for count in range(3, len(inner) + 1):
                state, moves = tuple(range(len(wanted))), list[Move]()
                for place in reversed(inner[:count]):
                    digit = state.index(wanted[place])
                    if digit < self.digits:
                        break
                    moves.append((move, digit))
                    state = _turned(state, move, digit)
                there = state[: self.digits] == wanted[: self.digits]
                if len(moves) == count and there and (best is None or count < len(best[0])):
                    best = tuple(moves), state
        return best


def _price(move: Moves) -> float:
    assert move.cost is not None
    return move.cost


def _cost(found: Path) -> float:
    return sum(_price(move) for move, _ in found[0])


def _turned(state: Digits, move: Moves, digit: int) -> Digits:
    places = [digit if place < 0 else place for place in move.places]
    fresh = list(state)
    for place, following in zip(places, [*places[1:], places[0]], strict=True):
        fresh[following] = state[place]
    return tuple(fresh)
