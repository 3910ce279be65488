"""Elements by known numbers, repeated and reflected, are those of torch."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dovetail.graph.aten_take import runs
from dovetail.graph.errors import UnsupportedModel
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.torch_import import import_model
from tests.graph.calls import OneCall, compiled, worth


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def some(count: int, extent: int) -> Tensor:
    return torch.randint(0, extent, (count,), generator=torch.Generator().manual_seed(1))


CALLS: list[tuple[Callable[..., Any], tuple[int, ...], tuple[Tensor, ...]]] = [
    (lambda x: x.flip(3), (1, 6, 5, 20), ()),
    (lambda x: x.flip(1), (1, 12, 5, 5), ()),
    (lambda x: x.flip(0, -1), (3, 20, 24), ()),
    (lambda x: x.roll((3, -2), (1, 2)), (1, 8, 9, 6), ()),
    (lambda x: x.roll(5), (4, 6), ()),
    (lambda x, i: x[:, i], (1, 16, 24), (some(5, 16),)),
    (lambda x, i: x[:, i], (2, 40, 8), (some(33, 40),)),
    (lambda x, i: x[..., i], (1, 9, 24), (some(20, 24),)),
    (lambda x, i: x[:, i, i + 1], (1, 16, 24), (some(5, 15),)),
    (lambda x, i: x[i[:, None], i], (9, 9), (some(6, 9),)),
    (lambda x, i: x[i, :, i], (6, 4, 6), (some(5, 6),)),
    (lambda x: x[:, [-1, 2, -3]], (2, 5, 7), ()),
    (lambda x, i: x.index_select(2, i), (1, 6, 30, 5), (some(25, 30),)),
    (lambda x, i: x.index_select(1, i), (1, 32, 5, 5), (some(12, 32),)),
    (lambda x, i: x.gather(1, i.view(1, -1, 1).expand(1, -1, 7)), (2, 16, 8), (some(6, 16),)),
    (lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect"), (1, 8, 7, 9), ()),
    (lambda x: F.pad(x, (1, 2, 3, 1), mode="replicate"), (2, 3, 4, 5), ()),
    (lambda x: F.pad(x, (1, 2, 3, 1), mode="circular"), (1, 8, 7, 9), ()),
    (lambda x: F.pad(x, (5, 3), mode="reflect"), (1, 4, 12), ()),
    (lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate"), (1, 2, 3, 4, 5), ()),
    (lambda x: x.repeat(2, 1, 3), (2, 5, 7), ()),
    (lambda x: x.tile(2, 2), (3, 4), ()),
    (lambda x: x.repeat(2, 1, 1), (4, 5), ()),
    (lambda x: F.unfold(x, 3, padding=1, stride=2), (1, 4, 7, 7), ()),
    (lambda x: F.interpolate(x, size=(7, 9), mode="nearest-exact"), (1, 6, 4, 5), ()),
    (lambda x: F.interpolate(x, scale_factor=2), (1, 3, 2, 3, 4), ()),
    (lambda x: F.pixel_shuffle(x, 2), (1, 12, 3, 4), ()),
    (lambda x: F.pixel_unshuffle(x, 2), (1, 3, 6, 4), ()),
    (lambda x: torch.stack([x, -x], 1), (3, 5), ()),
    (lambda x: F.channel_shuffle(x, 3), (1, 12, 3, 3), ()),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shape", "known"), CALLS)
def test_elements_are_those_of_torch(
    function: Callable[..., Any], shape: tuple[int, ...], known: tuple[Tensor, ...]
) -> None:
    x, model = noise(*shape), OneCall(function, *known)
    graph = import_model(model, (x,))
    np.testing.assert_allclose(evaluate_float(graph, [x.numpy()])[0], model(x).numpy(), atol=1e-6)
    assert worth(function, x, known=known) > 35


def test_runs_are_all_numbers() -> None:
    rng = Random(0)
    assert list(runs([5, 6, 7, 0, 1])) == [(5, 1, 3), (0, 1, 2)]
    assert list(runs([3, 3, 3, 9, 4])) == [(3, 0, 3), (9, 1, 1), (4, 1, 1)]
    for _ in range(200):
        numbers = [rng.randint(0, 6) for _ in range(rng.randint(1, 20))]
        made = [first + step * i for first, step, count in runs(numbers) for i in range(count)]
        assert made == numbers


def test_an_index_that_differs_along_other_axes_is_refused() -> None:
    index = torch.tensor([[0, 1], [1, 0]])
    told = r"aten.gather \(by an index that differs along other axes\) x1"
    with pytest.raises(UnsupportedModel, match=told):
        import_model(OneCall(lambda x, i: x.gather(1, i), index), (noise(2, 3),))


def test_code_is_exact() -> None:
    for function in (
        lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
        lambda x: x.flip(1),
        lambda x: x.flip(2),
    ):
        compiled(function, noise(1, 32, 20, 8))
