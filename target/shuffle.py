"""Bytes that change places between registers: the fewest shuffles for a permutation of digits.

Lane operators over pieces smaller than a register are read as one permutation. Where it exchanges
binary digits of the byte's number (the lowest ones are the place in a register, the others number
the registers), a shortest path over what the machine's rows do to digits does it (``moves``):

    (-1, 0)           exchanges digit 0 with one that numbers registers
    (-1, 0, 1, ...)   of a pair rotates the digits of both
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..tir.expr import Expr, make
from ..tir.types import vector
from .errors import SelectError
from .match_rows import LANE_OPS, moves_lanes
from .move_rows import Digits, Moves, Shuffles, moved_lanes
from .sources import is_splat, leaves, sources, whole_of

MOST = 32  # registers of one permutation

Registers = Callable[[Expr], list[Expr] | None]


def is_shuffle(node: Expr, size: int) -> bool:
    """Whether a value of whole registers of ``size`` bytes is put together from smaller pieces."""
    kind = node.type
    whole = kind.bits == 8 and kind.lanes % size == 0
    return whole and node.op in LANE_OPS and _least(node) < size and node.op != "slice"


@lru_cache(maxsize=1 << 12)
def _least(node: Expr) -> int:
    """The fewest lanes of a piece in a tree of lane operators; those dealt come one by one."""
    if not moves_lanes(node):
        return node.type.lanes
    if node.op in ("deinterleave", "transpose"):
        return 1
    return min(node.type.lanes, *(_least(arg) for arg in node.args))


def shuffled(node: Expr, registers: Registers, shuffles: Shuffles) -> list[Expr] | None:
    """The registers of ``node``, shuffled from whole ones; None where digits do not say how.

    ``registers`` gives those of a part that is no lane operator.
    """
    size = shuffles.bytes
    for values, where in _permuted(node, registers, size):
        digits = _digits(where, len(values) * size)
        if digits is None:
            continue
        wanted, base = digits
        values = values * ((1 << len(wanted)) // (len(values) * size))
        moved = _applied(wanted, base, node.type.lanes // size, values, shuffles)
        if moved:
            return moved
    return None


Permuted = tuple[list[Expr], NDArray[np.int64]]  # registers, and the byte of them that lanes are


def _permuted(node: Expr, registers: Registers, size: int) -> Iterator[Permuted]:
    """``node`` as bytes of whole registers, in the ways in which these may be loaded."""
    for wholes, places in sources(node, size):
        values: list[Expr] = []
        for whole in wholes:
            values.extend(registers(whole) or ())
        count = sum(whole.type.lanes for whole in wholes) // size
        if len(values) == count <= MOST:
            values += [values[-1]] * ((1 << (count - 1).bit_length()) - count)
            yield values, _evaluated(node, places)
    for found in (_of_operand(node, registers), _of_each(node, registers, size)):
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


def _of_each(node: Expr, registers: Registers, size: int) -> Permuted | None:
    """A value whose leaves are loads of parts of registers as a permutation of those that begin
    where these do, in order: those of one that comes several times are the same."""
    whole = {leaf: registers(whole_of(leaf, size)) for leaf in leaves(node)
             if leaf.op == "load" and leaf.type.lanes < size}  # fmt: skip
    if None in whole.values() or len(whole) < len(leaves(node)):
        return None
    values: list[Expr] = []

    def value(part: Expr) -> NDArray[np.int64]:
        if moves_lanes(part):
            return moved_lanes(part, [value(arg) for arg in part.args])
        values.extend(whole[part] or ())
        return np.arange(part.type.lanes) + (len(values) - 1) * size

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
            moved = moved_lanes(part, [value(arg) for arg in part.args])
        if not any(map(is_splat, leaves(part))):
            done[part] = moved
        return moved

    return value(node)


def _digits(where: NDArray[np.int64], count: int) -> tuple[Digits, int] | None:
    """The source digit that each digit of the result is, those that are left behind them, and the
    byte of the ``count`` bytes that lane 0 is; None where that does not say all. Where bytes
    repeat, a digit of the result is one that numbers copies of all registers."""
    lanes, base = len(where), int(where[0])
    inner, outer = lanes.bit_length() - 1, count.bit_length() - 1
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


def _applied(
    wanted: Digits, base: int, count: int, values: list[Expr], shuffles: Shuffles
) -> list[Expr] | None:
    """The ``count`` registers of the result: digits that it has not are those of ``base``."""
    inner, found = shuffles.digits, shuffles.path(wanted)
    if found is None and len(wanted) == inner:  # digits exchange with those of a twin
        wanted, values = (*wanted, inner), values * 2
        found = shuffles.path(wanted)
    if found is None:
        return None
    moves, state = found
    for move, digit in moves:
        values = _moved(values, move, digit - inner)
    numbered, order = wanted[inner:], []
    for number in range(count):
        at = 0
        for k, digit in enumerate(numbered):
            bit = number >> k if 1 << k < count else base >> digit
            at |= (bit & 1) << (state.index(digit) - inner)
        order.append(values[at])
    return order


def _moved(values: list[Expr], move: Moves, digit: int) -> list[Expr]:
    """One instruction on each register, or on each pair that ``digit`` tells apart; where all
    bytes are one number, none is needed."""
    if not move.pairs:
        return [v if is_splat(v) else move.call(v.type, v) for v in values]
    fresh = list(values)
    for number, low in enumerate(values):
        if number >> digit & 1:
            continue
        other, lanes = number | 1 << digit, low.type.lanes
        if low is values[other] and is_splat(low):
            continue
        pair = move.call(vector(low.type, 2 * lanes), values[other], low)
        fresh[number], fresh[other] = (
            make("slice", pair, attr=(start, lanes)) for start in (0, lanes)
        )
    return fresh


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
