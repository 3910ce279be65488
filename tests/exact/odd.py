"""Small models whose shapes fill no vector and divide by nothing: every operator, every layout.

MODELS["stride 3"]()        # (module in evaluation mode, inputs): the same each time
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Made = tuple[nn.Module, tuple[Tensor, ...]]
Shape = tuple[int, ...]

MODELS: dict[str, Callable[[], Made]] = {}


class Apply(nn.Module):
    """A function of tensors as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def enter(name: str, make: Callable[[], nn.Module], *shapes: Shape) -> None:
    """A row of MODELS."""

    def made() -> Made:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval(), tuple(torch.randn(shape) for shape in shapes)

    assert name not in MODELS, name
    MODELS[name] = made


def layer(
    name: str, kind: Callable[..., nn.Module], shape: Shape, *sizes: Any, **more: Any
) -> None:
    """A model of one layer."""
    enter(name, lambda: kind(*sizes, **more), shape)


def call(name: str, function: Callable[..., Any], *shapes: Shape) -> None:
    """A model that is one function."""
    enter(name, lambda: Apply(function), *shapes)


# Convolution.
layer("conv 13 to 29", nn.Conv2d, (1, 13, 37, 53), 13, 29, 3, padding=1)
layer("conv 29 to 13", nn.Conv2d, (1, 29, 37, 53), 29, 13, 3)
layer("conv 3 to 32 stride 2", nn.Conv2d, (1, 3, 37, 53), 3, 32, 3, stride=2, padding=1)
layer("conv stride 3", nn.Conv2d, (1, 5, 37, 53), 5, 7, 3, stride=3)
layer("conv stride 3 of 64", nn.Conv2d, (1, 64, 37, 53), 64, 64, 3, stride=3, padding=2)
layer("conv strides 1 and 2", nn.Conv2d, (1, 13, 17, 23), 13, 29, (3, 5), stride=(1, 2))
layer("conv dilation", nn.Conv2d, (1, 13, 19, 23), 13, 29, 3, dilation=2, padding=2)
layer("conv dilation 3 stride 2", nn.Conv2d, (1, 29, 19, 23), 29, 64, 3, dilation=3, stride=2)
layer("conv groups 3", nn.Conv2d, (1, 12, 17, 13), 12, 18, 3, groups=3, padding=1)
layer("conv groups of 13", nn.Conv2d, (1, 26, 9, 11), 26, 58, 3, groups=2)
layer("conv groups of 32", nn.Conv2d, (1, 64, 9, 11), 64, 64, 3, groups=2, padding=1)
layer("conv groups pointwise", nn.Conv2d, (2, 12, 5, 7), 12, 20, 1, groups=4)
layer("conv 1x1", nn.Conv2d, (1, 29, 37, 53), 29, 13, 1)
layer("conv 1x1 of one pixel", nn.Conv2d, (1, 29, 1, 1), 29, 13, 1)
layer("conv 3x3 of one pixel", nn.Conv2d, (1, 13, 1, 1), 13, 29, 3, padding=1)
layer("conv 1x1 stride 2", nn.Conv2d, (1, 29, 37, 53), 29, 64, 1, stride=2)
layer("conv batch 3", nn.Conv2d, (3, 13, 11, 9), 13, 29, 3, padding=1)
layer("conv batch 3 of 32", nn.Conv2d, (3, 32, 11, 9), 32, 64, 3, padding=1)
layer("conv 7x7 of 3", nn.Conv2d, (1, 3, 37, 53), 3, 64, 7, stride=2, padding=3)
layer("conv of 1 channel", nn.Conv2d, (1, 1, 49, 10), 1, 13, (10, 4), padding=(5, 1))
layer("conv to 1 channel", nn.Conv2d, (1, 29, 13, 7), 29, 1, 3)
layer("conv window 2x4", nn.Conv2d, (1, 13, 8, 9), 13, 32, (2, 4), padding=(1, 2))
layer("conv whole image", nn.Conv2d, (1, 29, 5, 7), 29, 13, (5, 7))
layer("conv same", nn.Conv2d, (1, 13, 8, 9), 13, 29, 4, padding="same")
layer("conv without bias", nn.Conv2d, (1, 13, 8, 9), 13, 160, 3, bias=False)
layer("conv 96 to 160", nn.Conv2d, (1, 96, 7, 5), 96, 160, 3, padding=1)
layer("conv1d", nn.Conv1d, (2, 13, 53), 13, 29, 5, stride=3, padding=2)
layer("conv1d depthwise", nn.Conv1d, (1, 29, 53), 29, 29, 3, padding=1, groups=29)
layer("conv of a deep image", nn.Conv2d, (1, 300, 3, 5), 300, 40, 3, padding=1)

