"""Programs that try single rows: operands come from memory, the result goes back to memory."""

from typing import Any

import numpy as np

from dovetail.target.dsp.hexagon.probe_rows import samples
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.scalar_rows import INSTRUCTIONS as SCALAR
from dovetail.target.dsp.wide import INSTRUCTIONS as WIDE
from dovetail.target.instruction import Instruction, Kind, Register
from dovetail.target.jit import jit
from dovetail.target.program import (
    Address,
    Half,
    Item,
    Loop,
    MachineOp,
    Operand,
    Phase,
    Place,
    Program,
    Reg,
)
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.types import Type

ROWS = {**SCALAR, **WIDE, **TABLE}
PROBED = [row for row in ROWS.values() if row.kind is Kind.COMPUTE and row.body is not None]
SLOT, SLOTS = 256, 6  # bytes of an operand, operands of a record
ONES = 0x01010101
Trial = list[Any]


def trials(row: Instruction, count: int) -> list[Trial]:
    """Operands of a row, random and edges; a scalar that must hold a constant holds it."""
    fixed = {p.name: p.low for p in row.parameters if p.register is Register.SCALAR and p.low}
    return [
        [
            np.array([fixed[p.name]], np.int32) if p.name in fixed else value
            for p, value in zip(row.parameters, trial, strict=True)
        ]
        for trial in samples(row, count)
    ]


def expected(row: Instruction, group: list[Trial]) -> list[bytes]:
    """What the body means for each trial, by the op table: all at once."""
    assert row.body is not None
    kind, columns = row.body.type, zip(*group, strict=True)
    values = {
        p.name: np.stack([np.asarray(value).reshape(-1) for value in column])
        for p, column in zip(row.parameters, columns, strict=True)
    }
    lanes = np.broadcast_to(evaluate_expr(row.body, values), (len(group), kind.lanes))
    return [packed(kind, one) for one in lanes]


def immediates(row: Instruction, trial: Trial) -> tuple[int, ...]:
    pairs = zip(row.parameters, trial, strict=True)
    return tuple(int(v[0]) for p, v in pairs if p.register is Register.IMMEDIATE)


class Probes:
    """A program for many rows: a loop over the trials of each, one instruction in it."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.loop = Loop("s", 0)
        self.records: list[bytes] = []
        self.tried: list[tuple[Instruction, list[Trial]]] = []
        self.number = 0

    def add(self, row: Instruction, count: int) -> None:
        groups: dict[tuple[int, ...], list[Trial]] = {}
        for trial in trials(row, count):
            groups.setdefault(immediates(row, trial), []).append(trial)
        for group in groups.values():
            self._group(row, group)

    def run(self, features: frozenset[str] | None = None) -> list[str]:
        """Runs all; the rows and trials whose result is not what the body means."""
        given = np.frombuffer(b"".join(self.records), np.uint8)
        out = np.zeros(len(self.records) * SLOT, np.uint8)
        places = [Place("given", given.nbytes, "ddr"), Place("out", out.nbytes, "ddr")]
        jit(Program("probes", places, [Phase(self.items)]), features)(given, out)
        wrong: list[str] = []
        results = iter(out.reshape(-1, SLOT))
        for row, group in self.tried:
            for trial, wanted in zip(group, expected(row, group), strict=True):
                if next(results).tobytes()[: len(wanted)] != wanted:
                    wrong.append(f"{row.name} of {[value[:4] for value in trial]}")
        return wrong

    def _group(self, row: Instruction, group: list[Trial]) -> None:
        self.first, self.loop = len(self.records), Loop("s", len(group))
        self.items.append(self.loop)
        self.tried.append((row, group))
        for trial in group:
            slots = [packed(p.type, v) for p, v in zip(row.parameters, trial, strict=True)]
            record = b"".join(slot.ljust(SLOT, b"\0") for slot in slots)
            self.records.append(record.ljust(SLOT * SLOTS, b"\0"))
        operands: list[Operand] = []
        for place, (parameter, value) in enumerate(zip(row.parameters, group[0], strict=True)):
            if parameter.register is Register.IMMEDIATE:
                operands.append(int(value[0]))
            else:
                operands.append(self._load(parameter.register, place * SLOT))
        names = [p.name for p in row.parameters]
        assert row.result_register is not None
        accumulated = operands[names.index(row.accumulate)] if row.accumulate else None
        result = accumulated or self._register(row.result_register)
        assert isinstance(result, Reg)
        self.loop.body.append(MachineOp(row, result, tuple(operands)))
        self._store(result)

    def _register(self, kind: Register) -> Reg:
        self.number += 1
        return Reg(self.number, kind)

    def _op(self, name: str, kind: Register, *operands: Operand) -> Reg:
        result = self._register(kind)
        self.loop.body.append(MachineOp(ROWS[name], result, operands))
        return result

    def _load(self, kind: Register, place: int) -> Reg:
        terms = (("s", SLOT * SLOTS),)
        start = self.first * SLOT * SLOTS + place
        if kind is Register.PREDICATE:
            return self._op("vandvrt", kind, self._load(Register.VECTOR, place), ONES)
        if kind is Register.CONDITION:
            return self._op("cmpgti", kind, self._load(Register.SCALAR, place), 0)
        result = self._register(kind)
        names = {Register.DOUBLE: "loadrd", Register.SCALAR: "loadri"}
        row = ROWS[names.get(kind, "vmem")]
        parts: list[Reg | Half] = [result]
        if kind is Register.PAIR:
            parts = [Half(result, 0), Half(result, 1)]
        for at, part in enumerate(parts):
            self.loop.body.append(
                MachineOp(row, part, (), Address("given", start + 128 * at, terms))
            )
        return result

    def _store(self, value: Reg) -> None:
        if value.kind is Register.PREDICATE:
            value = self._op("vandqrt", Register.VECTOR, value, ONES)
        if value.kind is Register.CONDITION:
            value = self._op("mux", Register.SCALAR, value, 1, 0)
        names = {Register.DOUBLE: "storerd", Register.SCALAR: "storeri"}
        row = ROWS[names.get(value.kind, "vmem_store")]
        parts: list[Operand] = [value]
        if value.kind is Register.PAIR:
            parts = [Half(value, 0), Half(value, 1)]
        for at, part in enumerate(parts):
            address = Address("out", self.first * SLOT + 128 * at, (("s", SLOT),))
            self.loop.body.append(MachineOp(row, None, (part,), address))


def packed(kind: Type, value: Any) -> bytes:
    """A value as memory holds it: predicates a byte a byte lane, narrow scalars extended."""
    value = np.ascontiguousarray(value, kind.numpy).reshape(-1)
    if kind.kind == "b" and kind.lanes > 1:
        value = np.repeat(value.astype(np.uint8), 128 // kind.lanes)
    elif kind.bits < 32 and kind.lanes == 1:
        value = value.astype("<i8").astype("<u4")
    return bytes(value.tobytes())
