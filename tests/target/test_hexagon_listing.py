"""Whole programs, written by hand, as the machine runs them: QEMU against the JIT and the count."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dovetail.target.alike import common
from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.cycles import cost
from dovetail.target.dsp.hexagon.run_listing import Executed, run_program
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.dsp.target import dsp
from dovetail.target.jit import jit
from dovetail.target.program import Address, Dma, Item, Loop, Phase, Place, Program, WaitOp
from tests.target.nests import op

pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")

SIZE = 1 << 13


def places(**more: Place) -> list[Place]:
    """Parameters x and y, and others behind or between them."""
    return [Place("x", SIZE, "ddr"), *more.values(), Place("y", SIZE, "tcm")]


def holds(program: Program, machine: DspMachine | None = None) -> tuple[PackedListing, Executed]:
    """QEMU gives the JIT's bytes in the packets that were predicted."""
    listing = compile_program(program, machine or dsp())
    random = np.random.default_rng(0)
    given = [p for p in program.places if not p.local and p.data is None]
    arrays = [random.integers(0, 256, place.size, np.uint8) for place in given]
    done = run_program(program, listing, arrays)
    assert done.packets == cost(listing).executed
    jit(program)(*arrays)
    named = dict(zip((place.name for place in given), arrays, strict=True))
    assert done.outputs
    for name, found in done.outputs.items():
        np.testing.assert_array_equal(found, named[name], name)
    return listing, done


def copy(count: int, source: str = "x", target: str = "y", by: int = 128) -> Loop:
    """Vectors from one buffer to another."""
    body: list[Item] = [
        op("vmem", "v1", at=source, i=by),
        op("vmem_store", "", "v1", at=target, i=by),
    ]
    return Loop("i", count, body)


def test_only_written_parameters_come_back() -> None:
    _, done = holds(Program("copy", places(), [Phase([copy(9)])]))
    assert list(done.outputs) == ["y"] and len(done.outputs["y"]) == SIZE


def test_constants_and_scratch_stand_among_the_parameters() -> None:
    data = bytes(range(256))
    more = {
        "k": Place("k", 256, "ddr", data=data),
        "s": Place("s", 256, "tcm", local=True),
    }
    body: list[Item] = [
        copy(2, "k", "s"),
        op("vmem", "v2", at="x"), op("vmem", "v3", at="s+128"),
        op("vaddw", "v4", "v2", "v3"), op("vmem_store", "", "v4", at="y+256"),
    ]  # fmt: skip
    holds(Program("constants", places(**more), [Phase(body)]))


def test_threads_have_places_of_their_own() -> None:
    """Each iteration leaves a value in its thread's scratch, and the next phase adds to it."""
    own = Place("s", 256, "tcm", local=True, per_thread=True)
    first: list[Item] = [op("vmem", "v1", at="x", p=128), op("vmem_store", "", "v1", at="s")]
    second: list[Item] = [op("vmem", "v2", at="s"), op("vmem_store", "", "v2", at="y", p=128)]
    phases = [Phase([*first, *second], ("p", 7))]
    holds(Program("own", places(s=own), phases), dsp(threads=3))


@pytest.mark.parametrize("extent", [1, 2, 4, 5, 9])
def test_phases_wait_for_each_other_and_idle_threads_execute_nothing(extent: int) -> None:
    shared = Place("s", SIZE, "tcm", local=True)
    first: list[Item] = [op("vmem", "v1", at="x", p=256), op("vmem_store", "", "v1", at="s", p=256)]
    last = 256 * (extent - 1)
    second: list[Item] = [
        op("vmem", "v2", at=f"s+{last}", p=-256), op("vmem_store", "", "v2", at="y", p=256)
    ]  # fmt: skip
    phases = [Phase(first, ("p", extent)), Phase(second, ("p", extent))]
    _, done = holds(Program("reverse", places(s=shared), phases))
    assert [sum(map(bool, threads)) for threads in done.packets] == [min(extent, 4)] * 2


@pytest.mark.parametrize("step", [128, 384, 1024])
def test_phases_that_work_elsewhere_in_their_places_share_their_code(step: int) -> None:
    """Where it begins is in the table of places; pieces of bursts are no shift."""
    own = Place("s", SIZE, "tcm", local=True, per_thread=True)
    phases = []
    for at in range(3):
        body: list[Item] = [op("vmem", "v1", at=f"x+{step * at}", p=128)]
        body += [op("vmem_store", "", "v1", at=f"s+{step * (2 - at)}", p=128)]
        body += [op("vmem", "v2", at=f"s+{step * (2 - at)}", p=128)]
        body += [op("vmem_store", "", "v2", at=f"y+{2048 * at}", p=128)]
        phases.append(Phase(body, ("p", 7)))

    def shared(machine: DspMachine) -> PackedListing:
        found = [common(phase, machine.grain) for phase in phases]
        return holds(Program("alike", places(s=own), found), machine)[0]

    listing = shared(dsp())
    assert len({id(function.nodes) for function in listing.functions}) == 1
    views = {(place, shift) for place, shift in listing.views if place == 0}
    assert views == {(0, step), (0, 2 * step)}
    assert len({id(function.nodes) for function in shared(dsp(burst=4096)).functions}) == 3


