"""Statistics of batch norms, the same to the last bit on any CPU and any number of threads.

Weights are whole steps of 2**-20 and values, rounded before each product and behind each norm,
whole steps of 2**-10. So each product, square and sum is a whole number of steps below 2**53, and
doubles hold all of these: no sum is rounded, and its order, fused multiply-adds and the width of
vectors change nothing. Only single operations round, and IEEE 754 says how.

    grid(numbers, WEIGHT)          # the nearest whole steps
    settle(module, samples)        # sets the statistics
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

WEIGHT = 2.0**-20  # the step of weights
VALUE = 2.0**-10  # the step of inputs, and of the values between layers
EXACT = 2.0**53  # steps that a double counts

Norm = nn.BatchNorm1d | nn.BatchNorm2d
Product = nn.Conv2d | nn.Linear


def grid(numbers: np.ndarray, step: float) -> np.ndarray:
    """The multiples of ``step`` that are nearest, as float32."""
    return (np.rint(numbers / step) * step).astype(np.float32)


def settle(module: nn.Module, samples: Tensor) -> nn.Module:
    """The module in evaluation mode, its norms with the mean and variance that ``samples`` give.

    Weights and samples must be on their grids. Dropout does nothing, as in evaluation.
    """
    hooks = [
        part.register_forward_pre_hook(_before_product)
        if isinstance(part, Product)
        else part.register_forward_hook(_behind_norm)
        for part in module.modules()
        if isinstance(part, Product | Norm)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for speed: grouped convolutions of doubles wait for their threads
    try:
        with torch.no_grad():
            module.eval().double()(samples.double())
    finally:
        torch.set_num_threads(threads)
        for hook in hooks:
            hook.remove()
    return module.float()


def _before_product(part: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """The rounded input of a convolution or linear layer, whose sums must be exact."""
    assert isinstance(part, Product)
    x = _rounded(inputs[0])
    heaviest = float(part.weight.flatten(1).abs().sum(1).max())
    assert heaviest * float(x.abs().max()) / (WEIGHT * VALUE) < EXACT
    return x


def _behind_norm(part: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
    """Takes the statistics of the norm's input, and norms by them."""
    assert isinstance(part, Norm) and part.running_mean is not None and part.running_var is not None
    x = _rounded(inputs[0])
    over = [axis for axis in range(x.ndim) if axis != 1]
    count = x.numel() // x.shape[1]
    assert count * (float(x.abs().max()) / VALUE) ** 2 < EXACT
    total, squares = x.sum(over), (x * x).sum(over)
    part.running_mean.copy_((total / count).float())
    part.running_var.copy_(((squares - total * total / count) / (count - 1)).float())
    gain = part.weight / torch.sqrt(part.running_var + part.eps)
    each = (-1, *[1] * (x.ndim - 2))
    y = (x - part.running_mean.view(each)) * gain.view(each)
    return _rounded(y + part.bias.view(each))


def _rounded(x: Tensor) -> Tensor:
    """The multiples of VALUE that are nearest."""
    return (x / VALUE).round_().mul_(VALUE)
