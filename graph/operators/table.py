"""Functions of one tensor's single values, composed in the reals: in integers, one table.

lookup(x, table u8 [256]):  y = table[x]
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...tir.expr import cast
from ...tir.stmt import Store
from ...tir.types import i32
from ..attributes import Shape, require
from ..emitting import Emitter, FloatStep
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import box, variables
from ..lower_site import Site
from ..spec import Integer, Spec, Turning


def quantize(emit: Emitter, step: FloatStep) -> None:
    table = emit.quantized(emit.composed(step), emit.affines[step.output])
    names = [emit.tensor(step.inputs[0]), emit.constant(f"{step.output}.table", table)]
    emit.node(step, LOOKUP.name, names, {})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, table = inputs
    return np.asarray(table[x])


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(shapes[1] == (256,), node, "the table has 256 entries", shapes[1])
    return shapes[0]


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """An element looks up one entry at most."""
    return prod(shapes[0]) if position == 0 else min(prod(shapes[1]), prod(shapes[0]))


def lower(site: Site) -> Kernel:
    x, table = site.input(0, "x"), site.constant("table", site.value(1), of=1)
    loops = box(site.output())
    where = variables(loops)
    value = table[cast(i32, x[where])]
    site.nests.add("point", loops, Store(site.output(), where, value))
    return site.kernel("table")


LOOKUP = Integer(
    "lookup",
    ("u8", "u8"),
    evaluate,
    shape_of,
    lower,
    reads=reads,
    turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 1),
    looks_up=True,
)
TABLE = Spec("table", quantize=quantize, integer=LOOKUP)
SPECS = (TABLE,)