@pytest.mark.parametrize("count", [40, 60, 90])
def test_registers_in_memory_are_each_threads_own(count: int) -> None:
    """So many sums stay in use across a loop, and the threads have only 32 vectors each."""
    body: list[Item] = [op("vmem", f"v{i}", at=f"x+{128 * (i % 50)}") for i in range(count)]
    inner: list[Item] = [op("vmem", "v99", at="x", p=128, j=128)]
    inner += [op("vaddw", f"v{i}", f"v{i}", "v99") for i in range(count)]
    body.append(Loop("j", 3, inner))
    body += [op("vxor" if i % 2 else "vaddw", "v0", "v0", f"v{i}") for i in range(1, count)]
    body.append(op("vmem_store", "", "v0", at="y", p=128))
    listing, _ = holds(Program("many", places(), [Phase(body, ("p", 5))]))
    assert listing.spills and listing.spill_bytes


@pytest.mark.parametrize("count", [4, 6, 11])
def test_conditions_are_kept_in_memory(count: int) -> None:
    """So many comparisons stay in use, and the threads have only four conditions each."""
    body: list[Item] = [op("loadrb", f"r{i}", at=f"x+{i}", p=128) for i in range(count + 1)]
    body += [op("cmpgt", f"p{100 + i}", f"r{i}", f"r{i + 1}") for i in range(count)]
    for step in range(2):  # the second one reads them all once more
        for i in range(count):
            pair = f"r{200 + i if step else i}", f"r{i + 1}"
            body.append(op("mux", f"r{200 + count * step + i}", f"p{100 + i}", *pair))
    body += [op("storeri", "", f"r{200 + i}", at=f"y+{4 * i}", p=128) for i in range(2 * count)]
    listing, _ = holds(Program("conditions", places(), [Phase(body, ("p", 5))]))
    assert bool(listing.spills) == (count > 4)


def test_a_long_odd_share_is_counted_in_a_register() -> None:
    body: list[Item] = [op("vmem", "v1", at="x", p=128)]
    body += [op("vaddw" if i % 2 else "vxor", "v1", "v1", "v1") for i in range(70)]
    body += [op("vaddh" if i % 2 else "vmaxub", "v1", "v1", "v1") for i in range(70)]
    body.append(op("vmem_store", "", "v1", at="y", p=128))
    holds(Program("long", places(), [Phase(body, ("p", 6))]))


@pytest.mark.parametrize("extents", [(2, 3, 4), (3, 1, 2), (2, 2, 2, 2)])
def test_loops_nest_deeper_than_the_hardware_counts(extents: tuple[int, ...]) -> None:
    terms = {name: 128 * 3**depth for depth, name in enumerate("abcd"[: len(extents)])}
    items: list[Item] = [op("vmem", "v1", at="x", **terms), op("vaddw", "v2", "v2", "v1")]
    for depth, (name, extent) in enumerate(zip("abcd", extents, strict=False)):
        items = [Loop(name, extent, items)]
        here = {other: terms[other] for other in "abcd"[depth + 1 : len(extents)]}
        items.append(op("vmem_store", "", "v2", at=f"y+{1024 * depth}", **here))
    holds(Program("deep", places(), [Phase([op("vd0", "v2"), *items])]))


@pytest.mark.parametrize("trips", [1023, 1024, 2000])
def test_loops_of_many_trips(trips: int) -> None:
    body: list[Item] = [op("loadrub", "r1", at="x", i=1), op("add", "r2", "r2", "r1")]
    phase: list[Item] = [
        op("tfrsi", "r2", 0),
        Loop("i", trips, body),
        op("storeri", "", "r2", at="y+4"),
    ]
    holds(Program("long loop", places(), [Phase(phase)]))


@pytest.mark.parametrize("seed", range(12))
def test_words_that_pass_through_memory_arrive(seed: int) -> None:
    """A load and a later iteration's store of its place may share a packet, the load first: the
    prologue of the pipelined loop keeps that order, although it is packed anew."""
    chance = Random(seed)
    body: list[Item] = []
    for n in range(chance.randint(2, 6)):
        slot = f"s+{4 * chance.randrange(3)}"
        body += [op("loadri", "r1", at=f"x+{n * 256}", i=4), op("storeri", "", "r1", at=slot)]
        body += [op("loadri", "r2", at=slot), op("loadri", "r3", at="y", i=4),
                 op("add", "r3", "r3", "r2"), op("storeri", "", "r3", at="y", i=4)]  # fmt: skip
    scratch = Place("s", 128, "tcm", local=True)
    holds(Program("passed on", places(s=scratch), [Phase([Loop("i", chance.randint(4, 9), body)])]))


