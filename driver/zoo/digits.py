"""The demo's network: a small ResNet, trained in seconds on scikit-learn's 8x8 digits.

trained = train_digits(seed=0)
trained.accuracy, trained.data.held_images, trained.data.held_labels, trained.calibration

Training adds floats in an order that depends on the CPU, and each step carries the difference on.
The zoo's ``digits`` is therefore stored: digits.npy holds what ``python -m
dovetail.driver.zoo.digits`` trained once, rounded to half precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .entry import Entry

HELD_OUT = 360  # of 1797 images
EPOCHS = 12
BATCH = 64
FILE = Path(__file__).with_name("digits.npy")


class DigitBlock(nn.Module):
    """Two 3x3 convolutions; around them the identity, or a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class DigitNet(nn.Module):
    """Three blocks of 16, 32 and 64 channels on 8x8 images, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(
            DigitBlock(16, 16, 1), DigitBlock(16, 32, 2), DigitBlock(32, 64, 2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        y: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return y


@dataclass(frozen=True, slots=True)
class Digits:
    """The data, images (n, 1, 8, 8) in [0, 1], labels (n,): split once, for good."""

    train_images: Tensor
    train_labels: Tensor
    held_images: Tensor
    held_labels: Tensor

    def batches(self, count: int) -> list[tuple[Tensor, ...]]:
        """``count`` calibration inputs of one training image each."""
        return [(image[None],) for image in self.train_images[:count]]


@dataclass(frozen=True, slots=True)
class Trained:
    """The trained network, its top-1 accuracy on the held-out images, and its data."""

    module: nn.Module
    accuracy: float
    data: Digits

    @property
    def calibration(self) -> list[tuple[Tensor, ...]]:
        """64 training images, one an input."""
        return self.data.batches(64)


def load_digits() -> Digits:
    """scikit-learn's bundled handwritten digits, shuffled by a fixed seed."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "digits: scikit-learn must be installed: pip install dovetail[demo]"
        ) from error
    found = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pixels = (found.images[order] / 16.0).astype(np.float32)
    images, labels = torch.from_numpy(pixels)[:, None], torch.from_numpy(found.target[order])
    return Digits(images[HELD_OUT:], labels[HELD_OUT:], images[:HELD_OUT], labels[:HELD_OUT])


def train_digits(seed: int = 0) -> Trained:
    """Train from scratch: on one machine, the same weights for the same seed."""
    data = load_digits()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = DigitNet()
            _train(module, data)
    finally:
        torch.set_num_threads(threads)
    return Trained(module, accuracy(module, data.held_images, data.held_labels), data)


def _train(module: nn.Module, data: Digits) -> None:
    steps = EPOCHS * -(-len(data.train_labels) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    module.train()
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(data.train_labels)), BATCH):
            guess = module(data.train_images[chosen])
            loss = nn.functional.cross_entropy(guess, data.train_labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()


def accuracy(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of ``images`` that the module, in evaluation mode, labels right."""
    module.eval()
    with torch.no_grad():
        return float((module(images).argmax(1) == labels).float().mean())


def stored_digits() -> Trained:
    """The zoo's network: the same weights everywhere."""
    data, module = load_digits(), stored_network()
    return Trained(module, accuracy(module, data.held_images, data.held_labels), data)


def stored_network() -> nn.Module:
    """The network of digits.npy, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        module = DigitNet().eval()
    numbers, start = torch.from_numpy(np.load(FILE, allow_pickle=False)), 0
    for tensor in _numbers(module):
        end = start + tensor.numel()
        tensor.copy_(numbers[start:end].reshape(tensor.shape))
        start = end
    assert start == len(numbers)
    return module


def store(module: nn.Module) -> None:
    """Writes digits.npy."""
    flat = [tensor.numpy().ravel() for tensor in _numbers(module)]
    np.save(FILE, np.concatenate(flat).astype(np.float16))


def _numbers(module: nn.Module) -> list[Tensor]:
    """All weights and statistics, in the module's order."""
    return [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]


ENTRIES = {"digits": Entry(stored_network, lambda count: load_digits().batches(count))}

if __name__ == "__main__":
    store(train_digits().module)
    print(f"{FILE.name}: {stored_digits().accuracy:.1%} of the held-out images are labelled right")
