"""Products of two activations: words of one operand as vectors, of the other as scalars.

words of columns, rows, their sums                                    (see ``product_operands``)
parallel images, groups of heads, rows or column blocks
  k/4                                    one word of four by 32 columns a vector
    tile: rows x vectors                 all in registers
  requantize the tile                    ways or rows narrow into one register
"""

from __future__ import annotations

import math
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.stmt import PrimFunc
from ..knobs import Knob, Point, Space, choice, divisors, number
from ..schedule import Schedule
from ..state import LoopRef
from .contraction import WORD
from .fusing import loops_of
from .product import Product, product_of
from .product_operands import columns_of, prepare
from .template import Estimate, Template

REGISTERS = 28  # vector registers that a tile may plan with
BODY = 128  # products that are written out
AXES = ("images", "groups", "rows", "columns")


def products(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a product of two activations; None for other kernels."""
    product = product_of(func)
    if product is None:
        return None
    space = Space(_knobs(product), (partial(_fits, product),))
    return Template("products", func, machine, space,
                    partial(_schedule, prepare(func, product, machine), product),
                    partial(_estimate, product, machine))  # fmt: skip


def _extents(product: Product) -> dict[str, int]:
    sizes = product.images, product.groups, product.quads, product.blocks
    return dict(zip(AXES, sizes, strict=True))


def _shared(product: Product) -> dict[str, int]:
    """The loops that threads may share: of images the longest."""
    longest = max((axis.extent for axis in product.outer), default=1)
    return {**_extents(product), "images": longest}


def _knobs(product: Product) -> tuple[Knob, ...]:
    several = tuple(name for name, extent in _shared(product).items() if extent > 1)
    most = min(product.words, 16 if product.near is None else product.alike)
    steps = {most, *(1 << n for n in range(most.bit_length()))}
    return (
        choice("rows", divisors(product.quads, 8)),
        choice("blocks", divisors(product.blocks, 4)),
        choice("steps", tuple(sorted(steps))),
        choice("share", several or ("rows",)),
        choice("inner", ("rows", "columns")),
    )


def _vectors(product: Product, point: Point) -> tuple[int, int]:
    """Sums of a tile, and its vectors of columns."""
    columns = number(point, "blocks") * product.made
    return number(point, "rows") * product.pixels * columns, columns


def _fits(product: Product, point: Point) -> bool:
    sums, columns = _vectors(product, point)
    block, steps = _steps(product, point)
    written = max(steps, product.words % block)
    return sums + columns + 2 <= REGISTERS and sums * written <= BODY


def _schedule(prepared: Schedule, product: Product, point: Point) -> Schedule:
    sch = prepared.copy()
    place = _tile(sch, product, point)
    sch.compute_at(product.dot.block, place)
    _products(sch, product, point)
    return sch


def _tile(sch: Schedule, product: Product, point: Point) -> LoopRef:
    """Tiles the requantization; gives the loop under which a tile is computed."""
    by = loops_of(sch, product.last.block)
    pairs = zip(product.dot.spatial, product.last.axes, strict=True)
    own = {old.var: by[same.var] for old, same in pairs}
    rows = (None, number(point, "rows"), product.pixels)
    r_0, r_1, p = sch.split(own.pop(product.row.var), rows)
    (*groups, q), ways, i = columns_of(sch, product, own)
    q_0, q_1 = sch.split(q, (None, number(point, "blocks")))
    images = [own[axis.var] for axis in sorted(product.outer, key=lambda a: -a.extent)]
    outer = {"images": images, "groups": groups, "rows": [r_0], "columns": [q_0]}
    shared = outer[str(point["share"])][0]
    walk = [loop for loops in outer.values() for loop in loops if loop != shared]
    if point["inner"] == "rows" and r_0 in walk:
        walk.remove(r_0)
        walk.append(r_0)
    lanes = [p, i, *ways]
    sch.reorder(shared, *walk, r_1, q_1, *lanes)
    sch.vectorize(*lanes)
    sch.unroll(r_1, q_1)
    sch.parallel(shared)
    return [shared, *walk][-1]


def _products(sch: Schedule, product: Product, point: Point) -> None:
    """The sum over words of four k, the tile within unrolled; words that fill no step come last."""
    names = [axis.var for axis in product.dot.axes]
    by = dict(zip(names, sch.loops(product.dot.block)[-len(names) :], strict=True))
    k, t = sch.split(by.pop(product.depth.var), (None, WORD))
    blocks, ways, i = columns_of(sch, product, by)
    tile = [*by.values(), *blocks, *ways]
    sch.reorder(k, *tile, i, t)
    sch.vectorize(i, t)
    sch.unroll(*tile)
    block, steps = _steps(product, point)
    parts = sch.split(k, (None, block), tail="peel") if block < product.words else [k]
    if len(parts) > 1 and steps < block:
        _, parts[1] = sch.split(parts[1], (None, steps))
    for loop in parts[1:] or parts:
        sch.unroll(loop)


def _steps(product: Product, point: Point) -> tuple[int, int]:
    """Words of k between which rows lie alike, and those of a step."""
    steps, alike = number(point, "steps"), product.alike
    return steps if product.words <= alike else max(steps, alike), steps


def _tile_packets(product: Product, point: Point, turns: int) -> tuple[float, float]:
    """Packets of a step of words, and of a tile, of which ``turns`` follow each other."""
    sums, columns = _vectors(product, point)
    block, steps = _steps(product, point)
    lines = number(point, "rows") * product.pixels * (product.made if product.heads > 1 else 1)

    def body(words: int) -> float:
        loads = words * columns + -(-words // 2) * lines
        return max(sums * words / 2, loads / 2, words * columns, (sums * words + loads) / 4, 3)

    step = body(min(steps, product.words))
    around = 2.1 * sums + 2 * lines + 6
    if product.words <= steps:  # no loop of words: small tiles overlap
        together = 1.1 * (step + 2 * sums) * (1 + 1 / turns)
        return step, min(step + around, together) if sums <= 8 else step + around
    trips, rest = product.words // steps, product.words % block
    begun = 1 if block == steps else 1 + product.words // block
    return step, step * (trips + 0.4 * begun) + (body(rest) if rest else 0) + around


def _estimate(product: Product, machine: Machine, point: Point) -> Estimate:
    """Packets of tiles by the resource that they hold most, of the rest by rough counts."""
    sums, columns = _vectors(product, point)
    steps = number(point, "steps")
    extents = _extents(product)
    extents["rows"] //= number(point, "rows")
    extents["columns"] //= number(point, "blocks")
    shared = {**extents, **_shared(product), "rows": extents["rows"], "columns": extents["columns"]}
    name = str(point["share"])
    order = [axis for axis in AXES if axis != name]
    if point["inner"] == "rows" and name != "rows":
        order.append("rows")
    inner = next((extents[axis] for axis in reversed(order) if extents[axis] > 1), 1)
    step, tile = _tile_packets(product, point, inner)
    tiles, rounds = math.prod(extents.values()), -(-shared[name] // machine.threads)
    right = product.images * product.words * product.blocks * product.ways * product.groups
    left = product.images * product.rows * -(-product.words // 8) * max(product.heads / 4, 1)
    extra = (right * 3 + left * 2) / machine.threads + 5 * machine.barrier
    facts = {
        "inner_packets": step, "dots_per_packet": sums * steps / step, "tiles": tiles,
        "loop_trips": product.words // steps, "loop_starts": 1.0, "registers": sums + columns,
        "requant_packets": sums * 2.1, "extra_packets": extra, "phases": shared[name],
        "unbalance": rounds * machine.threads / shared[name], "code": sums * steps,
    }  # fmt: skip
    return Estimate(tile * tiles / shared[name] * rounds + extra, facts)
