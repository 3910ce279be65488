"""Loads in the packets of their only users: what they save, and where they must not be."""

from __future__ import annotations

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


def mixed(i: int, source: str) -> list[Item]:
    """A vector from another one: two shuffles of pairs, which take two pipes each, and a sum."""
    return [op("vshufoeb", f"w{20 + i}", source, "v90"),
            op("vshufoeb", f"w{30 + i}", f"w{20 + i}.lo", f"w{20 + i}.hi"),
            op("vaddw", f"v{40 + i}", f"w{30 + i}.lo", f"w{30 + i}.hi")]  # fmt: skip


def sums() -> list[Item]:
    """Four vectors, mixed each, of which a minimum is taken."""
    body: list[Item] = []
    for i in range(4):
        body += [op("vmem", f"v{i}", at=f"x+{128 * i}", k=512), *mixed(i, f"v{i}")]
    return [*body, op("vaddw", "v80", "v40", "v41"), op("vaddw", "v81", "v42", "v43"),
            op("vaddw", "v82", "v80", "v81"), op("vminub", "v92", "v92", "v82")]  # fmt: skip


def around(body: list[Item], trips: int = 16) -> list[Item]:
    return [op("vmem", "v90", at="z"), op("vmem", "v91", at="z+128"), op("vmem", "v92", at="z+256"),
            Loop("k", trips, body), op("vmem_store", "", "v92", at="y")]  # fmt: skip


def fed(listing: PackedListing) -> int:
    """Loads in the kernel that pass their value on."""
    return sum(step.facts.load is not None for step in kernel_steps(listing))


def test_loads_leave_the_computing_pipes_to_others() -> None:
    """Packets have four pipes; the body takes 28 of them, or 24 where its loads take none."""
    listing = compile_program(program(around(sums())), dsp())
    (kernel,) = kernels(listing)
    assert fed(listing)
    assert kernel.trips is not None
    packets = sum(len(block.packets) for block in blocks(kernel.body))
    assert packets * kernel.trips < 7 * 16


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
@pytest.mark.parametrize("trips", [5, 8, 13])
def test_what_is_passed_on_is_what_was_loaded(trips: int) -> None:
    code = program(around(sums(), trips))
    listing = compile_program(code, dsp())
    assert ".tmp = vmem(" in listing.text and not assembles(listing.text)
    draw = np.random.default_rng(trips)
    arrays = [draw.integers(0, 256, place.size, dtype=np.uint8) for place in code.places]
    ran = run_program(code, listing, arrays)
    wanted = [array.copy() for array in arrays]
    jit(code)(*wanted)
    assert np.array_equal(ran.outputs["y"], wanted[1])
    assert [tuple(phase) for phase in ran.packets] == list(cost(listing).executed)


def crowded(*more: Item) -> list[Item]:
    """A body whose pipes are full, so that a load that may be joined is."""
    return [*more, *mixed(0, "v2"), op("vminub", "v92", "v92", "v40")]


LOAD = op("vmem", "v1", at="x", k=128)
USE = op("vaddw", "v2", "v1", "v90")
LAST = op("vmem_store", "", "v2", at="y", k=128)


def test_a_value_with_one_user_is_joined() -> None:
    assert fed(compile_program(program(around(crowded(LOAD, USE, LAST))), dsp()))


@pytest.mark.parametrize(
    "body",
    [
        [LOAD, USE, op("vxor", "v2", "v2", "v1"), LAST],  # another user
        [LOAD, op("vmem_store", "", "v1", at="y", k=128)],  # a store wants a register
        [LOAD, op("vrmpyub_acc", "v1", "v1", "v90", "r5"), op("vmem_store", "", "v1", at="y")],
        [op("vmem", "v1", at="y", k=128), op("vmem_store", "", "v90", at="y", k=128), USE, LAST],
    ],
    ids=["two users", "stored", "accumulator", "overwritten"],
)
def test_others_are_not(body: list[Item]) -> None:
    first: list[Item] = [op("tfrsi", "r5", 3)]
    assert not fed(compile_program(program(first + around(crowded(*body))), dsp()))


def test_no_packet_waits_for_ddr() -> None:
    places = [Place("x", 1 << 15, "ddr"), Place("y", 1 << 15, "tcm"), Place("z", 1 << 15, "tcm")]
    code = Program("far", places, [Phase(around(crowded(LOAD, USE, LAST)))])
    assert not fed(compile_program(code, dsp()))
