"""Tightened schedules: every step still waits for its makers, every packet has room, and vectors
live no longer."""

from __future__ import annotations

from random import Random

import pytest

from dovetail.target.dsp.body import Edge, LocalValue, Shape
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.interval import Placement, resource_bound
from dovetail.target.dsp.pack import EMPTY, packer
from dovetail.target.dsp.target import dsp
from dovetail.target.dsp.tighten import tightened

MACHINE = dsp()
PACKER = packer(MACHINE)
NAMES = [name for name, _ in MACHINE.units]
UNITS = {row: NAMES.index(TABLE[row].unit_at(MACHINE.version))
         for row in ("vmem", "vaddw", "vrmpybusv", "vasrw", "vmpyewuh", "vror")}  # fmt: skip


def drawn(seed: int) -> Shape:
    """A body in which steps but the first read two vectors, some of the last iteration's."""
    rng = Random(seed)
    count = rng.randint(12, 40)
    units = [UNITS["vmem"]] * 3 + rng.choices([*UNITS.values()], k=count - 3)
    edges, readers = list[Edge](), [list[tuple[int, int]]() for _ in range(count)]
    for i in range(3, count):
        for maker in rng.sample(range(i), 2):
            hops = int(rng.random() < 0.1)
            edges.append((maker, i, rng.randint(1, 2), hops))
            readers[maker].append((i, hops))
    values = [LocalValue(0, 1, (i,), tuple(found)) for i, found in enumerate(readers)]
    return Shape(tuple(units), tuple(range(count)), tuple(edges), tuple(values), 0)


def lives(shape: Shape, times: list[int], interval: int) -> int:
    ends = [[times[i] + hops * interval for i, hops in v.readers] for v in shape.values]
    made = [times[v.writers[0]] for v in shape.values]
    return sum(max([start, *end]) - start for start, end in zip(made, ends, strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_steps_keep_their_order_and_their_room(seed: int) -> None:
    shape = drawn(seed)
    placement, low = Placement(shape, PACKER), resource_bound(shape.units, PACKER)
    tries = ((n, placement.times(n, deep)) for n in range(low, 99) for deep in (False, True))
    interval, times = next((n, found) for n, found in tries if found is not None)
    found = tightened(shape, times, interval, PACKER)
    assert min(found) == 0
    for i, j, packets, distance in shape.edges:
        assert found[j] + interval * distance - found[i] >= packets
    for packet in range(interval):
        state = EMPTY
        for unit, time in zip(shape.units, found, strict=True):
            state = PACKER.fit(state, unit) if time % interval == packet else state
        assert state >= 0
    assert lives(shape, found, interval) <= lives(shape, times, interval)


def test_most_bodies_need_fewer_registers() -> None:
    fewer = 0
    for seed in range(40):
        shape = drawn(seed)
        placement, interval = Placement(shape, PACKER), resource_bound(shape.units, PACKER) + 2
        times = placement.times(interval, False)
        if times is not None:
            tight = tightened(shape, times, interval, PACKER)
            fewer += lives(shape, tight, interval) < 0.9 * lives(shape, times, interval)
    assert fewer > 20
