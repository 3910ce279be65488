"""Random small models: a chain of operators with shapes that nobody chose.

model, inputs = chance(7)        # the same for each seed
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.exact.odd import Apply, Made, Shape

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 29, 32, 37, 64, 100)
DEPTHS = (1, 2, 3, 4, 5, 8, 13, 16, 29, 32, 33, 40, 64, 72, 96, 128, 130)
LARGEST = 30_000  # elements of a tensor
Step = Callable[[Random, Shape], nn.Module]
STEPS: dict[int, list[Step]] = {2: [], 3: [], 4: []}  # by the rank of what they take


def step(*ranks: int) -> Callable[[Step], Step]:
    """Enters a function that makes a module for a shape."""

    def enter(make: Step) -> Step:
        for rank in ranks:
            STEPS[rank].append(make)
        return make

    return enter


def chance(seed: int) -> Made:
    """A chain of one to four operators."""
    rng = Random(seed)
    rank = rng.choice((4, 4, 4, 3, 2))
    shape = start(rng, rank)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.randn(shape)
        value, layers = x, []
        for _ in range(rng.randint(1, 4)):
            layer = rng.choice(STEPS[value.ndim])(rng, tuple(value.shape))
            after = layer.eval()(value)
            if not 1 <= after.numel() <= LARGEST or after.ndim not in STEPS:
                continue
            layers.append(layer)
            value = after
        return nn.Sequential(*layers, *([] if layers else [nn.ReLU()])).eval(), (x,)


def start(rng: Random, rank: int) -> Shape:
    """A shape of limited size: images (n, c, h, w), lines (n, w, c), rows (n, c)."""
    while True:
        sizes = [rng.choice(SIZES) for _ in range(rank)]
        if rank == 4:
            sizes[0], sizes[1] = rng.choice((1, 1, 1, 2, 3)), rng.choice(DEPTHS)
        else:
            sizes[-1] = rng.choice(DEPTHS)
        if 2 <= prod(sizes) <= LARGEST:
            return tuple(sizes)


def window(rng: Random, extent: int, dilations: Sequence[int]) -> tuple[int, int, int, int]:
    """Size, stride, padding and dilation along one axis."""
    size = rng.choice([k for k in (1, 2, 3, 3, 5) if k <= extent])
    padding = rng.randint(0, size // 2)
    dilation = rng.choice([d for d in dilations if d * (size - 1) < extent + 2 * padding])
    return size, rng.choice((1, 1, 1, 2, 3)), padding, dilation


@step(4)
@step(4)
@step(4)
def convolution(rng: Random, shape: Shape) -> nn.Module:
    _, channels, height, width = shape
    groups = rng.choice([g for g in (1, 1, 1, 2, 3, 4, channels) if channels % g == 0])
    outputs = groups * rng.choice((1, 2, 3, 4, 7, 8, 13, 16, 29, 32, 64, 100))
    if groups == channels and rng.random() < 0.7:
        outputs = channels
    windows = [window(rng, extent, (1, 1, 1, 2, 3)) for extent in (height, width)]
    (kh, sh, ph, dh), (kw, sw, pw, dw) = windows
    made = nn.Conv2d(channels, min(outputs, 64 * groups), (kh, kw), (sh, sw), (ph, pw), (dh, dw),
                     groups, bias=rng.random() < 0.8)  # fmt: skip
    after = rng.choice((nn.Identity, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardswish))
    return nn.Sequential(made, after())


@step(4)
def pool(rng: Random, shape: Shape) -> nn.Module:
    (kh, sh, ph, _), (kw, sw, pw, _) = (window(rng, extent, (1,)) for extent in shape[2:])
    kind = rng.choice((nn.MaxPool2d, nn.AvgPool2d))
    return kind((kh, kw), (sh, sw), (ph, pw), ceil_mode=rng.random() < 0.3)


@step(4)
def average(rng: Random, shape: Shape) -> nn.Module:
    return rng.choice((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d))(1)


@step(2, 3, 4)
def linear(rng: Random, shape: Shape) -> nn.Module:
    return nn.Linear(shape[-1], rng.choice(DEPTHS), bias=rng.random() < 0.8)


@step(2, 3, 4)
def unary(rng: Random, shape: Shape) -> nn.Module:
    return rng.choice((nn.Sigmoid, nn.GELU, nn.Tanh, nn.ReLU, nn.Hardsigmoid, nn.SiLU))()


@step(2, 3, 4)
def softmax(rng: Random, shape: Shape) -> nn.Module:
    return nn.Softmax(rng.randrange(len(shape)))


@step(2, 3, 4)
def mean(rng: Random, shape: Shape) -> nn.Module:
    axes = rng.sample(range(len(shape)), rng.randint(1, len(shape)))
    return Apply(lambda x: x.mean(axes, keepdim=True))


@step(2, 3, 4)
@step(2, 3, 4)
def binary(rng: Random, shape: Shape) -> nn.Module:
    """With itself or another function of it, perhaps reduced to rows, columns or channels."""
    op = rng.choice((torch.add, torch.sub, torch.mul))
    axes = rng.sample(range(len(shape)), rng.randint(0, len(shape)))

    def apply(x: Tensor) -> Tensor:
        other = torch.tanh(x)
        for axis in axes:
            other = other.narrow(axis, x.shape[axis] // 2, 1)
        return torch.relu(op(x, other)) if len(axes) % 2 else op(other, x)

    return Apply(apply)


@step(2, 3, 4)
def product(rng: Random, shape: Shape) -> nn.Module:
    return Apply(lambda x: x @ torch.sigmoid(x).transpose(-1, -2))


@step(2, 3, 4)
def cut(rng: Random, shape: Shape) -> nn.Module:
    axis = rng.randrange(len(shape))
    first = rng.randrange(shape[axis])
    last, pace = rng.randint(first + 1, shape[axis]), rng.choice((1, 1, 2, 3))
    index = (*[slice(None)] * axis, slice(first, last, pace))
    return Apply(lambda x: x[index])


@step(2, 3, 4)
def joined(rng: Random, shape: Shape) -> nn.Module:
    axis, part = rng.randrange(len(shape)), rng.randrange(shape[0])
    if axis == 0:
        return Apply(lambda x: torch.cat([x[part:], x], 0))
    return Apply(lambda x: torch.cat([x, torch.relu(x), x], axis))


@step(2, 3, 4)
def padded(rng: Random, shape: Shape) -> nn.Module:
    pads = [rng.choice((0, 1, 2, 5)) for _ in range(2 * rng.randint(1, len(shape)))]
    return Apply(lambda x: F.pad(x, pads, value=0.25))


@step(2, 3, 4)
def permuted(rng: Random, shape: Shape) -> nn.Module:
    axes = rng.sample(range(len(shape)), len(shape))
    return Apply(lambda x: x.permute(axes))


@step(2, 3, 4)
def reshaped(rng: Random, shape: Shape) -> nn.Module:
    axis = rng.randrange(len(shape) - 1)
    if len(shape) > 2 and rng.random() < 0.5:
        return nn.Flatten(axis, axis + 1)
    parts = [d for d in range(1, shape[axis] + 1) if shape[axis] % d == 0]
    first = rng.choice(parts)
    return nn.Unflatten(axis, (first, shape[axis] // first))


@step(2, 3, 4)
def expanded(rng: Random, shape: Shape) -> nn.Module:
    axis, times = rng.randrange(len(shape)), rng.choice((2, 3, 5))
    sizes = list(shape)
    sizes[axis] = times
    return Apply(lambda x: x.narrow(axis, 0, 1).expand(sizes))
