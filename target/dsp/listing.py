"""The listing: packed code with real registers, as data and as text for LLVM's assembler.

phase_0:
    {
        r8 = memw(r0+#0)
        loop0(.Lphase_0_0,#12)
    }
.Lphase_0_0: // 12 times, pipelined
    {
        v0.uw += vrmpy(v1.ub,r3.ub)
        v1 = vmem(r8++#1)
    } :endloop0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..instruction import Instruction, Kind, Register
from ..program import Dma
from .machine import DspMachine
from .steps import OPTIONAL, WHOLE, BasicBlock, Node, Registers, Step, Trip, blocks

LOOP, RECORD = ".L", ".D"  # labels within a function: of loops, and of its transfers' records
PLACES = ".table"  # of the places' addresses, which a function finds by number
SPILL = ".spill"  # the place behind all others


@dataclass(frozen=True, slots=True)
class ListingLine:
    """One instruction of a packet, as the listing prints it."""

    text: str
    row: Instruction
    unit: str
    origin: str


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One phase: ``nodes`` are its blocks and loops, ``real`` the register of each virtual one.

    Phases that are equal share all but the symbol and the offsets of their places.
    """

    symbol: str
    parallel: int | None  # iterations that threads share; None: thread 0 runs it once
    nodes: list[Node]
    registers: Registers
    real: dict[int, int]
    records: list[Dma]
    name: str = ""
    places: tuple[int, ...] = ()  # bytes into the table of places, of those that it uses
    words: int = 0  # of code
    walkers: dict[object, Any] = field(default_factory=dict)  # what ``cycles`` knows of it

    def label(self, local: str) -> str:
        """A label of the function as the assembler must know it; others are global."""
        kind = local[: len(LOOP)]
        return f"{kind}{self.symbol}_{local[len(LOOP) :]}" if kind in (LOOP, RECORD) else local

    def packets(self) -> Iterator[tuple[BasicBlock, list[Step]]]:
        for block in blocks(self.nodes):
            for packet in block.packets:
                yield block, packet

    def lines(self, packet: list[Step]) -> list[ListingLine]:
        """The instructions of a packet."""
        found = []
        for step in packet:
            load = step.facts.load
            if load is not None:
                found.append(ListingLine(_fed(step, packet, self), load.row, "LOAD", step.origin))
            text_ = text(step, packet, self)
            found.append(ListingLine(text_, step.facts.row, step.facts.unit, step.origin))
            if step.facts.store is not None:
                text_ = _stored(step, step.facts.store.row, self)
                found.append(ListingLine(text_, step.facts.store.row, "STORE", step.origin))
        return found


@dataclass(frozen=True)
class PackedListing:
    """A kernel's code. ``spills`` counts stores and loads added to save registers."""

    name: str
    machine: DspMachine
    functions: list[Function]  # of the phases in order; one may serve several
    spills: int = 0
    spill_bytes: int = 0
    tcm: int = 0  # bytes of tightly coupled memory that its places take
    far: frozenset[str] = frozenset()  # places in DDR that instructions access directly
    free: frozenset[int] = frozenset()  # phases that begin without a barrier
    views: tuple[tuple[int, int], ...] = ()  # places by number, and bytes in: further addresses

    @cached_property
    def text(self) -> str:
        """Assembly that LLVM's assembler takes."""
        parts = ["\t.text\n"]
        parts += [_function_text(function) for function in self._distinct]
        records = [_record_text(function) for function in self._distinct if function.records]
        if records:
            parts += ['\t.section .rodata.records,"a"\n\t.p2align 3\n', *records]
        return "".join(parts)

    @cached_property
    def code_bytes(self) -> int:
        """Bytes of instructions, with constant extenders and the nops that end hardware loops."""
        return 4 * sum(function.words for function in self._distinct)

    @property
    def _distinct(self) -> list[Function]:
        return list(dict.fromkeys(self.functions))


def words_of(nodes: list[Node], end: int = 1) -> int:
    """Words of code; the last packet has ``end`` at least."""
    total = 0
    for node in nodes:
        if isinstance(node, Trip):
            # Bits of a packet's first word mark the end of loop 0, of its second that of loop 1.
            total += words_of(node.body, node.level + 2 if node.level < 2 else 1)
            continue
        for packet in node.packets:
            least = end if node is nodes[-1] and packet is node.packets[-1] else 1
            total += max(sum(step.instructions + step.extended for step in packet), least)
    return total


def _function_text(function: Function) -> str:
    symbol = function.symbol
    head = f"\t.globl {symbol}\n\t.p2align 4\n\t.type {symbol},@function\n{symbol}:\n"
    lines: list[str] = [head]
    _nodes_text(function, function.nodes, "", lines)
    lines.append(f"\t.size {symbol}, . - {symbol}\n")
    return "".join(lines)


