"""Cycles: stalls by cause, loops multiplied out exactly, transfers shared by threads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dovetail.target.cost import Cost
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import calls, cost
from dovetail.target.dsp.listing import Function, words_of
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.dsp.steps import BasicBlock, Node, Trip
from dovetail.target.dsp.target import dsp
from dovetail.target.dsp.walk import Walker
from dovetail.target.program import Address, Dma, Item, Loop, Phase, Program, WaitOp, share
from tests.target.nests import op, products, program

MACHINE = dsp()


def priced(code: Program, machine: DspMachine = MACHINE) -> Cost:
    found = cost(compile_program(code, machine))
    assert found.cycles == found.packets + sum(found.stalls.values())
    return found


def test_a_shift_waits_one_cycle_for_its_source() -> None:
    """Late operands are there in the next packet, early ones a packet later."""
    late: list[Item] = [op("vmem", "v1", at="x"), op("vaddw", "v2", "v1", "v1"),
                        op("vmem_store", "", "v2", at="y")]  # fmt: skip
    early: list[Item] = [op("vmem", "v1", at="x"), op("tfrsi", "r3", 2),
                         op("vasrw", "v2", "v1", "r3"),
                         op("vmem_store", "", "v2", at="y")]  # fmt: skip
    assert "early operand" not in priced(program(late)).stalls
    assert priced(program(early)).stalls["early operand"] == 1


def test_a_scalar_load_is_waited_for() -> None:
    items: list[Item] = [op("loadri", "r1", at="x"), op("addi", "r2", "r1", 1),
                         op("storeri", "", "r2", at="y")]  # fmt: skip
    assert priced(program(items)).stalls["scalar load"] >= 1
    slow = priced(program(items), dsp(load_latency=9)).stalls["scalar load"]
    assert slow >= 8


def test_a_scalar_product_is_waited_for() -> None:
    items: list[Item] = [op("tfrsi", "r1", 3), op("mpyi", "r2", "r1", "r1"),
                         op("mpyi", "r3", "r2", "r2"), op("storeri", "", "r3", at="y")]  # fmt: skip
    assert priced(program(items)).stalls["multiply"] >= 1


def _plainly(function: Function, machine: DspMachine, count: int) -> int:
    """Cycles by walking every iteration."""
    walker, pending, total = Walker(function, machine), dict[int, tuple[int, int]](), [0] * 20
    now = 0

    def walk(nodes: list[Node]) -> None:
        nonlocal now
        for node in nodes:
            if isinstance(node, BasicBlock):
                for packet in node.packets:
                    now = walker.packet(packet, pending, now, total)
            else:
                for _ in range(node.trips if node.trips is not None else count):
                    walk(node.body)

    walk(function.nodes)
    return now


@pytest.mark.parametrize("trips", [1, 2, 3, 7, 50])
def test_loops_in_closed_form_cost_what_every_iteration_costs(trips: int) -> None:
    inner = Loop("j", trips, [op("vmem", "v1", at="x", j=128), op("vabsdiffub", "v2", "v1", "v1"),
                              op("vror", "v3", "v2", "r991"),
                              op("vmem_store", "", "v3", at="y", j=128)])  # fmt: skip
    items: list[Item] = [op("tfrsi", "r991", 2), Loop("i", 5, [inner, *products(2, 2, trips + 4)])]
    (function,) = compile_program(program(items), MACHINE).functions
    cycles = _plainly(function, MACHINE, 1)
    assert priced(program(items)).cycles == cycles + MACHINE.barrier


def test_threads_share_iterations_evenly() -> None:
    assert share(10, 4) == [(0, 2), (2, 3), (5, 2), (7, 3)]
    assert sum(count for _, count in share(3, 4)) == 3


def test_a_phase_costs_its_slowest_thread() -> None:
    copy_row = Loop("j", 20, [op("vmem", "v1", at="x", j=128, p=2560),
                              op("vmem_store", "", "v1", at="y", j=128, p=2560)])  # fmt: skip
    body: list[Item] = [copy_row]
    found = priced(program(Phase(body, ("p", 5))))
    (executed,) = found.executed
    assert sorted(executed) == [min(executed)] * 3 + [max(executed)]
    assert found.packets == max(executed)
    (function,) = compile_program(program(Phase(body, ("p", 5))), MACHINE).functions
    assert [count for _, count in calls(function, MACHINE)] == [1, 1, 1, 2]


def copy(token: str, size: int, target: str = "y") -> Dma:
    return Dma(token, Address(target, 0), Address("x", 0), 1, size, size, size)


def test_a_transfer_takes_its_start_and_its_bytes() -> None:
    found = priced(program([copy("t", 3200), WaitOp("t")]), dsp(threads=1))
    assert found.dma_bytes == 3200
    assert 300 + 100 - 8 <= found.dma_wait <= 300 + 100


def test_a_transfer_hides_behind_work_and_reaches_into_the_next_phase() -> None:
    work: list[Item] = products(4, 4, 300)
    alone = priced(program(work))
    found = priced(program([copy("t", 3200)], work, [WaitOp("t")]))
    assert found.dma_wait == 0
    assert found.packets - alone.packets < 20


def test_transfers_share_one_engine() -> None:
    """Four threads move a kilobyte each: starts overlap, bytes do not."""
    body: list[Item] = [copy("t", 3200), WaitOp("t")]
    found = priced(program(Phase(body, ("p", 4))))
    assert found.dma_bytes == 4 * 3200
    assert 300 + 400 - 8 <= found.dma_wait <= 300 + 400


def test_a_wait_without_a_transfer_is_refused() -> None:
    with pytest.raises(ValueError, match="a wait needs a transfer of its thread, but t has none"):
        priced(program([WaitOp("t")]))


def test_trips_of_loops_are_in_the_listing() -> None:
    (function,) = compile_program(program(products(2, 2, 100)), MACHINE).functions
    trips = [node.trips for node in function.nodes if isinstance(node, Trip)]
    assert len(trips) == 1 and trips[0] is not None and trips[0] <= 100


def test_a_loop_that_exceeds_the_instruction_cache_is_fetched_again() -> None:
    """In each iteration but the first; an inner loop that fits is fetched once an iteration."""
    body: list[Item] = [op("addi", "r7", "r7", i + 1) for i in range(90)]
    code = program([op("tfrsi", "r7", 0), Loop("i", 10, body), op("storeri", "", "r7", at="y")])
    listing = compile_program(code, dsp(threads=1))
    fits = cost(listing)
    (loop,) = [n for f in listing.functions for n in f.nodes if isinstance(n, Trip)]
    size = 4 * words_of(loop.body)
    small = dsp(threads=1, icache=size - 1, fetch_rate=4)
    found = cost(compile_program(code, small))
    assert "fetch" not in fits.stalls
    assert found.stalls["fetch"] == 9 * -(-size // 4) == found.cycles - fits.cycles
    assert "fetch" not in cost(compile_program(code, replace(small, icache=size))).stalls


def test_loops_around_fetch_what_inner_loops_have_not_fetched() -> None:
    """Each pass through the inner body but the very first, and the rest once an outer one."""
    inner = Loop("j", 5, [op("addi", "r7", "r7", i + 1) for i in range(50)])
    more: list[Item] = [op("addi", "r8", "r8", i + 1) for i in range(50)]
    items: list[Item] = [op("tfrsi", "r7", 0), op("tfrsi", "r8", 0), Loop("i", 3, [inner, *more]),
             op("storeri", "", "r7", at="y"), op("storeri", "", "r8", at="y+4")]  # fmt: skip
    machine = dsp(threads=1, icache=16, fetch_rate=1)
    listing = compile_program(program(items), machine)
    (outer,) = [n for n in listing.functions[0].nodes if isinstance(n, Trip)]
    (within,) = [n for n in outer.body if isinstance(n, Trip)]
    sizes = [4 * words_of(trip.body) for trip in (outer, within)]
    assert cost(listing).stalls["fetch"] == 2 * sizes[0] + 3 * 4 * sizes[1]


def test_threads_that_transfer_fetch_loops_again_too() -> None:
    long: list[Item] = [op("addi", "r7", "r7", i + 1) for i in range(60)]
    body: list[Item] = [copy("t", 128), *long, WaitOp("t")]
    items: list[Item] = [op("tfrsi", "r7", 0), Loop("i", 6, body), op("storeri", "", "r7", at="y")]
    machine = dsp(threads=1, icache=64)
    listing = compile_program(program(items), machine)
    (loop,) = [n for n in listing.functions[0].nodes if isinstance(n, Trip)]
    assert cost(listing).stalls["fetch"] == 5 * -(-4 * words_of(loop.body) // 8)


def test_a_kernel_ends_when_its_transfers_are_done() -> None:
    found = priced(program([copy("t", 3200)]), dsp(threads=1))
    assert 300 + 100 - 50 <= found.dma_wait <= 300 + 100
