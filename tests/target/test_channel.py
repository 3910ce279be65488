"""One channel to DDR: nothing moves faster than its rate, whatever runs beside what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.target.cost import Cost
from dovetail.target.dsp.channel import Channel, accessed, moved
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.dsp.steps import BytesTouched
from dovetail.target.dsp.target import dsp
from dovetail.target.program import Address, Dma, Item, Loop, Phase, Place, Program, WaitOp
from tests.target.nests import op

SIZE = 1 << 16
KB32 = 32 << 10


def near_and_far(*phases: Phase) -> Program:
    """Phases over t and u in TCM, x and y in DDR."""
    scopes = {"t": "tcm", "u": "tcm", "x": "ddr", "y": "ddr"}
    return Program("test", [Place(n, SIZE, scope) for n, scope in scopes.items()], list(phases))


def priced(machine: DspMachine, *phases: Phase) -> Cost:
    found = cost(compile_program(near_and_far(*phases), machine))
    assert found.cycles == found.packets + sum(found.stalls.values())
    return found


def copy(token: str, size: int, rows: int = 1, stride: int = 0, at: int = 0) -> Dma:
    """From x to t; rows lie together in t."""
    return Dma(token, Address("t", at), Address("x", at), rows, size, size, stride or size)


def loads(trips: int, at: str = "x", **more: int) -> Loop:
    return Loop("j", trips, [op("vmem", "v1", at=at, j=128, **more),
                             op("vmem_store", "", "v1", at="u", j=128, **more)])  # fmt: skip


def stores(trips: int, **more: int) -> Loop:
    return Loop("j", trips, [op("vmem_store", "", "v9", at="y", j=128, **more)])


def zero() -> Item:
    return op("vd0", "v9")


FREE = dict(dma_start=0, ddr_latency=0, barrier=0)


@pytest.mark.parametrize("threads", [1, 4])
def test_transfers_and_accesses_share_the_rate(threads: int) -> None:
    """32 KiB by transfer beside 32 KiB that are read, or written, directly."""
    machine = dsp(threads=threads, **FREE)
    for far in (loads(256), stores(256)):
        found = priced(machine, Phase([zero(), copy("a", KB32), far, WaitOp("a")]))
        assert found.dma_bytes == found.direct_bytes == KB32
        assert 2 * KB32 <= found.cycles * machine.dma_rate < 2.2 * KB32


def test_a_transfer_that_runs_on_yields_to_the_next_phase() -> None:
    machine = dsp(**FREE)
    phases = [copy("a", KB32)], [zero(), stores(256)], [WaitOp("a")]
    found = priced(machine, *(Phase(list(items)) for items in phases))
    assert 2 * KB32 <= found.cycles * machine.dma_rate < 2.2 * KB32


def test_threads_share_the_rate() -> None:
    found = priced(dsp(**FREE), Phase([loads(64, p=64 * 128)], ("p", 4)))
    assert KB32 <= found.cycles * 32 < 1.1 * KB32


def test_a_direct_access_takes_the_latency_of_ddr() -> None:
    """As a transfer takes its start: neither loads nor stores are nearly free."""
    near = priced(dsp(), Phase([op("vmem", "v1", at="u"), op("vmem_store", "", "v1", at="t")]))
    load = priced(dsp(), Phase([op("vmem", "v1", at="x"), op("vmem_store", "", "v1", at="t")]))
    store = priced(dsp(), Phase([op("vmem", "v1", at="u"), op("vmem_store", "", "v1", at="y")]))
    for found in (load, store):
        assert found.stalls["ddr"] >= 200
        assert 200 <= found.cycles - near.cycles <= 200 + 128 // 32 + 2
    items: list[Item] = [op("vmem", "v1", at="x"), op("vmem_store", "", "v1", at="t")]
    assert priced(dsp(ddr_latency=1000), Phase(items)).cycles - load.cycles == 800


def test_a_pointer_needs_not_wait_for_what_it_points_to() -> None:
    """Loads that nothing uses yet follow each other at the rate of the channel."""
    last = op("vmem_store", "", "v1", at="t")
    found = priced(dsp(), Phase([Loop("j", 8, [op("vmem", "v1", at="x", j=128)]), last]))
    assert 200 <= found.stalls["ddr"] <= 200 + 8 * 4


def test_rows_move_in_whole_bursts() -> None:
    machine = dsp(threads=1, **FREE)
    rows = priced(machine, Phase([copy("a", 1, 4096, 8), WaitOp("a")]))
    whole = priced(machine, Phase([copy("a", 4096), WaitOp("a")]))
    assert rows.dma_bytes == whole.dma_bytes == 4096
    assert rows.dma_wait >= 4096 * machine.burst // machine.dma_rate - 8
    assert whole.dma_wait <= 4096 // machine.dma_rate


def test_bursts_of_transfers() -> None:
    far = frozenset("xy")
    assert moved(copy("a", 64, 10, 64), far, 64) == 640  # together on both sides: one row
    assert moved(copy("a", 96, 10, 128), far, 64) == 1280
    assert moved(copy("a", 64, 10, 96), far, 64) == (5 + 10) * 64  # every other one crosses
    both = replace(copy("a", 64), target=Address("y"))
    assert moved(both, far, 64) == 128
    odd = replace(copy("a", 64), source=Address("x", 0, (("i", 32),)))
    assert moved(odd, far, 64) == 128  # at the worst
    assert moved(replace(copy("a", 100), source=Address("t")), far, 64) == 128


def test_bursts_of_accesses() -> None:
    def at(offset: int, size: int, exact: bool = True, **terms: int) -> int:
        return accessed(
            BytesTouched("x", offset, tuple(terms.items()), size, False, exact), size, 64
        )

    assert at(0, 128) == at(128, 128, i=128) == 128
    assert at(0, 4) == at(60, 4) == at(4, 4, i=8) == 64
    assert at(1, 128) == 192
    assert at(0, 8, exact=False) == 64
    assert accessed(BytesTouched("x", 0, (), 128, False, False), 1, 64) == 192


def test_what_is_known_later_delays_a_transfer() -> None:
    channel = Channel(dsp(threads=2, dma_start=0))
    first = channel.start(0, copy("a", 3200), frozenset("x"))
    second = channel.start(0, copy("b", 320), frozenset("x"))
    assert (channel.end(first), channel.end(second)) == (100, 110)
    channel.use(0, 0, 100, 1600, 2)  # half of the rate
    assert channel.end(first) == 150
    channel.use(1, 20, 70, 800, 2)  # the other half: nothing moves for 50 cycles
    assert (channel.end(first), channel.end(second)) == (175, 185)
    channel.settle(first)
    channel.use(0, 175, 177, 32, 2)
    assert (channel.end(first), channel.end(second), channel.last()) == (175, 186, 186)


def test_accesses_in_a_short_time_are_spread_over_their_share() -> None:
    channel = Channel(dsp(threads=2, dma_start=0))
    channel.use(0, 0, 1, 320, 2)
    channel.use(0, 1, 2, 320, 2)
    assert channel.end(channel.start(0, copy("a", 640), frozenset("x"))) == 40


KINDS = st.sampled_from(["load", "near", "store", "scalar", "copy", "out", "wait"])


@st.composite
def bodies(draw: st.DrawFn, phase: int, shared: bool) -> list[Item]:
    """Accesses near and far among transfers, which are awaited, or never are."""
    items: list[Item] = [zero(), op("vmem_store", "", "v9", at="t")]
    running: list[str] = []
    step = {"p": 128} if shared else {}
    for number in range(draw(st.integers(0, 8))):
        kind, count = draw(KINDS), draw(st.integers(1, 40))
        if kind in ("copy", "out"):
            rows, stride = draw(st.integers(1, 3)), draw(st.sampled_from([0, 4096]))
            made = copy(f"{phase}_{number}", count * 40, rows, stride)
            if kind == "out":
                made = replace(made, target=Address("y"), source=Address("t"))
            items.append(made)
            running.append(made.token)
        elif kind == "wait" and running:
            items.append(WaitOp(running.pop(0)))
        elif kind in ("load", "near"):
            items.append(loads(count, "x" if kind == "load" else "t", **step))
        elif kind == "store":
            items.append(stores(count, **step))
        elif kind == "scalar":
            items += [op("loadri", "r51", at="x+4", **step),
                      op("storeri", "", "r51", at="y", **step)]  # fmt: skip
    if draw(st.booleans()):
        return [Loop("i", draw(st.integers(1, 4)), items)]
    return [*items, *(WaitOp(token) for token in running if draw(st.booleans()))]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    phases = []
    for number in range(draw(st.integers(1, 3))):
        shared = draw(st.booleans())
        parallel = ("p", draw(st.integers(1, 9))) if shared else None
        phases.append(Phase(draw(bodies(number, shared)), parallel))
    return near_and_far(*phases)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(programs(), st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 7, 32, 500]), st.booleans())
def test_no_program_moves_more_than_the_channel(
    program: Program, threads: int, rate: int, plain: bool
) -> None:
    machine = dsp(threads=threads, dma_rate=rate, **(FREE if plain else {}))
    found = cost(compile_program(program, machine))
    assert found.cycles == found.packets + sum(found.stalls.values())
    assert found.dma_bytes + found.direct_bytes <= rate * found.cycles
