"""Transfers beside phases: what each phase reads has come, and no place is filled too early."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from dovetail.schedule.placing.transfers import beside, in_turn, rows_of
from dovetail.target.dsp.target import dsp
from dovetail.tir.expr import const, var
from dovetail.tir.interpret import interpret
from dovetail.tir.stmt import (
    Alloc,
    Buffer,
    Copy,
    For,
    LoopKind,
    PrimFunc,
    Stmt,
    Store,
    Wait,
    seq,
)
from dovetail.tir.types import i32, u8


@pytest.mark.parametrize("places", [1, 2, 3])
def test_slabs_that_take_turns_are_there_when_they_are_read(places: int) -> None:
    """Phases that read, or do not, while the interpreter moves bytes no sooner than at a wait."""
    rng = Random(places)
    w, y = Buffer("w", u8, (9, 4)), Buffer("y", u8, (20,))
    near = Buffer("near", u8, (places, 4), "tcm")
    phases: list[Stmt] = []
    firsts: list[int] = []
    for number in range(20):
        if not firsts or (len(firsts) < 9 and rng.random() < 0.5):
            firsts.append(number)
        turn = len(firsts) - 1
        value = near[const(turn % places, i32), const(number % 4, i32)]
        phases.append(Store(y, (const(number, i32),), value))
    transfers = [
        in_turn(Copy(rows_of(near, t % places, 1), rows_of(w, t, 1), f"w_{t}"), t, firsts, places)
        for t in range(len(firsts))
    ]
    body = beside(phases, transfers, dsp())
    assert sum(isinstance(s, Wait) for s in body) == len(transfers)
    found, slabs = np.zeros(20, np.uint8), np.arange(36, dtype=np.uint8).reshape(9, 4)
    interpret(PrimFunc("turns", (w, y), Alloc(near, seq(*body))), slabs, found)
    turns = [sum(first <= n for first in firsts) - 1 for n in range(20)]
    assert found.tolist() == [slabs[t, n % 4] for n, t in enumerate(turns)]


def test_transfers_run_ahead_as_far_as_there_are_places() -> None:
    w, near = Buffer("w", u8, (3, 4)), Buffer("near", u8, (2, 4), "tcm")
    copies = [Copy(rows_of(near, t % 2, 1), rows_of(w, t, 1), f"w_{t}") for t in range(3)]
    phases = [Store(w, (const(n, i32), const(0, i32)), const(0, u8)) for n in range(3)]
    transfers = [in_turn(copy, t, range(3), 2) for t, copy in enumerate(copies)]
    assert beside(phases, transfers, dsp()) == [
        copies[0], copies[1], Wait("w_0"), phases[0], copies[2], Wait("w_1"), phases[1],
        Wait("w_2"), phases[2],
    ]  # fmt: skip


@pytest.mark.parametrize("times", [1 << 10, 1 << 20])
def test_what_surely_came_is_awaited_before_the_next_copy_starts(times: int) -> None:
    """Phases of 2 cycles, and of 2,048: a transfer takes 300 to start."""
    w, near = Buffer("w", u8, (3, 128)), Buffer("near", u8, (2, 128), "tcm")
    copies = [Copy(rows_of(near, t % 2, 1), rows_of(w, t, 1), f"w_{t}") for t in range(3)]
    axis = var("i", i32)
    store = Store(near, (const(0, i32), axis % 128), const(0, u8))
    phases: list[Stmt] = [For(axis, times, LoopKind.SERIAL, store)] * 3
    transfers = [in_turn(copy, t, range(3), 2) for t, copy in enumerate(copies)]
    late = [copies[2], Wait("w_1")] if times < 1 << 20 else [Wait("w_1"), copies[2]]
    assert beside(phases, transfers, dsp()) == [
        copies[0], copies[1], Wait("w_0"), phases[0], *late, phases[1], Wait("w_2"), phases[2],
    ]  # fmt: skip
