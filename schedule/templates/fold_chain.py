"""Chains of folds and of maps of their results, as softmax is one: planes, words, turned operands.

m = max over c of x[r, c]          32 rows at once, a word each
e[r, c] = table[m[r] - x[r, c]]    a plane for each byte, which tables of bytes give
"""

from __future__ import annotations

from math import prod

from ...tir.stmt import Buffer
from ...tir.types import i32
from ..schedule import Schedule
from ..structure import Axis, Form, Structure, Use, structure
from .fold_order import put_last
from .fold_parts import now
from .fold_rows import together
from .fold_tiles import Deal
from .fusing import loops_of, made_by
from .plans import BlockPlan

MOST = 16  # registers that are turned at once


def in_planes(sch: Schedule) -> None:
    """Tables of wider numbers, and what is looked up in them, as planes of bytes."""
    params = {p.name: p for p in sch.logical.params}
    for name in params.keys() & sch.logical.constants.keys():
        looked = [found for found in _maps(sch) if params[name] in found.tables]
        if looked and params[name].type.kind == "u" and params[name].type.bits > 8:
            sch.split_bytes(name)
            for found in looked:
                if found.out.buffer.name not in params:
                    sch.split_bytes(found.out.buffer.name)


def _maps(sch: Schedule, after: str | None = None) -> list[Structure]:
    """The maps, all or those after a block."""
    names = [ref.name for ref in sch.blocks()]
    later = names[names.index(after) + 1 :] if after else names
    found = (structure(sch.get_block(name)) for name in later)
    return [one for one in found if one is not None and one.form is Form.MAP]


def in_words(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """A word for each result that stays inside, where results are folded by rows."""
    made = found.out.buffer
    if together(found, vector) and made not in sch.logical.params and made.type.bits < i32.bits:
        sch.retype(made.name, i32)
    return {}


def turned(sch: Schedule, found: Structure, vector: int) -> dict[str, BlockPlan]:
    """Lets bytes that are folded lie together where their neighbours are too few to be lanes, and
    maps read them, too: in copies of operands, and of what maps make of these."""
    summed = [axis for axis in found.summed if axis.extent > 1]
    alone = not any(_read(found) & _read(after) for after in _maps(sch, found.block))
    if alone or len(summed) != 1 or any(not _apart(use, summed[0], vector) for use in found.reads):
        return {}
    special, params = dict[str, BlockPlan](), {p.name for p in sch.logical.params}
    for use in found.reads:
        if use.buffer.name not in params:
            put_last(sch, use.buffer.name, use.index, summed[0])
            continue
        later = _maps(sch, found.block)
        readers = [after.block for after in later if use.buffer in _read(after)]
        copy = sch.cache_read(found.block, use.buffer.name, "tcm", also=readers).name
        put_last(sch, made_by(sch, copy), use.index, summed[0])
        special |= _turn(sch, copy, vector)
    inside = {buffer for buffer in _read(now(sch, found.block)) if buffer.name not in params}
    for after in _maps(sch, found.block):
        ends = {read.index[-1] for read in after.reads if read.buffer in inside}
        axes = [axis for axis in after.axes if axis.var in ends and axis.var in after.out.index]
        if axes and after.out.buffer.name in params:
            copy = sch.cache_write(after.block, after.out.buffer.name, "tcm").name
            put_last(sch, made_by(sch, after.block), after.out.index, axes[0])
            special |= _turn(sch, copy, vector)
    return special


def _read(found: Structure) -> set[Buffer]:
    return {use.buffer for use in found.reads}


def _apart(use: Use, axis: Axis, vector: int) -> bool:
    """Whether an axis moves a dimension of bytes, of which few lie between its steps."""
    return use.buffer.type.bytes == 1 < use.step(axis) < vector and axis.var in use.index


def _turn(sch: Schedule, block: str, vector: int) -> dict[str, BlockPlan]:
    """A copy of all that is stored whose rows become columns."""
    found = now(sch, block)
    for dim, index in enumerate(found.out.index):
        size = found.out.buffer.shape[dim]
        for axis in found.axes:
            if axis.var is index and axis.extent < size:
                sch.resize(loops_of(sch, block)[axis.var], size)
    found = now(sch, block)
    uses = found.reads[0], found.out
    lanes = [(n, a.extent) for use in uses for n, a in enumerate(found.axes) if use.step(a) == 1]
    size = prod(extent for _, extent in lanes)
    if len(lanes) != 2 or size > MOST * vector or size % vector:
        return {}
    return {block: Deal(tuple(lanes), found.out.buffer.size, vector)}
