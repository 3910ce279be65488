"""Bytes that change places between registers: the fewest shuffles for a permutation of digits.

Lane operators over pieces smaller than a register are read as one permutation. Where it exchanges
binary digits of the byte's number (the lowest seven are the place in a register, the others
number the registers), a shortest path over what the machine shuffles in one instruction does it:

    vshuffoe   exchanges digit 0 (or 1) with one that numbers registers, in any pipe
    vshuff     of a pair rotates the digits of both; of one register, those of its bytes
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr, const, make
from ..tir.ops import OPS
from ..tir.types import Type, i32, vector
from .errors import SelectError
from .match import LANE_OPS, moves_lanes
from .sources import BYTES, is_splat, leaves, sources, whole_of

LANE_DIGITS = 7
MOST = 32  # registers of one permutation
TRIED = 1000  # arrangements that the search for a path looks at

Digits = tuple[int, ...]
Registers = Callable[[Expr], list[Expr] | None]


@dataclass(frozen=True, slots=True)
class Shuffle:
    """An instruction on digits: ``places`` are rotated, each to the next one (the last to the
    first); a place of -1 is a digit that numbers registers. ``cost`` in pipes per register."""

    row: str
    places: tuple[int, ...]
    cost: float
    scalar: int = 0  # the operand that says how far apart elements lie, where there is one

    @property
    def pairs(self) -> bool:
        return -1 in self.places


def _rotations() -> Iterator[Shuffle]:
    yield Shuffle("vshufoeb", (-1, 0), 1)
    yield Shuffle("vshufoeh", (-1, 1), 1)
    for low, (size, by) in enumerate((("b", -1), ("h", -2), ("w", -4))):
        up = (-1, *range(low, LANE_DIGITS))
        yield Shuffle(f"vshuffvdd_{size}", up, 1.2, by)
        yield Shuffle(f"vdealvdd_{size}", up[::-1], 1.2, by)
        if size != "w":
            yield Shuffle(f"vshuff{size}", up[1:], 1.3)
            yield Shuffle(f"vdeal{size}", up[:0:-1], 1.3)
    for place in range(LANE_DIGITS):
        yield Shuffle(f"vshuffvdd_x{1 << place}", (-1, place), 1.2, 1 << place)


SHUFFLES = tuple(_rotations())


def is_shuffle(node: Expr) -> bool:
    """Whether a value of whole registers of bytes is put together from smaller pieces."""
    kind = node.type
    whole = kind.bits == 8 and kind.lanes % BYTES == 0
    return whole and node.op in LANE_OPS and _least(node) < BYTES and node.op != "slice"


@lru_cache(maxsize=1 << 12)
def _least(node: Expr) -> int:
    """The fewest lanes of a piece in a tree of lane operators; those dealt come one by one."""
    if not moves_lanes(node):
        return node.type.lanes
    if node.op in ("deinterleave", "transpose"):
        return 1
    return min(node.type.lanes, *(_least(arg) for arg in node.args))


def shuffled(node: Expr, registers: Registers) -> list[Expr] | None:
    """The registers of ``node``, shuffled from whole ones; None where digits do not say how.

    ``registers`` gives those of a part that is no lane operator.
    """
    for found in _permuted(node, registers):
        values, where = found
        digits = _digits(where, len(values))
        if digits is None:
            continue
        wanted, base = digits
        values = values * ((1 << len(wanted)) // (len(values) * BYTES))
        moved = _applied(wanted, base, node.type.lanes // BYTES, values)
        if moved:
            return moved
    return None


Permuted = tuple[list[Expr], NDArray[np.int64]]  # registers, and the byte of them that lanes are


def _permuted(node: Expr, registers: Registers) -> Iterator[Permuted]:
    """``node`` as bytes of whole registers, in the ways in which these may be loaded."""
    for wholes, places in sources(node):
        values: list[Expr] = []
        for whole in wholes:
            values.extend(registers(whole) or ())
        count = sum(whole.type.lanes for whole in wholes) // BYTES
        if len(values) == count <= MOST:
            values += [values[-1]] * ((1 << (count - 1).bit_length()) - count)
            yield values, _evaluated(node, places)
    for found in (_of_operand(node, registers), _of_each(node, registers)):
        if found is not None:
            yield found


def _of_operand(node: Expr, registers: Registers) -> Permuted | None:
    """A transposed value as a permutation of its registers, some of which may be the same."""
    if node.op != "transpose":
        return None
    values = registers(node.args[0])
    if values is None or len(values) > MOST:
        return None
    return values, _evaluated(node, {node.args[0]: 0})


def _of_each(node: Expr, registers: Registers) -> Permuted | None:
    """A value whose leaves are loads of parts of registers as a permutation of those that begin
    where these do, in order: those of one that comes several times are the same."""
    whole = {leaf: registers(whole_of(leaf)) for leaf in leaves(node)
             if leaf.op == "load" and leaf.type.lanes < BYTES}  # fmt: skip
    if None in whole.values() or len(whole) < len(leaves(node)):
        return None
    values: list[Expr] = []

    def value(part: Expr) -> NDArray[np.int64]:
        if moves_lanes(part):
            return _moved_lanes(part, [value(arg) for arg in part.args])
        values.extend(whole[part] or ())
        return np.arange(part.type.lanes) + (len(values) - 1) * BYTES

    where = value(node)
    values += [values[-1]] * ((1 << (len(values) - 1).bit_length()) - len(values))
    return (values, where) if len(values) <= MOST else None


def _evaluated(node: Expr, places: dict[Expr, int]) -> NDArray[np.int64]:
    """For each lane of ``node``, the byte of the sources that it is."""
    done, used = dict[Expr, NDArray[np.int64]](), dict(places)

    def value(part: Expr) -> NDArray[np.int64]:
        if part in done:
            return done[part]
        if part in used:
            moved = np.arange(part.type.lanes) + used[part]
            used[part] += part.type.lanes  # the next one of those that hold a splat
        else:
            moved = _moved_lanes(part, [value(arg) for arg in part.args])
        if not any(map(is_splat, leaves(part))):
            done[part] = moved
        return moved

    return value(node)


def _moved_lanes(node: Expr, args: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What a lane operator makes of the numbers of bytes."""
    return OPS[node.op].value(node.type, node.attr, *args)


