"""Stores in the packets of what makes their values: what they save, and where they must not be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.hexagon.run_listing import run_program
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.steps import blocks
from dovetail.target.dsp.target import dsp
from dovetail.target.jit import jit
from dovetail.target.program import Item, Loop, Phase, Place, Program
from tests.target.nests import assembles, kernel_steps, kernels, op, program


def mixed(i: int) -> list[Item]:
    """Two registers shuffled by instructions that take two pipes; a sum of what they give."""
    return [op("vshufoeb", f"w{20 + i}", "v90", f"v{i}"),
            op("vshufoeh", f"w{30 + i}", f"w{20 + i}.lo", f"w{20 + i}.hi"),
            op("vaddw", f"v{40 + i}", f"w{30 + i}.hi", f"w{20 + i}.lo")]  # fmt: skip


def body(half: str) -> list[Item]:
    """Four registers, mixed each: the sum of all and half of a pair are stored."""
    found: list[Item] = []
    for i in range(4):
        found += [op("vmem", f"v{i}", at=f"x+{128 * i}", k=512), *mixed(i)]
    return [*found, op("vaddw", "v50", "v40", "v41"), op("vaddw", "v51", "v42", "v43"),
            op("vaddw", "v52", "v50", "v51"), op("vmem_store", "", "v52", at="y", k=256),
            op("vmem_store", "", f"w30.{half}", at="y+128", k=256)]  # fmt: skip


def around(inner: list[Item], trips: int = 16) -> list[Item]:
    return [op("vmem", "v90", at="z"), op("vmem", "v91", at="z+128"), Loop("k", trips, inner)]


def delivered(listing: PackedListing) -> int:
    """Stores in the kernel that take their value from their packet."""
    return sum(step.facts.store is not None for step in kernel_steps(listing))


def test_stores_leave_the_computing_pipes_to_others() -> None:
    """Packets have four pipes; the body takes 25 of them, or 23 where its stores take none."""
    listing = compile_program(program(around(body("lo"))), dsp())
    (kernel,) = kernels(listing)
    assert delivered(listing)
    assert kernel.trips is not None
    packets = sum(len(block.packets) for block in blocks(kernel.body))
    assert packets * kernel.trips < 7 * 16


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
@pytest.mark.parametrize("half", ["lo", "hi"])
@pytest.mark.parametrize("trips", [5, 8, 13])
def test_what_is_stored_is_what_was_made(trips: int, half: str) -> None:
    code = program(around(body(half), trips))
    listing = compile_program(code, dsp())
    assert ".new" in listing.text and not assembles(listing.text)
    draw = np.random.default_rng(trips)
    arrays = [draw.integers(0, 256, place.size, dtype=np.uint8) for place in code.places]
    ran = run_program(code, listing, arrays)
    wanted = [array.copy() for array in arrays]
    jit(code)(*wanted)
    assert np.array_equal(ran.outputs["y"], wanted[1])
    assert [tuple(phase) for phase in ran.packets] == list(cost(listing).executed)


def crowded(*last: Item, more: int = 3) -> list[Item]:
    """A body whose pipes are full, so that a store that may be joined is."""
    names = ["v40", *(f"v{61 + i}" for i in range(more - 1)), "v60"]
    chain = [op("vxor", b, a, "v91") for a, b in pairwise(names)]
    return [op("vmem", "v0", at="x", k=128), *mixed(0), *chain, *last]


STORE = op("vmem_store", "", "v60", at="y", k=256)


def test_a_value_with_one_maker_is_joined() -> None:
    assert delivered(compile_program(program(around(crowded(STORE))), dsp()))


READ = [op("vmem", "v80", at="y", k=256), STORE, op("vxor", "v81", "v80", "v60"),
        op("vmem_store", "", "v81", at="y+128", k=256)]  # fmt: skip


@pytest.mark.parametrize(
    "more, last, count",
    [
        (4, READ, 1),  # the second one
        (6, [op("vmem_store", "", "v90", at="y", k=256), STORE], 0),
        (2, [op("vxor", "v60", "v60", "v90"), STORE], 0),
    ],
    ids=["read", "written", "twice"],
)
def test_others_are_not(more: int, last: list[Item], count: int) -> None:
    listing = compile_program(program(around(crowded(*last, more=more))), dsp())
    assert delivered(listing) == count


def test_no_packet_stores_to_ddr() -> None:
    places = [Place("x", 1 << 15, "tcm"), Place("y", 1 << 15, "ddr"), Place("z", 1 << 15, "tcm")]
    code = Program("far", places, [Phase(around(crowded(STORE)))])
    assert not delivered(compile_program(code, dsp()))
