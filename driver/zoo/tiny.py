"""The MLPerf Tiny networks: image classification, keyword spotting, anomaly detection."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from .entry import damped, random_entry
from .images import images


class TinyBlock(nn.Module):
    """Two 3x3 convolutions; around them the identity, or a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = damped(nn.BatchNorm2d(outputs), 0.5)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet8(nn.Module):
    """Three blocks of 16, 32 and 64 channels on 32x32 images, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            TinyBlock(16, 16, 1), TinyBlock(16, 32, 2), TinyBlock(32, 64, 2)
        )
        self.pool = nn.AvgPool2d(8)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        y: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return y


def unit(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, relu."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class DSCNN(nn.Module):
    """A 10x4 stem on 49 frames of 10 features, four depthwise separable units, 12 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.ZeroPad2d((1, 1, 4, 5)),  # "same" at stride 2: the odd row goes to the end
            nn.Conv2d(1, 64, (10, 4), 2, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Dropout(0.2),
        )
        separable = [nn.Sequential(unit(64, 64, 3, groups=64), unit(64, 64, 1)) for _ in range(4)]
        self.units = nn.Sequential(*separable)
        self.dropout = nn.Dropout(0.4)
        self.pool = nn.AvgPool2d((25, 5))
        self.fc = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.dropout(self.units(self.stem(x))))
        y: Tensor = self.fc(torch.flatten(x, 1))
        return y


class Autoencoder(nn.Module):
    """640 features to 128, four times, to 8, and back; each step with batch norm and relu."""

    def __init__(self) -> None:
        super().__init__()
        widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128)
        steps = [
            nn.Sequential(nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU())
            for wide, narrow in pairwise(widths)
        ]
        self.layers = nn.Sequential(*steps, nn.Linear(widths[-1], 640))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def pictures(rng: np.random.Generator, count: int) -> Tensor:
    """32x32 images in three colours."""
    return images(rng, (count, 3, 32, 32))


def speech(rng: np.random.Generator, count: int) -> Tensor:
    """49 frames of 10 cepstral features."""
    return images(rng, (count, 1, 49, 10))


def sounds(rng: np.random.Generator, count: int) -> Tensor:
    """Five frames of 128 mel bands in a row."""
    return images(rng, (count, 1, 5, 128)).reshape(count, 640)


ENTRIES = {
    "resnet8": random_entry(ResNet8, pictures, seed=8, settling=64),
    "dscnn": random_entry(DSCNN, speech, seed=49, settling=64),
    "autoencoder": random_entry(Autoencoder, sounds, seed=640, settling=256, lean=1.1),
}
