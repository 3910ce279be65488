"""Transfers beside phases: they start once their place is free, and are waited for when needed.

copy(w_turn[0], w[0], token="w_0");  copy(w_turn[1], w[1], token="w_1")
wait("w_0");                                            <phase that reads w[0]>
copy(w_turn[0], w[2], token="w_2");  wait("w_1");       <phase that reads w[1]>  ...

Threads wait for each other before a copy into a place that they have read, and behind a wait. That
is once where the wait goes first, because phases surely took longer than what it is for:

wait("w_1");  copy(w_turn[0], w[2], token="w_2");       <phase that reads w[1]>  ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from ...target.machine_facts import Machine
from ...tir.expr import const
from ...tir.stmt import Buffer, Copy, For, Region, Stmt, Store, Wait, children
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


def beside(phases: Sequence[Stmt], transfers: Sequence[Transfer], machine: Machine) -> list[Stmt]:
    """The phases with starts and waits. Transfers end in the order in which they start: those
    before one that is waited for are there as well."""
    ends = [0.0, *accumulate(_least(phase, machine) for phase in phases)]
    out: list[Stmt] = []
    flying: list[Transfer] = []
    for number in range(len(phases) + 1):
        begun = [transfer for transfer in transfers if transfer.start == number]
        count = _needed(flying, number)
        if begun and count and _there(flying[:count], ends, number, machine):
            out += [Wait(transfer.copy.token) for transfer in flying[:count]]
            flying = flying[count:]
        flying += begun
        count = _needed(flying, number)
        out += [transfer.copy for transfer in begun]
        out += [Wait(transfer.copy.token) for transfer in flying[:count]]
        out += phases[number : number + 1]
        flying = flying[count:]
    return out


def _needed(flying: Sequence[Transfer], number: int) -> int:
    """How many of the transfers under way must have ended before a phase."""
    return max((i + 1 for i, t in enumerate(flying) if t.needed <= number), default=0)


def _there(
    flying: Sequence[Transfer], ends: Sequence[float], number: int, machine: Machine
) -> bool:
    """Whether transfers under way have surely ended before a phase, by when phases end at the
    earliest."""
    size = sum(transfer.bytes for transfer in flying)
    past = ends[number] - ends[max(transfer.start for transfer in flying)]
    return past >= machine.dma_start + size / machine.dma_rate


def _least(phase: Stmt, machine: Machine) -> float:
    """Cycles of a phase at the least: registers of products, or of what else it stores."""
    count = sum(-(-turns // machine.vector_bytes) for turns in stored_turns(phase))
    return count / machine.issue.products / machine.threads


def stored_turns(stmt: Stmt) -> Iterator[int]:
    """How often each store of a statement runs, lanes counted one by one."""
    if isinstance(stmt, Store):
        yield 1
    extent = stmt.extent if isinstance(stmt, For) else 1
    for child in children(stmt):
        yield from (extent * turns for turns in stored_turns(child))


def in_turn(copy: Copy, turn: int, firsts: Sequence[int], places: int) -> Transfer:
    """A transfer into that of ``places`` whose turn it is, free once the turn that had it before is
    over; phase ``firsts[t]`` is the first one of turn t."""
    start = firsts[turn - places + 1] if turn >= places else 0
    return Transfer(copy, start, firsts[turn])


def rows_of(buffer: Buffer, first: int, count: int) -> Region:
    """Steps of a buffer's first dimension, from ``first`` on."""
    start = (const(first, i32), *(const(0, i32) for _ in buffer.shape[1:]))
    return Region(buffer, start, (count, *buffer.shape[1:]))
