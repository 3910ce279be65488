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
from .attributes import integer, pair, requant_of
from .kernels import Kernel
from .lower_nest import LoopAxis, variables
from .lower_site import Site, common_multiplier, requantized
from .lower_window import Window, WindowSource, reads_direct, windowed

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


def mean_value(site: Site, acc: Expr, count: int) -> Expr:
    zero, requant = integer(site.node, "x_zero"), requant_of(site.node)
    bound = count * max(zero, 255 - zero)
    return requantized(site, requant, acc, common_multiplier(site, requant), bound)
