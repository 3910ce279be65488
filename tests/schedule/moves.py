"""Random steps of schedules: each move applies one primitive, or a few that belong together.

sch = play(func, Random(7), 10)       # about ten primitives; refused ones are passed by
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import gcd, prod
from random import Random

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.state import LoopRef
from dovetail.tir.expr import free_vars, walk
from dovetail.tir.stmt import For, PrimFunc, Seq, Store, walk_stmt
from dovetail.tir.types import u16

Move = Callable[[Schedule, Random], None]


def any_loop(sch: Schedule, rng: Random) -> str:
    return rng.choice([str(s.axis.attr) for s in walk_stmt(sch.logical.body) if isinstance(s, For)])


def any_block(sch: Schedule, rng: Random) -> str:
    return rng.choice(sch.blocks()).name


def any_buffer(sch: Schedule, rng: Random) -> str:
    return rng.choice([b.name for b in (*sch.logical.params, *sch._state.locals())])


def split(sch: Schedule, rng: Random) -> None:
    factors = rng.choice([(None, 2), (None, 3), (2, None), (None, 4), (None, 2, 2), (None, 8)])
    tail = rng.choice(["exact", "guard", "peel", "peel", "overlap"])
    sch.split(any_loop(sch, rng), factors, tail=tail)


def reorder(sch: Schedule, rng: Random) -> None:
    loops = sch.loops(any_block(sch, rng))
    sch.reorder(*rng.sample(loops, min(rng.randint(2, 9), len(loops))))


def fuse(sch: Schedule, rng: Random) -> None:
    loops = sch.loops(any_block(sch, rng))
    first = rng.randrange(len(loops))
    sch.fuse(*loops[first : first + rng.randint(2, 3)])


def merge(sch: Schedule, rng: Random) -> None:
    """Loops that follow each other, and then those within them."""
    beside = [node.stmts for node in walk_stmt(sch.logical.body) if isinstance(node, Seq)]
    pairs = [(a, b) for stmts in beside for a, b in pairwise(stmts)
             if isinstance(a, For) and isinstance(b, For) and a.extent == b.extent]  # fmt: skip
    if pairs:
        first, second = rng.choice(pairs)
        sch.merge(str(first.axis.attr), str(second.axis.attr))
        if rng.random() < 0.5:
            merge(sch, rng)


def kind(sch: Schedule, rng: Random) -> None:
    kinds: list[Callable[[LoopRef | str], None]] = [
        sch.unroll,
        sch.parallel,
        sch.vectorize,
        sch.vectorize,
    ]
    if rng.random() < 0.5:
        rng.choice(kinds)(sch.loops(any_block(sch, rng))[-1])
    rng.choice(kinds)(any_loop(sch, rng))


def compute_at(sch: Schedule, rng: Random) -> None:
    sch.compute_at(any_block(sch, rng), any_loop(sch, rng))


def inline(sch: Schedule, rng: Random) -> None:
    sch.compute_inline(any_block(sch, rng))


def cache(sch: Schedule, rng: Random) -> None:
    method = rng.choice([sch.cache_read, sch.cache_write])
    method(any_block(sch, rng), any_buffer(sch, rng), rng.choice(["tcm", "reg"]))


def stage(sch: Schedule, rng: Random) -> None:
    block = any_block(sch, rng)
    sch.stage(block, "tcm")


def layout(sch: Schedule, rng: Random) -> None:
    name = any_buffer(sch, rng)
    n = rng.choice([2, 3, 4, 8, 32])
    maps: dict[int, list[Callable[..., tuple[object, ...]]]] = {
        1: [lambda i: (i // n, i % n), lambda i: (i % n, i // n)],
        2: [lambda i, j: (j // n, i, j % n), lambda i, j: (j, i), lambda i, j: (i * 64 + j,)],
        3: [lambda h, w, c: (c // n, h, w, c % n), lambda h, w, c: (h, c, w)],
        4: [lambda a, h, w, c: (a, c // n, h, w // 2, w % 2, c % n)],
    }
    some = maps.get(len(sch.get_buffer(name).shape), [lambda a, b, c, d, e, f: (f, a, b, c, d, e)])
    sch.transform_layout(name, rng.choice(some))


def scope(sch: Schedule, rng: Random) -> None:
    sch.set_scope(any_buffer(sch, rng), rng.choice(["reg", "reg", "tcm", "ddr"]))


def reduction(sch: Schedule, rng: Random) -> None:
    method = rng.choice([sch.decompose_reduction, sch.rfactor])
    block = any_block(sch, rng)
    method(block, rng.choice(sch.loops(block)))


def terms(sch: Schedule, rng: Random) -> None:
    """Steps of a reduction as terms of one expression, or some of its loops first."""
    found = {ref.name: [loop for loop in sch.loops(ref) if _reduces(sch, ref.name, loop)]
             for ref in sch.blocks()}  # fmt: skip
    block = rng.choice([name for name, loops in found.items() if loops] or list(found))
    chosen = [loop for loop in found[block] if sch.get_loop(loop).extent <= 16]
    chosen = [loop for loop in chosen if rng.random() < 0.7]
    if chosen:
        rng.choice([sch.expand, sch.separate])(block, *chosen)


def inside(sch: Schedule, rng: Random) -> None:
    """What a padded copy was made of in its place."""
    for block in sch.blocks():
        for buffer in list(sch._state.locals()):
            attempt(sch.guard, block.name, buffer.name)


def offset(sch: Schedule, rng: Random) -> None:
    sums = sch.offset_operand(any_block(sch, rng), "w")
    attempt(sch.vectorize, sch.loops(rng.choice(sums))[-1])


def planes(sch: Schedule, rng: Random) -> None:
    """Bytes of a buffer of halfwords, or words of one of narrower elements."""
    params = {p.name for p in sch.logical.params} - sch.logical.constants.keys()
    inner = [b for b in sch._state.buffers() if b.name not in params and b.type.bits < 32]
    for buffer in inner:
        if buffer.type == u16 and rng.random() < 0.7:
            attempt(sch.split_bytes, buffer.name)
        else:
            attempt(sch.retype, buffer.name, rng.choice(["i32", "u16"]))


def words(sch: Schedule, rng: Random) -> None:
    block = any_block(sch, rng)
    sch.word_taps(block, rng.choice(sch.loops(block)[-3:]), rng.choice([1, 2, 4]))


def transfer(sch: Schedule, rng: Random) -> None:
    sch.transfer(any_block(sch, rng))


def resize(sch: Schedule, rng: Random) -> None:
    """A loop runs on, becomes two or one with another, or a buffer is cut down."""
    loop = any_loop(sch, rng)
    match rng.randrange(5):
        case 0 | 3:
            extent = sch.get_loop(loop).extent + rng.choice((-1, 1, 3, 8, 32))
            sch.resize(loop, extent, beyond=rng.choice(("any", "zeros", "last")))
        case 1:
            sch.divide(loop, rng.choice((2, 3, 4, 8)))
        case 4:
            loops = sch.loops(any_block(sch, rng))
            sch.join(*rng.sample(loops, min(len(loops), 2)))
        case _:
            sch.trim(any_buffer(sch, rng))


def fills(sch: Schedule, rng: Random) -> None:
    """What is filled and then copied over is filled no more than it has to be."""
    sch.border(sch.blocks()[0], late=rng.random() < 0.5)


MOVES: tuple[Move, ...] = (
    split, split, split, reorder, reorder, reorder, fuse, merge, kind, kind, compute_at, compute_at,
    compute_at, compute_at, inline, cache, stage, layout, reduction,
    offset, planes, transfer, transfer, resize, resize, resize, fills, terms, inside,
)  # fmt: skip


# Moves for code ---------------------------------------------------------------------------------


def lanes(sch: Schedule, rng: Random) -> None:
    """One to three loops of a block, in any order, as lanes that fill registers."""
    vectors(sch, rng, any_block(sch, rng))


def vectors(sch: Schedule, rng: Random, block: str) -> None:
    """Lanes that fill registers, as far as the block's loops have them."""
    loops = sch.loops(block)
    chosen = rng.sample(loops, min(len(loops), rng.choice((1, 2, 2, 3))))
    if rng.random() < 0.5:
        chosen = _along(sch, block) or chosen
    if rng.random() < 0.8:
        chosen.sort(key=lambda loop: _reduces(sch, block, loop))
    wanted = left = _register(sch, block) * rng.choice((1, 1, 1, 2, 4))
    sizes: dict[LoopRef, int] = {}
    for loop in reversed(chosen):
        extent = sch.get_loop(loop).extent
        size = gcd(extent, left) if rng.random() < 0.9 else min(extent, left)
        if size > 1:
            sizes[loop], left = size, max(left // size, 1)
    if prod(sizes.values()) != wanted and rng.random() < 0.9:
        return
    inner = []
    for loop, size in reversed(sizes.items()):
        extent = sch.get_loop(loop).extent
        tail = "exact" if extent % size == 0 else "peel"
        inner.append(loop if size == extent else sch.split(loop, (None, size), tail=tail)[1])
    outer = [loop for loop in sch.loops(block) if loop not in inner]
    sch.reorder(*outer, *inner)
    sch.vectorize(*inner)
    if rng.random() < 0.3 and prod(sch.get_loop(loop).extent for loop in outer) <= 16:
        for loop in outer:
            sch.unroll(loop)


def dot(sch: Schedule, rng: Random) -> None:
    """32 sums of four products each, as one instruction."""
    block = any_block(sch, rng)
    reduces = [loop for loop in sch.loops(block) if _reduces(sch, block, loop)]
    spatial = [loop for loop in sch.loops(block) if loop not in reduces]
    if not reduces or not spatial:
        return
    if rng.random() < 0.5:
        attempt(sch.offset_operand, block, "w")
    _, lane = sch.split(rng.choice(spatial), (None, 32))
    _, part = sch.split(rng.choice(reduces), (None, 4))
    outer = [loop for loop in sch.loops(block) if loop not in (lane, part)]
    sch.reorder(*outer, lane, part)
    sch.vectorize(lane, part)


def _register(sch: Schedule, block: str) -> int:
    """The lanes of a register of the narrowest elements that a block touches."""
    stores = [s for s in walk_stmt(sch.get_block(block).body) if isinstance(s, Store)]
    kinds = [n.type for s in stores for n in walk(s.value) if n.op == "load"]
    return 1024 // min(kind.bits for kind in (*kinds, stores[0].buffer.type))


def _along(sch: Schedule, block: str) -> list[LoopRef]:
    """The loops along which the results of a block lie side by side."""
    node = sch.get_block(block)
    store = next(s for s in walk_stmt(node.body) if isinstance(s, Store))
    last = free_vars(store.index[-1]) if store.index else set()
    moving = {v for it in node.iters if it.axis in last for v in free_vars(it.binding)}
    return [loop for loop in sch.loops(block) if sch.get_loop(loop).axis in moving]


def _reduces(sch: Schedule, block: str, loop: LoopRef) -> bool:
    return any(it.reduce and str(loop) in str(it.binding) for it in sch.get_block(block).iters)


def finish(sch: Schedule, rng: Random) -> None:
    """Lanes for blocks that have none, where they are allowed; known indices for registers, or
    another scope; and threads."""
    for block in sch.blocks():
        for _ in range(rng.choice((0, 16, 16, 32, 32))):
            if not _vectorized(sch, block.name):
                attempt(vectors, sch, rng, block.name)
    for buffer in list(sch._state.locals()):
        if buffer.scope == "reg" and rng.random() < 0.95:
            attempt(_settle, sch, buffer.name)
    for block in sch.blocks():
        if rng.random() < 0.3:
            attempt(sch.parallel, sch.loops(block)[0])


def _settle(sch: Schedule, buffer: str) -> None:
    """Unrolls the loops around what touches a register buffer, where these are few steps."""
    state = sch._state
    near = [b.name for b, _ in state.placed() if state.accesses(b).of(buffer)]
    loops = {loop.name for block in near for loop in sch.loops(block)}
    plain = [loop for loop in loops if sch.get_loop(loop).kind.name != "VECTORIZED"]
    if prod(sch.get_loop(loop).extent for loop in plain) > 64:
        sch.set_scope(buffer, "tcm")
        return
    for loop in plain:
        sch.unroll(loop)


def _vectorized(sch: Schedule, block: str) -> bool:
    return any(sch.get_loop(loop).kind.name == "VECTORIZED" for loop in sch.loops(block))


def attempt(move: Callable[..., object], *given: object) -> None:
    """A move that may be refused."""
    try:
        move(*given)
    except ScheduleError:
        pass


CODE_MOVES: tuple[Move, ...] = (
    lanes, lanes, lanes, lanes, lanes, dot, dot, split, reorder, fuse, merge, kind, compute_at,
    compute_at, compute_at, compute_at, compute_at, inline, inline, inline, cache, cache, stage,
    layout, layout, scope, scope, reduction, reduction, offset, offset, planes, planes, words,
    words, transfer, transfer, resize, resize, resize, fills, fills, fills, terms, terms,
    inside,
)  # fmt: skip


def play(func: PrimFunc, rng: Random, wanted: int, moves: Sequence[Move] = MOVES) -> Schedule:
    """A schedule by about ``wanted`` random primitives; refused ones are passed by."""
    sch = Schedule(func)
    for _ in range(wanted * 8):
        if len(sch.trace) >= wanted:
            break
        try:
            rng.choice(moves)(sch, rng)
        except ScheduleError:
            continue
        if sum(1 for _ in walk_stmt(sch.logical.body)) > 90:
            break
    return sch
