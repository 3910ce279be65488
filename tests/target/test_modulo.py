"""Pipelined loops: intervals at the bound, dependences kept, pointers folded into accesses."""

from __future__ import annotations

import pytest

from dovetail.target.dsp import modulo
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.interval import Placement
from dovetail.target.dsp.steps import BasicBlock, Trip
from dovetail.target.dsp.target import dsp
from dovetail.target.program import Item, Loop
from dovetail.tir.recent import Recent
from tests.target.nests import assembles, kernels, op, products, program

MACHINE = dsp()


def packets(trip: Trip) -> list[list[str]]:
    """The names of each packet's instructions."""
    block = trip.body[0]
    assert isinstance(block, BasicBlock)
    return [[step.facts.row.name for step in packet] for packet in block.packets]


@pytest.mark.parametrize(("pixels", "vectors"), [(4, 2), (4, 4), (2, 4), (6, 4), (4, 6), (8, 2)])
def test_convolution_issues_two_dot_products_a_packet(pixels: int, vectors: int) -> None:
    listing = compile_program(program(products(pixels, vectors, 36)), MACHINE)
    (kernel,) = kernels(listing)
    made = packets(kernel)
    dots = sum(packet.count("vrmpyub_acc") for packet in made)
    assert dots == 2 * len(made)
    assert cost(listing).dots_per_packet == 2.0
    assert listing.spills == 0


def test_pointers_move_in_the_accesses_themselves() -> None:
    listing = compile_program(program(products(4, 2, 36)), MACHINE)
    (kernel,) = kernels(listing)
    assert not any("addi" in packet for packet in packets(kernel))


def loop(body: list[Item], trips: int = 40) -> list[Item]:
    return [op("vd0", "v90"), op("vd0", "v91"), Loop("k", trips, body),
            op("vmem_store", "", "v90", at="z"),
            op("vmem_store", "", "v91", at="z+128")]  # fmt: skip


def test_bodies_of_one_shape_are_scheduled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    times = Placement.times

    def heard(self: Placement, interval: int, deep: bool) -> list[int] | None:
        asked.append(interval)
        return times(self, interval, deep)

    def text(trips: int) -> str:
        body: list[Item] = [op("vmem", "v1", at="x", k=128), op("vaddw", "v90", "v90", "v1")]
        return compile_program(program(loop(body, trips)), MACHINE).text

    monkeypatch.setattr(Placement, "times", heard)
    alone = []
    for trips in (36, 52):
        monkeypatch.setattr(modulo, "_recent", Recent(8))
        asked.clear()
        alone.append(text(trips))
    once = len(asked)
    assert once and text(44) != alone[1] and len(asked) == once
    assert text(36) == alone[0]


def interval(body: list[Item], trips: int = 40) -> float:
    """Packets an iteration in the kernel."""
    listing = compile_program(program(loop(body, trips)), MACHINE)
    (kernel,) = kernels(listing)
    assert kernel.trips is not None
    return cost(listing).packets / trips


def test_a_chain_through_one_register_bounds_the_interval() -> None:
    """Two dependent shifts, each a packet and a bubble after its source: four cycles."""
    body: list[Item] = [op("tfrsi", "r1", 1), op("vasrw", "v90", "v90", "r1"),
                        op("vasrw", "v90", "v90", "r1")]  # fmt: skip
    listing = compile_program(program(loop(body)), MACHINE)
    assert cost(listing).cycles - MACHINE.barrier >= 4 * 40


def test_independent_elementwise_work_runs_at_one_load_a_packet() -> None:
    body: list[Item] = [
        op("vmem", "v1", at="x", k=256), op("vmem", "v2", at="x+128", k=256),
        op("vavgub", "v3", "v1", "v2"), op("vmem_store", "", "v3", at="y", k=128),
    ]  # fmt: skip
    assert 2.0 <= interval(body) < 2.4


def test_a_store_that_a_later_iteration_loads_is_waited_for() -> None:
    """y[k+1] = y[k] + x: the load of the next iteration comes after the store."""
    body: list[Item] = [
        op("vmem", "v1", at="y", k=128), op("vaddw", "v2", "v1", "v1"),
        op("vmem_store", "", "v2", at="y+128", k=128),
    ]  # fmt: skip
    listing = compile_program(program(loop(body)), MACHINE)
    assert cost(listing).packets >= 3 * 40


@pytest.mark.parametrize("trips", [*range(1, 12), 1023, 1024, 3000])
@pytest.mark.tool("llvm-mc-19")
def test_any_number_of_iterations_assembles(trips: int) -> None:
    body: list[Item] = [
        op("vmem", "v1", at="x", k=128 if trips < 100 else 8), op("loadri", "r2", at="y", k=4),
        op("vrmpyub_acc", "v90", "v90", "v1", "r2"),
    ]  # fmt: skip
    assert not assembles(compile_program(program(loop(body, trips)), MACHINE).text)
