"""where: a where a truth value is 1, else b; masked_fill is one.

q_where(c u8, a u8, b u8) c_zero:  a where c > c_zero, else b
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, select
from ...tir.types import u8
from ..aten import operand
from ..aten_mask import LARGEST, finite
from ..attributes import broadcast, integer
from ..emitting import Emitter, FloatStep
from ..forms import ZERO
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_point import pointwise
from ..lower_site import Site
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_where(
    b: GraphBuilder, condition: Value, self: Value | float, other: Value | float
) -> Value:
    values = (finite(operand(b, value)) for value in (self, other))
    return b.emit("where", condition, *values)


def where(torch: Any, c: Tensor, x: Tensor, y: Tensor) -> Any:
    """x where c is not 0, else y."""
    return torch.where(c != 0, x, y)


def quantize(emit: Emitter, step: FloatStep) -> None:
    condition, *values = step.inputs
    for name in values:
        if np.abs(emit.source.constants.get(name, 0)).max() >= LARGEST / 2:
            raise emit.refused(
                f"where {step.output}: values must be finite where no softmax takes them out, but "
                f"{name} is infinite; write the least value that scores may have"
            )
    names = [emit.tensor(condition), *(emit.as_output(step, name) for name in values)]
    emit.node(step, Q_WHERE.name, names, {"c_zero": emit.affines[condition].zero_point})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    c, x, y = inputs
    return np.where(c > integer(node, "c_zero"), x, y)


def lower(site: Site) -> Kernel:
    zero = site.number("c_zero", integer(site.node, "c_zero"), ZERO, u8)

    def point(c: Expr, x: Expr, y: Expr) -> Expr:
        return select(zero < c, x, y)

    return pointwise(site, "tab", point)


Q_WHERE = Integer(
    "q_where",
    ("u8", "u8", "u8"),
    evaluate,
    broadcast,
    lower,
    turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 2, activations=3),
    spreads=True,
)
SPECS = (
    Spec(
        "where",
        aten=(Aten(("where.self", "where.ScalarOther", "where.ScalarSelf"), aten_where),),
        meaning=where,
        quantize=quantize,
        integer=Q_WHERE,
        arithmetic=True,
    ),
)
