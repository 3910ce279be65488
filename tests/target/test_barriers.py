"""Phases that begin without a barrier touch nothing that other threads touch before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest

from dovetail.target.barriers import free_phases
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.target import dsp
from dovetail.target.instruction import Kind
from dovetail.target.program import (
    Address,
    Dma,
    Item,
    Loop,
    MachineOp,
    Phase,
    Place,
    Program,
    WaitOp,
    share,
)
from dovetail.tir.script import parse
from tests.target.test_build import HEAD
from tests.target.test_jit import V, load, store

MACHINE = dsp()
ROWS = 10


def rows(come: str, to: str, down: int = 0, count: int = ROWS) -> Phase:
    """Each row of ``to`` from the row ``down`` below it in ``come``."""
    body: list[Item] = [load(V[0], come, 128 * down, p=128), store(V[0], to, p=128)]
    return Phase(body, ("p", count))


def free(*phases: Phase, private: Sequence[str] = ()) -> list[int]:
    places = [Place(name, 128 * 32, "tcm", per_thread=name in private) for name in "abcd"]
    return sorted(free_phases(Program("test", places, [*phases]), MACHINE.threads))


def test_rows_of_ones_own_need_no_barrier() -> None:
    assert free(rows("a", "b"), rows("b", "c"), rows("c", "d")) == [1, 2]


@pytest.mark.parametrize("threads", [1, 3, 4])
def test_few_rows_are_those_of_the_first_threads(threads: int) -> None:
    """Chunks are as equal as can be, and what one thread runs is the first one's."""
    for extent in range(12):
        counts = [count for _, count in share(extent, threads)]
        assert sum(counts) == extent and max(counts) - min(counts) <= 1
        assert extent >= threads or counts == [1] * extent + [0] * (threads - extent)
    alone = Phase([load(V[0], "b"), store(V[0], "c")])
    assert free(rows("a", "b", count=1), alone, rows("c", "d", count=1)) == [1, 2]


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (rows("b", "c", down=1), "reads the next thread's row"),
        (rows("b", "c", count=ROWS + 2), "shares other chunks"),
        (rows("d", "a", count=ROWS + 2), "writes what another thread may still read"),
        (rows("d", "b", count=ROWS + 2), "writes what another thread may still write"),
        (Phase([load(V[0], "b", 128 * 9), store(V[0], "c")]), "one thread reads what all wrote"),
    ],
)
def test_rows_of_others_do(second: Phase, why: str) -> None:
    assert free(rows("a", "b"), second) == [], why


def test_only_what_came_since_the_last_barrier_counts() -> None:
    behind = rows("b", "c", down=1)
    assert free(rows("a", "b"), behind, rows("c", "d")) == [2]
    assert free(rows("a", "b"), rows("c", "d"), behind) == [1]


def test_scratch_of_each_thread_is_its_own() -> None:
    assert free(rows("a", "b"), rows("b", "c", down=1), private="b") == [1]


def test_an_index_of_run_time_is_the_whole_buffer() -> None:
    far = Address("b", 0, (("p", 128),), V[3])
    read = MachineOp(load(V[0], "b").instruction, V[0], (), far)
    assert free(rows("a", "b"), Phase([read, store(V[0], "c", p=128)], ("p", ROWS))) == []


def test_transfers_hold_their_buffers_until_they_are_awaited() -> None:
    start = Dma("t", Address("b"), Address("a"), ROWS, 128, 128, 128)
    first, wait = Phase([start]), Phase([WaitOp("t")])
    assert free(first, rows("c", "d"), wait) == [1, 2]
    assert free(first, wait, rows("b", "c")) == [1]  # all threads read what thread 0 awaited
    assert free(first, wait, rows("c", "a")) == [1]


@pytest.mark.parametrize(
    ("at", "found"), [(0, [1, 2]), (128 * (ROWS - 1), [2]), (128 * ROWS, [1, 2])]
)
def test_transfers_hold_only_what_they_move(at: int, found: list[int]) -> None:
    """Where it starts a row is written, which only its own thread, another one or none reads."""
    start = Dma("t", Address("b", at), Address("d"), 1, 128, 128, 128)
    assert free(rows("b", "c"), Phase([start]), Phase([WaitOp("t")])) == found
    assert free(rows("b", "c"), Phase([start]).at({"b": 128 * ROWS}), Phase([WaitOp("t")])) == [
        1,
        2,
    ]


TWO = (
    HEAD
    + """x: Buffer[u8, (4, 128), "tcm"], y: Buffer[u8, (4, 128), "tcm"]):
    t = alloc(u8, (4, 128), "tcm")
    for i in parallel(4):
        for l in vectorized(128):
            t[i, l] = max(x[i, l], 3)
    for j in parallel(4):
        for l in vectorized(128):
            y[j, l] = max(t[j, l], 5)
"""
)


def test_a_barrier_less_is_that_much_faster() -> None:
    listing = compile_program(MACHINE.build(parse(TWO)), MACHINE)
    assert listing.free == {1}
    joined, apart = cost(listing), cost(replace(listing, free=frozenset()))
    assert apart.cycles - joined.cycles == MACHINE.barrier
    assert apart.stalls["barrier"] - joined.stalls["barrier"] == MACHINE.barrier
    assert apart.executed == joined.executed


def touched(phase: Phase, thread: int) -> Iterator[tuple[str, int, bool]]:
    """Every byte that a thread touches, one by one: (buffer, byte, whether it is written)."""
    chunks = share(phase.parallel[1], 4) if phase.parallel else [(0, 1), *[(0, 0)] * 3]
    first, count = chunks[thread]
    outer = {phase.parallel[0]: range(first, first + count)} if phase.parallel else {}
    yield from _bytes(phase.body, outer if count else {"": range(0)})


def _bytes(items: Sequence[Item], loops: dict[str, range]) -> Iterator[tuple[str, int, bool]]:
    for item in items:
        if isinstance(item, Loop):
            yield from _bytes(item.body, {**loops, item.variable: range(item.extent)})
        elif (
            isinstance(item, MachineOp) and item.address is not None and item.address.index is None
        ):
            for values in product(*loops.values()):
                at = dict(zip(loops, values, strict=True))
                start = item.address.offset + sum(at[v] * by for v, by in item.address.terms)
                for byte in range(start, start + item.instruction.bytes):
                    yield item.address.buffer, byte, item.instruction.kind is Kind.STORE


@pytest.mark.parametrize("down", [0, 1, 2])
@pytest.mark.parametrize("counts", [(8, 8, 8), (9, 9, 7), (5, 6, 5), (3, 3, 3)])
def test_threads_between_barriers_never_meet(counts: tuple[int, ...], down: int) -> None:
    phases = [rows("a", "b", 0, counts[0]), rows("b", "c", down, counts[1])]
    phases.append(rows("c", "d", 0, counts[2]))
    found = free(*phases)
    for later in range(1, 3):
        begin = max((n for n in range(later + 1) if n not in found), default=0)
        for before in range(begin, later):
            for one, other in product(range(4), repeat=2):
                if one != other:
                    a, b = set(touched(phases[before], one)), set(touched(phases[later], other))
                    met = {(n, at) for n, at, _ in a} & {(n, at) for n, at, _ in b}
                    assert not any((*m, True) in a | b for m in met)
