"""Listings as text: golden packets, sizes, DMA calls, and what callers see of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dovetail.target.dsp.compile import compile_program
from dovetail.target.dsp.target import dsp
from dovetail.target.program import Address, Dma, Item, Loop, Phase, WaitOp
from tests.target.nests import assembles, op, products, program

MACHINE = dsp()


def test_a_small_phase_reads_as_assembly() -> None:
    body: list[Item] = [op("vmem", "v1", at="x", p=128), op("vavgub", "v2", "v1", "v1"),
                        op("vmem_store", "", "v2", at="y+128", p=128)]  # fmt: skip
    text = compile_program(program(Phase(body, ("p", 160))), MACHINE).text
    kernel = text[text.index(".Lphase_0_0:") : text.index(":endloop0")]
    assert kernel.count("{") == 1, kernel
    for part in ("vmem(", "vavg(", "++#1"):
        assert part in kernel


def test_lines_have_text_unit_and_origin() -> None:
    items: list[Item] = [op("vmem", "v1", at="x"), op("vmem_store", "", "v1", at="y+128")]
    (function,) = compile_program(program(items), MACHINE).functions
    lines = [line for _, packet in function.packets() for line in function.lines(packet)]
    (load,) = [line for line in lines if line.row.name == "vmem"]
    assert load.unit == "LOAD,VA" and load.text.startswith("v31 = vmem(")
    assert lines[-1].text == "jumpr r31"


@pytest.mark.tool("llvm-mc-19")
def test_code_bytes_are_the_assembled_bytes(tmp_path: Path) -> None:
    items: list[Item] = [op("tfrsi", "r990", 1 << 20), op("storeri", "", "r990", at="y")]
    items += [Loop("i", 3, products(4, 2, 40))]
    listing = compile_program(program(items), MACHINE)
    options = "-triple=hexagon -mcpu=hexagonv66 -mattr=+hvxv66,+hvx-length128b -filetype=obj"
    binary = tmp_path / "listing.o"
    command = ["llvm-mc-19", *options.split(), "-o", str(binary)]
    subprocess.run(command, input=listing.text, text=True, check=True)
    sizes = subprocess.run(["llvm-size-19", "-A", str(binary)], capture_output=True, text=True)
    (line,) = [line for line in sizes.stdout.splitlines() if line.startswith(".text")]
    assert int(line.split()[1]) == listing.code_bytes


@pytest.mark.tool("llvm-mc-19")
def test_transfers_call_with_a_record() -> None:
    dma = Dma("t", Address("y", 128), Address("x", 0, (("i", 4096),)), 3, 256, 512, 1024)
    listing = compile_program(program([Loop("i", 4, [dma, WaitOp("t")])]), MACHINE)
    assert ".Dphase_0_0: .word 3, 256, 512, 1024" in listing.text
    assert listing.text.count("call dovetail_dma") == listing.text.count("call dovetail_wait") == 1
    assert not assembles(listing.text)


def test_the_same_program_gives_the_same_text() -> None:
    made = [compile_program(program(products(4, 3, 20)), MACHINE).text for _ in range(2)]
    assert made[0] == made[1]


def test_loops_that_move_evenly_become_one() -> None:
    """j and k walk x and y without a gap: one loop of 60."""
    inner = Loop("k", 12, [op("vmem", "v1", at="x", j=1536, k=128),
                           op("vmem_store", "", "v1", at="y", j=1536, k=128)])  # fmt: skip
    text = compile_program(program([Loop("j", 5, [inner])]), MACHINE).text
    assert text.count(":endloop") == 1
