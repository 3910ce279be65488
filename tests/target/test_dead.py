"""Instructions whose results nothing needs are dropped, and nothing else is."""

from __future__ import annotations

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.dead import drop_dead
from dovetail.target.dsp.target import dsp
from dovetail.target.program import Item, Loop, MachineOp
from tests.target.nests import op, program


def names(items: list[Item]) -> list[object]:
    """The names of instructions; those of a loop as a list."""
    return [item.instruction.name if isinstance(item, MachineOp) else
            names(item.body) if isinstance(item, Loop) else item for item in items]  # fmt: skip


def test_what_no_store_needs_is_dropped() -> None:
    items: list[Item] = [
        op("vmem", "v1", at="x"), op("vaddw", "v2", "v1", "v1"), op("vaddw", "v3", "v2", "v1"),
        op("vmem_store", "", "v2", at="y"),
    ]  # fmt: skip
    assert names(drop_dead(items)) == ["vmem", "vaddw", "vmem_store"]


def test_sums_that_only_they_themselves_read_are_dropped() -> None:
    body: list[Item] = [op("vmem", "v1", at="x", k=128),
                        op("vrmpyubv_acc", "v2", "v2", "v1", "v1")]  # fmt: skip
    kept: list[Item] = [op("vd0", "v3"), op("vmem_store", "", "v3", at="y")]
    items: list[Item] = [op("vd0", "v2"), Loop("k", 9, body), *kept]
    assert drop_dead(items) == kept


def test_halves_and_addresses_are_needed() -> None:
    items: list[Item] = [
        op("vmem", "v1", at="x"), op("vzb", "w2", "v1"), op("vmem_store", "", "w2.hi", at="y"),
        op("loadri", "r3", at="x"), op("asli", "r4", "r3", 2),
    ]  # fmt: skip
    assert names(drop_dead(items)) == ["vmem", "vzb", "vmem_store"]
    assert names(drop_dead([op("vmem", "v1", at="x"), op("vcombine", "w2", "v1", "v1")])) == []


def test_a_value_that_the_next_iteration_reads_is_kept() -> None:
    items: list[Item] = [
        op("vd0", "v1"),
        Loop("k", 5, [op("vmem_store", "", "v1", at="y", k=128), op("vmem", "v1", at="x", k=128)]),
    ]
    assert drop_dead(items) == items


def test_code_without_dead_values_takes_fewer_packets() -> None:
    dead: list[Item] = [op("vmem", "v1", at="x"), op("vmem_store", "", "v1", at="y")]
    more: list[Item] = [op("vmem", f"v{i}", at=f"x+{128 * i}") for i in range(2, 9)]
    plain, given = (compile_program(program(items), dsp()) for items in (dead, [*more, *dead]))
    assert plain.text == given.text
