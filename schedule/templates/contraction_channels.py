"""Contractions of each channel by itself: channels in lanes, four neighbouring taps in a word.

    [copy x into xp, rows as they are]      where there are pads, unless words are made around them
    parallel bands of rows, or blocks of 128 channels
      words of four pixels, one each step   [row, group, way, 32, 4]
      apart: ways                           one way's words and weights at a time
        rows, quads of columns              a tile of sums, all taps written out
        requantize: four pixels of 32 channels narrow into one register
      quads of all ways become pixels   joined: those of a tile as soon as its last way is there
      together: rows, columns               the ways of some pixels at once: these need no change
        requantize: all ways of a pixel narrow into one register

A block is 128 channels (or all, where fewer are stored); its channel ``lane * ways + way`` is
lane ``lane`` of way ``way``, so that four bytes of a register are four ways. Words of pads are
loops of their own, as are tiles that read such and make their words. Of less than 32
channels ``per`` pixels share the lanes: those of quads that follow each other.
"""

from __future__ import annotations

from functools import partial

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Structure, structure
from .contraction import WORD, Contraction, bordered, kernel_of, run_to
from .contraction_channels_plan import ChannelsPlan, estimate_of, fits_of, guarded, plan_of
from .fusing import stepped, zoned
from .lanes import in_rows
from .packets import ops_of
from .template import Template

MOST = 400  # products of a quad of one way, all of which are written out


