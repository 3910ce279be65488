"""Sums, variances, norms and extremes over axes, and recurrent layers, which are made of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.graph.errors import UnsupportedModel
from tests.graph.calls import compiled, ops, worth


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


CALLS: list[Callable[..., Any]] = [
    lambda x: x.sum((2, 3)), lambda x: x.sum(1, keepdim=True), lambda x: x.abs().sum(), torch.var,
    lambda x: x.var((2, 3)), lambda x: x.std(1, keepdim=True), lambda x: x.var(-1, correction=0),
    lambda x: torch.cat(torch.var_mean(x, 1), 1), lambda x: torch.linalg.vector_norm(x, dim=(1, 2)),
    lambda x: x.norm(p=1, dim=1), lambda x: x.norm(dim=-1, keepdim=True),
    lambda x: x.norm(p=3, dim=1),
    lambda x: torch.linalg.vector_norm(x, float("inf"), dim=1), lambda x: x.amax((2, 3)),
    lambda x: x.amin(1, keepdim=True), lambda x: x.max(1)[0], lambda x: x.min(-1, keepdim=True)[0],
    torch.max, lambda x: torch.logsumexp(x, 1), lambda x: (x * x).sum(-1).sqrt(),
    lambda x: x.exp() / x.exp().sum(1, keepdim=True),
]  # fmt: skip


@pytest.mark.parametrize("function", CALLS)
def test_over_axes(function: Callable[..., Any]) -> None:
    assert worth(function, noise(2, 12, 7, 9)) > 28


def test_extremes_are_exact(kit: Any) -> None:
    rng = np.random.default_rng(0)
    for shape, axes in (
        ((2, 8, 6, 7), (2, 3)), ((1, 40, 5, 5), (1,)), ((3, 4, 50), (2,)), ((9,), (0,)),
        ((2, 3, 2, 3, 4), (1, 3)), ((3, 5, 33), (0, 1, 2)),
    ):  # fmt: skip
        for keepdim in (False, True):
            for op in ("q_amax", "q_amin"):
                kit.holds(op, [kit.bytes_of(rng, *shape)], axes=axes, keepdim=keepdim)


def test_extremes_take_bytes_as_they_are() -> None:
    assert ops(lambda x: x.amax((2, 3)), noise(1, 8, 5, 5)) == ["q_amax"]
    assert worth(lambda x: x.amax((2, 3)), noise(1, 8, 5, 5)) > 40


def test_the_place_of_an_extreme_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"is result 1 of aten\.max"):
        worth(lambda x: x.max(1), noise(2, 3))


@pytest.mark.parametrize(
    "layer",
    [nn.LSTM(8, 12, batch_first=True), nn.LSTM(8, 12, 2, bidirectional=True), nn.GRU(8, 12, 2),
     nn.GRU(8, 12, bidirectional=True, batch_first=True), nn.RNN(8, 12)],
)  # fmt: skip
def test_recurrent_layers_are_steps(layer: nn.Module) -> None:
    assert worth(lambda x, m: m(x)[0], noise(4, 3, 8), known=(layer,)) > 28


def test_states_come_and_go() -> None:
    state = noise(1, 2, 12), noise(1, 2, 12)
    lstm = nn.LSTM(8, 12)
    stepped = lambda x, h, c, m: (m(x, (h, c))[0], *m(x, (h, c))[1])  # noqa: E731
    assert worth(stepped, noise(3, 2, 8), *state, known=(lstm,)) > 25


def test_code_is_exact_and_of_vectors() -> None:
    for function in (lambda x: x.amax((2, 3)), lambda x: x.amin(1), lambda x: x.sum((2, 3))):
        tuned = compiled(function, noise(1, 32, 16, 16))
        for row in tuned.kernels:
            assert row.bound <= row.cycles < 32 * 256 / 3
