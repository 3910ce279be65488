"""Registers: lives over loops, pairs, low scalars, and what is kept in memory."""

from __future__ import annotations

import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.steps import atoms, blocks
from dovetail.target.dsp.target import dsp
from dovetail.target.instruction import Register
from dovetail.target.program import Item, Loop, Program
from dovetail.tir.script import parse
from tests.target.nests import assembles, op, program

MACHINE = dsp()


def crowded(count: int) -> Program:
    """``count`` vectors live at once, through a loop that does not use them."""
    items: list[Item] = [op("vmem", f"v{i}", at=f"x+{128 * i}") for i in range(count)]
    items += [op("vd0", "v900"), Loop("k", 9, [
        op("vmem", "v901", at="y", k=128), op("vaddw", "v900", "v900", "v901")])]  # fmt: skip
    items += [op("vmem_store", "", f"v{i}", at=f"z+{128 * i}") for i in range(count)]
    return program([*items, op("vmem_store", "", "v900", at=f"z+{128 * count}")])


@pytest.mark.tool("llvm-mc-19")
def test_what_does_not_fit_is_kept_in_memory() -> None:
    few, many = (compile_program(crowded(count), MACHINE) for count in (28, 45))
    assert (few.spills, few.spill_bytes) == (0, 0)
    assert many.spills >= 2 * (45 - 30) and many.spill_bytes >= 128 * (45 - 30)
    assert not assembles(many.text)
    assert cost(many).spills == many.spills


@pytest.mark.tool("llvm-mc-19")
def test_more_scalars_than_registers() -> None:
    items: list[Item] = [op("loadri", f"r{i}", at=f"x+{4 * i}") for i in range(60)]
    items += [op("storeri", "", f"r{i}", at=f"z+{4 * i}") for i in range(60)]
    listing = compile_program(program(items), dsp(scalars=12))
    assert not assembles(listing.text)


@pytest.mark.tool("llvm-mc-19")
def test_more_predicates_than_registers() -> None:
    items: list[Item] = [op("vmem", f"v{i}", at=f"x+{128 * i}") for i in range(8)]
    items += [op("vgtub", f"q{50 + i}", f"v{i}", f"v{i + 1}") for i in range(7)]
    items += [op("vgtub", "q60", "v7", "v0"), op("pred_or", "q61", "q60", "q50")]
    for i in range(1, 7):
        items.append(op("pred_or", f"q{61 + i}", f"q{60 + i}", f"q{50 + i}"))
    items += [op("vmux", "v70", "q67", "v0", "v1"), op("vmem_store", "", "v70", at="z")]
    assert not assembles(compile_program(program(items), dsp(predicates=2)).text)


def test_pairs_are_aligned_and_their_halves_are_vectors() -> None:
    items: list[Item] = [op("vmem", "v1", at="x"), op("vzb", "w2", "v1"),
                         op("vpackeb", "v3", "w2.hi", "w2.lo"),
                         op("vmem_store", "", "v3", at="z")]  # fmt: skip
    (function,) = compile_program(program(items), MACHINE).functions
    kinds = function.registers.kinds
    pairs = [real for number, real in function.real.items() if kinds[number] is Register.PAIR]
    assert pairs and all(real % 2 == 0 for real in pairs)


def test_shift_counts_of_narrowing_are_in_the_low_scalars() -> None:
    items: list[Item] = [op("vmem", "v1", at="x"), op("tfrsi", "r2", 5),
                         op("vasrhubsat", "v3", "v1", "v1", "r2"),
                         op("vmem_store", "", "v3", at="z")]  # fmt: skip
    (function,) = compile_program(program(items), MACHINE).functions
    steps = [step for _, packet in function.packets() for step in packet]
    (narrow,) = [step for step in steps if step.facts.row.name == "vasrhubsat"]
    assert function.real[narrow.operands[2] >> 2] < 8


def test_no_register_is_written_twice_in_a_packet() -> None:
    for function in compile_program(crowded(40), MACHINE).functions:
        for block in blocks(function.nodes):
            for packet in block.packets:
                written = [atom for step in packet for atom in step.writes]
                reals = [(function.registers.files[a >> 1], function.real[a >> 1] + (a & 1))
                         for a in written]  # fmt: skip
                assert len(set(reals)) == len(reals)


def test_codes_and_atoms() -> None:
    assert atoms(4 * 3) == (6,) and atoms(4 * 3 + 1) == (7,) and atoms(4 * 3 + 2) == (6, 7)


@pytest.mark.tool("llvm-mc-19")
def test_predicates_in_memory_leave_room_for_each_other() -> None:
    """Pieces put in their places by predicates, of which the loops keep more than there are."""
    func = parse('''
@prim_func
def f(x: Buffer[u8, (2, 16, 96), "tcm"], w: Buffer[i8, (16, 96), "tcm"],
      y: Buffer[i32, (16, 2, 96), "tcm"]):
    for k in parallel(4):
        for n in unrolled(3):
            for m in serial(2):
                for p in vectorized(4):
                    for l in vectorized(32):
                        y[k * 4 + p, m, n * 32 + l] = cast(i32, widening_mul(
                            x[m, k * 4 + p, n * 32 + l], w[k * 4 + p, n * 32 + l]))
''')  # fmt: skip
    listing = compile_program(MACHINE.build(func), MACHINE)
    assert listing.spills and not assembles(listing.text)
