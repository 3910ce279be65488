"""amax and amin over axes: of the bytes, whatever their map is.

q_amax(x u8) axes keepdim:  the greatest byte over the axes; q_amin the least
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir import expr
from ...tir.expr import Expr, const
from ...tir.stmt import Store
from ...tir.types import u8
from ..attributes import integers
from ..emitting import Emitter, FloatStep
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_pool import over_axes
from ..lower_site import Site
from ..spec import Aten, Integer, Spec, Turning
from .mean import shape_of
from .mean import turned as turned_mean
from .moments import Dims, axes_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def amax(torch: Any, x: Tensor, *, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The greatest value over ``axes``, which are removed or kept with extent 1."""
    return torch.amax(x, axes, keepdim)


def amin(torch: Any, x: Tensor, *, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The least value over ``axes``, which are removed or kept with extent 1."""
    return torch.amin(x, axes, keepdim)


def _row(meaning: Any, short: str, join: Callable[[Expr, Expr], Expr], first: int) -> Spec:
    name = meaning.__name__

    def read(b: GraphBuilder, self: Value, dim: Dims = None, keepdim: bool = False) -> Value:
        if not b.shape(self):
            return self
        return b.emit(name, self, axes=axes_of(b, self, dim), keepdim=keepdim)

    def read_pair(b: GraphBuilder, self: Value, dim: Dims = None, keepdim: bool = False) -> Value:
        """The places are None: whoever reads them is refused."""
        return read(b, self, dim, keepdim), None

    def quantize(emit: Emitter, step: FloatStep) -> None:
        emit.node(step, made.name, [emit.as_output(step, step.inputs[0])], step.attrs)

    def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
        keep = bool(node.attrs["keepdim"])
        return np.asarray(getattr(np, name)(inputs[0], axis=integers(node, "axes"), keepdims=keep))

    def lower(site: Site) -> Kernel:
        acc, spatial, where = over_axes(site, short, u8, join, const(first, u8))
        site.nests.add("out", spatial, Store(site.output(), where, acc[where]))
        return site.kernel("reduce", axes=integers(site.node, "axes"))

    made = Integer(
        f"q_{name}",
        ("u8",),
        evaluate,
        shape_of,
        lower,
        turning=Turning(turned_mean, cost=lambda *_: 2, reduces=True),
    )
    return Spec(
        name,
        (
            Aten((name,), read),
            Aten((f"{short}.default",), read),
            Aten((f"{short}.dim",), read_pair),
        ),
        meaning,
        quantize,
        made,
        moves=True,
        selects=True,
    )


SPECS = (_row(amax, "max", expr.maximum, 0), _row(amin, "min", expr.minimum, 255))
