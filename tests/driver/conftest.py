"""Small networks that compile in a second, and what came of compiling them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.driver.tuned import Tuned

Batches = list[tuple[Tensor, ...]]


class Branches(nn.Module):
    """Pools and tables in two branches that meet: tensors live past other kernels."""

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.max_pool2d(x, 3, 2, 1)
        z = torch.sigmoid(nn.functional.avg_pool2d(y, 2))
        w = nn.functional.max_pool2d(torch.relu(y), 2)
        return torch.flatten(torch.cat([z, w], 1) + 0.5, 1)


def branches() -> nn.Module:
    return Branches().eval()


def samples(count: int = 4, shape: tuple[int, ...] = (1, 5, 18, 14)) -> Batches:
    """Seeded inputs."""
    made = torch.Generator().manual_seed(0)
    return [(torch.randn(shape, generator=made),) for _ in range(count)]


@pytest.fixture(scope="session")
def model() -> nn.Module:
    return branches()


@pytest.fixture(scope="session")
def batches() -> Batches:
    return samples()


@pytest.fixture(scope="session")
def compiled(model: nn.Module, batches: Batches) -> Tuned:
    """The model at its default schedules."""
    return compile_model(model, batches[0], batches, executor=0)


@pytest.fixture
def refused() -> Callable[[type[Exception], Callable[[], object]], str]:
    """The whole message of the error that a call must end with."""

    def call(kind: type[Exception], run: Callable[[], object]) -> str:
        with pytest.raises(kind) as caught:
            run()
        return str(caught.value)

    return call
