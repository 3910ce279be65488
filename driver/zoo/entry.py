"""What the zoo holds of a model, and how a network of random weights becomes a sane one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

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
        return settle(construct(), samples(rng, settling), rng, lean)

    def batches(count: int) -> list[tuple[Tensor, ...]]:
        rng = np.random.default_rng((seed, 1))
        return [(samples(rng, 1),) for _ in range(count)]

    return Entry(module, batches)


def settle(module: nn.Module, samples: Tensor, rng: np.random.Generator, lean: float) -> nn.Module:
    """Kaiming weights, slightly varied batch norms, their statistics from ``samples``.

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
        module.train()
        module(samples)
    return module.eval()


def _draw_weights(part: nn.Conv2d | nn.Linear, rng: np.random.Generator) -> None:
    fan_in = part.weight[0].numel()
    _fill(part.weight, rng.standard_normal(part.weight.shape) * (2.0 / fan_in) ** 0.5)
    if part.bias is not None:
        _fill(part.bias, rng.standard_normal(part.bias.shape) * 0.05)


def _draw_norm(
    part: nn.BatchNorm1d | nn.BatchNorm2d, rng: np.random.Generator, lean: float
) -> None:
    damping = float(getattr(part, "damping", 1.0))
    _fill(part.weight, rng.uniform(0.8, 1.2, part.weight.shape) * damping)
    _fill(part.bias, (lean + rng.standard_normal(part.bias.shape) * 0.2) * damping)
    part.momentum = None  # the statistics are the plain mean over the batches seen
    part.reset_running_stats()


def _fill(parameter: Tensor, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def damped(norm: nn.BatchNorm2d, damping: float) -> nn.BatchNorm2d:
    """Mark ``norm`` as the end of a residual branch."""
    norm.damping = damping  # type: ignore[assignment]
    return norm
