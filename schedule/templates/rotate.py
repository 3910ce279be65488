"""Operands larger than TCM come slab by slab into buffers that take turns.

    copy(w_turn[0], w[0], token="w_turn_0")
    wait("w_turn_0");  copy(w_turn[1], w[1], token="w_turn_1");  <phase that reads w[0]>
    wait("w_turn_1");  copy(w_turn[0], w[2], token="w_turn_2");  <phase that reads w[1]>  ...

A phase may read several steps of the operand's first dimension: then these slabs come together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...tir.expr import const
from ...tir.linear import canonical
from ...tir.stmt import Buffer, Copy, Region, Stmt, Wait
from ...tir.types import i32
from ..build import Index, retargeted


@dataclass(frozen=True, slots=True)
class Turns:
    """An operand, the buffers that take turns as one, and the slabs that each phase reads, if
    any; ``most`` is how many slabs a turn holds."""

    operand: Buffer
    near: Buffer
    slabs: tuple[range | None, ...]
    most: int

    @property
    def copies(self) -> int:
        return self.near.shape[0] // self.most


def turns(
    operand: Buffer, phases: Sequence[Stmt], slab_of: Callable[[Stmt], set[int]], free: int
) -> Turns | None:
    """How ``operand`` can take turns in ``free`` bytes; None where a phase reads too many slabs."""
    first = operand.shape[0]
    read = [slab_of(phase) for phase in phases]
    runs = tuple(range(min(found), max(found) + 1) if found else None for found in read)
    most = max((len(run) for run in runs if run), default=first)
    copies = min(free // (operand.bytes // first * most), 2)
    if most == first or copies < 1:
        return None
    shape = (copies * most, *operand.shape[1:])
    near = Buffer(f"{operand.name}_turn", operand.type, shape, "tcm")
    return Turns(operand, near, runs, most)


def with_copies(plan: Turns, phases: Sequence[Stmt]) -> list[Stmt]:
    """The phases with their copies and waits, reading from the buffers."""
    order = _changes([slabs for slabs in plan.slabs if slabs is not None])
    out: list[Stmt] = [_copy(plan, turn, slabs) for turn, slabs in enumerate(order[:1])]
    turn = -1
    for phase, slabs in zip(phases, plan.slabs, strict=True):
        if slabs is None:
            out.append(phase)
            continue
        if turn < 0 or order[turn] != slabs:
            turn += 1
            if turn and plan.copies == 1:
                out.append(_copy(plan, turn, slabs))
            out.append(Wait(f"{plan.near.name}_{turn}"))
            if plan.copies > 1 and turn + 1 < len(order):
                out.append(_copy(plan, turn + 1, order[turn + 1]))
        out.append(_from_turn(plan, phase, _place(plan, turn) - slabs.start))
    return out


def _changes(runs: list[range]) -> list[range]:
    """The slabs in the order in which they are needed, repeats in a row once."""
    return [run for i, run in enumerate(runs) if i == 0 or runs[i - 1] != run]


def _place(plan: Turns, turn: int) -> int:
    """The first slab of the buffer whose turn it is."""
    return turn % plan.copies * plan.most


def _copy(plan: Turns, turn: int, slabs: range) -> Copy:
    def box(buffer: Buffer, first: int) -> Region:
        start = (const(first, i32), *(const(0, i32) for _ in buffer.shape[1:]))
        return Region(buffer, start, (len(slabs), *buffer.shape[1:]))

    to = box(plan.near, _place(plan, turn))
    return Copy(to, box(plan.operand, slabs.start), f"{plan.near.name}_{turn}")


def _from_turn(plan: Turns, phase: Stmt, away: int) -> Stmt:
    """``phase`` with its slabs ``away`` steps of the first dimension from where they were."""

    def element(buffer: Buffer, index: Index) -> tuple[Buffer, Index] | None:
        if buffer != plan.operand:
            return None
        return plan.near, (canonical(index[0] + away), *index[1:])

    return retargeted(phase, element)
