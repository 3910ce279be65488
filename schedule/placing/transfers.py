"""Transfers beside phases: they start once their place is free, and are waited for when needed.

copy(w_turn[0], w[0], token="w_0");  copy(w_turn[1], w[1], token="w_1")
wait("w_0");                                            <phase that reads w[0]>
copy(w_turn[0], w[2], token="w_2");  wait("w_1");       <phase that reads w[1]>  ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...tir.expr import const
from ...tir.stmt import Buffer, Copy, Region, Stmt, Wait
from ...tir.types import i32

PLACES = 2  # that take turns, where there is room for them


@dataclass(frozen=True, slots=True)
class Transfer:
    """``copy`` starts before the phase of number ``start`` and has ended before ``needed``."""

    copy: Copy
    start: int
    needed: int

    @property
    def bytes(self) -> int:
        source = self.copy.source
        return prod(source.extent) * source.buffer.type.bytes


def beside(phases: Sequence[Stmt], transfers: Sequence[Transfer]) -> list[Stmt]:
    """The phases with starts and waits. Transfers end in the order in which they start: those
    before one that is waited for are there as well."""
    out: list[Stmt] = []
    flying: list[Transfer] = []
    for number in range(len(phases) + 1):
        begun = [transfer for transfer in transfers if transfer.start == number]
        flying += begun
        count = max((i + 1 for i, t in enumerate(flying) if t.needed <= number), default=0)
        out += [transfer.copy for transfer in begun]
        out += [Wait(transfer.copy.token) for transfer in flying[:count]]
        out += phases[number : number + 1]
        flying = flying[count:]
    return out


def in_turn(copy: Copy, turn: int, firsts: Sequence[int], places: int) -> Transfer:
    """A transfer into that of ``places`` whose turn it is, free once the turn that had it before is
    over; phase ``firsts[t]`` is the first one of turn t."""
    start = firsts[turn - places + 1] if turn >= places else 0
    return Transfer(copy, start, firsts[turn])


def rows_of(buffer: Buffer, first: int, count: int) -> Region:
    """Steps of a buffer's first dimension, from ``first`` on."""
    start = (const(first, i32), *(const(0, i32) for _ in buffer.shape[1:]))
    return Region(buffer, start, (count, *buffer.shape[1:]))