def _digits(where: NDArray[np.int64], count: int) -> tuple[Digits, int] | None:
    """The source digit that each digit of the result is, those that are left behind them, and the
    byte of ``count`` registers that lane 0 is; None where that does not say all. Where bytes
    repeat, a digit of the result is one that numbers copies of all registers."""
    lanes, base = len(where), int(where[0])
    inner, outer = lanes.bit_length() - 1, (count * BYTES).bit_length() - 1
    digits = [int(where[1 << k]) - base for k in range(inner)]
    copies = digits.count(0)
    if lanes != 1 << inner or inner > outer + copies:
        return None
    if any(d < 0 or d.bit_count() > 1 or d & base for d in digits):
        return None
    if len({*digits}) < inner - max(copies - 1, 0):
        return None
    numbers = np.arange(lanes)
    total = base + sum(((numbers >> k) & 1) * digit for k, digit in enumerate(digits))
    if not np.array_equal(total, where):
        return None
    spare = iter(range(outer, outer + copies))
    found = [digit.bit_length() - 1 if digit else next(spare) for digit in digits]
    rest = [k for k in range(outer) if 1 << k not in digits]
    return (*found, *rest), base


Move = tuple[Shuffle, int]  # with the digit that numbers registers, or 0


@lru_cache(maxsize=1 << 10)
def _path(wanted: Digits) -> tuple[tuple[Move, ...], Digits] | None:
    """The cheapest moves after which place k < 7 holds digit wanted[k], and all places' digits."""
    start = tuple(range(len(wanted)))
    turned = min(filter(None, (_rotated(wanted), _exchanged(wanted))), key=_cost, default=None)
    limit = _cost(turned) if turned else float("inf")
    queue: list[tuple[float, int, Digits, tuple[Move, ...]]] = [(0, 0, start, ())]
    seen: set[Digits] = set()
    number = 0
    while queue and queue[0][0] < limit and len(seen) < TRIED:
        cost, _, state, path = heapq.heappop(queue)
        if state in seen:
            continue
        if state[:LANE_DIGITS] == wanted[:LANE_DIGITS]:
            return path, state
        seen.add(state)
        for shuffle in SHUFFLES:
            for digit in range(LANE_DIGITS, len(wanted)) if shuffle.pairs else (0,):
                number += 1
                fresh = _turned(state, shuffle, digit)
                if fresh not in seen:
                    entry = cost + shuffle.cost, number, fresh, (*path, (shuffle, digit))
                    heapq.heappush(queue, entry)
    return turned


def _cost(found: tuple[tuple[Move, ...], Digits]) -> float:
    return sum(shuffle.cost for shuffle, _ in found[0])


def _exchanged(wanted: Digits) -> tuple[tuple[Move, ...], Digits] | None:
    """Lane digits exchanged one by one with those that number registers; one that is needed in
    another place of the lanes goes by way of a register's number."""
    if len(wanted) == LANE_DIGITS:
        return None
    swaps = [shuffle for shuffle in SHUFFLES if shuffle.places in [(-1, k) for k in range(7)]]
    swap = {shuffle.places[1]: shuffle for shuffle in reversed(swaps)}
    state, moves = tuple(range(len(wanted))), list[Move]()
    for place in range(LANE_DIGITS):
        at = state.index(wanted[place])
        if at == place:
            continue
        if at < LANE_DIGITS:
            moves.append((swap[at], LANE_DIGITS))
            state = _turned(state, swap[at], LANE_DIGITS)
            at = LANE_DIGITS
        moves.append((swap[place], at))
        state = _turned(state, swap[place], at)
    return tuple(moves), state


