"""Dense convolutions and products: their extents, and which of their buffers TCM can hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...target.dsp.machine import Machine
from ...tir.stmt import Alloc, PrimFunc, walk_stmt
from .offset import SLACK, find_block, find_buffer, pitch_of, rows_behind

VECTOR = 128  # bytes of a register


@dataclass(frozen=True, slots=True)
class Shape:
    """The loop extents of one kernel, and how its output's channels fill vectors."""

    images: int
    height: int
    width: int
    outputs: int
    taps: tuple[int, int]
    words: int  # of four input channels
    depth: int  # stored channels of a pixel of ``xp``
    rows: int  # of ``xp``
    columns: int
    pitch: int  # columns of a row of ``xp``: those that windows read, where TCM is short
    foldable: bool  # whether a row of taps is consecutive in memory

    @property
    def ways(self) -> int:
        """Vectors of 32 channels that one register of bytes holds."""
        return min(self.outputs, 128) // 32

    @property
    def block(self) -> int:
        """Channels that are stored together."""
        return 32 * self.ways

    @property
    def blocks(self) -> int:
        return self.outputs // self.block

    @property
    def pixels(self) -> int:
        """Pixels that one register of output bytes holds."""
        return 128 // self.block


def shape_of(func: PrimFunc) -> Shape | None:
    """The shape of a dense convolution that this template takes."""
    facts = func.attrs
    if facts.get("kind") not in ("conv2d", "matmul") or facts.get("blocks") != 1:
        return None
    dot = find_block(func.body, "dot")
    extents = [it.extent for it in dot.iters]
    if len(extents) != 7 or not any(b == "xp" for b in _locals(func)):
        return None
    images, height, width, outputs, kh, kw, c = extents
    xp = find_buffer(func.body, "xp")
    foldable = xp.shape[3] == c and facts["dilation"][1] == 1 and kw > 1
    shape = Shape(images, height, width, outputs, (kh, kw), -(-c // 4), xp.shape[3], xp.shape[1],
                  xp.shape[2], xp.shape[2], foldable)  # fmt: skip
    whole = c % 4 == 0 and outputs % 32 == 0  # words and vectors
    return shape if whole and outputs % shape.block == 0 and width % shape.pixels == 0 else None


def _locals(func: PrimFunc) -> list[str]:
    return [s.buffer.name for s in walk_stmt(func.body) if isinstance(s, Alloc)]


def shape_for(func: PrimFunc, machine: Machine) -> Shape | None:
    """The shape, its padded input narrow where the kernel needs more than TCM."""
    shape = shape_of(func)
    if shape is None or shape.images > 1:
        return shape
    wanted = sum(scratch_of(shape).values()) + sum(p.bytes for p in func.params)
    return replace(shape, pitch=pitch_of(func)) if wanted > machine.tcm else shape


def scratch(func: PrimFunc, machine: Machine) -> int:
    """Bytes of TCM for the local images of a lowered kernel, sums of a dense one included."""
    local = [s.buffer for s in walk_stmt(func.body) if isinstance(s, Alloc)]
    shape = shape_for(func, machine)
    if shape is not None:
        return sum(scratch_of(shape).values())
    return sum(b.bytes for b in local if b.scope == "tcm")


def scratch_of(shape: Shape) -> dict[str, int]:
    """Bytes of the padded input and of the sums over it."""
    wide = shape.depth > VECTOR
    pixels = shape.images * shape.rows * shape.pitch
    behind = rows_behind(shape.columns, shape.pitch) * shape.pitch
    sums = 4 * shape.images * (shape.columns + SLACK)
    return {
        "xp": (pixels if wide else pixels + behind) * shape.depth,
        "psum": (pixels + behind) * VECTOR if wide else 0,
        "csum": sums * shape.rows,
        "vsum": sums * shape.height,
        "wsum": 4 * shape.images * shape.columns * shape.height,
    }


@dataclass(frozen=True, slots=True)
class Room:
    """The buffers of a kernel that TCM holds: the padded input, and slabs of its weights."""

    padded: bool
    slabs: float  # of all weights, in parts that take turns; infinite where all fit


def room_of(func: PrimFunc, shape: Shape, machine: Machine, slabs: int) -> Room:
    """The buffers that fit, as ``place.py`` places them; weights have ``slabs`` slabs."""
    free = machine.tcm - sum(p.bytes for p in func.params if p.scope == "tcm")
    near: set[str] = set()
    far = {p.name: p.bytes for p in func.params if p.scope == "ddr"}
    for sizes in (scratch_of(shape), far):
        for name, size in sorted(sizes.items(), key=lambda item: item[1]):
            if size <= free:
                near.add(name)
                free -= size
    weights = shape.blocks * shape.block * math.prod(shape.taps) * shape.words * 4
    return Room("xp" in near, math.inf if "w" in near else free // (weights // slabs))
