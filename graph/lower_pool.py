"""Pooling and means as loop nests: a reduction into ``acc``, then a store or a requantization.

An average counts x_zero in its padding, so that sum (x - x_zero) = sum x - count * x_zero holds for
every window alike: the second term is where the accumulator starts.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ..tir.expr import Expr
from ..tir.stmt import Buffer, Store
from ..tir.types import Type, u8
from .attributes import integer, integers, pair, requant_of
from .kernels import Kernel
from .lower_nest import LoopAxis, grown, reach, variables
from .lower_site import Site, common_multiplier, requantized
from .lower_window import Window, WindowSource, reads_direct, windowed
from .physical import axes, place_of

Join = Callable[[Expr, Expr], Expr]


def pool2d(site: Site, step: str, kind: Type, start: Expr, join: Join, fill: Expr) -> Kernel:
    window = Window.of(site.node, pair(site.node, "kernel"))
    _, _, height, width = site.shape(site.node.inputs[0])
    x, output = WindowSource(site.input(0, "x"), (height, width)), site.output()
    images, rows, columns, deep = output.shape
    wanted = rows, site.output_shape[3]
    # Without padding a copy would serve only the pads of the output: leave those out.
    if window.unpadded(x.size, wanted) and not reads_direct(x, window, wanted, columns, deep):
        columns = wanted[1]
    source = windowed(site.nests, x, window, wanted, columns, deep, fill)
    acc = site.nests.alloc(Buffer("acc", kind, output.shape, "reg"))
    sizes = (("n", images), ("oh", rows), ("ow", columns), ("c", deep))
    loops = [LoopAxis(name, size) for name, size in sizes]
    where = n, oh, ow, c = variables(loops)
    kh, kw = variables(window.taps)
    pixel = source[n, window.row(oh, kh), window.column(ow, kw), c]
    total = Store(acc, where, join(acc[where], pixel))
    site.nests.add(step, [*loops, *window.taps], total, Store(acc, where, start))
    value = acc[where] if kind == u8 else mean_value(site, acc[where], prod(window.kernel))
    site.nests.add("out" if kind == u8 else "requant", loops, Store(output, where, value))
    return site.kernel("pool", direct=source == x.buffer, images=images, **window.facts)


def over_axes(
    site: Site, step: str, kind: Type, join: Join, start: Expr
) -> tuple[Buffer, list[LoopAxis], tuple[Expr, ...]]:
    """A reduction over the node's ``axes``: what it is left in, and the loops and the place of an
    element of the result."""
    shape, out_shape = site.shape(site.node.inputs[0]), site.output_shape
    reduced, x, output = {*integers(site.node, "axes")}, site.input(0, "x"), site.output()
    found = [(s.dim, LoopAxis(s.name, s.extent, s.dim in reduced, s.stored)) for s in axes(shape)]
    by_dim = {dim: axis.var for dim, axis in found}
    index = [by_dim[d] for d in range(len(shape))]
    keep = bool(site.node.attrs["keepdim"])
    made = [LoopAxis(f"o{a.name}", 1) if a.reduce else a for _, a in found if keep or not a.reduce]
    place = {dim: axis.var for (dim, _), axis in zip(found, made, strict=True)} if keep else by_dim
    kept = [place[d] for d in range(len(shape)) if keep or d not in reduced]
    where = place_of(out_shape, kept)
    term = x[place_of(shape, index)]
    spatial = grown(made, Store(output, where, term))
    sizes = {axis.var: axis.extent for axis in spatial}
    acc = site.nests.alloc(Buffer("acc", kind, tuple(reach(e, sizes) + 1 for e in where), "reg"))
    total, first = Store(acc, where, join(acc[where], term)), Store(acc, where, start)
    site.nests.add(step, [*spatial, *(a for _, a in found if a.reduce)], total, first)
    return acc, spatial, where


def mean_value(site: Site, acc: Expr, count: int) -> Expr:
    zero, requant = integer(site.node, "x_zero"), requant_of(site.node)
    bound = count * max(zero, 255 - zero)
    return requantized(site, requant, acc, common_multiplier(site, requant), bound)
