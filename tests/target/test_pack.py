"""Packets: the automaton says what LLVM's assembler says; list scheduling keeps dependences."""

from __future__ import annotations

import random

import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.lower_program import FactTable
from dovetail.target.dsp.pack import EMPTY, Pressure, in_order, list_schedule, packer
from dovetail.target.dsp.steps import WHOLE, Registers, Step
from dovetail.target.dsp.target import dsp
from dovetail.target.instruction import Register
from dovetail.target.program import Item
from tests.target.nests import ROWS, assembles, op, program

MACHINE = dsp()
# Text with registers that no other line of the same packet writes; {n} is its place.
LINES = {
    "vaddw": "v{n}.w = vadd(v8.w,v9.w)",
    "vaddw_dv": "v{p}.w = vadd(v9:8.w,v11:10.w)",
    "vrmpyub_acc": "v{n}.uw += vrmpy(v8.ub,r8.ub)",
    "vmpyewuh": "v{n}.w = vmpye(v8.w,v9.uh)",
    "vasrw": "v{n}.w = vasr(v8.w,r8)",
    "vror": "v{n} = vror(v8,r8)",
    "vshuffvdd_b": "v{p} = vshuff(v8,v9,r7)",
    "vmem": "v{n} = vmem(r8+#0)",
    "vmemu": "v{n} = vmemu(r8+#0)",
    "vmem_store": "vmem(r8+#0) = v8",
    "vmemu_store": "vmemu(r8+#0) = v8",
    "loadri": "r{n} = memw(r8+#0)",
    "storeri": "memw(r8+#0) = r9",
    "addi": "r{n} = add(r8,#1)",
    "asli": "r{n} = asl(r8,#1)",
    "mpyi": "r{n} = mpyi(r8,r9)",
    "tfrsi": "r{n} = ##100000",
    "vgtub": "q{q} = vcmp.gt(v8.ub,v9.ub)",
}


def packets(seed: int, count: int) -> list[tuple[str, ...]]:
    chance = random.Random(seed)
    return [tuple(chance.choices(list(LINES), k=chance.randint(2, 4))) for _ in range(count)]


def fits(names: tuple[str, ...]) -> bool:
    table, state = FactTable(MACHINE), EMPTY
    for name in names:
        operands = tuple(0 for _ in ROWS[name].parameters)
        step = Step(table(ROWS[name]), -1, (100000,) if name == "tfrsi" else operands)
        state = packer(MACHINE).fit(state, packer(MACHINE).unit(step))
        if state < 0:
            return False
    return True


def text(names: tuple[str, ...]) -> str:
    lines = [
        LINES[name].format(n=i, p=f"{2 * i + 13}:{2 * i + 12}", q=i) for i, name in enumerate(names)
    ]
    return "\t.text\n\t{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def test_one_load_and_one_store_of_vectors_a_packet() -> None:
    assert fits(("vmem", "vmem_store", "vaddw", "vaddw"))
    assert not fits(("vmem", "vmem"))
    assert not fits(("vmem_store", "vmem_store"))
    assert not fits(("vmem", "vmem_store", "vaddw", "vaddw", "vaddw"))


def test_two_dot_products_with_both_loads_fill_a_packet() -> None:
    assert fits(("vrmpyub_acc", "vrmpyub_acc", "vmem", "loadri"))
    assert not fits(("vrmpyub_acc", "vrmpyub_acc", "mpyi"))


def test_an_extender_takes_a_place() -> None:
    assert fits(("tfrsi", "addi", "addi"))
    assert not fits(("tfrsi", "tfrsi", "addi"))


@pytest.mark.tool("llvm-mc-19")
@pytest.mark.parametrize("seed", range(4))
def test_the_assembler_takes_what_fits_and_nothing_else(seed: int) -> None:
    """But for two stores a packet, which the machine description does without."""
    for names in packets(seed, 40):
        said = assembles(text(names))
        stores = sum("store" in name for name in names)
        assert fits(names) == (not said) or (stores > 1 and not fits(names)), (names, said)


def test_a_value_may_be_overwritten_in_the_packet_that_reads_it() -> None:
    items: list[Item] = [op("vmem", "v1", at="x"), op("vaddw", "v1", "v1", "v1"),
                         op("vaddw", "v1", "v1", "v1"),
                         op("vmem_store", "", "v1", at="y")]  # fmt: skip
    (function,) = compile_program(program(items), MACHINE).functions
    vectors = {real for number, real in function.real.items()
               if function.registers.files[number] == 0}  # fmt: skip
    assert vectors == {31}


@pytest.mark.parametrize("seed", range(8))
def test_a_bump_that_waits_for_younger_loads_is_placed_where_registers_are_short(seed: int) -> None:
    """Steps of a group read the pointer before the first of them moves it."""
    chance = random.Random(seed)
    table, pointer = FactTable(MACHINE), 4
    count, bumped = chance.randint(3, 9), chance.randint(0, 2)
    steps = [
        Step(table(ROWS["loadri"]), 8 * (n + 2), pointer=pointer, bump=16 * (n == bumped))
        for n in range(count)
    ]
    edges = [[] if n == bumped else [(bumped, 0)] for n in range(count)]
    registers = Registers()
    for _ in range(2 * count + 4):
        registers.new(Register.VECTOR)
    bumps = {atom for atom, _ in steps[0].reads}
    live = sum(1 << atom for step in steps for atom in step.writes if atom not in bumps)
    pressure = Pressure(0, live, registers, (1, 1, 1, 1))
    placed = list_schedule(steps, edges, packer(MACHINE), pressure)
    assert sorted(id(step) for packet in placed for step in packet) == sorted(map(id, steps))
    assert steps[bumped] in placed[-1]


def test_a_pair_takes_two_registers_for_as_long_as_one_half_lives() -> None:
    """Loads come first where they may; as atoms, halves that still live would leave room for a pair
    that finds no place."""
    table, pairs, pointer, limit = FactTable(MACHINE), range(2, 6), 4, 5
    low, high = ([Step(table(ROWS["storeri"]), -1, (4 * n + half,), pointer=pointer)
                  for n in pairs] for half in (0, 1))  # fmt: skip
    loads = [Step(table(ROWS["loadrd"]), 4 * n + WHOLE, pointer=pointer) for n in pairs]
    steps = [step for pair in zip(loads, low, high, strict=True) for step in pair]
    number = {id(step): i for i, step in enumerate(steps)}
    edges: list[list[tuple[int, int]]] = [[] for _ in steps]
    for load, *users in zip(loads, low, high, strict=True):
        edges[number[id(load)]] = [(number[id(user)], 1) for user in users]
    registers = Registers()
    for kind in (Register.SCALAR,) * 2 + (Register.DOUBLE,) * len(pairs):
        registers.new(kind)
    pressure = Pressure(1 << 2, 0, registers, (0, limit, 0, 0), whole=True)
    most, left = 0, {n: 3 for n in pairs}  # steps that touch it
    for packet in list_schedule(steps, edges, packer(MACHINE), pressure):
        for step in packet:
            left[(step.operands[0] if step.operands else step.result) >> 2] -= 1
        most = max(most, sum(2 for n in pairs if 0 < left[n] < 3))
    assert most <= limit - 1 < 2 * len(pairs)


def test_steps_come_in_order_but_behind_those_that_they_wait_for() -> None:
    assert in_order([[(1, 1)], [], []]) == [0, 1, 2]
    assert in_order([[], [(0, 0), (3, 1)], [(0, 0)], []]) == [1, 2, 0, 3]
