"""Dependences between the steps of a block, with the packets that must lie between.

A latency of 0 allows the same packet: reads come before writes in it, and so they do in a group
of a pipelined loop, which one packet held when the loop was scheduled. Two accesses conflict when
one stores and their bytes may overlap for some values of the loop variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .machine import DspMachine
from .steps import BasicBlock, BytesTouched, RowFacts, Step

Edges = list[list[tuple[int, int]]]  # of each step: (successor, latency)


def latency(producer: RowFacts, use: int, vector_result: int) -> int:
    """Packets from a result to an operand read in pipeline cycle ``use`` (HVX.md, section 2)."""
    if producer.latency:
        return producer.latency
    return 1 if use >= vector_result else (vector_result - use + 1) >> 1


def result_latency(step: Step, atom: int, use: int, vector_result: int) -> int:
    """As ``latency``; a bumped pointer is there in the next packet."""
    if step.bump and atom == step.pointer >> 1:
        return 1
    fixed = step.facts.latency
    return fixed if fixed else latency(step.facts, use, vector_result)


def is_far(step: Step, far: frozenset[str]) -> bool:
    """Whether a step accesses one of the places in DDR."""
    return step.access is not None and step.access.buffer in far


def block_edges(
    block: BasicBlock, extents: Mapping[str, int], machine: DspMachine, far: frozenset[str]
) -> Edges:
    """The dependences of straight-line code, steps numbered in order; what is loaded from ``far``
    places comes late."""
    edges: list[dict[int, int]] = []
    writer: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    steps: list[Step] = block.steps

    def add(before: int, after: int, packets: int) -> None:
        if before != after:
            known = edges[before]
            if packets >= known.get(after, 0):
                known[after] = packets

    number = 0
    for group in block.groups:
        edges += [{} for _ in group]
        for i, step in enumerate(group, number):
            for atom, use in step.reads:
                before = writer.get(atom, -1)
                if before >= 0:
                    wait = result_latency(steps[before], atom, use, machine.vector_result)
                    if far and is_far(steps[before], far) and atom != steps[before].pointer >> 1:
                        wait += machine.ddr_latency
                    add(before, i, wait if use else 0)
                readers.setdefault(atom, []).append(i)
        for i, step in enumerate(group, number):
            for atom in step.writes:
                for before in readers.pop(atom, ()):
                    add(before, i, 0)
                if atom in writer:
                    add(writer[atom], i, 1)
                writer[atom] = i
        number += len(group)
    _memory_edges(block.groups, steps, extents, add)
    _end_edges(steps, add)
    return [list(known.items()) for known in edges]


def _loads_first(groups: list[list[Step]]) -> Iterator[tuple[int, Step]]:
    """All steps with their numbers; within a group what stores comes after what loads."""
    number = 0
    for group in groups:
        yield from sorted(enumerate(group, number), key=lambda at: _stores(at[1]))
        number += len(group)


def _stores(step: Step) -> bool:
    return step.access is not None and step.access.store


def _memory_edges(groups: list[list[Step]], steps: list[Step], extents: Mapping[str, int],
                  add: object) -> None:  # fmt: skip
    assert callable(add)
    seen: dict[str, tuple[list[int], list[int]]] = {}  # loads and stores of each place
    barrier, since = -1, list[int]()
    for i, step in _loads_first(groups):
        if step.facts.calls:
            for before in since:
                add(before, i, 0)
            if barrier >= 0:
                add(barrier, i, 1)
            barrier, since = i, []
            seen.clear()
        access = step.access
        if access is None:
            continue
        if barrier >= 0:
            add(barrier, i, 1)
        since.append(i)
        loads, stores = seen.setdefault(access.buffer, ([], []))
        for others, packets in ((loads if access.store else (), 0), (stores, 1)):
            for before in others:
                other = steps[before].access
                assert other is not None
                if overlap(other, access, extents):
                    add(before, i, packets)
        (stores if access.store else loads).append(i)


def _end_edges(steps: list[Step], add: object) -> None:
    """A jump or return stays in the last packet, which comes after every call's."""
    assert callable(add)
    if steps and steps[-1].ends_block:
        for i in range(len(steps) - 1):
            add(i, len(steps) - 1, int(steps[i].is_call))


def overlap(a: BytesTouched, b: BytesTouched, extents: Mapping[str, int]) -> bool:
    """Whether two accesses of one buffer may touch a common byte, loop variables being equal."""
    if not a.exact or not b.exact:
        return True
    low = high = b.offset - a.offset
    if a.terms != b.terms:
        scales = dict(b.terms)
        for name, scale in a.terms:
            scales[name] = scales.get(name, 0) - scale
        for name, scale in scales.items():
            reach = scale * (extents[name] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
    return low < a.bytes and high > -b.bytes


def distances(a: BytesTouched, b: BytesTouched, variable: str, trips: int,
              extents: Mapping[str, int]) -> int | None:  # fmt: skip
    """The least d >= 1 such that ``b``, d iterations later, may touch a byte of ``a``."""
    if not a.exact or not b.exact:
        return 1
    if a.terms != b.terms:
        return 1
    scale = dict(a.terms).get(variable, 0)
    gap = b.offset - a.offset
    if scale == 0:
        return 1 if -b.bytes < gap < a.bytes else None
    # b - a at distance d is gap + scale * d; it must lie in (-b.bytes, a.bytes).
    low, high = -b.bytes + 1 - gap, a.bytes - 1 - gap
    if scale < 0:
        low, high, scale = -high, -low, -scale
    first = max(1, -(-low // scale))
    return first if first * scale <= high and first < trips else None