def channels(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a contraction with channels in lanes; None for other kernels."""
    kernel = kernel_of(func, machine.vector_bytes)
    if kernel is None or kernel.depth or kernel.group or len(kernel.taps) != 2:
        return None
    plan = plan_of(func, kernel)
    products = WORD * plan.taps[0] * plan.windows(1).words
    if plan.depth % plan.block or plan.columns % plan.pixels or products > MOST:
        return None
    made, others = ops_of(kernel.last, plan.vector, machine), kernel.others(func) * plan.per
    return Template("channels", func, machine, Space(_knobs(plan), (fits_of(func, plan, machine),)),
                    partial(_schedule, func, kernel, plan, machine),
                    partial(estimate_of, func, plan, machine, made, others))  # fmt: skip


def _knobs(plan: ChannelsPlan) -> tuple[Knob, ...]:
    rows = divisors(plan.rows)
    columns = {d for d in divisors(plan.columns) if d % plan.pixels == 0 and d <= 8}
    if plan.columns >= WORD:
        columns |= {WORD * d for d in divisors(plan.quads) if d <= 4}
    return (
        choice("step", (2, 4, 1)),
        choice("band", rows),
        choice("rows", tuple(d for d in rows if d <= 4)),
        choice("columns", tuple(sorted(columns))),
        choice("apart", (False, True) if plan.per == 1 else (False,)),
        choice("joined", (False, True) if plan.per == 1 and plan.even else (False,)),
        choice("share", ("rows", "channels") if plan.blocks > 1 else ("rows",)),
        choice("inner", ("columns", "rows")),
        choice("words", ("band", "all", "tile") if plan.per == 1 else ("all",)),
        choice("pads", ("copy", "guard") if plan.pads and plan.across == 1 else ("copy",)),
    )


def _schedule(
    func: PrimFunc, kernel: Contraction, plan: ChannelsPlan, machine: Machine, point: Point
) -> Schedule:
    sch = Schedule(func)
    dot, last, acc = kernel.dot.block, kernel.last.block, kernel.dot.out.buffer.name
    block, ways = plan.block, plan.ways
    copies = list[str]()
    if kernel.copy is None and plan.wide(point) > kernel.input.shape[2]:
        copies = [sch.cache_read(dot, kernel.input.name, "tcm").name]
    back = _quads(sch, kernel, plan) if point["apart"] else None
    if plan.per > 1:
        _share_lanes(sch, plan, (last, dot))
    if lead := plan.lead(point):
        sch.transform_layout(kernel.input.name, lambda n, h, w, c: (n, h, w + lead, c))
    deal = sch.word_taps(dot, sch.loops(dot)[-1], number(point, "step")).name
    constants = sorted(sch.logical.constants.keys() - {kernel.weights.name})
    if plan.per > 1:
        run_to(sch, deal, 2, plan.turns(point) * plan.per)
        _one_axis(sch, kernel, plan)
    for name in (last, dot):
        lane, _ = sch.divide(sch.loops(name)[3], ways)
        sch.divide(lane, plan.lanes)
    dealt = structure_of(sch, deal)
    words = dealt.out.buffer.name
    if guarded(point):
        sch.guard(deal, dealt.reads[0].buffer.name)
    elif copies or kernel.copy is not None:
        sch.trim(dealt.reads[0].buffer.name)
        copies = copies or bordered(sch, kernel, plan.across, plan.deep, True)
    if point["words"] == "tile":
        sch.set_scope(words, "reg")
    sch.transform_layout(kernel.weights.name, lambda p, kh, t, o: (
        o // block, o % ways, p, kh, t // WORD, o // ways % plan.lanes, t % WORD))  # fmt: skip
    for name in constants:
        sch.transform_layout(name, lambda o: (o // block, o % ways, o // ways % plan.lanes))
    _lay(sch, plan, point, acc, words)
    for name in copies:
        in_rows(sch, name, plan.vector)
    near, pixels = dealt.reads[0].buffer.name, plan.across
    if copies and sch.get_buffer(near).shape[2] % pixels:  # rows of whole registers
        sch.transform_layout(near, lambda n, h, w, c: (n, h, w // pixels, w % pixels, c))
    if back is None:
        tile, place = _together(sch, plan, point, last)
    else:
        tile, place = _apart(sch, plan, point, last, back)
    sch.compute_at(dot, tile)
    _products(sch, dot)
    _deal(sch, plan, point, deal, tile if point["words"] == "tile" else place)
    ends = _joined(sch, plan, point, dot, last, back) if back and point["joined"] else None
    if plan.held(point, machine) == plan.constants(point) * (1 if back else plan.ways):
        if ends != (dot, last):
            _keep(sch, kernel, (dot, last), sch.loops(last)[-9] if back else place)
        if ends is not None:
            _keep(sch, kernel, ends, place)
    if guarded(point):
        _part(sch, plan, point, last if point["words"] == "tile" else deal)
    return sch


def _share_lanes(sch: Schedule, plan: ChannelsPlan, blocks: tuple[str, ...]) -> None:
    """Columns as quads, of which ``per`` that follow each other share lanes."""
    for name in blocks:
        quad, _ = sch.divide(sch.loops(name)[2], WORD)
        sch.divide(quad, plan.per)


def _one_axis(sch: Schedule, kernel: Contraction, plan: ChannelsPlan) -> None:
    """Pixels that share lanes and channels as one axis, quads and their pixels as another; what is
    constant is repeated for the former."""
    last, dot, deep = kernel.last.block, kernel.dot.block, plan.deep
    late = {use.buffer.name for use in kernel.last.reads}
    for name in sorted(sch.logical.constants):
        block = last if name in late else dot
        sch.repeat(block, name, sch.loops(block)[3])
        if name == kernel.weights.name:
            sch.transform_layout(name, lambda p, kh, t, o, b: (p, kh, t, b * deep + o))
        else:
            sch.transform_layout(name, lambda o, b: (b * deep + o,))
    for name in (last, dot):
        _, _, quad, some, pixel, channel = sch.loops(name)[:6]
        sch.join(quad, pixel)
        sch.join(some, channel)


def _lay(sch: Schedule, plan: ChannelsPlan, point: Point, acc: str, words: str) -> None:
    """Sums and words by registers; words of pixels that share lanes lie together."""
    block, ways, deep, per = plan.block, plan.ways, plan.deep, plan.per
    if per == 1:
        sch.transform_layout(acc, lambda n, h, w, o: (
            n, h, w, o // block, o % ways, o // ways % plan.lanes))  # fmt: skip
        sch.transform_layout(words, lambda n, h, g, t, o: (
            n, h, o // block, g, o % ways, o // ways % plan.lanes, t))  # fmt: skip
        return
    turns = plan.turns(point)
    sch.transform_layout(acc, lambda n, h, w, o: (
        n, h, w // (WORD * per) * WORD + w % WORD, w // WORD % per * deep + o))  # fmt: skip
    sch.transform_layout(words, lambda n, h, g, t, o: (
        n, h, g % turns, g // turns * deep + o, t))  # fmt: skip


def structure_of(sch: Schedule, block: str) -> Structure:
    """What a block is now."""
    found = structure(sch.get_block(block))
    assert found is not None
    return found


def _quads(sch: Schedule, kernel: Contraction, plan: ChannelsPlan) -> str:
    """Results as quads of pixels of one way; gives the block that puts them in their places."""
    last, block, ways = kernel.last.block, plan.block, plan.ways
    back = sch.cache_write(last, kernel.result.name, "reg").name
    made = structure_of(sch, last).out.buffer.name
    sch.set_scope(made, "tcm")
    for name in (last, kernel.dot.block):
        if plan.quads * WORD != plan.columns:
            sch.resize(sch.loops(name)[2], plan.quads * WORD)
    sch.transform_layout(made, lambda n, h, w, o: (
        n, h, o // block, w // WORD, o % ways, o // ways % plan.lanes, w % WORD))  # fmt: skip
    return back


def _apart(
    sch: Schedule, plan: ChannelsPlan, point: Point, last: str, back: str
) -> tuple[LoopRef, LoopRef]:
    """Bands whose ways come one after another; gives the loop of a tile, and that of a band."""
    n, h, w, o = sch.loops(back)
    h_0, h_1 = sch.split(h, (None, number(point, "band")))
    b, i, j = sch.split(o, (None, plan.lanes, plan.ways))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    sch.reorder(shared, n, other, h_1, w, i, j)
    for name in stepped(sch, back, w, min(WORD, plan.columns), "peel")[1]:
        sch.vectorize(*sch.loops(name)[-3:])
    sch.parallel(shared)
    sch.compute_at(last, other)
    n, h, w, b, i, j = sch.loops(last)[-6:]
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1, p = sch.split(w, (None, number(point, "columns") // WORD, WORD))
    walk = [h_0, q_0] if point["inner"] == "columns" else [q_0, h_0]
    sch.reorder(j, *walk, n, b, h_1, q_1, i, p)
    sch.vectorize(i, p)
    sch.unroll(h_1)
    sch.unroll(q_1)
    return walk[1], other


def _joined(
    sch: Schedule, plan: ChannelsPlan, point: Point, dot: str, last: str, back: str
) -> tuple[str, str]:
    """Tiles of the last way by themselves, each with the pixels that it completes: their products,
    and what is made of these."""
    if plan.ways > 1:
        known = {ref.name for ref in sch.blocks()}
        sch.split(sch.loops(last)[-9], (plan.ways - 1,), tail="peel")
        dot, last = (ref.name for ref in sch.blocks() if ref.name not in known)
    way, *tiles = sch.loops(last)[-9:-6]
    sch.reorder(*tiles, way)
    h, q = sch.loops(back)[-5:-3]
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "columns") // WORD))
    walk = [h_0, q_0] if point["inner"] == "columns" else [q_0, h_0]
    sch.reorder(*walk, h_1, q_1)
    sch.unroll(h_1)
    sch.unroll(q_1)
    for first, second in zip(tiles, walk, strict=True):
        sch.merge(first, second)
    return dot, last


def _together(
    sch: Schedule, plan: ChannelsPlan, point: Point, last: str
) -> tuple[LoopRef, LoopRef]:
    """Tiles of all ways of some pixels; gives the loop of a tile, and that of a band."""
    n, h, w, b, i, j = sch.loops(last)
    rows = number(point, "rows")
    h_0, h_1, h_2 = sch.split(h, (None, number(point, "band") // rows, rows))
    w_0, w_1, w_2 = sch.split(w, (None, number(point, "columns") // plan.pixels, plan.pixels))
    shared, other = (h_0, b) if point["share"] == "rows" else (b, h_0)
    lanes = sch.split(i, (plan.per, plan.deep)) if plan.per > 1 else [i]
    columns = point["inner"] == "columns" or (guarded(point) and point["words"] == "tile")
    walk = [h_1, w_0] if columns else [w_0, h_1]
    sch.reorder(shared, n, other, *walk, h_2, w_1, *lanes, j, w_2)
    sch.vectorize(*lanes, j, w_2)
    sch.unroll(h_2)
    sch.unroll(w_1)
    sch.parallel(shared)
    return walk[1], other


def _products(sch: Schedule, dot: str) -> None:
    """All sums of a tile written out: 32 channels by four taps a product."""
    n, h, w, b, i, j, kh, k, t = sch.loops(dot)[-9:]
    sch.reorder(n, h, w, b, j, kh, k, i, t)
    sch.vectorize(i, t)
    for loop in (n, h, w, b, j, kh, k):
        sch.unroll(loop)


def _deal(sch: Schedule, plan: ChannelsPlan, point: Point, deal: str, place: LoopRef) -> None:
    """Words of four pixels: those of a tile in registers, those of a band, or all before."""
    words = str(point["words"])
    if words != "all":
        sch.compute_at(deal, place)
    n, h, g, t, o = sch.loops(deal)[-5:]
    if plan.per > 1:
        g_0, some, turn = sch.split(g, (None, plan.per, plan.turns(point)))
        sch.reorder(n, h, g_0, turn, some, o, t)
        sch.vectorize(some, o, t)
        sch.unroll(turn)
        sch.unroll(n)
        sch.parallel(h)
        return
    b, i, j = sch.split(o, (None, plan.lanes, plan.ways))
    together = 2 if plan.pixels > 2 and sch.get_loop(g).extent % 2 == 0 else 1
    g_0, g_1 = sch.split(g, (None, together))
    sch.reorder(n, h, b, g_0, g_1, j, i, t)
    sch.vectorize(j, i, t)
    for loop in (n, h, b, g_0) if words == "tile" else ():
        sch.unroll(loop)
    sch.unroll(g_1)
    if words == "all":
        sch.unroll(n)
        sch.parallel(h)


def _part(sch: Schedule, plan: ChannelsPlan, point: Point, block: str) -> None:
    """Loops of words, or of tiles that make theirs, as such of pads, of what lies inside, and of
    single steps between: none decides while it runs."""
    tiles, rows = point["words"] == "tile", point["inner"] == "rows"
    down, along = (-7, -6) if tiles else (-7, -5)
    for name in zoned(sch, block, sch.loops(block)[down], plan.row_zones(point)):
        row, column = (sch.loops(name)[at] for at in (down, along))
        if sch.get_loop(row).extent > 1 and (rows if tiles else point["words"] == "band"):
            sch.reorder(column, row)
        zoned(sch, name, column, plan.column_zones(point))


def _keep(sch: Schedule, kernel: Contraction, blocks: tuple[str, str], place: LoopRef) -> None:
    """The constants of products, and of what is made of these, in registers below a loop."""
    dot, last = blocks
    late = {use.buffer.name for use in kernel.last.reads}
    for name in sorted(sch.logical.constants):
        copy = sch.cache_read(last if name in late else dot, name, "reg")
        sch.compute_at(copy, place)
        lanes = 2 if name == kernel.weights.name else 1
        loops = sch.loops(copy)[-len(sch.get_buffer(name).shape) :]
        sch.vectorize(*loops[-lanes:])
        for loop in loops[:-lanes]:
            sch.unroll(loop)
