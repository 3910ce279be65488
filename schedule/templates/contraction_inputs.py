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
from .contraction import WORD, Contraction, OfWords, bordered, run_to
from .fold_lanes import by_words
from .fold_parts import now
from .fold_rows import rows_of
from .fusing import folding, made_by
from .lanes import in_rows
from .plans import BlockPlan


@dataclass(frozen=True, slots=True)
class InputImage(OfWords):
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
    vector: int  # bytes of a register

    @property
    def together(self) -> bool:
        """Whether channels of neighbouring pixels are summed in lanes at once."""
        beyond = self.copied or self.fits or self.flat or self.deep == WORD
        return self.deep <= self.vector and beyond

    @property
    def scratch(self) -> int:
        """Bytes of the copy, of words and of sums, at the most."""
        words = self.copied * self.deep + (0 if self.together else min(self.deep, self.vector))
        rows, wide = self.images * self.rows, -(-self.columns // self.lanes) * self.lanes
        return (rows * self.pitch + self.lanes) * words + rows * wide * 3 * WORD

    @property
    def pixels(self) -> int:
        """Pixels whose sums fill registers."""
        return self.lanes // math.gcd(self.lanes, self.groups)


def source_of(kernel: Contraction, inputs: int, columns: int) -> InputImage:
    """What ``columns`` of the result read; ``inputs`` channels are summed."""
    images, height, vector = kernel.image.extent, kernel.row.extent, kernel.vector
    rows, wide = kernel.source(height, columns)
    near, copied = kernel.input, False
    if kernel.copy is not None:
        copied = not kernel.unpadded(height, columns)
        near = near if copied else kernel.copy.reads[0].buffer
    groups = near.shape[3] // inputs if kernel.group else 1
    pixels = kernel.lanes // math.gcd(kernel.lanes, groups)
    fits = -(-wide // pixels) * pixels <= near.shape[2]
    if groups > 1 and kernel.copy is not None and not fits:
        copied, near = True, kernel.input
    deep, per = near.shape[3] // groups, max(vector // near.shape[3], 1)
    pitch = (-(-wide // per) * per if copied else near.shape[2]) * groups
    single = all(axis.extent == 1 for axis in kernel.taps) and groups == 1 and not copied
    flat = single and near.shape[1:3] == (rows, wide) and rows * wide >= kernel.lanes
    return InputImage(near.name, images, rows, wide * groups, pitch, deep, inputs, copied, fits,
                      groups, flat, vector)  # fmt: skip


def prepare(sch: Schedule, kernel: Contraction, source: InputImage) -> list[BlockPlan]:
    """Makes the weights unsigned, and what products and their offset need of the inputs; gives its
    phases."""
    if kernel.copy is not None and not source.copied:
        in_place(sch, kernel)
    sums = [ref.name for ref in sch.offset_operand(kernel.dot.block, kernel.weights.name)]
    for name in sums:
        sch.set_scope(made_by(sch, name), "tcm")
    phases = _padded(sch, kernel, source) if source.copied else []
    phases += _channels(sch, sums[0], source)
    return phases + [_window(sch, name, source) for name in sums[1:]]


def in_place(sch: Schedule, kernel: Contraction) -> None:
    """Lets windows read what the copy was made of."""
    assert kernel.copy is not None
    if kernel.fill is not None:
        sch.border(kernel.fill.block)
    sch.compute_inline(kernel.copy.block)


def _padded(sch: Schedule, kernel: Contraction, source: InputImage) -> list[BlockPlan]:
    """The copy in whole registers, rows one behind the other, its border filled."""
    assert kernel.copy is not None
    near, deep = kernel.input.name, source.deep * source.groups
    per = max(source.vector // deep, 1)
    sch.trim(near)
    parts = bordered(sch, kernel, per, deep, True, deep)
    pitch = sch.get_buffer(near).shape[2]
    pitch = -(-pitch // per) * per
    sch.transform_layout(near, lambda n, h, w, c: (n, h * pitch + w, c))
    return [in_rows(sch, name, source.vector) for name in parts]


def _channels(sch: Schedule, name: str, source: InputImage) -> list[BlockPlan]:
    """Sums of each pixel's channels: of words of all channels first, unless pixels' channels lie
    together in a register of a buffer that may be read beyond its rows."""
    *_, c = _grouped(sch, name, source)
    deep, vector = source.deep, source.vector
    whole = -(-source.inputs // vector) * vector if deep > vector else deep
    if source.inputs < whole:
        c = sch.resize(c, whole)
    words = [] if source.together else [_words(sch, name, source)]
    as_one = source.together and source.flat
    if not as_one:
        run_to(sch, name, 2, source.pixels)
    found = now(sch, name)
    row = found.axes[1].var
    rows = rows_of(found if as_one else replace(found, held=frozenset({row})), vector)
    assert rows is not None
    loops = rows.lay(sch, name)
    at = next((at for at, run in enumerate(rows.runs) if row in run.axes), len(loops) - 1)
    sch.unroll(*loops[:at])
    sch.parallel(loops[at])
    return [*words, rows]


def _grouped(sch: Schedule, name: str, source: InputImage) -> list[LoopRef]:
    """The loops of sums, those over groups for all that a pixel holds."""
    if source.groups > 1:
        sch.resize(sch.loops(name)[3], source.groups)
    return sch.loops(name)


def _words(sch: Schedule, name: str, source: InputImage) -> BlockPlan:
    """Sums of the words of a pixel, 128 channels of all its channels at a time, a block before
    ``name``, which adds them."""
    (depth,), deep = now(sch, name).summed, min(source.deep, source.vector)
    block, sums = by_words(sch, name, depth, deep, source.lanes)
    w, made = run_to(sch, block, 2, source.vector // deep), made_by(sch, block)
    pitch = sch.get_buffer(made).shape[2]
    sch.transform_layout(made, lambda n, h, w, *rest: (n, h * pitch + w, *rest))
    _, near = sch.divide(w, source.vector // deep)
    sums = replace(sums, lanes=(near, *sums.lanes))
    by_rows(sch, *sums.lay(sch, block, {}))
    return sums


def _window(sch: Schedule, name: str, source: InputImage) -> BlockPlan:
    """Sums over the taps of one direction, 32 neighbours a register."""
    _grouped(sch, name, source)
    run_to(sch, name, 2, source.pixels)
    sch.expand(name, *folding(sch, name, 1))
    return in_rows(sch, name, source.vector)


def by_rows(sch: Schedule, n: Loop, *loops: Loop) -> None:
    """Rows on all threads, or parts of the only row; image by image, for rows of different images
    lie unevenly apart."""
    at = next((at for at, loop in enumerate(loops) if sch.get_loop(loop).extent > 1), 0)
    if at:
        sch.reorder(n, loops[at], *loops[:at])
    sch.unroll(n)
    sch.parallel(loops[at])
