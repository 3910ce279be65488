"""Loops around loops are turned: an iteration's head is packed beside the tail of the last one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dovetail.target.dsp import compile, rotate
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.lower_program import PhaseLowering
from dovetail.target.dsp.machine import LOOPS
from dovetail.target.dsp.spill import Crowded, RegisterRoom
from dovetail.target.dsp.steps import BasicBlock, Node, Trip
from dovetail.target.dsp.target import dsp
from dovetail.target.program import Item, Loop
from dovetail.tir.recent import Recent
from tests.target.nests import assembles, op, program


def tiles(count: int, shift: str = "vasrw") -> list[Item]:
    """Tiles whose sums begin with loads and splats and end with shifts and stores."""
    head: list[Item] = [op("loadri", "r1", at="x", i=4), op("vmem", "v2", at="x", i=128),
                        op("lvsplatw", "v3", "r1"), op("vaddw", "v4", "v2", "v3")]  # fmt: skip
    inner: list[Item] = [op("vmem", "v5", at="z", k=128), op("loadri", "r6", at="x+8", k=4),
                         op("vrmpyub_acc", "v4", "v4", "v5", "r6")]  # fmt: skip
    tail: list[Item] = [op("tfrsi", "r7", 3), op(shift, "v8", "v4", "r7"),
                        op(shift, "v9", "v8", "r7"),
                        op("vmem_store", "", "v9", at="y", i=128)]  # fmt: skip
    return [Loop("i", count, [*head, Loop("k", 30, inner), *tail])]


def outer(nodes: list[Node]) -> list[int | None]:
    """The turns of loops around loops."""
    return [node.trips for node in nodes if isinstance(node, Trip) and not node.innermost]


def compiled(count: int) -> PackedListing:
    return compile_program(program(tiles(count)), dsp())


def test_a_turned_loop_has_an_iteration_less_and_takes_less_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turned = compiled(20)
    monkeypatch.setattr(rotate, "LOOPS", replace(LOOPS, turned=1000))
    monkeypatch.setattr(compile, "_recent", Recent(1))
    plain = compiled(20)
    assert outer(turned.functions[0].nodes) == [19]
    assert outer(plain.functions[0].nodes) == [20]
    assert cost(turned).cycles + 3 * 19 <= cost(plain).cycles


def test_few_iterations_are_left_as_they_are() -> None:
    assert outer(compiled(LOOPS.turned - 1).functions[0].nodes) == [LOOPS.turned - 1]


def test_others_are_turned_where_registers_do_not_do_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = compile._pack_block

    def short(
        block: BasicBlock, before: int, after: int, low: PhaseLowering, room: RegisterRoom
    ) -> None:
        if {"vaslw", "lvsplatw"} <= {step.facts.row.name for step in block.steps}:
            block.stopped = True
            raise Crowded({0})
        right(block, before, after, low, room)

    monkeypatch.setattr(compile, "_pack_block", short)
    monkeypatch.setattr(compile, "_recent", Recent(1))
    listing = compile_program(program([*tiles(20), *tiles(24, "vaslw"), *tiles(28)]), dsp())
    assert outer(listing.functions[0].nodes) == [19, 24, 27]


@pytest.mark.tool("llvm-mc-19")
def test_a_turned_loop_assembles() -> None:
    assert not assembles(compiled(LOOPS.turned).text)
