"""Operators of several tensors that work point by point, as loop nests.

Operands of one shape are stored alike, so the loops run over all that is stored. Operands that
repeat are read at 0 along axes of size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..tir.expr import Expr, const
from ..tir.stmt import Store
from ..tir.types import i32
from .kernels import Kernel
from .lower_nest import LoopAxis, box, grown, variables
from .lower_site import Site
from .physical import Shape, axes, place_of

Point = Callable[..., Expr]


def pointwise(site: Site, names: Sequence[str], point: Point) -> Kernel:
    """``point`` of the elements of all operands, which are called ``names``."""
    operands = [site.input(place, name) for place, name in enumerate(names)]
    shapes = [site.shape(name) for name in site.node.inputs[: len(names)]]
    if {*shapes} == {site.output_shape}:
        loops = box(site.output())
        where = variables(loops)
        value = site.made(point(*(operand[where] for operand in operands)), where)
        site.nests.add("point", loops, Store(site.output(), where, value))
        return site.kernel("elementwise", repeats=False)
    loops, index = logical(site.output_shape)
    where = place_of(site.output_shape, index)
    places = (place_of(shape, repeated(shape, index)) for shape in shapes)
    value = point(*(operand[at] for operand, at in zip(operands, places, strict=True)))
    store = Store(site.output(), where, site.made(value, where))
    site.nests.add("point", grown(loops, store), store)
    return site.kernel("elementwise", repeats=True)


def binary(site: Site, point: Point) -> Kernel:
    return pointwise(site, "ab", point)


def logical(shape: Shape) -> tuple[list[LoopAxis], list[Expr]]:
    """Loops over the axes of ``shape`` as they lie in memory, and the logical index."""
    found = axes(shape)
    loops = [LoopAxis(s.name, s.extent, stored=s.stored) for s in found]
    by_dim = {s.dim: axis.var for s, axis in zip(found, loops, strict=True)}
    return loops, [by_dim[dim] for dim in range(len(shape))]


def repeated(shape: Shape, index: list[Expr]) -> list[Expr]:
    """The index of an operand of ``shape`` that broadcasts to ``index``."""
    own = index[len(index) - len(shape) :]
    return [at if n != 1 else const(0, i32) for n, at in zip(shape, own, strict=True)]
