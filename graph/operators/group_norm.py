"""group_norm and instance_norm: layer norms of groups of channels, whose weights are of channels.

group_norm(x (n, c, h, w), g groups)    ->    layer_norm(x (n * g, c / g, h, w), 3 axes)
instance_norm(x (n, c, h, w))           ->    layer_norm(x, 2 axes), weights (c, 1, 1)
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ..aten import known
from ..spec import Aten, Spec
from .batch_norm import aten_batch_norm

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_group_norm(
    b: GraphBuilder,
    input: Value,
    num_groups: int,
    weight: Value,
    bias: Value,
    eps: float,
    cudnn_enabled: bool = True,
) -> Value:
    images, channels, *sizes = b.shape(input)
    alone = num_groups == channels
    rows = (images, channels) if alone else (images * num_groups, channels // num_groups)
    shape = (*rows, *sizes) if len(sizes) == 2 else (*rows, prod(sizes[:1]), prod(sizes[1:]))
    made = []
    for value, filler, name in ((weight, 1.0, "weight"), (bias, 0.0, "bias")):
        numbers = _numbers(b, value, filler, channels, name)
        groups = rows if num_groups > 1 and not alone else (1, channels)
        repeated = numbers.repeat(1 if alone else images * (num_groups > 1) or 1)
        made.append(b.label(repeated.reshape(*groups, 1, 1), f"{b.base}.{name}"))
    y = b.emit("layer_norm", b.reshape(input, shape), *made, axes=2 if alone else 3, eps=float(eps))
    return b.reshape(y, b.shape(input))


def _numbers(b: GraphBuilder, value: Value, filler: float, channels: int, name: str) -> Tensor:
    """One number a channel."""
    import torch

    found = known(value, f"a {name}")
    return torch.full((channels,), filler) if found is None else found


def aten_instance_norm(
    b: GraphBuilder,
    input: Value,
    weight: Value,
    bias: Value,
    running_mean: Value,
    running_var: Value,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Value:
    """By the image's own statistics; by stored ones it is a batch norm."""
    if not use_input_stats:
        numbers = input, weight, bias, running_mean, running_var, momentum, eps
        made: Value = aten_batch_norm(b, *numbers)[0]  # type: ignore[index]
        return made
    return aten_group_norm(b, input, b.shape(input)[1], weight, bias, eps)


SPECS = (
    Spec(
        "group_norm",
        aten=(
            Aten(("group_norm",), aten_group_norm, whole=True),
            Aten(("instance_norm",), aten_instance_norm, whole=True),
        ),
    ),
)
