"""Instructions as LLVM functions over registers, from their bodies.

    define internal <32 x i32> @row_vaddw(<32 x i32> %a, <32 x i32> %b) { ... }

A vector (here of 128 bytes) is ``<32 x i32>``, a pair two of them; a predicate is a vector whose
byte lanes are all ones or zero; scalars are ``i32``, doubles two of them, conditions ``i1``.
Operands that the caller knows (immediates, constant scalars) are built into the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.ir as ir
import numpy as np

from ..tir.expr import walk
from ..tir.types import Type
from .instruction import LARGE, Instruction, Register, register_class
from .llvm import ir_type
from .llvm_lanes import as_lanes, joined, shuffled
from .llvm_rules import Lowering

PARTS = {Register.PAIR: 2, Register.DOUBLE: 2}  # machine values in a register; 1 in others
LOOPS = 1 << 30
_WORD = Type("i", 32)


def held_type(register: Register, vector: int) -> Type:
    """The type of each part of a register in the generated code, where vectors have so many
    bytes."""
    if register in LARGE:
        return Type("i", 32, vector // _WORD.bytes)
    return Type("b", 1) if register is Register.CONDITION else _WORD


@dataclass(frozen=True, slots=True)
class RowFunction:
    """``define`` is the function's text, ``declares`` what it calls by name; ``size`` counts its
    instructions (LOOPS where it has a loop)."""

    name: str
    define: str
    declares: dict[str, str]
    results: int
    size: int


@cache
def row_function(
    row: Instruction, known: tuple[int | None, ...], features: frozenset[str]
) -> RowFunction:
    """The function of a row; ``known`` has a number for each operand that is built in."""
    assert row.body is not None and row.result is not None
    words = [row.name.strip("_"), *("" if k is None else str(k).replace("-", "m") for k in known)]
    module = ir.Module()
    taken = [p for p, k in zip(row.parameters, known, strict=True) if k is None]
    registers = [p.register for p in taken for _ in range(PARTS.get(p.register, 1))]
    kinds = [ir_type(held_type(register, row.vector)) for register in registers]
    result = row.result_register
    assert result is not None
    parts = PARTS.get(result, 1)
    one = ir_type(held_type(result, row.vector))
    returned = ir.LiteralStructType([one] * parts) if parts > 1 else one
    function = ir.Function(module, ir.FunctionType(returned, kinds), "row_" + ".".join(words))
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    low = Lowering(builder, {}, features)
    low.values = _operands(low, row, known, list(function.args))
    out = to_register(low, low.value(row.body), row.result, row.vector)
    if parts == 1:
        builder.ret(out[0])
    else:
        both = ir.Constant(returned, ir.Undefined)
        for at, value in enumerate(out):
            both = builder.insert_value(both, value, at)
        builder.ret(both)
    size = sum(len(block.instructions) for block in function.blocks)
    size = size if len(function.blocks) == 1 else LOOPS
    declares = {name: str(g) for name, g in module.globals.items() if g is not function}
    return RowFunction(function.name, str(function), declares, parts, size)


def _operands(low: Lowering, row: Instruction, known: Sequence[int | None], args: list[Any]) -> Any:
    values: dict[str, Any] = {}
    for parameter, number in zip(row.parameters, known, strict=True):
        if number is not None:
            values[parameter.name] = known_lanes(number, parameter.type)
        else:
            parts = PARTS.get(parameter.register, 1)
            values[parameter.name] = from_register(low, args[:parts], parameter.type, row.vector)
            args = args[parts:]
    return values


def known_lanes(number: int, kind: Type) -> np.ndarray[Any, Any]:
    """The lanes of a scalar register that holds ``number``."""
    lanes: np.ndarray[Any, Any] = np.array([number]).astype("<i4").view(kind.numpy)
    return lanes[: kind.lanes]


def from_register(low: Lowering, parts: Sequence[Any], kind: Type, vector: int) -> Any:
    """A value of type ``kind`` in the parts of a register."""
    register = register_class(kind, vector)
    if register is Register.CONDITION:
        return parts[0]
    if register is Register.PREDICATE:
        lanes = Type("i", 8 * vector // kind.lanes, kind.lanes)
        value = as_lanes(low, parts[0], held_type(register, vector), lanes)
        return low.builder.icmp_signed("<", value, low.constant(lanes, 0))
    held = held_type(register, vector)
    if len(parts) > 1:
        whole = Type("i", 32, held.lanes * len(parts))
        return as_lanes(low, joined(low, parts, held), whole, kind)
    bits = kind.bits * kind.lanes
    if bits < 32:
        short = Type("i", bits)
        return as_lanes(low, low.resize(parts[0], held, short), short, kind)
    return as_lanes(low, parts[0], held, kind)


def to_register(low: Lowering, value: Any, kind: Type, vector: int) -> list[Any]:
    """The parts of a register that hold a value."""
    register = register_class(kind, vector)
    if register is Register.CONDITION:
        return [value]
    held = held_type(register, vector)
    if register is Register.PREDICATE:
        lanes = Type("i", 8 * vector // kind.lanes, kind.lanes)
        return [as_lanes(low, low.builder.sext(value, ir_type(lanes)), lanes, held)]
    parts = PARTS.get(register, 1)
    if parts > 1:
        whole = Type("i", 32, held.lanes * parts)
        value = as_lanes(low, value, kind, whole)
        ranges = [range(at * held.lanes, (at + 1) * held.lanes) for at in range(parts)]
        return [shuffled(low, value, whole, lanes) for lanes in ranges]
    bits = kind.bits * kind.lanes
    if bits < 32:
        short = Type(kind.kind, bits)
        return [low.resize(as_lanes(low, value, kind, short), short, held)]
    return [as_lanes(low, value, kind, held)]


@cache
def looks_up(row: Instruction) -> bool:
    """Whether a scalar permutes the row's lanes: a constant makes far better code on the host."""
    return row.body is not None and any(node.op == "lookup" for node in walk(row.body))


def computed(row: Instruction, numbers: Sequence[int]) -> int | None:
    """The result of a scalar row whose operands are all known."""
    from ..tir.evaluate_expr import evaluate_expr

    if row.body is None or row.result is None:
        return None
    if row.result_register is not Register.SCALAR:
        return None
    pairs = zip(row.parameters, numbers, strict=True)
    lanes = evaluate_expr(row.body, {p.name: known_lanes(n, p.type) for p, n in pairs})
    lanes = np.broadcast_to(lanes, (row.result.lanes,)).astype(row.result.numpy)
    if row.result.lanes == 1:
        return int(np.array(lanes[0]).astype(np.int64).astype(np.int32))
    return int(np.frombuffer(lanes.tobytes().ljust(4, bytes(1)), np.int32)[0])
