"""Operands larger than TCM come slab by slab into buffers that take turns.

    copy(w_turn[0], w[0], token="w_turn_0")
    wait("w_turn_0");  copy(w_turn[1], w[1], token="w_turn_1");  <phase that reads w[0]>
    wait("w_turn_1");  copy(w_turn[0], w[2], token="w_turn_2");  <phase that reads w[1]>  ...

It works where each phase reads one step of the operand's first dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...tir.expr import Expr, const, transform
from ...tir.linear import canonical
from ...tir.stmt import Buffer, Copy, Region, Stmt, Wait, map_exprs
from ...tir.types import i32


@dataclass(frozen=True, slots=True)
class Turns:
    """An operand, the buffers that take turns, and the slab that each phase reads, if it does."""

    operand: Buffer
    near: Buffer
    slabs: tuple[int | None, ...]


def turns(
    operand: Buffer, phases: Sequence[Stmt], slab_of: Callable[[Stmt], set[int]], free: int
) -> Turns | None:
    """How ``operand`` can take turns in ``free`` bytes; None where a phase reads several slabs."""
    first = operand.shape[0]
    size = operand.bytes // first
    copies = min(free // size, 2) if first > 1 else 0
    read = [slab_of(phase) for phase in phases]
    if not copies or any(len(found) > 1 for found in read):
        return None
    near = Buffer(f"{operand.name}_turn", operand.type, (copies, *operand.shape[1:]), "tcm")
    return Turns(operand, near, tuple(min(found) if found else None for found in read))


def with_copies(plan: Turns, phases: Sequence[Stmt]) -> list[Stmt]:
    """The phases with their copies and waits, reading from the buffers."""
    order = _changes([slab for slab in plan.slabs if slab is not None])
    copies = plan.near.shape[0]
    out: list[Stmt] = [_copy(plan, turn, slab) for turn, slab in enumerate(order[:1])]
    turn = -1
    for phase, slab in zip(phases, plan.slabs, strict=True):
        if slab is None:
            out.append(phase)
            continue
        if turn < 0 or order[turn] != slab:
            turn += 1
            if turn and copies == 1:
                out.append(_copy(plan, turn, slab))
            out.append(Wait(f"{plan.near.name}_{turn}"))
            if copies > 1 and turn + 1 < len(order):
                out.append(_copy(plan, turn + 1, order[turn + 1]))
        out.append(_from_turn(plan, phase, turn % copies - slab))
    return out


def _changes(slabs: list[int]) -> list[int]:
    """The slabs in the order in which they are needed, repeats in a row once."""
    return [slab for i, slab in enumerate(slabs) if i == 0 or slabs[i - 1] != slab]


def _copy(plan: Turns, turn: int, slab: int) -> Copy:
    def box(buffer: Buffer, first: int) -> Region:
        start = (const(first, i32), *(const(0, i32) for _ in buffer.shape[1:]))
        return Region(buffer, start, (1, *buffer.shape[1:]))

    place = turn % plan.near.shape[0]
    return Copy(box(plan.near, place), box(plan.operand, slab), f"{plan.near.name}_{turn}")


def _from_turn(plan: Turns, phase: Stmt, away: int) -> Stmt:
    """``phase`` with its slab ``away`` steps of the first dimension from where it was."""

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr != plan.operand:
            return None
        return Expr("load", expr.type, (canonical(expr.args[0] + away), *expr.args[1:]), plan.near)

    return map_exprs(phase, lambda e: transform(e, node))
