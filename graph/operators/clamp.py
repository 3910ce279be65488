"""clamp between two bounds, and relu: behind what requantizes, its bounds; else a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_clamp(b: GraphBuilder, self: Value, min: float | None, max: float | None) -> Value:
    low = -math.inf if min is None else float(min)
    return b.emit("clamp", self, low=low, high=math.inf if max is None else float(max))


def aten_hardtanh(b: GraphBuilder, self: Value, min_val: float, max_val: float) -> Value:
    return aten_clamp(b, self, min_val, max_val)


def aten_clamp_min(b: GraphBuilder, self: Value, min: float) -> Value:
    return aten_clamp(b, self, min, None)


def aten_clamp_max(b: GraphBuilder, self: Value, max: float) -> Value:
    return aten_clamp(b, self, None, max)


def aten_relu6(b: GraphBuilder, self: Value) -> Value:
    return aten_clamp(b, self, 0, 6)


def aten_relu(b: GraphBuilder, self: Value) -> Value:
    return b.emit("relu", self)


def clamp(torch: Any, x: Tensor, *, low: float, high: float) -> Any:
    """min(max(x, low), high); a missing bound is an infinity."""
    return torch.clamp(x, low, high)


def relu(torch: Any, x: Tensor) -> Any:
    """max(x, 0)."""
    return torch.relu(x)


SPECS = (
    Spec(
        "clamp",
        aten=(
            Aten(("clamp.default", "clip.default"), aten_clamp),
            Aten(("clamp_min.default",), aten_clamp_min),
            Aten(("clamp_max.default",), aten_clamp_max),
            Aten(("hardtanh",), aten_hardtanh, whole=True),
            Aten(("relu6",), aten_relu6, whole=True),
        ),
        meaning=clamp,
        pointwise=True,
        limits=lambda attrs: (float(attrs["low"]), float(attrs["high"])),
    ),
    Spec(
        "relu",
        aten=(Aten(("relu",), aten_relu),),
        meaning=relu,
        pointwise=True,
        limits=lambda _: (0.0, math.inf),
    ),
)
