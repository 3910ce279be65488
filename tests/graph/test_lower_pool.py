"""Kernels of pooling and means against the evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

NONE = ((0, 0), (0, 0))
ONE = ((1, 1), (1, 1))

POOLS = {
    "global": ((1, 64, 8, 8), (8, 8), (8, 8), NONE),
    "odd": ((1, 13, 37, 53), (3, 3), (2, 2), ONE),
    "stride 3": ((2, 29, 10, 11), (2, 3), (3, 3), ((0, 1), (1, 0))),
    "overlapping": ((1, 128, 5, 5), (3, 3), (1, 1), NONE),
    "one pixel": ((3, 4, 1, 1), (1, 1), (1, 1), NONE),
    "never reached": ((1, 5, 7, 7), (2, 2), (4, 4), ONE),
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pool2d(kit: Any, name: str) -> None:
    x, kernel, stride, padding = POOLS[name]
    made = kit.holds(
        "max_pool2d",
        [kit.bytes_of(np.random.default_rng(1), *x)],
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=(1, 1),
    )
    assert made.kind == "pool"


def test_dilated_max_pool2d(kit: Any) -> None:
    x = kit.bytes_of(np.random.default_rng(1), 1, 13, 9, 9)
    attrs = {"kernel": (2, 2), "stride": (1, 2), "padding": ONE, "dilation": (3, 2)}
    kit.holds("max_pool2d", [x], **attrs)


@pytest.mark.parametrize("name", POOLS)
def test_avg_pool2d(kit: Any, name: str) -> None:
    x, kernel, stride, padding = POOLS[name]
    rng = np.random.default_rng(2)
    requant = kit.requant_of(rng, 1, 64 * np.prod(kernel))
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "x_zero": 7}
    made = kit.holds("q_avg_pool2d", [kit.bytes_of(rng, *x)], requant=requant, **attrs)
    assert made.kind == "pool"


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((1, 64, 8, 8), (2, 3)), ((3, 13, 5, 7), (2, 3)), ((2, 130, 1, 1), (2, 3)),
     ((2, 13, 5, 7), (1,)), ((2, 3, 4, 5), (0, 1, 2, 3)), ((3, 29), (1,)), ((2, 5, 13), (1,)),
     ((2, 5, 13), (0, 2)), ((2, 3, 2, 3, 5), (1, 4)), ((7,), (0,)), ((3, 4), ())],
)  # fmt: skip
def test_mean(kit: Any, shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> None:
    rng = np.random.default_rng(3)
    requant = kit.requant_of(rng, 1, 64 * np.prod([shape[a] for a in axes]))
    x = kit.bytes_of(rng, *shape)
    made = kit.holds("q_mean", [x], axes=axes, keepdim=keepdim, x_zero=100, requant=requant)
    assert made.kind == "reduce"
