"""Operands of sums of words that a map takes in, and its results, in their forms.

    v[..., k/4, n, k%4] = w[k, n]         words of columns; beyond the last k they are 0
    s[m, k] = x[m, k]                     words of rows, copied where k or enough rows lie not so
    sums of rows, of columns              where the other operand has a zero point
    y[m, n, c] = f(acc)                   copied where more lies between columns than a tile takes

Each is a phase of its own.
"""

from __future__ import annotations

from ...tir.types import i8
from ..schedule import Schedule
from ..structure import Axis
from .contraction import WORD
from .fold_lanes import SumTiles, by_words
from .fold_made import Made
from .fold_parts import copied, now
from .fold_tiles import Deal, deals, joined
from .fold_words import Words, shifted
from .fusing import loops_of, made_by
from .plans import BlockPlan


def arrange_made(
    sch: Schedule, made: Made, unsigned: bool
) -> tuple[dict[str, BlockPlan], list[str]]:
    """Brings operands into their forms; gives the blocks with nests of their own, and those that
    sum rows."""
    words, block = made.words, made.words.found.block
    special: dict[str, BlockPlan] = {block: made, made.last.block: BlockPlan()}
    deal, rows, summed = copied(sch, block, words.vectors), list[str](), list[str]()
    left, down = words.scalars.buffer, list(words.scalars.index).index(made.row.var)
    own = bool(words.near) or not words.aligned or left.shape[down] % words.lanes > 0
    copy = copied(sch, block, words.scalars) if own else None
    scalars, vectors = left.name if copy is None else made_by(sch, copy), made_by(sch, deal)
    if shifted(words.found, words.vectors) or (unsigned and words.vectors.buffer.type == i8):
        rows = [ref.name for ref in sch.offset_operand(block, vectors)]
    if shifted(words.found, words.scalars):
        summed = [ref.name for ref in sch.offset_operand(block, scalars)]
    special |= _to_places(sch, made) if made.apart else {}
    _run_on(sch, made, made.row, made.rows)
    for name in summed if made.apart else ():
        sch.trim(made_by(sch, name))
    special |= deals(sch, words, deal)
    if words.near and copy is not None:
        at = list(words.scalars.index).index(words.depth.var)
        special[copy] = Deal(
            ((len(left.shape) - 1, left.shape[-1]), (at, words.step)), left.size, words.vector
        )
        sch.transform_layout(scalars, words.by_steps())
    for name in rows:
        special |= _row_sums(sch, made, name, copy is None)
    special |= {name: _column_sums(sch, words, name) for name in summed}
    if words.deep > words.depth.extent:
        sch.resize(loops_of(sch, block)[words.depth.var], words.deep)
    sch.transform_layout(
        words.found.out.buffer.name, words.by_columns(words.found.out.index, words.lanes)
    )
    sch.transform_layout(vectors, words.layout(words.lanes))
    if made.made < words.ways:
        _again(sch, made)
    return special, rows


def _column_sums(sch: Schedule, words: Words, block: str) -> BlockPlan:
    """Sums of columns, by words of 32 of them."""
    for axis, extent in ((words.depth, words.deep), (words.column, words.wide)):
        if extent > axis.extent:
            sch.resize(loops_of(sch, block)[axis.var], extent)
    found = now(sch, block)
    sch.transform_layout(found.out.buffer.name, words.by_columns(found.out.index, words.lanes))
    by = loops_of(sch, block)
    _, lane = sch.divide(by[words.column.var], words.lanes * (1 if words.near else words.ways))
    if words.ways > 1 and words.near is None:
        lane, _ = sch.divide(lane, words.ways)
    if words.near is not None and words.near.var in by and words.grouped:
        sch.divide(by[words.near.var], words.ways)
    registers, byte = sch.divide(by[words.depth.var], WORD)
    return SumTiles(found, registers, (lane, byte), words.deep // WORD, words.lanes)


def _row_sums(sch: Schedule, made: Made, block: str, direct: bool) -> dict[str, BlockPlan]:
    """Sums of rows of whole registers, those of words first where a row has several."""
    words, row, special = made.words, made.row, dict[str, BlockPlan]()
    beside = words.near if words.near and words.scalars.step(words.near) else None
    depth, step, several = loops_of(sch, block)[words.depth.var], words.step, words.lanes
    extent = -(-words.deep // step) * step
    if extent > words.depth.extent:
        depth = sch.resize(depth, extent)
    if extent > step and (beside or words.near is None):
        special.update([by_words(sch, block, words.depth, step, words.lanes, beside)])
    elif extent > step:
        sch.divide(depth, step)
    if beside:
        several = step // WORD
    several = -(-row.extent // several) * several
    room = words.scalars.buffer.shape[words.scalars.index.index(row.var)] if direct else several
    if row.extent < several <= room:
        sch.resize(loops_of(sch, block)[row.var], several)
    return special


def _run_on(sch: Schedule, made: Made, axis: Axis, extent: int) -> None:
    """Lets an axis of the sums and of the map run so far."""
    found, last = made.words.found, made.last
    same = last.axes[found.spatial.index(axis)]
    order = [(last.block, same.var), (found.block, axis.var)]
    for block, var in order if extent < axis.extent else order[::-1]:
        if extent != axis.extent:
            sch.resize(loops_of(sch, block)[var], extent)


def _again(sch: Schedule, made: Made) -> None:
    """Sums of what means something alone; the last of them for the others."""
    found, last, near = made.words.found, made.last, made.words.near
    assert near is not None
    same = last.axes[found.spatial.index(near)]
    sch.resize(loops_of(sch, last.block)[same.var], made.made)
    sch.trim(found.out.buffer.name)
    sch.resize(loops_of(sch, last.block)[same.var], made.words.ways, beyond="last")


def _to_places(sch: Schedule, made: Made) -> dict[str, BlockPlan]:
    """Results as registers of columns of some of what lies between them, and copies that join
    these."""
    words, out = made.words, made.last.out.buffer
    assert words.near is not None
    back = sch.cache_write(made.last.block, out.name, "tcm").name
    _run_on(sch, made, words.near, -(-made.heads // words.ways) * words.ways)
    _run_on(sch, made, words.column, words.wide)
    sch.transform_layout(made_by(sch, made.last.block), words.by_ways())
    if words.wide > words.column.extent:
        sch.cache_write(back, out.name, "tcm")
        sch.resize(sch.loops(back)[-2], words.wide)
    return {back: joined(out, words)}
