"""Values kept for the next iteration: what is no longer made, what stays, bytes above all."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from dovetail.target.dsp.carry import carry
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.hexagon.run_listing import run_program
from dovetail.target.dsp.target import dsp
from dovetail.target.jit import jit
from dovetail.target.program import Item, Loop, MachineOp, Program
from tests.target.nests import op, program

MACHINE = dsp()


def inner(items: list[Item]) -> list[str]:
    """The rows of the first loop."""
    loop = next(item for item in items if isinstance(item, Loop))
    return [item.instruction.name for item in loop.body if isinstance(item, MachineOp)]


def window(taps: int, step: int = 1, row: str = "vmaxub") -> list[Item]:
    """Maxima, or sums, of windows of so many vectors, each ``step`` vectors behind the last one."""
    body: list[Item] = [op("vmem", f"v{i}", at=f"x+{128 * i}", j=128 * step) for i in range(taps)]
    for i in range(1, taps):
        body.append(op(row, f"v{20 + i}", f"v{20 + i - 1}" if i > 1 else "v0", f"v{i}"))
    return [*body, op("vmem_store", "", f"v{20 + taps - 1}", at="y", j=128)]


def bytes_of(code: Program, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    memory = [draw.integers(0, 256, place.size, dtype=np.uint8) for place in code.places]
    jit(code)(*memory)
    return np.concatenate(memory)


def same(items: list[Item], seed: int = 0) -> list[Item]:
    """The items carried, once they gave the same bytes."""
    found = carry(items, MACHINE)
    assert np.array_equal(bytes_of(program(items), seed), bytes_of(program(found), seed))
    return found


def test_a_window_loads_what_is_new() -> None:
    found = same([Loop("j", 9, window(3))])
    assert inner(found).count("vmem") == 1 and inner(found).count("vassign") == 2
    assert [item.instruction.name for item in found if isinstance(item, MachineOp)] == [
        "vmem",
        "vmem",
    ]


def test_what_is_made_of_loads_is_kept_rather_than_they() -> None:
    body: list[Item] = []
    for i in range(2):
        body += [op("vmem", f"v{i}", at=f"x+{256 * i}", j=256),
                 op("vmem", f"v{10 + i}", at=f"x+{256 * i + 128}", j=256),
                 op("vshufoeb", f"w{20 + i}", f"v{i}", f"v{10 + i}")]  # fmt: skip
    body += [op("vaddw", "v30", "w20.lo", "w21.hi"), op("vmem_store", "", "v30", at="y", j=128)]
    rows = inner(same([Loop("j", 7, body)]))
    assert (rows.count("vmem"), rows.count("vshufoeb"), rows.count("vassignp")) == (2, 1, 1)


def test_values_made_of_one_value_twice_over_and_over_are_looked_at_once() -> None:
    """The paths to the loads are 2**64."""
    body: list[Item] = []
    for i in range(2):
        body.append(op("vmem", f"v{100 * i}", at=f"x+{128 * i}", j=128))
        for k in range(100 * i, 100 * i + 64):
            body.append(op("vaddw", f"v{k + 1}", f"v{k}", f"v{k}"))
    body += [op("vmaxub", "v300", "v64", "v164"), op("vmem_store", "", "v300", at="y", j=128)]
    rows = inner(same([Loop("j", 7, body)]))
    assert (rows.count("vaddw"), rows.count("vassign")) == (64, 1)


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([Loop("j", 9, window(2, step=2))], "windows do not overlap"),
        ([Loop("j", 2, window(3))], "too few iterations"),
        ([Loop("j", 9, [op("vmem", "v0", at="y", j=128), op("vmem", "v1", at="y+128", j=128),
                        op("vaddw", "v2", "v0", "v1"),
                        op("vmem_store", "", "v2", at="y+128", j=128)])], "the loop stores them"),
        ([Loop("j", 9, window(3)), op("vmem_store", "", "v0", at="z"),
          op("vmem_store", "", "v1", at="z+128")], "they are read behind the loop"),
    ],
)  # fmt: skip
def test_other_loops_stay(items: list[Item], why: str) -> None:
    assert same(items) == items, why


def drawn(seed: int) -> list[Item]:
    """A loop around a loop that computes one expression of loads at several places, some of which
    the next iteration comes to."""
    draw, step = Random(seed), 128 * Random(seed).randint(1, 2)
    offsets = [128 * draw.randint(0, 3) for _ in range(draw.randint(1, 3))]
    picks = [(draw.random(), draw.random()) for _ in range(draw.randint(1, 4))]
    body, last = list[Item](), "v99"
    for copy in range(draw.randint(2, 4)):
        base, at = 20 * copy, step * draw.randint(0, 3)
        values = [f"v{base + i}" for i in range(len(offsets))]
        for value, offset in zip(values, offsets, strict=True):
            body.append(op("vmem", value, at=f"x+{at + offset}", i=256, j=step))
        for i, picked in enumerate(picks, 5):
            pair = [values[int(part * len(values))] for part in picked]
            wide = picked[0] < 0.4
            body.append(op("vshufoeb" if wide else "vavgub", f"{'vw'[wide]}{base + i}", *pair))
            values += [f"w{base + i}.lo", f"w{base + i}.hi"] if wide else [f"v{base + i}"]
        body.append(op("vaddw", f"v{100 + copy}", last, values[-1]))
        last = f"v{100 + copy}"
    if draw.random() < 0.5:
        body.append(op("vxor", "v99", "v99", last))
    body.append(op("vmem_store", "", last, at="y", i=4096, j=128))
    return [op("vd0", "v99"), Loop("i", 3, [Loop("j", draw.randint(1, 9), body)])]


def test_random_loops_give_the_same_bytes() -> None:
    assert sum(same(drawn(seed), seed) != drawn(seed) for seed in range(60)) > 15


def deals(taps: int) -> list[Item]:
    """Averages and maxima over windows of so many pairs, each of two vectors that are dealt."""
    body: list[Item] = []
    low, high = "w60.hi", "w60.lo"
    for i in range(taps):
        body += [op("vmem", f"v{i}", at=f"x+{256 * i}", j=256),
                 op("vmem", f"v{30 + i}", at=f"x+{256 * i + 128}", j=256),
                 op("vshufoeb", f"w{60 + i}", f"v{i}", f"v{30 + i}")]  # fmt: skip
    for i in range(taps):
        body += [op("vavgub", f"v{100 + i}", f"w{60 + i}.lo", low),
                 op("vmaxub", f"v{120 + i}", f"w{60 + i}.hi", high)]  # fmt: skip
        low, high = f"v{100 + i}", f"v{120 + i}"
    return [*body, op("vaddw", "v150", low, high), op("vmem_store", "", "v150", at="y", j=128)]


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
@pytest.mark.parametrize(
    "items",
    [*([Loop("j", trips, window(4))] for trips in (3, 8, 21)),
     *([Loop("j", trips, window(taps, row="vaddw"))]  # of which the first iteration finds many
       for taps, trips in ((5, 6), (7, 8), (7, 30), (9, 9), (9, 10))),
     *([Loop("j", trips, deals(taps))] for taps, trips in ((3, 5), (3, 20), (4, 3), (4, 17))),
     [Loop("i", 3, [Loop("j", 9, deals(3))])],
     *(drawn(seed) for seed in (20, 25, 26, 33))],
)  # fmt: skip
def test_the_machine_computes_the_same(items: list[Item]) -> None:
    code = program(items)
    listing = compile_program(code, dsp())
    draw = np.random.default_rng(len(items))
    arrays = [draw.integers(0, 256, place.size, dtype=np.uint8) for place in code.places]
    ran = run_program(code, listing, arrays)
    jit(code)(*arrays)
    assert np.array_equal(ran.outputs["y"], arrays[1])
    assert [tuple(phase) for phase in ran.packets] == list(cost(listing).executed)


@pytest.mark.parametrize("trips", [5, 12])
def test_what_iterations_keep_takes_no_copy_where_they_overlap(trips: int) -> None:
    listing = compile_program(program([Loop("j", trips, deals(3))]), dsp())
    rows = {line.row.name for function in listing.functions
            for _, packet in function.packets() for line in function.lines(packet)}  # fmt: skip
    assert rows.isdisjoint({"vassign", "vassignp", "vcombine"})
