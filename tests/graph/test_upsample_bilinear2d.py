"""upsample_bilinear2d: torch's values for any size, exact kernels, one rounding."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dovetail.graph.attributes import GraphError
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Node
from dovetail.graph.operators import INTEGERS
from dovetail.quant.affine import quantize_inputs
from tests.graph.calls import OneCall, compiled, integer, worth

Q = INTEGERS["q_upsample_bilinear2d"]
WAYS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"scale_factor": 2}, (2, 3, 4, 5)), ({"scale_factor": (4, 3)}, (1, 8, 5, 6)),
    ({"size": (7, 9)}, (1, 3, 4, 5)), ({"size": (3, 2)}, (1, 5, 7, 9)),
    ({"size": (5, 5)}, (1, 4, 1, 1)),
    ({"scale_factor": 1.7}, (1, 3, 6, 7)), ({"scale_factor": 2}, (1, 6, 10)),
    ({"size": 7}, (2, 3, 11)),
]  # fmt: skip


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("how", "shape"), WAYS)
def test_values_are_those_of_torch(
    how: dict[str, Any], shape: tuple[int, ...], corners: bool
) -> None:
    mode = "linear" if len(shape) == 3 else "bilinear"

    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x, mode=mode, align_corners=corners, **how)

    x = noise(*shape)
    assert worth(resize, x) > 30
    graph = integer(OneCall(resize), x)
    (inputs,) = quantize_inputs(graph, [x.numpy()])
    (came,) = evaluate(graph, [inputs])
    want = resize(torch.from_numpy(inputs).double()).numpy()
    assert np.abs(came - want).max() <= 1.5


def test_kernels_are_exact(kit: Any) -> None:
    rng, chance = np.random.default_rng(0), Random(0)
    for _ in range(10):
        shape = (
            *(chance.randint(1, n) for n in (2, 9)),
            chance.randint(1, 6),
            chance.randint(1, 6),
        )
        numbers = dict[str, tuple[int, ...]]()
        for name, extent in zip(("row", "column"), shape[2:], strict=True):
            size = chance.randint(1, 12)
            numbers[f"{name}s"] = tuple(i * max(extent - 1, 1) // size for i in range(size))
            numbers[f"{name}_parts"] = tuple(chance.choice((0, 64, 128)) for _ in range(size))
        kit.holds(Q.name, [kit.bytes_of(rng, *shape)], **numbers)


def test_reads_are_the_pixels_that_have_a_part() -> None:
    attrs = {
        "rows": (0, 0, 2),
        "row_parts": (0, 64, 128),
        "columns": (1, 1),
        "column_parts": (0, 0),
    }
    node = Node(Q.name, ("x",), "y", attrs)
    ones = 255 * np.eye(2 * 4 * 4, dtype=np.uint8).reshape(-1, 1, 2, 4, 4)
    shown = sum(bool(Q.evaluate(node, [x]).any()) for x in ones)
    assert Q.reads(node, [(1, 2, 4, 4)], 0) == shown == 2 * 3 * 1


def test_rows_are_there() -> None:
    attrs = {"rows": (0, 3), "row_parts": (0, 0), "columns": (0,), "column_parts": (0,)}
    with pytest.raises(GraphError, match=r"rows are in 0..2, but got \(0, 3\)"):
        Q.shape(Node(Q.name, ("x",), "y", attrs), [(1, 1, 4, 4)])


def test_code_is_exact_and_of_vectors() -> None:
    for corners in (False, True):
        tuned = compiled(
            lambda x, c=corners: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=c),
            noise(1, 32, 12, 12),
        )
        (row,) = tuned.kernels
        assert row.bound <= row.cycles < 32 * 24 * 24 * 0.6
