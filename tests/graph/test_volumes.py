"""Volumes as planes, logarithms of a softmax, writes into fresh tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovetail.graph.errors import UnsupportedModel
from tests.graph.calls import ops, worth


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv3d(6, 8, 3, padding=1), nn.Conv3d(6, 9, (1, 3, 2), stride=2, groups=3),
     nn.Conv3d(6, 4, 1),
     nn.Conv3d(6, 6, 3, padding="same", dilation=(1, 2, 1), groups=6), nn.MaxPool3d(2),
     nn.MaxPool3d(3, 2, 1), nn.MaxPool3d((1, 2, 2)), nn.AvgPool3d(2), nn.AvgPool3d(3, 2, 1),
     nn.AvgPool3d(3, 2, 1, count_include_pad=False), nn.LocalResponseNorm(3)],
)  # fmt: skip
def test_volumes(layer: nn.Module) -> None:
    assert worth(lambda x, m: m(x), noise(2, 6, 5, 6, 7), known=(layer,)) > 33


def test_what_planes_cannot_do_is_named() -> None:
    with pytest.raises(UnsupportedModel, match=r"avg_pool3d \(with a divisor of its own\)"):
        worth(lambda x: F.avg_pool3d(x, 2, divisor_override=3), noise(1, 2, 4, 4, 4))
    with pytest.raises(UnsupportedModel, match=r"max_pool3d \(with windows that reach beyond"):
        worth(lambda x: F.max_pool3d(x, 2, ceil_mode=True), noise(1, 2, 5, 4, 4))


def test_logarithms_of_a_softmax() -> None:
    for axis in (0, 1, 2):
        assert worth(lambda x, a=axis: F.log_softmax(x, a), noise(4, 9, 30) * 3) > 40


def _padded(x: Tensor) -> Tensor:
    y = torch.zeros(2, 20, 16)
    y[:, 2:18] = x
    return y


def _first(x: Tensor) -> Tensor:
    y = torch.zeros_like(x) + 0.5
    y[:, 0] = x[:, 3]
    return y


@pytest.mark.parametrize("function", [_padded, _first, lambda x: x + torch.full_like(x, 2.0)])
def test_writes_into_fresh_tensors(function: Callable[..., Any]) -> None:
    assert worth(function, noise(2, 16, 16)) > 35
    assert ops(_padded, noise(2, 16, 16)) == ["cat"]
