"""Products of two activations: words of one operand as scalars, of the other as vectors.

rows, heads, words of both operands; sums of rows and columns         (see ``words.py``)
parallel images, groups of heads, rows or column blocks
  k/4                                    one word of four by 32 columns a vector
    tile: rows x vectors                 all in registers
  requantize the tile                    ways or rows narrow into one register
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .products import LANES, VECTOR, WORD, Product, product_of
from .template import Estimate, Template
from .words import by_words

REGISTERS = 28  # vector registers that a tile may plan with
AXES = ("images", "groups", "rows", "columns")


def matmul(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a product of two activations; None for other kernels."""
    if func.attrs.get("kind") != "matmul" or func.attrs.get("op") != "q_matmul":
        return None
    product = product_of(func)
    if product is None:
        return None
    restated = by_words(func)
    space = Space(_knobs(product), (_fits(product),))

    def schedule(point: Point) -> Schedule:
        return _schedule(restated, product, point)

    def estimate(point: Point) -> Estimate:
        return _estimate(product, machine, point)

    return Template("matmul", func, machine, space, schedule, estimate)


def _extents(product: Product) -> dict[str, int]:
    sizes = product.images, product.groups, product.quads, product.blocks
    return dict(zip(AXES, sizes, strict=True))


def _knobs(product: Product) -> tuple[Knob, ...]:
    several = tuple(name for name, extent in _extents(product).items() if extent > 1)
    return (
        choice("rows", tuple(d for d in divisors(product.quads) if d <= 8)),
        choice("blocks", tuple(d for d in divisors(product.blocks) if d <= 4)),
        choice("steps", tuple(d for d in divisors(product.words[1]) if d <= 8)),
        choice("share", several or ("rows",)),
        choice("inner", ("rows", "columns")),
    )


def _vectors(product: Product, point: Point) -> tuple[int, int]:
    """Sums of a tile, and its vectors of columns."""
    columns = number(point, "blocks") * product.ways
    return number(point, "rows") * product.pixels * columns, columns


def _fits(product: Product) -> Callable[[Point], bool]:
    def fits(point: Point) -> bool:
        sums, columns = _vectors(product, point)
        return sums + columns + 2 <= REGISTERS and sums * number(point, "steps") <= 96

    return fits


def _schedule(func: PrimFunc, product: Product, point: Point) -> Schedule:
    sch = Schedule(func)
    names = [ref.name for ref in sch.blocks()]
    for name, lanes in (("left", 1), ("a_wide", 1), ("b_wide", 1), ("a_heads", 2), ("b_heads", 2),
                        ("deal", 3), ("last", 3)):  # fmt: skip
        if name in names:
            _spread(sch, name, lanes)
    if "rest" in names:
        _spread(sch, "rest", 1 if product.columns >= VECTOR else 2)
    if "asum" in names:
        _row_sums(sch, product)
    if "bsum" in names:
        _column_sums(sch)
    _tile(sch, point)
    if "join" in names:
        n, r = sch.loops("join")[:2]
        sch.vectorize(*sch.loops("join")[-3:])
        if "put" in names:
            sch.vectorize(sch.loops("put")[-1])
        _share(sch, [n, r])
    return sch


def _spread(sch: Schedule, name: str, lanes: int) -> None:
    """The last loops of a block as lanes, the longest of the others on all threads."""
    loops = sch.loops(name)
    sch.vectorize(*loops[-lanes:])
    _share(sch, loops[:-lanes])


def _share(sch: Schedule, loops: list[LoopRef]) -> None:
    """The longest of nested outermost loops on all threads."""
    longest = max(loops, key=lambda loop: sch.get_loop(loop).extent)
    sch.reorder(longest, *(loop for loop in loops if loop != longest))
    sch.parallel(longest)


