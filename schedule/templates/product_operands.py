"""The operands of a product of two activations: words of four k as vectors, rows of k, and sums.

    words    right as [..., column block, k/4, way, 32, 4]   beyond the last k they are 0
    rows     left with k in words                            where k, or enough rows, do not lie so
    sums     of the rows of left, of the columns of right    where the other has a zero point

Each is a phase of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, var
from ...tir.linear import linear
from ...tir.stmt import LoopKind, PrimFunc
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Use
from ..trace import index_map
from .contraction import LANES, VECTOR, WORD, run_to
from .fold_words import shifted
from .fusing import folding, loops_of, made_by, partial_results, share
from .product import Product, dims

Layout = Callable[..., tuple[Expr, ...]]


def prepare(func: PrimFunc, product: Product, machine: Machine) -> Schedule:
    """The schedule before its tiles; results that are no registers yet are joined at the end."""
    sch, dot, last = Schedule(func), product.dot.block, product.last
    deal = sch.cache_read(dot, product.right.buffer.name, "tcm").name
    copy = sch.cache_read(dot, product.left.buffer.name, "tcm").name if product.copied else None
    left = product.left.buffer.name if copy is None else made_by(sch, copy)
    of_rows = _sums(sch, product, product.right, made_by(sch, deal))
    of_columns = _sums(sch, product, product.left, left)
    back = []
    if not product.direct:
        back = [sch.cache_write(last.block, last.out.buffer.name, "tcm").name]
    _extents(sch, product)
    _words(sch, product, deal, of_columns)
    for block in of_columns:
        _column_sums(sch, product, block)
    if copy is not None:
        _rows(sch, product, copy)
    for block in of_rows:
        _row_sums(sch, product, block)
    if product.made < product.ways:
        _again(sch, product)
    sch.transform_layout(product.dot.out.buffer.name, layout(product, product.dot.out.index))
    for block in back:
        _joined(sch, product, block)
    _on_threads(sch, product, machine)
    return sch


def columns_of(
    sch: Schedule, product: Product, by: dict[Expr, LoopRef]
) -> tuple[list[LoopRef], list[LoopRef], LoopRef]:
    """Takes the loops of columns and heads out of ``by``; gives those of blocks, of ways, and of
    32 columns."""
    loop, near = by.pop(product.column.var), None
    if product.near is None:
        q, i, j = sch.split(loop, (None, LANES, product.ways))
        return [q], [j], i
    q, i = sch.split(loop, (None, LANES))
    near = by.pop(product.near.var, None)
    if near is None:
        return [q], [], i
    m, j = sch.split(near, (None, min(product.ways, sch.get_loop(near).extent)))
    return [m, q], [j], i


def layout(product: Product, index: Sequence[Expr]) -> Layout:
    """What products access at ``index`` as ``[..., heads, columns, k/4, way, 32, k%4]``, without
    those parts that do not move it."""
    axes = [var(f"i{d}") for d in range(len(index))]
    at = dict(zip(index, axes, strict=True))
    column, k = at.pop(product.column.var), at.pop(product.depth.var, None)
    near = at.pop(product.near.var, None) if product.near is not None else column
    lane = column // (product.ways if near is column else 1) % LANES
    blocks = [column // product.block]
    if near is not None and near is not column:
        blocks.insert(0, near // product.ways)
    ways = [] if near is None else [near % product.ways]
    words, within = ([], []) if k is None else ([k // WORD], [k % WORD])
    rest = [part for e, axis in at.items() for part in _apart(product, e, axis)]
    return index_map(axes, (*rest, *blocks, *words, *ways, lane, *within))


def _apart(product: Product, index: Expr, axis: Expr) -> list[Expr]:
    """A dimension that several axes move as one for each."""
    extents = {part.var: part.extent for part in product.dot.axes}
    terms = sorted(linear(index).terms.items(), key=lambda term: -term[1])
    parts = [axis // step % extents[moved] for moved, step in terms[1:]]
    return [axis // terms[0][1], *parts] if parts else [axis]


def _on_threads(sch: Schedule, product: Product, machine: Machine) -> None:
    """Each phase but the products by that of its outer loops that threads share best."""
    for ref in sch.blocks():
        folds = folding(sch, ref.name, 1)
        kinds = {loop: sch.get_loop(loop).kind for loop in sch.loops(ref) if loop not in folds}
        outer = [loop for loop, kind in kinds.items() if kind is LoopKind.SERIAL]
        known = ref.name in (product.dot.block, product.last.block)
        if not known and LoopKind.PARALLEL not in kinds.values():
            share(sch, outer, machine)


def _sums(sch: Schedule, product: Product, use: Use, buffer: str) -> list[str]:
    """Takes a zero point out of an operand, which lies in ``buffer``; gives the block that sums the
    other one."""
    if not shifted(product.dot, use):
        return []
    (block,) = sch.offset_operand(product.dot.block, buffer)
    sch.set_scope(made_by(sch, block.name), "tcm")
    return [block.name]


def _extents(sch: Schedule, product: Product) -> None:
    """Rows and columns of whole registers; the heads that mean something."""
    wanted = {product.row.var: product.quads * product.pixels,
              product.column.var: product.blocks * product.block}  # fmt: skip
    if product.near is not None and not product.direct:
        wanted[product.near.var] = product.groups * product.ways
    for old, same in zip(product.dot.spatial, product.last.axes, strict=True):
        extent = wanted.get(old.var, old.extent)
        order = [(product.last.block, same.var), (product.dot.block, old.var)]
        for block, axis in order if extent < old.extent else order[::-1]:
            if extent != old.extent:
                sch.resize(loops_of(sch, block)[axis], extent)


def _joined(sch: Schedule, product: Product, back: str) -> None:
    """Results as registers of some heads, which are brought together at the end."""
    sch.transform_layout(made_by(sch, product.last.block), _by_heads(product))
    if product.column.extent % LANES:
        _together(sch, sch.cache_write(back, product.last.out.buffer.name, "tcm").name)
        run_to(sch, back, 2, LANES)
    _registers(sch, product, back)


def _by_heads(product: Product) -> Layout:
    """An image as registers of 32 columns of some heads."""
    ways = product.ways
    return lambda n, h, w, c: (n, h, w // LANES, c // ways, w % LANES, c % ways)


def _registers(sch: Schedule, product: Product, block: str) -> None:
    """32 columns of all heads at once."""
    *_, w, c = sch.loops(block)
    _, lanes = sch.split(w, (None, LANES))
    sch.vectorize(lanes, *sch.split(c, (None, product.ways)))


def _together(sch: Schedule, block: str) -> None:
    """Rows as they lie in memory."""
    *_, row, k = sch.loops(block)
    _, lanes = sch.split(sch.fuse(row, k), (None, VECTOR))
    sch.vectorize(lanes)


def _again(sch: Schedule, product: Product) -> None:
    """Sums of heads that mean something alone; the last of them for the others."""
    last = product.last
    near = next(a for old, a in zip(product.dot.spatial, last.axes, strict=True)
                if old is product.near)  # fmt: skip
    sch.resize(loops_of(sch, last.block)[near.var], product.made)
    sch.trim(product.dot.out.buffer.name)
    sch.resize(loops_of(sch, last.block)[near.var], product.ways, beyond="last")


def _words(sch: Schedule, product: Product, deal: str, sums: list[str]) -> None:
    """Words of four k by columns, those beyond the last k 0; only heads that mean something."""
    right, buffer = product.right, made_by(sch, deal)
    for block in sums if not product.direct else []:
        sch.trim(made_by(sch, block))
    stored, whole = right.buffer.shape, product.words * WORD
    deep, wide = dims(right, product.depth), dims(right, product.column)
    if stored[deep] > product.depth.extent or not product.direct:
        sch.trim(buffer)
    if product.near is None and stored[deep] < whole and stored[wide] < VECTOR:
        _together(sch, sch.cache_read(deal, right.buffer.name, "tcm").name)
    partly = whole > product.depth.extent
    if partly:
        sch.resize(sch.loops(deal)[deep], whole, beyond="zeros")
        for block in (product.dot.block, *sums):
            sch.resize(loops_of(sch, block)[product.depth.var], whole)
    if not product.direct:
        _heads(sch, product, deal)
    run_to(sch, deal, wide, product.block)
    sch.transform_layout(buffer, layout(product, right.index))
    pairs = list(zip(right.index, sch.loops(deal), strict=True))
    by, single = dict(pairs), [loop for e, loop in pairs if e.is_const]
    k, t = sch.split(by.pop(product.depth.var), (None, WORD))
    blocks, ways, i = columns_of(sch, product, by)
    several = [loop for e, loop in by.items() if not e.is_const]
    outer, lanes = [k, *single, *several, *blocks], [*ways, i, t]
    sch.reorder(*outer, *lanes)
    sch.vectorize(*lanes)
    if partly and product.words > 1:  # zeros in the last words alone
        sch.split(k, (product.words - 1,), tail="peel")


def _heads(sch: Schedule, product: Product, deal: str) -> None:
    """Words are made from registers of some heads, those from rows of whole registers."""
    source = product.right.buffer.name
    first = sch.cache_read(deal, source, "tcm").name
    run_to(sch, deal, 2, LANES)
    if product.column.extent % LANES:
        _together(sch, sch.cache_read(first, source, "tcm").name)
        run_to(sch, first, 2, LANES)
    sch.trim(made_by(sch, first))
    run_to(sch, first, 3, product.ways << (product.groups - 1).bit_length())
    sch.transform_layout(made_by(sch, first), _by_heads(product))
    _registers(sch, product, first)


def _rows(sch: Schedule, product: Product, copy: str) -> None:
    """Rows of k, or words of k of each head."""
    if product.near is None:
        _together(sch, copy)
        return
    *outer, k, c = sch.loops(copy)
    step = product.step
    sch.transform_layout(made_by(sch, copy), lambda n, h, k, c: (n, h, k // step, c, k % step))
    v, k = sch.split(k, (None, step))
    sch.reorder(*outer, v, c, k)
    sch.vectorize(c, k)


def _row_sums(sch: Schedule, product: Product, block: str) -> None:
    """Sums of rows, those of 32 rows and heads a register; of many k those of words first."""
    size, at = product.step, list(loops_of(sch, block))
    k = run_to(sch, block, at.index(product.depth.var), size)
    if sch.get_loop(k).extent > size:
        _word_sums(sch, product, block, k)
    near = loops_of(sch, block).get(product.near.var) if product.near is not None else None
    beside = [near] if near is not None else []
    several = LANES // (product.left.buffer.shape[-1] if beside else 1)
    row = run_to(sch, block, at.index(product.row.var), several)
    r, e = sch.split(row, (None, several))
    *outer, k = (loop for loop in sch.loops(block) if loop not in (r, e, *beside))
    sch.reorder(*outer, r, e, *beside, k)
    sch.vectorize(e, *beside, k)


def _word_sums(sch: Schedule, product: Product, block: str, k: LoopRef) -> None:
    """Sums of the words of a row that stand in the same place of registers, a block before
    ``block``, which adds them."""
    axes = list(loops_of(sch, block))
    near = product.near.var if product.near is not None else None
    _, inside = sch.divide(k, product.step)
    lane, _ = sch.divide(inside, WORD)
    part, _ = partial_results(sch, block, lane, near=True)
    *outer, v, j, t = sch.loops(part)
    lanes = [j, t]
    if near in axes:
        lanes.insert(0, outer.pop(axes.index(near)))
    sch.reorder(*outer, v, *lanes)
    sch.vectorize(*lanes)
    if product.depth.extent % product.step:  # zeros in the last register alone
        sch.split(v, (sch.get_loop(v).extent - 1,), tail="peel")


def _column_sums(sch: Schedule, product: Product, block: str) -> None:
    """Sums of columns, of a word of each of 32 at once, in a register."""
    at = list(loops_of(sch, block))
    run_to(sch, block, at.index(product.column.var), product.block)
    sch.transform_layout(made_by(sch, block), layout(product, at[:-1]))
    by = loops_of(sch, block)
    k, t = sch.split(by.pop(product.depth.var), (None, WORD))
    blocks, ways, i = columns_of(sch, product, by)
    outer = [*by.values(), *blocks, *ways]
    sch.reorder(*outer, k, i, t)
    sch.vectorize(i, t)
