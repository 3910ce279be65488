"""An innermost loop's body as modulo scheduling sees it: its steps, dependences and values.

A bumped pointer costs no order: an access before or after the bump only gets another immediate, as
far as immediates reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .machine import DspMachine
from .pack import Packer
from .packet_distances import distances, overlap, result_latency
from .renew import Carried
from .steps import Registers, Step

Edge = tuple[int, int, int, int]  # from, to, packets, iterations
_Add = Callable[[int, int, int, int], None]


@dataclass(frozen=True, slots=True)
class LoopBody:
    """An innermost loop: its steps, the bump of each moving pointer, its registers' roles."""

    steps: list[Step]
    bumps: dict[int, tuple[int, int]]  # pointer: (number of the step that bumps it, bytes)
    local: frozenset[int]  # registers that live within one iteration
    variable: str
    trips: int
    carried: Carried = field(default_factory=dict)


class LocalValue(NamedTuple):
    """A register that lives within one iteration, by the numbers of the steps that name it."""

    file: int
    width: int  # registers of the file that it takes
    writers: tuple[int, ...]
    readers: tuple[tuple[int, int], ...]  # and how many iterations later


class Shape(NamedTuple):
    """All of a body that its schedules depend on: bodies of one shape have the same ones."""

    units: tuple[int, ...]  # what each step takes of a packet
    near: tuple[int, ...]  # the step that makes the last vector for it, or the step itself
    edges: tuple[Edge, ...]
    values: tuple[LocalValue, ...]
    freed: int  # vector registers that carried values, which no iteration needs


def shape_of(body: LoopBody, extents: Mapping[str, int], packer: Packer, registers: Registers,
             machine: DspMachine) -> Shape:  # fmt: skip
    """The shape of a body whose loop variables run up to ``extents``."""
    units = tuple(packer.unit(step) for step in body.steps)
    edges = tuple(edges_of(body, extents, machine))
    freed = sum(registers.widths[register] for register in body.carried)
    return Shape(units, _companions(body.steps), edges, tuple(_values(body, registers)), freed)


def _values(body: LoopBody, registers: Registers) -> list[LocalValue]:
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[tuple[int, int]]] = {}
    for i, step in enumerate(body.steps):
        for atom in step.writes:
            if atom >> 1 in body.local:
                writers.setdefault(atom >> 1, []).append(i)
        for atom, _ in step.reads:
            register, hops = body.carried.get(atom >> 1, (atom >> 1, 0))
            readers.setdefault(register, []).append((i, hops))
    return [
        LocalValue(registers.files[register], registers.widths[register], tuple(made),
              tuple(readers.get(register, ())))
        for register, made in writers.items()
    ]  # fmt: skip


def _companions(steps: Sequence[Step]) -> tuple[int, ...]:
    """For each step the last step that makes a vector for it: users of a vector stay together."""
    maker: dict[int, int] = {}
    near = []
    for i, step in enumerate(steps):
        near.append(max((maker[atom] for atom, use in step.reads if atom in maker and use > 2),
                        default=i))  # fmt: skip
        if step.result >= 0 and all(code != step.result for code in step.operands):
            for atom in step.writes:
                maker[atom] = i
    return tuple(near)


def edges_of(body: LoopBody, extents: Mapping[str, int], machine: DspMachine) -> list[Edge]:
    """All dependences, within an iteration and between iterations."""
    best: dict[tuple[int, int, int], int] = {}

    def add(before: int, after: int, packets: int, distance: int) -> None:
        if before != after or distance:
            key = before, after, distance
            best[key] = max(best.get(key, 0), packets)

    moving = {pointer >> 1 for pointer in body.bumps}
    refs: dict[int, list[tuple[int, int]]] = {}  # of each atom: (step, use cycle or -1: written)
    for i, step in enumerate(body.steps):
        for atom, use in step.reads:
            if atom not in moving:
                refs.setdefault(atom, []).append((i, use))
        for atom in step.writes:
            if atom not in moving:
                refs.setdefault(atom, []).append((i, -1))
    for atom, uses in refs.items():
        _register_edges(body.steps, atom, uses, atom >> 1 not in body.local, machine, add)
    for register, (source, hops) in body.carried.items():
        for half in (0, 1):
            atom = 2 * source + half
            for i, use in refs.get(2 * register + half, []):
                for writer in (writer for writer, at in refs.get(atom, []) if at < 0):
                    wait = result_latency(body.steps[writer], atom, use, machine.vector_result)
                    add(writer, i, wait, hops)
    _memory_edges(body, extents, add)
    _pointer_edges(body, add)
    return [(i, j, packets, distance) for (i, j, distance), packets in best.items()]


def _register_edges(steps: Sequence[Step], atom: int, refs: list[tuple[int, int]], carried: bool,
                    machine: DspMachine, add: _Add) -> None:  # fmt: skip
    """In order; a register that outlives its iteration is followed into the next one."""
    writer, written_at = -1, 0
    readers: list[tuple[int, int]] = []
    writes = any(use < 0 for _, use in refs)
    for distance in (0, 1) if carried and writes else (0,):
        for i, use in refs:
            if use >= 0:
                if writer >= 0 and (distance == 0 or written_at == 0):
                    wait = result_latency(steps[writer], atom, use, machine.vector_result)
                    add(writer, i, wait, distance - written_at)
                readers.append((i, distance))
                continue
            for reader, at in readers:
                if distance == 0 or at == 0:
                    add(reader, i, 0, distance - at)
            if writer >= 0 and (distance == 0 or written_at == 0):
                add(writer, i, 1, distance - written_at)
            writer, written_at, readers = i, distance, []


def _memory_edges(body: LoopBody, extents: Mapping[str, int], add: _Add) -> None:
    touched = [(i, step.access) for i, step in enumerate(body.steps) if step.access]
    stored = {access.buffer for _, access in touched if access.store}
    touched = [(i, access) for i, access in touched if access.buffer in stored]
    for i, a in touched:
        for j, b in touched:
            if a.buffer != b.buffer or not (a.store or b.store):
                continue
            packets = 1 if a.store else 0
            if i < j and overlap(a, b, extents):
                add(i, j, packets, 0)
            distance = distances(a, b, body.variable, body.trips, extents)
            if distance is not None and i != j:
                add(i, j, packets, distance)


def _pointer_edges(body: LoopBody, add: _Add) -> None:
    """How far before or after its pointer's bump an access may be, in iterations."""
    for pointer, (bump, by) in body.bumps.items():
        add(bump, bump, 1, 1)
        for i, step in enumerate(body.steps):
            if i == bump or step.pointer != pointer:
                continue
            low, high, unit = step.facts.reach
            if step.index >= 0 or by % unit:
                low = high = step.imm
            below, above = step.imm - low, step.imm - high
            most, least = (
                (below // by, -(-above // by)) if by > 0 else (above // by, -(-below // by))
            )
            add(bump, i, 1, 1 - least)
            add(i, bump, 0, most)