# Depthwise.
layer("depthwise 13", nn.Conv2d, (1, 13, 37, 53), 13, 13, 3, groups=13, padding=1)
layer("depthwise 29 stride 2", nn.Conv2d, (1, 29, 37, 53), 29, 29, 3, groups=29, stride=2)
layer("depthwise 64 stride 3", nn.Conv2d, (1, 64, 37, 53), 64, 64, 3, groups=64, stride=3)
layer("depthwise 5x5", nn.Conv2d, (1, 29, 17, 19), 29, 29, 5, groups=29, padding=2)
layer("depthwise dilation", nn.Conv2d, (1, 40, 17, 19), 40, 40, 3, groups=40, dilation=2)
layer("depthwise batch 3", nn.Conv2d, (3, 32, 9, 7), 32, 32, 3, groups=32, padding=1)
layer("depthwise of one pixel", nn.Conv2d, (1, 13, 1, 1), 13, 13, 3, groups=13, padding=1)
layer("depthwise 160", nn.Conv2d, (1, 160, 7, 9), 160, 160, 3, groups=160, padding=1)
layer("depthwise twice as many", nn.Conv2d, (1, 13, 9, 11), 13, 26, 3, groups=13)
layer("depthwise 1x1", nn.Conv2d, (1, 29, 9, 11), 29, 29, 1, groups=29)

# Products.
layer("linear", nn.Linear, (3, 53), 53, 29)
layer("linear of one row", nn.Linear, (1, 53), 53, 13)
layer("linear of a vector", nn.Linear, (53,), 53, 29)
layer("linear of 3 axes", nn.Linear, (3, 7, 29), 29, 13)
layer("linear of 4 axes", nn.Linear, (2, 3, 5, 29), 29, 32)
layer("linear without bias", nn.Linear, (5, 13), 13, 300, bias=False)
layer("linear to 1", nn.Linear, (13, 29), 29, 1)
layer("linear 640 to 128", nn.Linear, (1, 640), 640, 128)
call("matmul", torch.matmul, (13, 29), (29, 37))
call("matmul of batches", torch.matmul, (3, 13, 29), (3, 29, 37))
call("matmul of heads", torch.matmul, (2, 3, 13, 29), (2, 3, 29, 17))
call("matmul transposed", lambda a, b: a @ b.transpose(1, 2), (2, 13, 29), (2, 17, 29))
call("matmul of a vector", torch.matmul, (13, 29), (29,))
call("matmul of 32", torch.matmul, (1, 32, 64), (1, 64, 32))
call("matmul broadcast", torch.matmul, (3, 13, 29), (29, 7))
call("matmul with itself", lambda a: a @ a.transpose(0, 1), (13, 29))
call("attention", F.scaled_dot_product_attention, (1, 2, 13, 29), (1, 2, 17, 29), (1, 2, 17, 29))

# Arithmetic.
IMAGE, LINE = (1, 13, 37, 53), (3, 29)
call("add", torch.add, IMAGE, IMAGE)
call("add of batches", torch.add, (3, 29, 5, 7), (3, 29, 5, 7))
call("add channels", torch.add, IMAGE, (1, 13, 1, 1))
call("add rows", torch.add, IMAGE, (53,))
call("add one", torch.add, LINE, (1, 1))
call("add a number", lambda x: x + 0.5, IMAGE)
call("add to itself", lambda x: x + x, LINE)
call("add both ways", torch.add, (3, 1, 29), (1, 13, 1))
call("sub", torch.sub, IMAGE, IMAGE)
call("sub from a number", lambda x: 1 - x, LINE)
call("sub columns", torch.sub, (7, 13), (7, 1))
call("mul", torch.mul, IMAGE, IMAGE)
call("mul channels", torch.mul, IMAGE, (1, 13, 1, 1))
call("mul of lines", torch.mul, LINE, (29,))
call("mul by a number", lambda x: x * -3, LINE)
call("square", lambda x: x * x, IMAGE)
call("neg", torch.neg, IMAGE)
call("a chain", lambda x, y: torch.relu(x * y - x) + y, (2, 13, 5, 7), (2, 13, 5, 7))

