"""The inputs of contractions with outputs in lanes: read in place or with pads, and their sums.

    [border of xp]  [copy xp = x]             where windows read pads: only what is read
    sums of channels, of words of them first  32 pixels a register (``Schedule.offset_operand``)
    sums of windows, down and along

Each is a phase of its own, rows on all threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..schedule import Schedule
from ..state import Loop, LoopRef
from ..structure import structure
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, run_to
from .fold_rows import rows_of
from .fusing import folding, made_by, partial_results
from .lanes import in_rows

PARTS = 4  # registers that are copied or summed by one step of a loop, at most


@dataclass(frozen=True, slots=True)
class Source:
    """The images that windows read: x itself, or its padded copy; of a contraction of groups, each
    pixel is as many."""

    name: str
    images: int
    rows: int
    columns: int
    pitch: int  # pixels from row to row
    deep: int  # channels that are stored
    inputs: int  # channels that are multiplied
    copied: bool
    fits: bool  # whether rows of x hold whole registers of sums
    groups: int  # of channels that a stored pixel holds
    flat: bool  # whether each pixel of x is read once, so that rows are one

    @property
    def together(self) -> bool:
        """Whether channels of neighbouring pixels are summed in lanes at once."""
        beyond = self.copied or self.fits or self.flat or self.deep == WORD
        return self.deep <= VECTOR and beyond

    @property
    def vectors(self) -> int:
        """Registers of sums."""
        if self.together and self.flat:
            return -(-self.images * self.rows * self.columns // LANES)
        return self.images * self.rows * -(-self.columns // LANES)

    @property
    def lanes(self) -> int:
        """Pixels whose sums fill registers."""
        return LANES // math.gcd(LANES, self.groups)

    @property
    def registers(self) -> int:
        """Registers of bytes that are copied and summed."""
        return -(-self.images * self.rows * self.pitch * self.deep // VECTOR)


def source_of(kernel: Kernel, inputs: int, columns: int) -> Source:
    """What ``columns`` of the result read; ``inputs`` channels are summed."""
    images, height = kernel.image.extent, kernel.row.extent
    rows, wide = kernel.source(height, columns)
    near, copied = kernel.input, False
    if kernel.copy is not None:
        copied = not kernel.unpadded(height, columns)
        near = near if copied else kernel.copy.reads[0].buffer
    groups = near.shape[3] // inputs if kernel.group else 1
    lanes = LANES // math.gcd(LANES, groups)
    fits = -(-wide // lanes) * lanes <= near.shape[2]
    if groups > 1 and kernel.copy is not None and not fits:
        copied, near = True, kernel.input
    deep, per = near.shape[3] // groups, max(VECTOR // near.shape[3], 1)
    pitch = (-(-wide // per) * per if copied else near.shape[2]) * groups
    single = all(axis.extent == 1 for axis in kernel.taps) and groups == 1 and not copied
    flat = single and near.shape[1:3] == (rows, wide) and rows * wide >= LANES
    return Source(near.name, images, rows, wide * groups, pitch, deep, inputs, copied, fits, groups,
                  flat)  # fmt: skip


def prepare(sch: Schedule, kernel: Kernel, source: Source) -> None:
    """Makes the weights unsigned, and what products and their offset need of the inputs."""
    if kernel.copy is not None and not source.copied:
        in_place(sch, kernel)
    sums = [ref.name for ref in sch.offset_operand(kernel.dot.block, kernel.weights.name)]
    for name in sums:
        sch.set_scope(made_by(sch, name), "tcm")
    if source.copied:
        _padded(sch, kernel, source)
    _channels(sch, sums[0], source)
    for name in sums[1:]:
        _window(sch, name, source)


def in_place(sch: Schedule, kernel: Kernel) -> None:
    """Lets windows read what the copy was made of."""
    assert kernel.copy is not None
    if kernel.fill is not None:
        sch.border(kernel.fill.block)
    sch.compute_inline(kernel.copy.block)


def _padded(sch: Schedule, kernel: Kernel, source: Source) -> None:
    """The copy in whole registers, rows one behind the other, its border filled."""
    assert kernel.copy is not None
    near, deep = kernel.input.name, source.deep * source.groups
    per = max(VECTOR // deep, 1)
    sch.trim(near)
    parts = bordered(sch, kernel, per, deep, True, deep)
    pitch = sch.get_buffer(near).shape[2]
    pitch = -(-pitch // per) * per
    sch.transform_layout(near, lambda n, h, w, c: (n, h * pitch + w, c))
    for name in parts:
        in_rows(sch, name, PARTS)


def _channels(sch: Schedule, name: str, source: Source) -> None:
    """Sums of each pixel's channels: of words of all channels first, unless pixels' channels lie
    together in a register of a buffer that may be read beyond its rows."""
    *_, c = _grouped(sch, name, source)
    deep = source.deep
    whole = -(-source.inputs // VECTOR) * VECTOR if deep > VECTOR else deep
    if source.inputs < whole:
        c = sch.resize(c, whole)
    if not source.together:
        name = _words(sch, name, c, source, source.inputs < whole)
    as_one = source.together and source.flat
    if not as_one:
        run_to(sch, name, 2, source.lanes)
    found = structure(sch.get_block(name))
    assert found is not None
    row = found.axes[1].var
    rows = rows_of(found if as_one else replace(found, held=frozenset({row})))
    assert rows is not None
    loops = rows.lay(sch, name)
    at = next((at for at, run in enumerate(rows.runs) if row in run.axes), len(loops) - 1)
    sch.unroll(*loops[:at])
    sch.parallel(loops[at])


def _grouped(sch: Schedule, name: str, source: Source) -> list[LoopRef]:
    """The loops of sums, those over groups for all that a pixel holds."""
    if source.groups > 1:
        sch.resize(sch.loops(name)[3], source.groups)
    return sch.loops(name)


def _words(sch: Schedule, name: str, c: LoopRef, source: Source, masked: bool) -> str:
    """Sums of the words of a pixel, 128 channels of all its channels at a time, a block before
    ``name``, which adds them."""
    deep, groups = source.deep, source.groups
    if deep > VECTOR:
        _, c = sch.divide(c, VECTOR)
    lane, _ = sch.divide(c, WORD)
    part, made = partial_results(sch, name, lane)
    per = max(VECTOR // deep, 1)
    run_to(sch, part, 2, per)
    pitch = sch.get_buffer(made).shape[3]
    sch.transform_layout(made, lambda j, n, h, w, *g: (n, h * pitch + w, *g, j))
    n, h, w, *c_0, j, k = sch.loops(part)
    g = [c_0.pop(0)] if groups > 1 else []
    w_0, w_1 = sch.split(w, (None, per))
    sch.reorder(n, h, w_0, *g, *c_0, w_1, j, k)
    sch.vectorize(w_1, j, k)
    for loop in c_0:
        if masked:  # in the last register alone
            loop, *_ = sch.split(loop, (sch.get_loop(loop).extent - 1,), tail="peel")
        _, some = sch.split(loop, (None, _part(sch, loop)))
        sch.unroll(some)
    share(sch, n, h, w_0)
    return name


def _window(sch: Schedule, name: str, source: Source) -> None:
    """Sums over the taps of one direction, 32 neighbours a register."""
    _grouped(sch, name, source)
    run_to(sch, name, 2, source.lanes)
    sch.expand(name, *folding(sch, name, 1))
    in_rows(sch, name, PARTS)


def _part(sch: Schedule, loop: Loop) -> int:
    """How many steps of a loop are written out."""
    extent = sch.get_loop(loop).extent
    return max(n for n in range(1, PARTS + 1) if extent % n == 0)


def share(sch: Schedule, n: Loop, h: Loop, w: Loop) -> None:
    """Rows on all threads, or parts of the only row; image by image, for rows of different images
    lie unevenly apart."""
    if sch.get_loop(h).extent == 1 < sch.get_loop(w).extent:
        sch.reorder(n, w, h)
        h = w
    sch.unroll(n)
    sch.parallel(h)
