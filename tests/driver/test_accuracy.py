"""Compiled models near the float ones: sharing of scales, softmaxes, long sums, odd pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dovetail

Shapes = tuple[tuple[int, ...], ...]


class Net(nn.Module):
    """A function of its inputs and of two convolutions over eight channels."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, *inputs: Tensor) -> object:
        return self.function(self, *inputs)


@dataclass(frozen=True, slots=True)
class Case:
    """``function`` of a ``Net`` and of inputs of ``shapes``, and the least dB of each output."""

    function: Callable[..., object]
    shapes: Shapes
    least: tuple[float, ...]


LARGE = torch.full((2000, 2), 16000.0)  # accumulators have 26 bits, the factor after them 7
LARGE[0], LARGE[1] = 0.0, 126.0
IMAGE: Shapes = ((1, 8, 10, 10),)

CASES = {
    "cat_read_elsewhere": Case(
        lambda net, x: (torch.cat([x, net.a(x) * 100], 1), net.b(x)), IMAGE, (33, 34)
    ),
    "far_pad": Case(lambda net, x: (F.pad(x, (1, 1), value=50.0), net.b(x)), IMAGE, (45, 34)),
    "far_pad_of_softmax": Case(
        lambda net, x: F.pad(torch.softmax(x, -1), (1, 1), value=-1.0), ((4, 16),), (38,)
    ),
    "pad_that_never_wins": Case(
        lambda net, x: F.max_pool2d(F.pad(net.a(x), (1, 1, 1, 1), value=-1e9), 3, 2), IMAGE, (38,)
    ),
    "factor_beyond_the_proven_shift": Case(
        lambda net, x: torch.clamp(
            torch.cat([torch.ones(8, 1), x.relu() / 255, torch.zeros(8, 1998)], 1) @ LARGE, 0, 1
        ),
        ((8, 1),),
        (8,),
    ),
    "adaptive_average_that_does_not_divide": Case(
        lambda net, x: F.adaptive_avg_pool2d(net.a(x), (2, 2)), ((1, 8, 24, 19),), (36,)
    ),
    "adaptive_average_in_runs": Case(
        lambda net, x: F.adaptive_avg_pool2d(net.a(x), (7, 3)), IMAGE, (33,)
    ),
    "adaptive_maximum_in_runs": Case(
        lambda net, x: F.adaptive_max_pool2d(net.a(x), (4, 3)), IMAGE, (36,)
    ),
    "adaptive_average_in_many_runs": Case(
        lambda net, x: F.adaptive_avg_pool2d(net.a(x), (23, 1)), ((1, 8, 35, 5),), (33,)
    ),
    "negative_divisor": Case(
        lambda net, x: F.avg_pool2d(net.a(x), 2, divisor_override=-3), IMAGE, (36,)
    ),
    "softmax_of_a_number": Case(lambda net, x: torch.softmax(x, 0), ((),), (40,)),
    "mean_of_a_number": Case(lambda net, x: torch.mean(torch.tanh(x)), ((),), (40,)),
    "diffuse_softmax": Case(lambda net, x: torch.softmax(x / 2, -1), ((4, 1024),), (20,)),
}


def drawn(shapes: Shapes, seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def outputs(value: object) -> Sequence[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    assert isinstance(value, tuple)
    return value


def ratio(real: Tensor, came: Tensor) -> float:
    """The signal to quantization noise in dB."""
    noise = (real.double() - came.double()).square().sum()
    return float(10 * torch.log10(real.double().square().sum() / noise))


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_the_references_and_near_the_float_models(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    net = Net(case.function).eval()
    batches = [drawn(case.shapes, seed) for seed in range(4)]
    tuned = dovetail.compile(net, batches[0], batches)
    came, exact = outputs(tuned(*batches[0])), outputs(tuned.reference(*batches[0]))
    assert all(map(torch.equal, came, exact))
    with torch.no_grad():
        real = outputs(net(*batches[0]))
    for left, right, least in zip(real, came, case.least, strict=True):
        assert ratio(left, right) >= least
