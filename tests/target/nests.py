"""Small selected programs for tests of packing: rows by name, registers by letter and number."""

from __future__ import annotations

import subprocess

from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.listing import PackedListing
from dovetail.target.dsp.scalar_rows import INSTRUCTIONS
from dovetail.target.dsp.steps import BasicBlock, Step, Trip, blocks
from dovetail.target.instruction import Register
from dovetail.target.program import (
    Address,
    Half,
    Item,
    Loop,
    MachineOp,
    Operand,
    Phase,
    Place,
    Program,
    Reg,
)

ROWS = {**INSTRUCTIONS, **TABLE}


def reg(name: str) -> Reg:
    """``v3``, ``w4``, ``r5``, ``d6``, ``q7``: the number alone identifies it."""
    return Reg(int(name[1:]), Register(name[0]))


def value(name: str | int) -> Operand:
    """A register, an immediate, or a half: ``w4.lo``, ``w4.hi``."""
    if isinstance(name, int):
        return name
    whole, _, part = name.partition(".")
    return Half(reg(whole), int(part == "hi")) if part else reg(whole)


def op(row: str, result: str = "", *operands: str | int, at: str = "", **terms: int) -> MachineOp:
    """``op("vmem", "v1", at="x+128", i=256)`` loads from ``x + 128 + 256 * i``."""
    buffer, _, offset = at.partition("+")
    where = Address(buffer, int(offset or 0), tuple(sorted(terms.items()))) if at else None
    made = value(result) if result else None
    assert not isinstance(made, int)
    return MachineOp(ROWS[row], made, tuple(value(operand) for operand in operands), where)


def program(*phases: Phase | list[Item], size: int = 1 << 15) -> Program:
    """Phases over the buffers x, y and z."""
    places = [Place(name, size, "tcm") for name in "xyz"]
    made = [phase if isinstance(phase, Phase) else Phase(phase) for phase in phases]
    return Program("test", places, made)


def products(pixels: int, vectors: int, trips: int) -> list[Item]:
    """The reduction of a convolution: a tile of accumulators, one word of four inputs a pixel."""
    tile = [[f"v{100 + vectors * i + j}" for j in range(vectors)] for i in range(pixels)]
    items: list[Item] = [op("vd0", acc) for row in tile for acc in row]
    body: list[Item] = []
    for j in range(vectors):
        body.append(op("vmem", f"v{j}", at=f"x+{128 * j}", k=128 * vectors))
    for i, row in enumerate(tile):
        body.append(op("loadri", f"r{50 + i}", at=f"y+{i * 4 * trips}", k=4))
        body += [op("vrmpyub_acc", acc, acc, f"v{j}", f"r{50 + i}") for j, acc in enumerate(row)]
    items.append(Loop("k", trips, body))
    flat = [acc for row in tile for acc in row]
    items += [op("vmem_store", "", acc, at=f"z+{128 * i}") for i, acc in enumerate(flat)]
    return items


def kernels(listing: PackedListing) -> list[Trip]:
    """The pipelined loops of a listing."""

    def walk(nodes: list[BasicBlock | Trip]) -> list[Trip]:
        found = []
        for node in nodes:
            if isinstance(node, Trip):
                first = node.body[0]
                pipelined = isinstance(first, BasicBlock) and first.kind == "kernel"
                found += [node] if pipelined else walk(node.body)
        return found

    return [trip for function in listing.functions for trip in walk(function.nodes)]


def assembles(text: str, version: int = 66) -> str:
    """What LLVM's assembler says against a listing: "" when it takes it."""
    options = f"-triple=hexagon -mcpu=hexagonv{version} -mattr=+hvxv{version},+hvx-length128b"
    command = ["llvm-mc-19", *options.split(), "-filetype=obj", "-o", "/dev/null"]
    return subprocess.run(command, input=text, capture_output=True, text=True).stderr


def kernel_steps(listing: PackedListing) -> list[Step]:
    """The steps of the pipelined loops of a listing."""
    found = [block for trip in kernels(listing) for block in blocks(trip.body)]
    return [step for block in found for packet in block.packets for step in packet]
