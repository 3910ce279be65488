"""What the zoo holds of a model, and how a network of random weights becomes a sane one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn

from .statistics import WEIGHT, grid, settle

Samples = Callable[[np.random.Generator, int], Tensor]


@dataclass(frozen=True, slots=True)
class Entry:
    """``module()`` is the network in evaluation mode; ``batches(n)`` are n tuples of inputs."""

    module: Callable[[], nn.Module]
    batches: Callable[[int], list[tuple[Tensor, ...]]]


def random_entry(
    construct: Callable[[], nn.Module],
    samples: Samples,
    seed: int,
    settling: int,
    lean: float = 0.5,
) -> Entry:
    """A network with seeded random weights, settled on ``settling`` samples."""

    def module() -> nn.Module:
        rng = np.random.default_rng((seed, 0))
        seen = samples(rng, settling)
        with torch.random.fork_rng(devices=[]):  # PyTorch draws weights, too, that go unused
            network = construct()
        return settle(draw(network, rng, lean), seen)

    def batches(count: int) -> list[tuple[Tensor, ...]]:
        rng = np.random.default_rng((seed, 1))
        return [(samples(rng, 1),) for _ in range(count)]

    return Entry(module, batches)


def draw(module: nn.Module, rng: np.random.Generator, lean: float) -> nn.Module:
    """Kaiming weights and slightly varied batch norms.

    A batch norm with the attribute ``damping`` ends a residual branch: its scale is that small, so
    that the sum keeps its size through any number of blocks. ``lean`` is the mean offset of the
    norms in deviations: at 0 every relu cuts half of its inputs, and rounding errors grow by about
    2 dB a layer; trained networks are not so rough. NumPy draws the numbers, since PyTorch's depend
    on the machine's vector width.
    """
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                _draw_weights(part, rng)
            elif isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                _draw_norm(part, rng, lean)
    return module


def _draw_weights(part: nn.Conv2d | nn.Linear, rng: np.random.Generator) -> None:
    fan_in = part.weight[0].numel()
    _fill(part.weight, rng.standard_normal(part.weight.shape) * sqrt(2.0 / fan_in))
    if part.bias is not None:
        _fill(part.bias, rng.standard_normal(part.bias.shape) * 0.05)


def _draw_norm(
    part: nn.BatchNorm1d | nn.BatchNorm2d, rng: np.random.Generator, lean: float
) -> None:
    damping = float(getattr(part, "damping", 1.0))
    _fill(part.weight, rng.uniform(0.8, 1.2, part.weight.shape) * damping)
    _fill(part.bias, (lean + rng.standard_normal(part.bias.shape) * 0.2) * damping)


def _fill(parameter: Tensor, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(grid(values, WEIGHT)))


def damped(norm: nn.BatchNorm2d, damping: float) -> nn.BatchNorm2d:
    """Mark ``norm`` as the end of a residual branch."""
    norm.damping = damping  # type: ignore[assignment]
    return norm
