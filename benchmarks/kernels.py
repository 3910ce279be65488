"""Kernels on which searches and rankings are measured: layers of networks that people write.

    for task in tasks(LAYERS): ...        # one task a layer, its largest kernel

Mobile nets, detection, speech, transformers, super-resolution; small ones and large ones, and some
whose outputs are no multiple of the vector length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import prepare
from dovetail.driver.targets import parse

Layer = tuple[Callable[[], nn.Module], tuple[int, ...]]  # how to make it, and its input's shape


def conv(inputs: int, outputs: int, size: int, **more: int) -> Callable[[], nn.Module]:
    return partial(nn.Conv2d, inputs, outputs, size, **{"padding": size // 2, **more})


def wide(inputs: int, outputs: int) -> Callable[[], nn.Module]:
    return partial(nn.Linear, inputs, outputs)


class Attention(nn.Module):
    """Scores of queries and keys, each a share of the input's channels."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, channels = x.shape
        q, k = x.reshape(n, tokens, self.heads, channels // self.heads).transpose(1, 2).chunk(2, -1)
        return q @ k.transpose(-1, -2)


LAYERS: Mapping[str, Layer] = {
    "stem 3x3 s2 3-32": (conv(3, 32, 3, stride=2), (1, 3, 128, 128)),
    "stem 7x7 s2 3-64": (conv(3, 64, 7, stride=2), (1, 3, 112, 112)),
    "conv 3x3 32-64": (conv(32, 64, 3), (1, 32, 40, 40)),
    "conv 3x3 s2 64-128": (conv(64, 128, 3, stride=2), (1, 64, 40, 40)),
    "conv 3x3 64-64": (conv(64, 64, 3), (1, 64, 28, 28)),
    "conv 3x3 128-96": (conv(128, 96, 3), (1, 128, 20, 20)),
    "conv 3x3 256-256": (conv(256, 256, 3), (1, 256, 10, 10)),
    "conv 5x5 48-32": (conv(48, 32, 5), (1, 48, 30, 30)),
    "conv 3x3 dilated 64-64": (conv(64, 64, 3, dilation=2, padding=2), (1, 64, 24, 24)),
    "conv 1x1 96-160": (conv(96, 160, 1), (1, 96, 28, 28)),
    "conv 1x1 512-128": (conv(512, 128, 1), (1, 512, 14, 14)),
    "conv 1x1 24-144": (conv(24, 144, 1), (1, 24, 56, 56)),
    "conv 1x1 s2 64-128": (conv(64, 128, 1, stride=2), (1, 64, 56, 56)),
    "head 3x3 128-36": (conv(128, 36, 3), (1, 128, 20, 20)),
    "upscale 3x3 32-12": (conv(32, 12, 3), (1, 32, 48, 48)),
    "depthwise 3x3 96": (conv(96, 96, 3, groups=96), (1, 96, 56, 56)),
    "depthwise 3x3 s2 144": (conv(144, 144, 3, groups=144, stride=2), (1, 144, 56, 56)),
    "depthwise 5x5 240": (conv(240, 240, 5, groups=240), (1, 240, 28, 28)),
    "grouped 3x3 128 by 4": (conv(128, 128, 3, groups=4), (1, 128, 28, 28)),
    "linear 192-768": (wide(192, 768), (1, 196, 192)),
    "linear 768-192": (wide(768, 192), (1, 196, 768)),
    "linear 256-256": (wide(256, 256), (1, 64, 256)),
    "linear 1024-1024 of a row": (wide(1024, 1024), (1, 1024)),
    "scores of 6 heads": (partial(Attention, 6), (1, 128, 384)),
}


def task(name: str, layers: Mapping[str, Layer] = LAYERS) -> KernelTask:
    """The largest kernel of a layer, with fixed weights and inputs."""
    make, shape = layers[name]
    torch.manual_seed(0)
    module, inputs = make().eval(), (torch.randn(*shape),)
    found = prepare(module, inputs, [inputs], parse("dsp")).tasks
    return max(found, key=lambda task: task.size)


def tasks(names: Iterable[str] = LAYERS) -> list[KernelTask]:
    return [task(name) for name in names]
