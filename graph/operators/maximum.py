"""maximum and minimum of two tensors, with broadcasting: of their bytes under the result's map.

q_maximum(a u8, b u8):  max(a, b)          q_minimum(a u8, b u8):  min(a, b)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir import expr
from ...tir.expr import Expr
from ..aten import operand
from ..attributes import broadcast
from ..emitting import Emitter, FloatStep
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_point import binary
from ..lower_site import Site
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_clamp(b: GraphBuilder, self: Value, min: Value = None, max: Value = None) -> Value:
    """Between tensors, as torch does: the upper bound counts where it is below the lower one."""
    low = self if min is None else b.emit("maximum", self, operand(b, min))
    return low if max is None else b.emit("minimum", low, operand(b, max))


def maximum(torch: Any, a: Tensor, b: Tensor) -> Any:
    """The greater of a and b."""
    return torch.maximum(a, b)


def minimum(torch: Any, a: Tensor, b: Tensor) -> Any:
    """The smaller of a and b."""
    return torch.minimum(a, b)


def _row(meaning: Any, join: Callable[[Expr, Expr], Expr], *others: Aten) -> Spec:
    name = meaning.__name__

    def read(b: GraphBuilder, self: Value, other: Value) -> Value:
        return b.emit(name, self, other)

    def quantize(emit: Emitter, step: FloatStep) -> None:
        emit.node(step, made.name, [emit.as_output(step, x) for x in step.inputs], {})

    def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
        return np.asarray(getattr(np, name)(*inputs))

    def lower(site: Site) -> Kernel:
        return binary(site, join)

    made = Integer(
        f"q_{name}",
        ("u8", "u8"),
        evaluate,
        broadcast,
        lower,
        turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 2, activations=2),
        spreads=True,
    )
    return Spec(
        name,
        (Aten((name,), read), *others),
        meaning,
        quantize,
        made,
        arithmetic=True,
        commutes=True,
    )


SPECS = (
    _row(maximum, expr.maximum, Aten(("clamp.Tensor", "clamp_min.Tensor"), aten_clamp)),
    _row(minimum, expr.minimum, Aten(("clamp_max.Tensor",), aten_clamp)),
)
