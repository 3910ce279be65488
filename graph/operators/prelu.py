"""prelu: x where it is positive, else x times its channel's slope.

slopes up to 1      max(x, x * slope)         slopes from 1 on      min(x, x * slope)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..aten import known
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value


def aten_prelu(b: GraphBuilder, self: Value, weight: Value) -> Value:
    """One slope is a function of single values."""
    slopes, rank = known(weight, "a slope"), len(b.shape(self))
    if slopes.numel() == 1:
        return b.emit("leaky_relu", self, negative_slope=float(slopes.detach().reshape(())))
    by_channel = slopes.reshape(-1, *[1] * (rank - 2)) if rank > 1 else slopes
    scaled = b.emit("mul", self, b.label(by_channel, f"{b.base}.slope"))
    if bool((slopes <= 1).all()) or bool((slopes >= 1).all()):
        return b.emit("maximum" if bool((slopes <= 1).all()) else "minimum", self, scaled)
    positive = b.emit("gt", self, b.scalar(0))
    return b.emit("where", positive, self, scaled)


SPECS = (Spec("prelu", aten=(Aten(("prelu", "_prelu_kernel"), aten_prelu, whole=True),)),)