def _row_sums(sch: Schedule, product: Product) -> None:
    if product.heads > 1:
        n, r, e, c, v, k = sch.loops("asum")
        sch.reorder(n, r, v, e, c, k)
        sch.vectorize(e, c, k)
        _share(sch, [n, r])
        return
    n, r, e, k = sch.loops("asum")
    extent = sch.get_loop(k).extent
    k_0, k_1 = sch.split(k, (None, min(extent, VECTOR)))
    sch.reorder(n, r, k_0, e, k_1)
    sch.vectorize(e, k_1)
    _share(sch, [n, r])


def _column_sums(sch: Schedule) -> None:
    copy = sch.cache_write("bsum", "bsum", "reg")
    n, m, q, j, i, k, t = sch.loops("bsum")
    sch.reorder(n, m, q, j, k, i, t)
    sch.vectorize(i, t)
    sch.reverse_compute_at(copy, j)
    *outer, i = sch.loops(copy)[4:]
    sch.vectorize(i)
    for loop in outer:
        sch.unroll(loop)
    _share(sch, [n, m, q])


def _tile(sch: Schedule, point: Point) -> None:
    """Tiles of sums below the loops that walk over them, then requantized."""
    n, m, r, q, i, j, p = sch.loops("requant")
    r_0, r_1 = sch.split(r, (None, number(point, "rows")))
    q_0, q_1 = sch.split(q, (None, number(point, "blocks")))
    outer = dict(zip(AXES, (n, m, r_0, q_0), strict=True))
    shared = outer.pop(str(point["share"]))
    walk = list(outer.values())
    if point["inner"] == "rows" and r_0 in walk:
        walk.remove(r_0)
        walk.append(r_0)
    lanes = [loop for loop in (i, j, p) if sch.get_loop(loop).extent > 1]
    single = [loop for loop in (j, p) if loop not in lanes]
    sch.reorder(shared, *walk, r_1, q_1, *single, *lanes)
    sch.vectorize(*lanes)
    sch.unroll(r_1)
    sch.unroll(q_1)
    sch.parallel(shared)
    sch.compute_at("dot", walk[-1])
    *_, n, m, r, q, p, j, i, v, k, t = sch.loops("dot")
    k_0, k_1 = sch.split(k, (None, number(point, "steps")))
    sch.reorder(v, k_0, k_1, n, m, r, q, p, j, i, t)
    sch.vectorize(i, t)
    for loop in (k_1, n, m, r, q, p, j):
        sch.unroll(loop)


def _estimate(product: Product, machine: Machine, point: Point) -> Estimate:
    """Packets of the inner loop by multipliers and loads, of the rest by rough counts."""
    sums, columns = _vectors(product, point)
    steps = number(point, "steps")
    lines = number(point, "rows") * product.pixels * (WORD if product.heads > 1 else 1)
    dots = sums * steps
    inner = max(math.ceil(dots / 2), math.ceil((steps * (lines + columns) + 2) / 2),
                steps * columns, 3)  # fmt: skip
    trips = product.count // steps
    per_tile = inner * trips + inner * 0.8 + 8 + sums * 3.4 + lines * 3 + 12
    extents = _extents(product)
    extents["rows"] //= number(point, "rows")
    extents["columns"] //= number(point, "blocks")
    tiles, shared = math.prod(extents.values()), extents[str(point["share"])]
    turns = -(-shared // machine.threads)
    main = per_tile * tiles / shared * turns
    right = product.images * product.count * product.blocks * product.ways * product.groups
    left = product.images * product.rows * -(-product.depth // LANES) * max(product.heads / 4, 1)
    extra = (right * 3 + left * 2) / machine.threads + 5 * machine.barrier
    facts = {
        "inner_packets": inner, "dots_per_packet": dots / inner, "loop_trips": trips,
        "loop_starts": 1.0, "tiles": tiles, "registers": sums + columns,
        "requant_packets": sums * 3.4, "extra_packets": extra, "phases": shared,
        "unbalance": turns * machine.threads / shared, "code": dots,
    }  # fmt: skip
    return Estimate(main + extra, facts)