def test_transfers_of_rows_reach_later_phases() -> None:
    near = Place("s", SIZE, "tcm", local=True)
    start = Dma("t", Address("s", 128), Address("x", 256), 5, 384, 512, 640)
    phases = [
        Phase([start]),
        Phase([WaitOp("t"), *[op("vmem", "v1", at="s+128"), op("vmem_store", "", "v1", at="y")]]),
        Phase([op("vmem", "v3", at="s+2176", p=128), op("vmem_store", "", "v3", at="y+128", p=128)],
              ("p", 3)),
    ]  # fmt: skip
    holds(Program("rows", places(s=near), phases))


def test_a_call_may_end_a_phase_or_a_loop() -> None:
    """Neither the return nor the jump of a loop is in the packet of the call before it."""
    near = Place("s", SIZE, "tcm", local=True)
    moves = (("i", 256),)
    start = Dma("t", Address("s", 0, moves), Address("x", 0, moves), 1, 256, 0, 0)
    inside: list[Item] = [start, WaitOp("t")]
    once: list[Item] = [replace(start, target=Address("s"), source=Address("x")), WaitOp("t")]
    nested = Loop("k", 2, [Loop("j", 2, [Loop("i", 3, [*inside])])])
    shown: list[Item] = [op("vmem", "v1", at="s+128"), op("vmem_store", "", "v1", at="y")]
    bodies: tuple[list[Item], ...] = ([Loop("i", 3, inside)], [nested], once)
    for body in bodies:
        holds(Program("calls", places(s=near), [Phase(body), Phase(shown)]))


def test_every_machine_width_runs() -> None:
    body: list[Item] = [op("vmem", "v1", at="x", p=128), op("vzb", "w2", "v1"),
                        op("vmem_store", "", "w2.hi", at="y", p=128)]  # fmt: skip
    for machine in (dsp(threads=1), dsp(threads=7), dsp(vectors=8, scalars=12)):
        holds(Program("widths", places(), [Phase(body, ("p", 11))]), machine)


def test_memory_that_nobody_fills_is_rubbish() -> None:
    scratch = Place("s", 128, "tcm", local=True)
    program = Program("unset", places(s=scratch), [Phase([copy(1, "s")])])
    listing = compile_program(program, dsp())
    arrays = [np.zeros(SIZE, np.uint8)] * 2
    for fill in (0, 0xA5):
        done = run_program(program, listing, arrays, fill=fill)
        assert set(done.outputs["y"][:128].tolist()) == {fill}


def test_late_copies_show_what_is_read_before_it_is_awaited() -> None:
    near = Place("s", 256, "tcm", local=True)
    start = Dma("t", Address("s"), Address("x"), 1, 128, 128, 128)
    shown: list[Item] = [op("vmem", "v1", at="s"), op("vmem_store", "", "v1", at="y")]
    for body, same in (([start, WaitOp("t"), *shown], True), ([start, *shown, WaitOp("t")], False)):
        program = Program("late", places(s=near), [Phase(body)])
        found = outputs(program, late=True), outputs(program)
        assert (found[0] == found[1]) == same
        assert (found[0][:128] == bytes([0xA5]) * 128) != same


def test_threads_backwards_show_what_depends_on_their_order() -> None:
    """The last iteration to run leaves its vector where all store."""
    body: list[Item] = [op("vmem", "v1", at="x", p=128), op("vmem_store", "", "v1", at="y")]
    alone = Program("meet", places(), [Phase(body, ("p", 4))])
    apart = Program("apart", places(), [Phase([*body[:1], copied("v1", "p")], ("p", 4))])
    assert outputs(alone) != outputs(alone, backwards=True)
    assert outputs(apart) == outputs(apart, backwards=True)


def copied(register: str, variable: str) -> Item:
    """A store of its own for each iteration."""
    return op("vmem_store", "", register, at="y", **{variable: 128})


def outputs(program: Program, **order: bool) -> bytes:
    """The bytes of y."""
    x = np.arange(SIZE, dtype=np.uint32).view(np.uint8)[:SIZE] * np.uint8(37)
    listing = compile_program(program, dsp())
    done = run_program(program, listing, [x, np.zeros(SIZE, np.uint8)], **order)
    return done.outputs["y"].tobytes()


def test_arrays_fit_the_parameters() -> None:
    program = Program("copy", places(), [Phase([copy(1)])])
    listing = compile_program(program, dsp())
    array = np.zeros(SIZE, np.uint8)
    with pytest.raises(ValueError) as few:
        run_program(program, listing, [array])
    assert str(few.value) == "copy: an array a parameter (x, y), but got 1"
    with pytest.raises(ValueError) as small:
        run_program(program, listing, [array, array[1:]])
    assert str(small.value) == f"y: takes {SIZE} bytes, but got {SIZE - 1}"
