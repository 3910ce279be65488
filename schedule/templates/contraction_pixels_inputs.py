"""The words that contractions with pixels in lanes read, side by side for neighbouring pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...tir.linear import linear
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD, Contraction, bordered, run_to
from .contraction_pixels_plan import PixelsPlan
from .lanes import in_rows

Place = Callable[..., tuple[Any, ...]]


def places_of(kernel: Contraction, plan: PixelsPlan) -> Place:
    """Where an element of a result lies: image, row, tile, lane, output."""
    _, rows, columns, _ = kernel.result.shape

    def image(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        pixel = (n * rows + h) * columns + w
        return 0, pixel // plan.lanes, 0, pixel % plan.lanes, o

    known: dict[str, Place] = {
        "rows": lambda n, h, w, o: (n, h, w // plan.width, w % plan.width, o),
        "image": image,
        "padded": lambda n, q, o: (n, q // plan.lanes, 0, q % plan.lanes, o),
    }
    return known[plan.form]


def pixels_of(sch: Schedule, block: str, plan: PixelsPlan) -> list[LoopRef]:
    """The loops of a block over images, rows, columns, and the others."""
    loops = sch.loops(block)
    if not plan.flat:
        return loops
    return [*sch.split(sch.fuse(*loops[:3]), (1, None, plan.lanes)), *loops[3:]]


def prepare(sch: Schedule, kernel: Contraction, plan: PixelsPlan, place: Place) -> int:
    """Words of neighbouring pixels side by side; columns that are read in turns lie in as many
    rows of words. Gives the columns of a row of pixels."""
    assert kernel.copy is not None
    dot, near, step = kernel.dot.block, kernel.input.name, plan.stride[1]
    deal = kernel.copy.block
    if plan.flat:
        sch.trim(near)
        _dealt_channels(sch, deal, plan)
        count = sch.get_buffer(near).shape[3] // WORD
        sch.transform_layout(near, lambda n, h, w, c: (
            place(n, h, w, c)[1] * count + c // WORD, place(n, h, w, c)[3], c % WORD))  # fmt: skip
        _deal(sch, deal, plan, True)
        return plan.columns
    start = linear(kernel.copy.out.index[2]).constant
    if plan.form == "padded":
        return _rows_as_one(sch, kernel, plan)
    if plan.inputs:
        return _words_of_columns(sch, kernel, plan)
    if plan.early:
        deal = sch.cache_read(dot, near, "tcm").name
        sch.trim(deal)
    sch.trim(near)
    columns, channels = (
        (plan.vector // plan.deep or 1, plan.deep) if plan.early else (plan.lanes * step, WORD)
    )
    parts = bordered(sch, kernel, columns, channels, plan.pads)
    if plan.early:
        for name in parts:
            in_rows(sch, name, plan.vector)
        near, start = deal, 0
    run_to(sch, deal, 2, plan.lanes * step)
    whole = sch.get_buffer(kernel.input.name).shape[2]
    if plan.early and whole % columns:  # a border runs on: then rows are longer, but registers
        sch.resize(sch.loops(deal)[2], -(-whole // (plan.lanes * step)) * plan.lanes * step)
    _dealt_channels(sch, deal, plan)
    across, shape = plan.lanes * step, sch.get_buffer(near).shape
    shift = -start % across
    pitch = -(-(shape[2] + shift) // across) * plan.lanes  # words of a row: whole registers
    count = shape[3] // WORD * step
    sch.transform_layout(near, lambda n, h, w, c: (
        n,
        (h * count + c // WORD * step + (w + shift) % step) * pitch + (w + shift) // step,
        c % WORD,
    ))  # fmt: skip
    for name in [deal] if plan.early else parts:
        _deal(sch, name, plan, name == deal)
    return whole


def _rows_as_one(sch: Schedule, kernel: Contraction, plan: PixelsPlan) -> int:
    """Words of pixels of the padded input, its rows one behind the other; gives their columns."""
    assert kernel.copy is not None
    near, fill, copy = kernel.input.name, kernel.fill, kernel.copy.block
    sch.trim(near)
    wide = sch.get_buffer(near).shape[2]
    for name in [fill.block, copy] if fill is not None and plan.pads else [copy]:
        _dealt_channels(sch, name, plan)
        in_rows(sch, name, plan.vector)
    sch.transform_layout(near, lambda n, h, w, c: (n, h * wide + w, c))
    deal = sch.cache_read(kernel.dot.block, near, "tcm").name
    run_to(sch, deal, 1, plan.lanes)
    sch.transform_layout(deal, lambda n, q, c: (n, c // WORD, q, c % WORD))
    _deal(sch, deal, plan, True)
    return wide


def _words_of_columns(sch: Schedule, kernel: Contraction, plan: PixelsPlan) -> int:
    """Words of four neighbouring columns of a channel, one for each column of the result: channels
    come apart first, then each register is put together of the columns of several places."""
    near, dot, inputs, step = kernel.input.name, kernel.dot.block, plan.inputs, plan.stride[1]
    sch.trim(near)
    parts = bordered(sch, kernel, max(plan.vector // plan.deep, 1), plan.deep, plan.pads)
    *_, across, c = sch.loops(dot)
    sch.resize(c, inputs)
    words = sch.word_taps(dot, across, step).name
    sch.trim(kernel.weights.name)
    sch.trim(words)
    run_to(sch, words, 2, plan.vector // step)
    planes = sch.cache_read(words, near, "tcm").name
    sch.trim(planes)
    run_to(sch, planes, 2, plan.vector)
    for name in parts:
        in_rows(sch, name, plan.vector)
    sch.transform_layout(planes, lambda n, h, w, c: (n, h, c, w))
    n, h, w, c = sch.loops(planes)
    w_0, w_1 = sch.split(w, (None, plan.vector))
    sch.reorder(n, h, w_0, c, w_1)
    sch.vectorize(w_1)
    _rows(sch, n, h, c)
    pitch = sch.get_buffer(words).shape[2]
    sch.transform_layout(words, lambda n, h, g, t, c: (n, (h * inputs + c) * pitch + g, t))
    n, h, g, t, c = sch.loops(words)
    g_0, g_1 = sch.split(g, (None, plan.vector // step))
    some = sch.split(t, (None, step))
    sch.reorder(n, h, g_0, c, g_1, *some)
    sch.vectorize(g_1, *some)
    _rows(sch, n, h, c)
    return plan.columns


def _rows(sch: Schedule, n: LoopRef, h: LoopRef, c: LoopRef) -> None:
    """Rows on all threads, channels and images written out."""
    sch.unroll(c, n)
    sch.parallel(h)


def _dealt_channels(sch: Schedule, deal: str, plan: PixelsPlan) -> None:
    """Channels that are dealt: a power of two of words, or whole parts of those."""
    words = WORD << (plan.words - 1).bit_length()
    run_to(sch, deal, 3, min(words, plan.together))


def _deal(sch: Schedule, block: str, plan: PixelsPlan, together: bool) -> None:
    """Registers of words, all channels of their pixels ``together``; rows, or parts of the only
    one, on all threads."""
    n, *rows, w, c = pixels_of(sch, block, plan)
    step, near = plan.stride[1], plan.turns
    w_0, w_1, w_2, w_3 = sch.split(w, (None, plan.lanes, step // near, near))
    some = min(sch.get_loop(c).extent, plan.together) // WORD
    c_0, c_1, c_2 = sch.split(c, (None, some, WORD))
    sch.reorder(n, *rows, w_0, w_2, c_0, c_1, w_3, w_1, c_2)
    if together:
        sch.vectorize(c_1, w_3, w_1, c_2)
    else:
        sch.vectorize(w_1, c_2)
        sch.unroll(w_2, c_0, c_1, w_3)
    sch.unroll(n)
    sch.parallel([*rows, w_0][0])
