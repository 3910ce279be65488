"""Operators that work point by point, and softmax, as loop nests.

Operands of one shape are stored alike, so the loops run over all that is stored. Operands that
repeat are read at 0 along axes of size 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..tir.expr import Expr, cast, const, make, maximum, minimum, sat_cast, select
from ..tir.stmt import Buffer, Store
from ..tir.types import i16, i32, u8, u16
from .forms import FACTOR, OFFSET, SOFTMAX_REST, SOFTMAX_SHIFT, SUM_SHIFT
from .integer_row import integer, requant_of
from .kernels import Kernel
from .lower_nest import Axis, box, grown, variables
from .lower_site import LIMIT, Site, common_multiplier, narrowed, requantized, with_zero
from .physical import Shape, axes, place_of

Point = Callable[..., Expr]


def add(site: Site) -> Kernel:
    """The zero points go into one constant, and where there is room the output's too:

    ((a - za)*ma + (b - zb)*mb + 2**(s-1)) >> s, plus z
        = rounding_shr(a*ma + b*mb + (z << s) - za*ma - zb*mb, s)
    """
    shift, zero = integer(site.node, "shift"), integer(site.node, "zero_point")
    low, high = integer(site.node, "low"), integer(site.node, "high")
    sides = [(integer(site.node, f"{s}_zero"), integer(site.node, f"{s}_mult")) for s in "ab"]
    reach = sum(max(z, 255 - z) * abs(m) for z, m in sides) + (zero << shift)
    inside = reach < LIMIT
    offset = (zero << shift if inside else 0) - sum(z * m for z, m in sides)
    factors = [
        site.number(f"{s}_mult", m, FACTOR, i16) for s, (_, m) in zip("ab", sides, strict=True)
    ]
    by, more = site.number("shift", shift, SUM_SHIFT), site.number("offset", offset, OFFSET)

    def term(value: Expr, factor: Expr) -> Expr:
        return make("widening_mul", cast(i16, value), factor)

    def point(a: Expr, b: Expr) -> Expr:
        total = term(a, factors[0]) + term(b, factors[1])
        scaled = make("rounding_shr", total + more if offset else total, by)
        scaled = scaled if inside else with_zero(site, scaled, "add", zero)
        return narrowed(site, scaled, low, high)

    return _binary(site, point)


def mul(site: Site) -> Kernel:
    requant = requant_of(site.node)
    zeros = integer(site.node, "a_zero"), integer(site.node, "b_zero")
    bound = max(zeros[0], 255 - zeros[0]) * max(zeros[1], 255 - zeros[1])
    amounts = [site.zero(f"{side}_zero", i16) for side in "ab"]

    def point(a: Expr, b: Expr) -> Expr:
        factors = [cast(i16, x) - z for x, z in zip((a, b), amounts, strict=True)]
        product = make("widening_mul", *factors)
        return requantized(site, requant, product, common_multiplier(site, requant), bound)

    return _binary(site, point)


def _binary(site: Site, point: Point) -> Kernel:
    a, b = site.input(0, "a"), site.input(1, "b")
    shapes = [site.shape(name) for name in site.node.inputs]
    if shapes[0] == shapes[1] == site.output_shape:
        loops = box(site.output())
        where = variables(loops)
        site.nests.add("point", loops, Store(site.output(), where, point(a[where], b[where])))
        return site.kernel("elementwise", repeats=False)
    loops, index = logical(site.output_shape)
    left, right = (place_of(shape, repeated(shape, index)) for shape in shapes)
    where = place_of(site.output_shape, index)
    store = Store(site.output(), where, point(a[left], b[right]))
    site.nests.add("point", grown(loops, store), store)
    return site.kernel("elementwise", repeats=True)


def logical(shape: Shape) -> tuple[list[Axis], list[Expr]]:
    """Loops over the axes of ``shape`` as they lie in memory, and the logical index."""
    found = axes(shape)
    loops = [Axis(s.name, s.extent, stored=s.stored) for s in found]
    by_dim = {s.dim: axis.var for s, axis in zip(found, loops, strict=True)}
    return loops, [by_dim[dim] for dim in range(len(shape))]


def repeated(shape: Shape, index: list[Expr]) -> list[Expr]:
    """The index of an operand of ``shape`` that broadcasts to ``index``."""
    own = index[len(index) - len(shape) :]
    return [at if n != 1 else const(0, i32) for n, at in zip(shape, own, strict=True)]


def lookup(site: Site) -> Kernel:
    x, table = site.input(0, "x"), site.constant("table", site.value(1))
    loops = box(site.output())
    where = variables(loops)
    value = table[cast(i32, x[where])]
    site.nests.add("point", loops, Store(site.output(), where, value))
    return site.kernel("table")


def softmax(site: Site) -> Kernel:
    """max, exp, sum, recip and out, along the logical axis only: pads take no part.

    Exponents and reciprocals are at most 2**15: they fit u16, and so do their scaled products."""
    shape, dim = site.output_shape, integer(site.node, "axis")
    if len(shape) == 1:  # one row, stored alike
        shape, dim = (1, *shape), 1
    x, table = site.input(0, "x"), site.constant("table", site.value(1).astype(np.uint16))
    loops, index = logical(shape)
    if len(shape) < 3:  # rows have an axis, though there is one of them
        loops = [Axis("h", 1), *loops]
    along = next(axis for axis in loops if axis.var is index[dim])
    inner = Axis(along.name, along.extent, True)
    pixel, output = x[place_of(shape, index)], site.output()
    full = grown(loops, _probe(output, shape, index, pixel))
    others = [axis for axis in full if axis.name != along.name]
    rows, at = variables(others), variables(full)
    sizes = tuple(a.extent for a in others)
    m = site.nests.alloc(Buffer("m", u8, sizes, "reg"))
    e = site.nests.alloc(Buffer("e", u16, tuple(a.extent for a in full), "tcm"))
    s, r = (site.nests.alloc(Buffer(name, i32, sizes, "reg")) for name in "sr")
    over, zero = [*others, inner], const(0, i32)
    first = Store(m, rows, const(0, u8))
    site.nests.add("max", over, Store(m, rows, maximum(m[rows], pixel)), first)
    exponent = table[cast(i32, m[rows] - pixel)]  # in u8: none is above the maximum
    site.nests.add("exp", full, Store(e, at, exponent))
    total = s[rows] + cast(i32, e[at])
    site.nests.add("sum", over, Store(s, rows, total), Store(s, rows, zero))
    site.nests.add("recip", others, Store(r, rows, reciprocal(s[rows])))
    product = make("widening_mul", e[at], cast(u16, r[rows]))
    store = Store(output, place_of(shape, index), _scaled(site, product))
    site.nests.add("out", full, store)
    return site.kernel("softmax", axis=dim, length=along.extent)


def _probe(output: Buffer, shape: Shape, index: list[Expr], pixel: Expr) -> Store:
    return Store(output, place_of(shape, index), pixel)


def _scaled(site: Site, product: Expr) -> Expr:
    """The product rounded and shifted into a byte: from 17 bits on, its high half rounded and
    shifted by the rest, for floors compose."""
    shift = integer(site.node, "shift")
    if SOFTMAX_SHIFT.band(shift)[0] > 16:
        rest = site.number("shift", shift - 16, SOFTMAX_REST, u16)
        return sat_cast(u8, make("rounding_shr", cast(u16, product >> 16), rest))
    scaled = sat_cast(u16, make("rounding_shr", product, const(shift, product.type)))
    return cast(u8, minimum(scaled, 255))


def reciprocal(total: Expr) -> Expr:
    """floor(2**30 / total) for 2**15 <= total < 2**31, bit by bit: no target divides vectors.

    Bit k is set where total << k fits into what is left. A total that is too large for the shift
    is taken as the largest one that is not, which does not fit either.
    """
    zero = const(0, i32)
    rest, quotient = const(1 << 30, i32), zero
    for k in range(15, -1, -1):
        part = minimum(total, i32.high >> k) << k if k else total
        above = rest < part
        rest = rest - select(above, zero, part) if k else rest
        quotient = quotient + select(above, zero, const(1 << k, i32))
    return quotient