# Tables.
for _name, _function in (
    ("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("gelu", F.gelu), ("silu", F.silu),
    ("hardsigmoid", F.hardsigmoid), ("hardswish", F.hardswish), ("relu", torch.relu),
    ("relu6", F.relu6), ("clamp", lambda x: x.clamp(-0.3, 0.7)),
):  # fmt: skip
    call(_name, _function, (1, 13, 17, 19))
call("sigmoid of an image", torch.sigmoid, IMAGE)
call("gelu of lines", F.gelu, LINE)
call("tables in a chain", lambda x: torch.tanh(F.gelu(x)) - torch.sigmoid(x), (3, 13))

# Pooling and sums.
layer("max pool", nn.MaxPool2d, (1, 13, 37, 53), 2)
layer("max pool 3 stride 2", nn.MaxPool2d, (1, 64, 37, 53), 3, 2, 1)
layer("max pool 3 stride 3", nn.MaxPool2d, (3, 29, 17, 19), 3, 3)
layer("max pool ceil", nn.MaxPool2d, (1, 29, 17, 19), 3, 2, ceil_mode=True)
layer("max pool dilation", nn.MaxPool2d, (1, 13, 17, 19), 3, 1, dilation=2)
layer("max pool 1d", nn.MaxPool1d, (2, 13, 53), 3, 2)
layer("max pool whole", nn.AdaptiveMaxPool2d, (1, 29, 9, 11), 1)
layer("average pool", nn.AvgPool2d, (1, 13, 37, 53), 2)
layer("average pool padded", nn.AvgPool2d, (1, 29, 17, 19), 3, 2, 1)
layer("average pool counts", nn.AvgPool2d, (1, 29, 17, 19), 3, 2, 1, count_include_pad=False)
layer("average pool 1d", nn.AvgPool1d, (2, 13, 53), 3, 2)
layer("average pool of 256", nn.AvgPool2d, (1, 256, 7, 9), 3, 1)
layer("global average", nn.AdaptiveAvgPool2d, (1, 29, 37, 53), 1)
layer("global average of batches", nn.AdaptiveAvgPool2d, (3, 64, 7, 5), 1)
layer("adaptive average", nn.AdaptiveAvgPool2d, (1, 29, 12, 15), (4, 5))
call("mean of an image", lambda x: x.mean((2, 3)), (3, 13, 7, 5))
call("mean of channels", lambda x: x.mean(1), (2, 13, 7, 5))
call("mean of rows", lambda x: x.mean(2, keepdim=True), (2, 13, 7, 5))
call("mean of lines", lambda x: x.mean(-1), (5, 29))
call("mean of all", lambda x: x.mean(), (3, 13, 7))
call("softmax", lambda x: x.softmax(1), (3, 29))
call("softmax of one line", lambda x: x.softmax(-1), (1, 1000))
call("softmax of 4 axes", lambda x: x.softmax(-1), (2, 3, 13, 17))
call("softmax of channels", lambda x: x.softmax(1), (2, 13, 7, 5))
call("softmax of two", lambda x: x.softmax(0), (2, 29))

# Movement.
call("cat channels", lambda x, y: torch.cat([x, y], 1), (1, 13, 37, 53), (1, 29, 37, 53))
call("cat rows", lambda x, y: torch.cat([x, y], 2), (2, 13, 5, 7), (2, 13, 3, 7))
call("cat columns", lambda x, y: torch.cat([x, y, x], 3), (1, 29, 5, 7), (1, 29, 5, 4))
call("cat batches", lambda x, y: torch.cat([x, y], 0), (1, 13, 5, 7), (2, 13, 5, 7))
call("cat lines", lambda x, y: torch.cat([x, y], -1), (3, 29), (3, 13))
call("cat of 32", lambda x, y: torch.cat([x, y], 1), (1, 32, 9, 7), (1, 32, 9, 7))
call("pad", lambda x: F.pad(x, (1, 2, 3, 0)), (1, 13, 17, 19))
call("pad channels", lambda x: F.pad(x, (0, 0, 0, 0, 2, 1), value=0.5), (2, 13, 5, 7))
call("pad lines", lambda x: F.pad(x, (3, 4)), (3, 29))
call("pad and cut", lambda x: F.pad(x, (-1, 2, 2, -1)), (1, 29, 9, 11))
call("slice rows", lambda x: x[:, :, 3:11], (1, 13, 17, 19))
call("slice columns", lambda x: x[..., 1:18:3], (1, 29, 17, 19))
call("slice channels", lambda x: x[:, 3:24], (1, 29, 17, 19))
call("slice every second channel", lambda x: x[:, 1::2], (2, 29, 5, 7))
call("slice lines", lambda x: x[1:3, 5:20], (4, 29))
call("select", lambda x: x[:, 2], (2, 13, 5, 7))
call("select a column", lambda x: x[..., 3], (2, 13, 5, 7))
call("chunk", lambda x: [p + 1 for p in x.chunk(2, 1)], (1, 26, 5, 7))
call("split unevenly", lambda x: torch.relu(torch.split(x, [4, 9], 1)[1]), (1, 13, 5, 7))
call("permute to last", lambda x: x.permute(0, 2, 3, 1), (1, 13, 17, 19))
call("permute to first", lambda x: x.permute(0, 3, 1, 2), (1, 17, 19, 13))
call("permute all", lambda x: x.permute(3, 2, 1, 0), (2, 13, 5, 7))
call("transpose", lambda x: x.transpose(0, 1), (13, 29))
call("transpose of batches", lambda x: x.transpose(1, 2), (3, 13, 29))
call("flatten", lambda x: x.flatten(1), (2, 13, 5, 7))
call("reshape", lambda x: x.reshape(3, 5, 14, 13), (2, 13, 15, 7))
call("reshape lines", lambda x: x.view(29, 3), (3, 29))
call("unflatten", lambda x: x.view(2, 13, 5, 7), (2, 455))
call("unsqueeze", lambda x: x[:, None, :, None] * 2, (3, 29))
call("expand", lambda x: x.expand(3, 13, 5, 7), (3, 13, 1, 1))
call("expand columns", lambda x: x.expand(2, 13, 5, 29), (2, 13, 5, 1))
call("expand batches", lambda x: x.expand(3, 29), (1, 29))
call("shuffle", lambda x: x.view(1, 2, 13, 5, 7).transpose(1, 2).reshape(1, 26, 5, 7),
     (1, 26, 5, 7))  # fmt: skip


# Nets.
class Residual(nn.Module):
    """Branches that meet, one of them strided, and channels scaled by what they hold."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, 2, 1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.side = nn.Conv2d(inputs, outputs, 1, 2)
        self.gate = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return F.relu(y + self.side(x))


class Attention(nn.Module):
    """One layer of a transformer without its norms."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.inward(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.outward(y)
        z: Tensor = self.down(F.gelu(self.up(x)))
        return x + z


enter("a small net", lambda: nn.Sequential(
    nn.Conv2d(3, 13, 3, padding=1), nn.BatchNorm2d(13), nn.ReLU6(), nn.MaxPool2d(3, 2, 1),
    nn.Conv2d(13, 29, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    nn.Linear(29, 5), nn.Softmax(1)), (1, 3, 37, 53))  # fmt: skip
enter("a residual net", lambda: nn.Sequential(Residual(3, 13), Residual(13, 29)), (2, 3, 37, 53))
enter("a wide residual net", lambda: nn.Sequential(Residual(32, 64), nn.MaxPool2d(2)),
      (1, 32, 17, 19))  # fmt: skip
enter("a transformer", lambda: Attention(26, 2), (2, 13, 26))
enter("a wide transformer", lambda: Attention(64, 2), (1, 32, 64))
enter("linear after permute", lambda: nn.Sequential(
    Apply(lambda x: x.permute(0, 2, 3, 1)), nn.Linear(13, 29)), (2, 13, 5, 7))  # fmt: skip
enter("linear after flatten", lambda: nn.Sequential(
    nn.Conv2d(3, 13, 3), nn.Flatten(), nn.Linear(13 * 35, 10)), (3, 3, 7, 9))  # fmt: skip
enter("a net of sequences", lambda: nn.Sequential(
    nn.Conv1d(13, 29, 3, padding=1), nn.SiLU(), nn.MaxPool1d(2), nn.Conv1d(29, 32, 1)),
    (2, 13, 53))  # fmt: skip
