"""What single instructions compute on the real ISA: many rows, many samples, one run of QEMU.

    probe = Probe(vaddw, samples(vaddw, 24))
    assembled_values([probe])[0]  # by the row's assembly text: an array for each sample
    intrinsic_values([probe])[0]  # by the intrinsic that the row's ``hvx`` names

Both ways make one phase a group of samples (immediates are part of the code), which reads operands
from records of 256-byte slots and writes a slot a sample. Values are arrays of the operand's type:
``lanes`` elements, booleans for predicates, one element for a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....tir.types import Type
from ...instruction import Instruction, Kind, Register, register_class
from ..decorators import VECTOR
from .assemble import assemble, harness, link
from .objects import compile_ir
from .probes import IR_HELPERS, SLOT, SLOTS, ProbeGroup, assembly_phase, intrinsic_phase
from .qemu import PhaseCall, PlaceImage, execute, phase_table

Value = np.ndarray[Any, np.dtype[Any]]
Sample = Sequence[Value]  # one array a parameter; an immediate is an array of one


@dataclass(frozen=True, slots=True)
class Probe:
    """A row and the operands to try, each an array of the parameter's type."""

    row: Instruction
    samples: Sequence[Sample]


def samples(row: Instruction, count: int = 24, seed: int = 0) -> list[list[Value]]:
    """Random operands of a row, the first few of them all edges (lowest, highest, 0, 1, -1)."""
    random = np.random.default_rng([seed, *row.name.encode()])
    return [[_draw(p.type, p, random, k) for p in row.parameters] for k in range(count)]


def assembled_values(probes: Sequence[Probe], version: int = 66) -> list[list[Value]]:
    """The results of each row's assembly text, for each probe and sample."""

    def build(groups: list[ProbeGroup]) -> bytes:
        text = "".join(assembly_phase(number, group) for number, group in enumerate(groups))
        return assemble(f"\t.text\n{text}{phase_table(_symbols(groups))}", version)

    return _values(probes, build)


def intrinsic_values(probes: Sequence[Probe]) -> list[list[Value]]:
    """The results of LLVM's intrinsic of each row's ``hvx`` name, for each probe and sample."""

    def build(groups: list[ProbeGroup]) -> bytes:
        parts = [intrinsic_phase(number, group) for number, group in enumerate(groups)]
        declarations = sorted({*IR_HELPERS, *(declaration for declaration, _ in parts)})
        symbols = ", ".join(f"ptr @{symbol}" for symbol in _symbols(groups))
        table = f"@dovetail_functions = constant [{len(groups)} x ptr] [{symbols}]\n"
        return compile_ir(table + "".join(declarations) + "".join(body for _, body in parts))

    return _values(probes, build)


def _values(
    probes: Sequence[Probe], build: Callable[[list[ProbeGroup]], bytes]
) -> list[list[Value]]:
    groups, order = _grouped(probes)
    program = link(*harness(), build(groups))
    records = b"".join(_record(probes[p].row, probes[p].samples[s]) for p, s in order)
    calls, first = [], 0
    for symbol, group in zip(_symbols(groups), groups, strict=True):
        calls.append(PhaseCall(symbol, [(first, group.count)]))
        first += group.count
    places = [PlaceImage(records), PlaceImage(len(order) * SLOT, is_output=True)]
    answer = execute(program, calls, places).outputs[1]
    values: list[list[Value]] = [[np.empty(0)] * len(probe.samples) for probe in probes]
    for at, (p, s) in enumerate(order):
        kind = probes[p].row.result
        assert kind is not None
        values[p][s] = _unpack(kind, answer[at * SLOT : (at + 1) * SLOT])
    return values


def _symbols(groups: Sequence[ProbeGroup]) -> list[str]:
    return [f"phase_{number}" for number in range(len(groups))]


def _grouped(probes: Sequence[Probe]) -> tuple[list[ProbeGroup], list[tuple[int, int]]]:
    """Samples with equal immediates run as one group; the order in which all samples run."""
    groups: list[ProbeGroup] = []
    order: list[tuple[int, int]] = []
    for number, probe in enumerate(probes):
        row = probe.row
        if row.kind is not Kind.COMPUTE or row.result is None:
            raise ValueError(f"a probe is of a row that computes a value, but {row.name} does not")
        members: dict[tuple[int, ...], list[int]] = {}
        for at, sample in enumerate(probe.samples):
            members.setdefault(_immediates(row, sample), []).append(at)
        groups += [ProbeGroup(row, key, len(found)) for key, found in members.items()]
        order += [(number, at) for found in members.values() for at in found]
    return groups, order


def _immediates(row: Instruction, sample: Sample) -> tuple[int, ...]:
    """The values of the operands that the instruction's code holds."""
    pairs = zip(row.parameters, sample, strict=True)
    return tuple(int(v.reshape(-1)[0]) for p, v in pairs if p.register is Register.IMMEDIATE)


def _record(row: Instruction, sample: Sample) -> bytes:
    """The operands in slots, as the phases load them."""
    if len(sample) > SLOTS:
        raise ValueError(f"a probe has at most {SLOTS} operands, but {row.name} has {len(sample)}")
    slots = [_pack(p.type, v) for p, v in zip(row.parameters, sample, strict=True)]
    return b"".join(slot.ljust(SLOT, b"\0") for slot in slots).ljust(SLOTS * SLOT, b"\0")


def _pack(kind: Type, value: Value) -> bytes:
    """A register's bytes: predicates one byte a byte lane, narrow scalars extended to 32 bits."""
    value = np.ascontiguousarray(value, kind.numpy).reshape(-1)
    match register_class(kind, VECTOR):
        case Register.PREDICATE:
            return np.repeat(value.astype(np.uint8), VECTOR // kind.lanes).tobytes()
        case Register.CONDITION:
            return np.where(value, 0xFF, 0).astype("<u4").tobytes()
        case Register.SCALAR if kind.lanes == 1:
            return value.astype("<i8").astype("<u4").tobytes()
    return value.tobytes()


def _unpack(kind: Type, data: bytes) -> Value:
    """The value in a result's slot."""
    match register_class(kind, VECTOR):
        case Register.PREDICATE:
            lanes = np.frombuffer(data, np.uint8, VECTOR).reshape(kind.lanes, -1) != 0
            if (lanes != lanes[:, :1]).any():
                raise ValueError(f"a {kind} has equal bits within each lane, but got {lanes}")
            return np.ascontiguousarray(lanes[:, 0])
        case Register.CONDITION:
            return np.array([bool(data[0] & 1)])
    return np.frombuffer(data, kind.numpy, kind.lanes)


def _draw(kind: Type, parameter: Any, random: np.random.Generator, turn: int) -> Value:
    """One operand: an edge value in all lanes, edges mixed, or random bits, by turn."""
    if parameter.register is Register.IMMEDIATE:
        return np.array([random.integers(parameter.low, parameter.high + 1)], kind.numpy)
    if kind.kind == "b":
        return random.random(kind.lanes) < (0, 1, 0.5)[turn if turn < 2 else 2]
    edges = np.array([kind.low, kind.high, 0, 1, -1 if kind.signed else 1 << (kind.bits - 1)])
    if turn < len(edges):
        return np.full(kind.lanes, random.choice(edges)).astype(kind.numpy)
    if turn < 2 * len(edges):
        return random.choice(edges, kind.lanes).astype(kind.numpy)
    bits: Value = np.frombuffer(random.bytes(kind.lanes * kind.bytes), kind.numpy)
    shift = random.integers(0, kind.bits) if turn % 3 == 0 else 0  # small values too
    return np.right_shift(bits, kind.numpy.type(shift))
