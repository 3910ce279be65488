"""Random programs: every packet assembles, QEMU gives the JIT's bytes and the predicted packets.

A program is a nest of loops with loads, arithmetic of all register classes, values carried by
loops, stores and table look-ups at random affine addresses.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import calls, cost
from dovetail.target.dsp.hexagon.qemu import PhaseCall, PlaceImage, run
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.dsp.scalar_rows import INSTRUCTIONS
from dovetail.target.dsp.target import dsp
from dovetail.target.instruction import Instruction, Kind, Register
from dovetail.target.jit import jit
from dovetail.target.program import (
    Address,
    Dma,
    Half,
    Item,
    Loop,
    MachineOp,
    Operand,
    Phase,
    Place,
    Program,
    Reg,
    WaitOp,
)

pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")

ROWS = {**INSTRUCTIONS, **TABLE}
SIZE = 1 << 15
ARITHMETIC = [
    "vaddw", "vaddw_dv", "vavgub", "vmaxub", "vmpyubv", "vmpyub", "vmpyub_acc", "vrmpyub",
    "vrmpyub_acc", "vrmpyubv_acc", "vasrw", "vlsrb", "vpackeb", "vpackeh", "vshuffeb", "vzb",
    "vsathub", "vcombine", "vgtub", "vmux", "vaddbq", "lvsplatw", "vxor", "vabsdiffub", "vror",
    "vasrhubsat", "vaddubh", "valignb", "vlutvvbi", "vd0", "add", "asli", "mpyi", "vsplatb",
    "combinew", "vmpyowh_sacc", "vmpyewuh", "vdmpybus_dv", "vshufoeb", "tfrsi", "max_", "pred_or",
]  # fmt: skip


class Writer:
    """Writes one random program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.budget = self.random.choice((12, 40, 90))
        self.wide = self.random.random() < 0.3  # values stay in use for long
        self.copied = False

    def program(self) -> Program:
        parallel = ("p", self.random.randint(1, 9)) if self.random.random() < 0.7 else None
        loops = [parallel] if parallel else []
        body = self.body(loops, [], self.random.randint(1, 3))
        phases = [Phase(body, parallel), Phase(self.body([], [], 1), None)]
        return Program("random", self.places(), phases[: self.random.choice((1, 1, 2))])

    def body(self, loops: list[tuple[str, int]], live: list[Operand], depth: int) -> list[Item]:
        """Items that may use ``live`` and change it; what they make dies at the end."""
        live, items = list(live), list[Item]()
        self.values(items, live, loops)
        for _ in range(self.random.randint(0, 2) if depth > 1 else 0):
            name = f"{'ijkl'[len(loops)]}{self.count}"
            self.count += 1
            extent = self.random.choice((1, 2, 3, 5, 9, 17))
            inner = self.body([*loops, (name, extent)], live, depth - 1)
            items.append(Loop(name, extent, inner))
        if self.random.random() < 0.2:
            self.copy(items, loops)
        self.values(items, live, loops)
        count = len(live) if self.wide else min(len(live), 4)  # what nothing needs is dropped
        for operand in self.random.sample(live, count):
            self.store(items, operand, loops)
        return items

    def nest(self) -> Program:
        """A loop around a loop, with values and stores before and behind the inner one."""
        items, live = list[Item](), list[Operand]()
        self.values(items, live, [])
        outer, inner = ("i", self.random.randint(3, 9)), ("j", self.random.choice((1, 3, 9, 17)))
        body, own = list[Item](), list(live)
        for part in range(2):
            self.values(body, own, [outer])
            for operand in self.random.sample(own, min(len(own), 3)):
                self.store(body, operand, [outer])
            if part == 0:
                body.append(Loop(*inner, self.body([outer, inner], own, 1)))
        items.append(Loop(*outer, body))
        for operand in live:
            self.store(items, operand, [])
        return Program("nest", self.places(), [Phase(items)])

    def places(self) -> list[Place]:
        return [
            Place("x", SIZE, "ddr"), Place("w", SIZE, "tcm"), Place("t", 2048, "tcm"),
            Place("y", SIZE, "ddr"), Place("s", SIZE, "tcm", local=True),
        ]  # fmt: skip

    def values(self, items: list[Item], live: list[Operand], loops: list[tuple[str, int]]) -> None:
        for _ in range(self.random.randint(1, self.budget // (1 + len(loops)))):
            if self.random.random() < 0.25:
                self.load(items, live, loops)
            elif self.random.random() < 0.05:
                self.store(items, self.random.choice(live), loops) if live else None
            else:
                self.arithmetic(items, live, loops)
            if not self.wide and len(live) > 12:
                live.pop(self.random.randrange(len(live)))

    def new(self, kind: Register) -> Reg:
        self.count += 1
        return Reg(self.count, kind)

    def find(self, kind: Register, live: list[Operand]) -> Operand | None:
        """A value of a class, or half of a pair."""
        pairs = {Register.VECTOR: Register.PAIR, Register.SCALAR: Register.DOUBLE}
        found: list[Operand] = [v for v in live if isinstance(v, Reg) and v.kind is kind]
        if kind in pairs:
            wide = [v for v in live if isinstance(v, Reg) and v.kind is pairs[kind]]
            found += [Half(v, self.random.randint(0, 1)) for v in wide]
        return self.random.choice(found) if found else None

    def value(self, kind: Register, items: list[Item], live: list[Operand],
              loops: list[tuple[str, int]]) -> Operand:  # fmt: skip
        found = self.find(kind, live)
        if found is not None and self.random.random() < 0.95:
            return found
        rows = {Register.VECTOR: "vmem", Register.SCALAR: "loadri", Register.DOUBLE: "loadrd",
                Register.PAIR: "vzb", Register.PREDICATE: "vgtub"}  # fmt: skip
        self.emit(ROWS[rows[kind]], items, live, loops)
        made = live[-1]
        assert isinstance(made, Reg) and made.kind is kind
        return made

    def arithmetic(self, items: list[Item], live: list[Operand],
                   loops: list[tuple[str, int]]) -> None:  # fmt: skip
        self.emit(ROWS[self.random.choice(ARITHMETIC)], items, live, loops)

    def emit(self, row: Instruction, items: list[Item], live: list[Operand],
             loops: list[tuple[str, int]]) -> None:  # fmt: skip
        operands: list[Operand] = []
        for parameter in row.parameters:
            if parameter.register is Register.IMMEDIATE:
                wide = self.random.choice((5, 77777))
                operands.append(self.random.randint(0, min(parameter.high, wide)))
            elif parameter.name == row.accumulate:
                operands.append(self.accumulator(parameter.register, items, live, loops))
            else:
                operands.append(self.value(parameter.register, items, live, loops))
        kind = row.result_register
        assert kind is not None
        if row.accumulate:
            at = [p.name for p in row.parameters].index(row.accumulate)
            result = operands[at]
            assert not isinstance(result, int)
        else:
            result = self.result(kind, live)
        address = self.address(row, loops, items, live) if row.kind is Kind.LOAD else None
        items.append(MachineOp(row, result, tuple(operands), address))
        if result in live:
            live.remove(result)
        live.append(result)

    def result(self, kind: Register, live: list[Operand]) -> Reg:
        """A new register, or now and then an old one."""
        old = [v for v in live if isinstance(v, Reg) and v.kind is kind]
        return self.random.choice(old) if old and self.random.random() < 0.1 else self.new(kind)

    def accumulator(self, kind: Register, items: list[Item], live: list[Operand],
                    loops: list[tuple[str, int]]) -> Operand:  # fmt: skip
        found = [v for v in live if isinstance(v, Reg) and v.kind is kind]
        return self.random.choice(found) if found else self.value(kind, items, live, loops)

    def address(self, row: Instruction, loops: list[tuple[str, int]], items: list[Item],
                live: list[Operand]) -> Address:  # fmt: skip
        if row.kind is Kind.LOAD and row.bytes == 4 and self.random.random() < 0.3:
            byte, index = self.new(Register.SCALAR), self.new(Register.SCALAR)
            items.append(
                MachineOp(ROWS["loadrub"], byte, (), self.affine(ROWS["loadrub"], loops, "x"))
            )
            items.append(MachineOp(ROWS["asli"], index, (byte, 2)))
            return Address("t", self.random.choice((0, 64)), (), index)
        buffer = self.random.choice("xxwys" if row.kind is Kind.LOAD else "yys")
        return self.affine(row, loops, buffer)

    def affine(self, row: Instruction, loops: list[tuple[str, int]], buffer: str) -> Address:
        """An address in bounds: small steps, jumps, or far apart."""
        unit, room = row.align, SIZE - 128
        terms = {}
        for name, extent in loops:
            scale = self.random.choice((0, 1, 1, 2, 3, 8, 12))
            scale *= unit if self.random.random() < 0.8 else max(unit, 128)
            if scale * (extent - 1) <= room:
                terms[name] = scale
                room -= scale * (extent - 1)
        limit = self.random.choice((4, 20, room // unit))
        offset = unit * self.random.randint(0, min(limit, room // unit))
        return Address(buffer, offset, tuple(sorted((n, s) for n, s in terms.items() if s)))

    def load(self, items: list[Item], live: list[Operand], loops: list[tuple[str, int]]) -> None:
        names = ("vmem", "vmem", "vmemu", "loadri", "loadrub", "loadrd", "loadrh")
        self.emit(ROWS[self.random.choice(names)], items, live, loops)

    def store(self, items: list[Item], operand: Operand, loops: list[tuple[str, int]]) -> None:
        kind = operand.kind if isinstance(operand, Reg) else Register.VECTOR
        if isinstance(operand, Reg) and kind in (Register.PAIR, Register.PREDICATE):
            if kind is Register.PREDICATE:
                return
            operand = Half(operand, self.random.randint(0, 1))
            kind = Register.VECTOR
        names = {Register.VECTOR: "vmem_store", Register.SCALAR: "storeri",
                 Register.DOUBLE: "storerd"}  # fmt: skip
        row = ROWS[names[kind]]
        items.append(MachineOp(row, None, (operand,), self.address(row, loops, items, [])))

    def copy(self, items: list[Item], loops: list[tuple[str, int]]) -> None:
        """A transfer within bounds, awaited at once."""
        rows, size = self.random.randint(1, 3), 128 * self.random.randint(1, 3)
        source = self.affine(ROWS["vmem"], loops, "x")
        if source.offset + sum(s * (dict(loops)[n] - 1) for n, s in source.terms) > SIZE - 4096:
            return
        token = f"copy{self.count}"
        self.count += 1
        items.append(Dma(token, Address("s", 128 * self.random.randint(0, 40)), source, rows,
                         size, size, 2 * size))  # fmt: skip
        items.append(WaitOp(token))


def check(program: Program, machine: DspMachine, seed: int) -> None:
    """QEMU against the JIT, and its packets against the walk."""
    listing = compile_program(program, machine)
    predicted = cost(listing)
    assert predicted.cycles == predicted.packets + sum(predicted.stalls.values())
    numbers = np.random.default_rng(seed)
    given = {p.name: numbers.integers(0, 256, p.size, dtype=np.uint8)
             for p in program.places if not p.local}  # fmt: skip
    images = [PlaceImage(given[p.name].tobytes(), True) if p.name in given else
              PlaceImage(p.size, per_thread=p.per_thread) for p in program.places]  # fmt: skip
    phases = [PhaseCall(f.symbol, calls(f, machine)) for f in listing.functions]
    done = run(listing.text, phases, images, listing.spill_bytes, listing.views, fill=0)
    assert done.packets == predicted.executed
    jit(program)(*given.values())
    for number, place in enumerate(program.places):
        if place.name in given:
            assert done.outputs[number] == given[place.name].tobytes(), place.name


@pytest.mark.exact
def test_random_programs(exact: bool, record_property: Callable[[str, object], None]) -> None:
    seeds = range(200) if exact else range(0, 200, 25)
    record_property("slice", f"random listings: seeds {list(seeds)}")
    for seed in seeds:
        check(Writer(seed).program(), dsp(threads=1 + seed % 4), seed)


@pytest.mark.exact
def test_random_nests(exact: bool, record_property: Callable[[str, object], None]) -> None:
    """Loops around loops are turned: the next iteration's head beside the tail of the last one."""
    seeds = range(200) if exact else range(0, 200, 20)
    record_property("slice", f"random nests: seeds {list(seeds)}")
    for seed in seeds:
        check(Writer(seed).nest(), dsp(threads=1), seed)
