"""The words that contractions with pixels in lanes read, side by side for neighbouring pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...tir.linear import linear
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import LANES, VECTOR, WORD, Kernel, bordered, run_to
from .contraction_pixels_plan import Plan
from .contraction_prepared import Parts, dealt
from .lanes import in_rows
from .plans import Part

Place = Callable[..., tuple[Any, ...]]


def places_of(kernel: Kernel, plan: Plan) -> Place:
    """Where an element of a result lies: image, row, tile, lane, output."""
    _, rows, columns, _ = kernel.result.shape

    def image(n: Any, h: Any, w: Any, o: Any) -> tuple[Any, ...]:
        pixel = (n * rows + h) * columns + w
        return 0, pixel // LANES, 0, pixel % LANES, o

    known: dict[str, Place] = {
        "rows": lambda n, h, w, o: (n, h, w // plan.width, w % plan.width, o),
        "image": image,
        "padded": lambda n, q, o: (n, q // LANES, 0, q % LANES, o),
    }
    return known[plan.form]


def pixels_of(sch: Schedule, block: str, plan: Plan) -> list[LoopRef]:
    """The loops of a block over images, rows, columns, and the others."""
    loops = sch.loops(block)
    if not plan.flat:
        return loops
    return [*sch.split(sch.fuse(*loops[:3]), (1, None, LANES)), *loops[3:]]


def prepare(sch: Schedule, kernel: Kernel, plan: Plan, place: Place) -> tuple[int, Parts]:
    """Words of neighbouring pixels side by side; gives the columns of a row of pixels, too."""
    assert kernel.copy is not None
    near, deal = kernel.input.name, kernel.copy.block
    if plan.form == "padded":
        return _rows_as_one(sch, kernel, plan)
    if plan.inputs:
        return plan.columns, _words_of_columns(sch, kernel, plan)
    if not plan.flat:
        return _words_of_rows(sch, kernel, plan)
    sch.trim(near)
    _dealt_channels(sch, deal, plan)
    sch.join(*sch.loops(deal)[1:3])
    count = sch.get_buffer(near).shape[3] // WORD
    sch.transform_layout(near, lambda n, h, w, c: (
        place(n, h, w, c)[1] * count + c // WORD, place(n, h, w, c)[3], c % WORD))  # fmt: skip
    return plan.columns, {deal: _deal(sch, deal, plan)}


def _words_of_rows(sch: Schedule, kernel: Kernel, plan: Plan) -> tuple[int, Parts]:
    """Words row by row; columns that are read in turns lie in as many rows of words."""
    assert kernel.copy is not None
    near, deal, step = kernel.input.name, kernel.copy.block, plan.stride[1]
    start, phases = linear(kernel.copy.out.index[2]).constant, Parts()
    if plan.early:
        deal = sch.cache_read(kernel.dot.block, near, "tcm").name
        sch.trim(deal)
    sch.trim(near)
    columns, channels = (
        (VECTOR // plan.deep or 1, plan.deep) if plan.early else (LANES * step, WORD)
    )
    parts = bordered(sch, kernel, columns, channels, plan.pads)
    whole = sch.get_buffer(near).shape[2]
    if plan.early:
        phases = {name: in_rows(sch, name) for name in parts}
        parts, near, start = [deal], deal, 0
    run_to(sch, deal, 2, LANES * step)
    if plan.early and whole % columns:  # a border runs on: then rows are longer, but registers
        sch.resize(sch.loops(deal)[2], -(-whole // (LANES * step)) * LANES * step)
    _dealt_channels(sch, deal, plan)
    shift = -start % (LANES * step)
    shape = sch.get_buffer(near).shape
    pitch = -(-(shape[2] + shift) // (LANES * step)) * LANES  # words of a row: whole registers
    count = shape[3] // WORD * step
    sch.transform_layout(near, lambda n, h, w, c: (
        n,
        (h * count + c // WORD * step + (w + shift) % step) * pitch + (w + shift) // step,
        c % WORD,
    ))  # fmt: skip
    return whole, phases | {name: _deal(sch, name, plan) for name in parts}


def _rows_as_one(sch: Schedule, kernel: Kernel, plan: Plan) -> tuple[int, Parts]:
    """Words of pixels of the padded input, its rows one behind the other."""
    assert kernel.copy is not None
    near, fill, copy, phases = kernel.input.name, kernel.fill, kernel.copy.block, Parts()
    sch.trim(near)
    wide = sch.get_buffer(near).shape[2]
    for name in [fill.block, copy] if fill is not None and plan.pads else [copy]:
        _dealt_channels(sch, name, plan)
        phases[name] = in_rows(sch, name)
    sch.transform_layout(near, lambda n, h, w, c: (n, h * wide + w, c))
    deal = sch.cache_read(kernel.dot.block, near, "tcm").name
    run_to(sch, deal, 1, LANES)
    sch.transform_layout(deal, lambda n, q, c: (n, c // WORD, q, c % WORD))
    return wide, phases | {deal: _deal(sch, deal, plan)}


def _words_of_columns(sch: Schedule, kernel: Kernel, plan: Plan) -> Parts:
    """Words of four neighbouring columns of a channel, one for each column of the result: channels
    come apart first, then each register is put together of the columns of several places."""
    near, dot, inputs, step = kernel.input.name, kernel.dot.block, plan.inputs, plan.stride[1]
    sch.trim(near)
    parts = bordered(sch, kernel, max(VECTOR // plan.deep, 1), plan.deep, plan.pads)
    *_, across, c = sch.loops(dot)
    sch.resize(c, inputs)
    words = sch.word_taps(dot, across, step).name
    sch.trim(kernel.weights.name)
    sch.trim(words)
    run_to(sch, words, 2, VECTOR // step)
    planes = sch.cache_read(words, near, "tcm").name
    sch.trim(planes)
    run_to(sch, planes, 2, VECTOR)
    phases: Parts = {name: in_rows(sch, name) for name in parts}
    sch.transform_layout(planes, lambda n, h, w, c: (n, h, c, w))
    phases[planes] = dealt(sch, planes, (2, VECTOR))
    pitch = sch.get_buffer(words).shape[2]
    sch.transform_layout(words, lambda n, h, g, t, c: (n, (h * inputs + c) * pitch + g, t))
    phases[words] = dealt(sch, words, (2, VECTOR // step), (3, WORD // step), (3, step))
    return phases


def _dealt_channels(sch: Schedule, deal: str, plan: Plan) -> None:
    """Channels that are dealt: a power of two of words, or whole parts of those."""
    words = WORD << (plan.words - 1).bit_length()
    run_to(sch, deal, 3, min(words, plan.together))


def _deal(sch: Schedule, block: str, plan: Plan) -> Part:
    """Registers of words, all channels of their pixels together."""
    *_, w, c = sch.loops(block)
    at, some = len(sch.loops(block)) - 2, min(sch.get_loop(c).extent, plan.together) // WORD
    turns = []
    if plan.stride[1] > 1:
        sch.divide(w, plan.stride[1])
        turns = [(at + 1, plan.turns)]
    last = at + 1 + len(turns)
    return dealt(sch, block, (last, some), *turns, (at, LANES), (last, WORD))
