"""The inputs of contractions with outputs in lanes: read in place or with pads, and their sums.

    [border of xp]  [copy xp = x]             where windows read pads: only what is read
    sums of channels, of words of them first  32 pixels a register (``Schedule.offset_operand``)
    sums of windows, down and along

Each is a phase of its own, rows on all threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...tir.expr import walk
from ...tir.stmt import Store, stored_in
from ..schedule import Schedule
from ..state import Loop, LoopRef
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, run_to

PARTS = 4  # registers that are copied or summed by one step of a loop, at most


@dataclass(frozen=True, slots=True)
class Source:
    """The images that windows read: x itself, or its padded copy."""

    name: str
    images: int
    rows: int
    columns: int
    pitch: int  # pixels from row to row
    deep: int  # channels that are stored
    inputs: int  # channels that are multiplied
    copied: bool
    fits: bool  # whether rows of x hold whole registers of sums

    @property
    def together(self) -> bool:
        """Whether channels of neighbouring pixels are summed in lanes at once."""
        return self.deep <= VECTOR and (self.copied or self.fits or self.deep == WORD)

    @property
    def registers(self) -> int:
        """Registers of bytes that are copied and summed."""
        return -(-self.images * self.rows * self.pitch * self.deep // VECTOR)


def source_of(kernel: Kernel, inputs: int, columns: int) -> Source:
    """What ``columns`` of the result read; ``inputs`` channels are summed."""
    images, height = kernel.image.extent, kernel.row.extent
    rows, wide = kernel.source(height, columns)
    near = kernel.input
    copied = kernel.copy is not None and not kernel.unpadded(height, columns)
    if kernel.copy is not None and not copied:
        near = kernel.copy.reads[0].buffer
    deep = near.shape[3]
    per = max(VECTOR // deep, 1)
    pitch = -(-wide // per) * per if copied else near.shape[2]
    fits = -(-wide // LANES) * LANES <= near.shape[2]
    return Source(near.name, images, rows, wide, pitch, deep, inputs, copied, fits)


def prepare(sch: Schedule, kernel: Kernel, source: Source) -> None:
    """Makes the weights unsigned, and what products and their offset need of the inputs."""
    if kernel.copy is not None and not source.copied:
        if kernel.fill is not None:
            sch.drop(kernel.fill.block)
        sch.compute_inline(kernel.copy.block)
    sums = [ref.name for ref in sch.offset_operand(kernel.dot.block, kernel.weights.name)]
    for name in sums:
        (made,) = stored_in(sch.get_block(name))
        sch.set_scope(made.name, "tcm")
    if source.copied:
        _padded(sch, kernel, source)
    _channels(sch, sums[0], source)
    for name in sums[1:]:
        _window(sch, name)


def _padded(sch: Schedule, kernel: Kernel, source: Source) -> None:
    """The copy in whole registers, rows one behind the other, its border filled."""
    assert kernel.copy is not None
    near, per = kernel.input.name, max(VECTOR // source.deep, 1)
    sch.trim(near)
    parts = bordered(sch, kernel, per, source.deep, True, source.deep)
    pitch = sch.get_buffer(near).shape[2]
    pitch = -(-pitch // per) * per
    sch.transform_layout(near, lambda n, h, w, c: (n, h * pitch + w, c))
    for name in parts:
        copy_rows(sch, name, PARTS)


def _channels(sch: Schedule, name: str, source: Source) -> None:
    """Sums of each pixel's channels: of words of all channels first, unless pixels' channels lie
    together in a register of a buffer that may be read beyond its rows."""
    n, h, w, c = sch.loops(name)
    deep = source.deep
    whole = -(-source.inputs // VECTOR) * VECTOR if deep > VECTOR else deep
    if source.inputs < whole:
        c = sch.resize(c, whole)
    if not source.together:
        name = _words(sch, name, c, deep, source.inputs < whole)
    w = run_to(sch, name, 2, LANES)
    n, h, _, c = sch.loops(name)
    w_0, w_1 = sch.split(w, (None, LANES))
    sch.vectorize(w_1, c)
    share(sch, n, h, w_0)


def _words(sch: Schedule, name: str, c: LoopRef, deep: int, masked: bool) -> str:
    """Sums of the words of a pixel, 128 channels of all its channels at a time, a block before
    ``name``, which adds them."""
    if deep > VECTOR:
        _, c = sch.divide(c, VECTOR)
    lane, _ = sch.divide(c, WORD)
    part = sch.rfactor(name, lane).name
    (partial,) = stored_in(sch.get_block(part))
    sch.set_scope(partial.name, "tcm")
    per = max(VECTOR // deep, 1)
    run_to(sch, part, 2, per)
    pitch = sch.get_buffer(partial.name).shape[3]
    sch.transform_layout(partial.name, lambda j, n, h, w: (n, h * pitch + w, j))
    n, h, w, *c_0, j, k = sch.loops(part)
    w_0, w_1 = sch.split(w, (None, per))
    sch.reorder(n, h, w_0, *c_0, w_1, j, k)
    sch.vectorize(w_1, j, k)
    for loop in c_0:
        if masked:  # in the last register alone
            loop, *_ = sch.split(loop, (sch.get_loop(loop).extent - 1,), tail="peel")
        _, some = sch.split(loop, (None, _part(sch, loop)))
        sch.unroll(some)
    share(sch, n, h, w_0)
    return name


def _window(sch: Schedule, name: str) -> None:
    """Sums over the taps of one direction, 32 neighbours a register."""
    w = run_to(sch, name, 2, LANES)
    n, h, _, *taps = sch.loops(name)
    w_0, w_1 = sch.split(w, (None, LANES))
    w_0, some = sch.split(w_0, (None, _part(sch, w_0)))
    sch.reorder(n, h, w_0, some, *taps, w_1)
    sch.vectorize(w_1)
    for loop in (*taps, some):
        sch.unroll(loop)
    share(sch, n, h, w_0)


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


def copy_rows(sch: Schedule, name: str, unroll: int) -> None:
    """Rows on all threads, as vectors where 128 bytes lie together, else as words of a pixel."""
    n, h, w, c = sch.loops(name)
    width, depth = sch.get_loop(w).extent, sch.get_loop(c).extent
    pitches = _pitches(sch, name)
    if depth % VECTOR == 0:
        inner, lanes = c, VECTOR
    elif pitches == {depth} and width * depth % VECTOR == 0:
        inner, lanes = sch.fuse(w, c), VECTOR
    else:
        inner, lanes = c, next(n for n in (8, 4, 1) if all(p % n == 0 for p in (depth, *pitches)))
    outer, vector = sch.split(inner, (None, lanes))
    if lanes < VECTOR:
        sch.unroll(outer)
    elif sch.get_loop(outer).extent % unroll == 0 and unroll > 1:
        _, part = sch.split(outer, (None, unroll))
        sch.unroll(part)
    sch.vectorize(vector)
    sch.unroll(n)
    sch.parallel(h)


def _pitches(sch: Schedule, name: str) -> set[int]:
    """Bytes from pixel to pixel in the buffers that the block ``name`` touches."""
    store = sch.get_block(name).body
    assert isinstance(store, Store)
    loads = [node.attr for node in walk(store.value) if node.op == "load"]
    return {buffer.shape[-1] for buffer in (store.buffer, *loads)}