def _rotated(wanted: Digits) -> tuple[tuple[Move, ...], Digits] | None:
    """Three or more rotations of one kind, each of which brings a digit in from the numbers of
    registers at one end of the lanes, and takes one out at the other end."""
    best: tuple[tuple[Move, ...], Digits] | None = None
    for shuffle in SHUFFLES:
        if not shuffle.pairs or not shuffle.scalar:
            continue
        inner = [place for place in shuffle.places if place >= 0]
        for count in range(3, len(inner) + 1):
            state, moves = tuple(range(len(wanted))), list[Move]()
            for place in reversed(inner[:count]):
                digit = state.index(wanted[place])
                if digit < LANE_DIGITS:
                    break
                moves.append((shuffle, digit))
                state = _turned(state, shuffle, digit)
            if len(moves) == count and state[:LANE_DIGITS] == wanted[:LANE_DIGITS]:
                if best is None or count < len(best[0]):
                    best = tuple(moves), state
    return best


def _turned(state: Digits, shuffle: Shuffle, digit: int) -> Digits:
    places = [digit if place < 0 else place for place in shuffle.places]
    fresh = list(state)
    for place, following in zip(places, [*places[1:], places[0]], strict=True):
        fresh[following] = state[place]
    return tuple(fresh)


def _applied(wanted: Digits, base: int, count: int, values: list[Expr]) -> list[Expr] | None:
    """The ``count`` registers of the result: digits that it has not are those of ``base``."""
    found = _path(wanted)
    if found is None and len(wanted) == LANE_DIGITS:  # digits exchange with those of a twin
        wanted, values = (*wanted, LANE_DIGITS), values * 2
        found = _path(wanted)
    if found is None:
        return None
    moves, state = found
    for shuffle, digit in moves:
        values = _moved(values, shuffle, digit - LANE_DIGITS)
    numbered, order = wanted[LANE_DIGITS:], []
    for number in range(count):
        at = 0
        for k, digit in enumerate(numbered):
            bit = number >> k if 1 << k < count else base >> digit
            at |= (bit & 1) << (state.index(digit) - LANE_DIGITS)
        order.append(values[at])
    return order


def _moved(values: list[Expr], shuffle: Shuffle, digit: int) -> list[Expr]:
    """One instruction on each register, or on each pair that ``digit`` tells apart; where all
    bytes are one number, none is needed."""
    if not shuffle.pairs:
        return [v if is_splat(v) else _call(shuffle, v.type, (v,)) for v in values]
    fresh = list(values)
    for number, low in enumerate(values):
        if number >> digit & 1:
            continue
        other = number | 1 << digit
        if low is values[other] and is_splat(low):
            continue
        pair = _call(shuffle, vector(low.type, 2 * BYTES), (values[other], low))
        fresh[number], fresh[other] = (
            make("slice", pair, attr=(start, BYTES)) for start in (0, BYTES)
        )
    return fresh


def _call(shuffle: Shuffle, kind: Type, operands: tuple[Expr, ...]) -> Expr:
    by = (const(shuffle.scalar, i32),) if shuffle.scalar else ()
    return Expr("call", kind, (*operands, *by), shuffle.row)


def by_ends(node: Expr) -> Expr:
    """A transposed value by joining what is cut or dealt, one digit at an end after the other."""
    sizes, order = node.attr
    return _by_ends(node.args[0], list(range(len(sizes))), sizes, [*order])


def _by_ends(value: Expr, have: list[int], sizes: tuple[int, ...], want: list[int]) -> Expr:
    """``value`` with its digits, which stand in the order ``have``, in the order ``want``."""
    if have == want:
        return value
    joins = ("concat", want[0]), ("interleave", want[-1])
    ends = [(sizes[d], op, d) for op, d in joins if d in (have[0], have[-1])]
    if not ends:
        raise SelectError(f"lanes: no shuffles put the digits {have} in the order {want}")
    extent, op, digit = min(ends)
    lanes = value.type.lanes // extent
    parts = [
        make("slice", value, attr=(k * lanes, lanes))
        if have[0] == digit
        else make("deinterleave", value, attr=(k, extent))
        for k in range(extent)
    ]
    rest, wanted = ([d for d in digits if d != digit] for digits in (have, want))
    return make(op, *(_by_ends(part, rest, sizes, wanted) for part in parts))