def _nodes_text(function: Function, nodes: list[Node], end: str, lines: list[str]) -> None:
    for i, node in enumerate(nodes):
        last = i == len(nodes) - 1
        if isinstance(node, Trip):
            if node.level == OPTIONAL:
                _nodes_text(function, node.body, "", lines)
                lines.append(f"{function.label(node.label)}:\n")
                continue
            times = node.trips if node.trips is not None else "the given number of"
            kernel = ", pipelined" if any(b.kind == "kernel" for b in blocks(node.body)) else ""
            lines.append(f"{function.label(node.label)}: // {times} times{kernel}\n")
            closing = f" :endloop{node.level}" if node.level < 2 else ""
            _nodes_text(function, node.body, closing, lines)
            continue
        for j, packet in enumerate(node.packets):
            marker = end if last and j == len(node.packets) - 1 else ""
            body = "".join(f"\t\t{line.text}\n" for line in function.lines(packet))
            lines.append(f"\t{{\n{body}\t}}{marker}\n")


def text(step: Step, packet: list[Step], function: Function) -> str:
    """One instruction. A condition made in the same packet is read as new."""
    row = step.facts.row
    values = {"target": function.label(step.target)}
    if step.result >= 0:
        values["d"] = name(step.result, function)
    for i, (parameter, code) in enumerate(zip(row.parameters, step.operands, strict=True)):
        if i == step.facts.at:
            values[parameter.name] = _passed(step, packet, function)
        elif parameter.register is Register.IMMEDIATE:
            values[parameter.name] = f"#{code}" if step.extended else str(code)
        else:
            values[parameter.name] = name(code, function)
            if row.name in ("jumpt", "jumpf") and _made(code, packet):
                values[parameter.name] += ".new"
    if step.pointer >= 0 and step.facts.alone:
        values |= _address(step, function)
    return row.asm.format(**values)


def _fed(step: Step, packet: list[Step], function: Function) -> str:
    """The load that feeds a step: a value that no register keeps."""
    assert step.facts.load is not None
    result = f"{_passed(step, packet, function)}.tmp"
    return step.facts.load.row.asm.format(d=result, **_address(step, function))


def _stored(step: Step, row: Instruction, function: Function) -> str:
    """The store of what a step makes in its packet."""
    made = step.result >> 2 << 2 | step.facts.half
    values = {row.parameters[-1].name: f"{name(made, function)}.new"}
    return row.asm.format(**values, **_address(step, function))


def _passed(step: Step, packet: list[Step], function: Function) -> str:
    """The name under which a load passes its value on: of a register that the packet does not
    touch, which stays as it is."""
    taken = {
        function.real[atom >> 1] + (atom & 1)
        for other in packet
        for atom in (*other.writes, *(atom for atom, _ in other.reads))
        if function.registers.files[atom >> 1] == 0
    }
    free = [number for number in range(32) if number not in taken]
    return f"v{free[[other for other in packet if other.facts.load].index(step)]}"


def _made(code: int, packet: list[Step]) -> bool:
    return any(step.result == code for step in packet)


def _address(step: Step, function: Function) -> dict[str, str]:
    base = name(step.pointer, function)
    if step.facts.alone and step.facts.row.kind is Kind.COMPUTE:
        return {"base": base, "offset": str(step.imm)}
    unit = step.facts.reach[2] if step.facts.reach[2] >= 128 else 1
    if step.index >= 0:
        return {"addr": f"{base}+{name(step.index, function)}<<#0"}
    if step.bump:
        return {"addr": f"{base}++#{step.bump // unit}"}
    if step.access is not None and step.access.buffer == PLACES:
        return {"addr": f"{base}+#{function.places[step.imm // 4]}"}
    return {"addr": f"{base}+#{step.imm // unit}"}


def name(code: int, function: Function) -> str:
    """The real register that a code stands for: ``v3``, ``v5:4``, ``r9``, ``q1``."""
    number, part = code >> 2, code & 3
    real = function.real[number]
    kind = function.registers.kinds[number]
    letter = {Register.PAIR: "v", Register.DOUBLE: "r"}.get(kind, kind.value)
    return f"{letter}{real + 1}:{real}" if part == WHOLE else f"{letter}{real + part}"


def _record_text(function: Function) -> str:
    """The words that transfers read: rows, bytes of a row, target stride, source stride."""
    rows = []
    for i, dma in enumerate(function.records):
        words = (dma.rows, dma.row_bytes, dma.target_stride, dma.source_stride)
        rows.append(f"{function.label(f'{RECORD}{i}')}: .word {', '.join(map(str, words))}\n")
    return "".join(rows)
