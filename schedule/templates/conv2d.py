"""Dense convolution and matrix product: accumulator tiles, vectors of weights, scalar inputs.

    parallel rows, columns, channel blocks      in the order that the point says
      kh, kw, c/4                               one word of four inputs by 32 outputs a vector
        tile: rows x columns x vectors          all in registers, each word used for all vectors
      requantize the tile                       four accumulators narrow into one register

Channels within a block of 32 * ways are dealt over ``ways`` vectors, so that narrowing, which
interleaves, gives them back in order. Weights are unsigned (see ``offset.py``): two products a
packet. ``xp`` is the padded input, ``csum`` and ``wsum`` the sums that the offset needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...target.dsp.machine import Machine
from ...tir.expr import walk
from ...tir.stmt import PrimFunc, Store
from ..knobs import Knob, Point, Space, choice, divisors, flag, number
from ..schedule import Schedule
from ..state import Loop, LoopRef
from .dense import VECTOR, Shape, room_of, shape_for
from .direct import direct
from .offset import offset_weights
from .template import Estimate, Template

REGISTERS = 30  # vector registers that a tile may plan with


def conv2d(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a dense convolution or matrix product; None for other kernels."""
    shape = shape_for(func, machine)
    if shape is None:
        return None
    offset = offset_weights(func, shape.pitch)
    space = Space(_knobs(shape), (_fits(shape),))

    def schedule(point: Point) -> Schedule:
        return _schedule(offset, shape, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(func, shape, machine, point)

    return Template("conv2d", func, machine, space, schedule, estimate)


def _knobs(shape: Shape) -> tuple[Knob, ...]:
    columns = tuple(d for d in divisors(shape.width) if d % shape.pixels == 0 and d <= 16)
    rows = tuple(d for d in divisors(shape.height) if d <= 8)
    blocks = tuple(d for d in divisors(shape.blocks) if d <= 4)
    folds = (0, 1) if shape.foldable else (0,)
    most = shape.words * (shape.taps[1] if shape.foldable else 1)
    steps = tuple(d for d in divisors(most) if d <= 32)
    sums = tuple(d for d in divisors(shape.columns // 32) if d <= 8)
    depths = tuple(d for d in divisors(max(shape.depth // 128, 1)) if d <= 8)
    return (
        choice("columns", columns),
        choice("rows", rows),
        choice("blocks", blocks),
        choice("order", ("hwo", "who", "how", "ohw", "woh", "owh")),
        choice("share", ("rows", "columns", "channels")),
        choice("fold", folds),
        choice("steps", steps),
        flag("stream"),
        choice("whole", (False, True) if shape.blocks > 1 else (False,)),
        choice("copy", (1, 2, 4, 8)),
        choice("fill", (1, 2, 4, 8)),
        choice("sums", sums),
        choice("depths", depths),
    )


def _fits(shape: Shape) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        tile = number(point, "rows") * number(point, "columns")
        vectors = shape.ways * number(point, "blocks")
        if tile * vectors + vectors + 2 > REGISTERS:
            return False
        if point["stream"] and (
            point["share"] == "channels" or shape.blocks == 1 or point["whole"]
        ):
            return False
        words = shape.words * (shape.taps[1] if point["fold"] else 1)
        return (
            words % number(point, "steps") == 0 and tile * vectors * number(point, "steps") <= 128
        )

    return fits


def _schedule(func: PrimFunc, shape: Shape, point: Point) -> Schedule:
    sch = Schedule(func)
    ways, block = shape.ways, shape.block
    sch.transform_layout("w", lambda kh, kw, c, o: (
        o // block, kh, kw, c // 4, o % ways, (o // ways) % 32, c % 4))  # fmt: skip
    for name in ("bias", "mult"):
        sch.transform_layout(name, lambda o: (o // block, o % ways, (o // ways) % 32))
    sch.transform_layout("acc", lambda n, h, w, o: (
        n, h, w, o // block, o % ways, (o // ways) % 32))  # fmt: skip
    prepare_inputs(sch, shape, point)
    place = _tile_output(sch, shape, point)
    sch.compute_at("dot", place)
    _tile_products(sch, shape, point)
    return sch


def prepare_inputs(sch: Schedule, shape: Shape, point: Point) -> None:
    """The padded copy and the sums of its pixels, a row a step, on all threads."""
    for name in ("fill", "copy"):
        if any(ref.name == name for ref in sch.blocks()):
            copy_rows(sch, name, number(point, name))
    if any(ref.name == "psum" for ref in sch.blocks()):
        n, h, w, lane, c, k = sch.loops("psum")
        sch.reorder(c, lane, k)
        sch.vectorize(lane, k)
        _, c_1 = sch.split(c, (None, number(point, "depths")))
        sch.unroll(c_1)
        _share_rows(sch, n, h)
    n, h, w, c = sch.loops("csum")
    w_0, w_1 = sch.split(w, (None, 32))
    sch.vectorize(w_1, c)
    _share_rows(sch, n, h)
    for name in ("vsum", "wsum"):
        n, h, w, taps = sch.loops(name)
        w_0, part, w_1 = sch.split(w, (None, number(point, "sums"), 32))
        sch.reorder(w_0, part, taps, w_1)
        sch.vectorize(w_1)
        sch.unroll(taps)
        sch.unroll(part)
        _share_rows(sch, n, h)


def _share_rows(sch: Schedule, n: Loop, h: Loop) -> None:
    """Rows on all threads, image by image: rows of different images lie unevenly apart."""
    sch.unroll(n)
    sch.parallel(h)


def copy_rows(sch: Schedule, name: str, unroll: int) -> None:
    """Rows on all threads, as vectors where 128 bytes lie together, else as words of a pixel."""
    n, h, w, c = sch.loops(name)
    width, depth = sch.get_loop(w).extent, sch.get_loop(c).extent
    pitches = _pitches(sch, name)
    if depth % 128 == 0:
        inner, lanes = c, 128
    elif pitches == {depth} and width * depth % 128 == 0:
        inner, lanes = sch.fuse(w, c), 128
    else:
        inner, lanes = c, next(n for n in (8, 4, 1) if all(p % n == 0 for p in (depth, *pitches)))
    outer, vector = sch.split(inner, (None, lanes))
    if lanes < 128:
        sch.unroll(outer)
    elif sch.get_loop(outer).extent % unroll == 0 and unroll > 1:
        _, part = sch.split(outer, (None, unroll))
        sch.unroll(part)
    sch.vectorize(vector)
    _share_rows(sch, n, h)


def _pitches(sch: Schedule, name: str) -> set[int]:
    """Bytes from pixel to pixel in the buffers that the block ``name`` touches."""
    store = sch.get_block(name).body
    assert isinstance(store, Store)
    loads = [node.attr for node in walk(store.value) if node.op == "load"]
    return {buffer.shape[-1] for buffer in (store.buffer, *loads)}


_SHARED = {"rows": "h", "columns": "w", "channels": "o"}


def _tile_output(sch: Schedule, shape: Shape, point: Point) -> LoopRef:
    """Tiles the requantization; returns the loop under which a tile is computed."""
    n, h, w, o = sch.loops("requant")
    h_0, h_1 = sch.split(h, (None, number(point, "rows")))
    pixels = shape.pixels
    w_0, w_1, w_2 = sch.split(w, (None, number(point, "columns") // pixels, pixels))
    o_0, o_1, o_2, o_3 = sch.split(o, (None, number(point, "blocks"), 32, shape.ways))
    outer = {"h": h_0, "w": w_0, "o": o_0}
    order = [outer[letter] for letter in str(point["order"])]
    shared = [outer[_SHARED[str(point["share"])]]]
    inner = [loop for loop in order if loop not in shared]
    if point["stream"]:
        inner = [loop for loop in inner if loop != o_0]
        shared = [loop for loop in shared if loop != o_0]
        sch.reorder(n, o_0, *shared, *inner, h_1, w_1, o_1, w_2, o_2, o_3)
        sch.unroll(o_0)
        sch.unroll(n)
    else:
        sch.reorder(n, *shared, *inner, h_1, w_1, o_1, w_2, o_2, o_3)
        shared = [n, *shared]
    sch.vectorize(w_2, o_2, o_3)
    for loop in (h_1, w_1, o_1):
        sch.unroll(loop)
    if len(shared) > 1:
        sch.unroll(n)
    sch.parallel(shared[-1])
    return inner[-1] if inner else shared[-1]


def _tile_products(sch: Schedule, shape: Shape, point: Point) -> None:
    """The reduction over words of four channels, the tile within unrolled."""
    *_, h, w, o, kh, kw, c = sch.loops("dot")
    o_1, o_2, o_3 = sch.split(o, (None, 32, shape.ways))
    words, c_2 = sch.split(c, (None, 4))
    sch.reorder(kh, kw, words, h, w, o_1, o_3, o_2, c_2)
    if point["fold"]:
        words = sch.fuse(kw, words)
    _, c_1 = sch.split(words, (None, number(point, "steps")))
    sch.vectorize(o_2, c_2)
    for loop in (c_1, h, w, o_1, o_3):
        sch.unroll(loop)


def _estimate(func: PrimFunc, shape: Shape, machine: Machine, point: Point) -> Estimate:
    """Packets of the inner loop by slots and multipliers, of the rest by rough counts."""
    room = room_of(func, shape, machine, shape.blocks if point["stream"] else 1)
    tile = number(point, "rows") * number(point, "columns")
    vectors = shape.ways * number(point, "blocks")
    steps = number(point, "steps")
    dots, loads = tile * vectors * steps, steps * (tile + vectors)
    trips, starts = _turns(shape, point)
    inner = max(dots / 2, loads / 2, steps * vectors, (dots + loads) / 4, 1.5)
    if trips <= 4 and dots + loads > 64:  # too few turns of too long a body: not overlapped
        crowded = dots >= 128 and tile > 1 and trips > 1 and vectors * (tile + steps) > 40
        inner *= 2.0 if crowded else 1.08
    requant = tile * vectors * 2.5 + 8
    if trips == 1:  # no loop: packets of the products and of the requantization are shared
        per_tile = inner * starts + requant / 2
    else:
        per_tile = inner * trips * starts + starts * 5 + requant + (steps == 1)
    words = shape.words * math.prod(shape.taps)
    bodies = trips * starts  # those of a tile; each waits for its operands from DDR
    if room.slabs < 1:  # each vector of weights comes from DDR each time that it is used
        per_tile += direct(machine, words * vectors, VECTOR, bodies)
    if not room.padded:
        per_tile += direct(machine, words * tile, 4, bodies)
    extents = {"rows": shape.height // number(point, "rows"),
               "columns": shape.width // number(point, "columns"),
               "channels": shape.blocks // number(point, "blocks")}  # fmt: skip
    tiles = math.prod(extents.values()) * shape.images
    phases = extents["channels"] if point["stream"] else 1
    shared = extents[str(point["share"])] * (1 if point["stream"] else shape.images)
    turns = -(-shared // machine.threads)
    main = per_tile * (tiles // max(shared, 1)) * turns / phases
    pixels = shape.images * shape.rows * shape.columns
    extra = pixels * (shape.depth / 128 * 2 + 2) / machine.threads
    weights = shape.outputs * shape.taps[0] * shape.taps[1] * shape.words * 4 / machine.dma_rate
    wait = machine.dma_start + weights / phases  # of the first phase
    if room.slabs >= 2:
        later = max(main + machine.barrier, weights / phases) * (phases - 1)
    else:
        later = (main + machine.barrier + weights / phases) * (phases - 1)
    if not room.padded:  # copied and summed
        moved = pixels * shape.depth / VECTOR / machine.threads
        extra += direct(machine, 3 * moved, VECTOR, moved)
    cycles = max(extra + 6 * machine.barrier, wait) + main + later + 2 * machine.barrier
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": starts, "tiles": tiles, "registers": tile * vectors + vectors,
        "requant_packets": requant, "extra_packets": extra, "phases": phases,
        "unbalance": turns * machine.threads / max(shared, 1), "dma_cycles": weights,
        "first_wait": wait, "code": dots,
    }  # fmt: skip
    return Estimate(cycles, facts)


def _turns(shape: Shape, point: Point) -> tuple[int, int]:
    """Iterations of the innermost loop over taps and words, and how often it starts in a tile.

    Consecutive words of a row of taps are one loop, and loops of one iteration are none.
    """
    kh, kw = shape.taps
    steps = number(point, "steps")
    if shape.foldable:
        loops = [kh, kw * shape.words // steps]
    else:
        loops = [kh, kw, shape.words // steps]
    loops = [extent for extent in loops if extent > 1] or [1]
    return loops[-1], math.prod(loops[:-1])
