"""Seeded inputs with the statistics of natural images: much low frequency, correlated channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .statistics import VALUE, grid


def images(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Tensor:
    """(n, c, h, w): amplitude falling as 1 / frequency, a shared and an own part a channel, noise.

    Mean about 0 and deviation about 1 over the whole, contrast varying from image to image, clipped
    where the pixels of a normalized photograph end. In steps of 1/1024: the last bits of a Fourier
    transform are not the same on each machine.
    """
    count, channels, height, width = shape
    shared = _smooth(rng, (count, 1, height, width))
    own = _smooth(rng, (count, channels, height, width))
    noise = rng.standard_normal(shape)
    contrast = rng.uniform(0.6, 1.2, (count, 1, 1, 1))
    level = rng.uniform(-0.4, 0.4, (count, 1, 1, 1))
    mixed = contrast * (0.85 * shared + 0.45 * own + 0.15 * noise) + level
    return torch.from_numpy(grid(np.clip(mixed, -2.2, 2.6), VALUE))


def photographs(rng: np.random.Generator, count: int) -> Tensor:
    """224x224 images in three colours."""
    return images(rng, (count, 3, 224, 224))


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise whose amplitude falls as 1 / frequency; each plane with mean 0 and deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    rows, columns = np.fft.fftfreq(shape[-2]), np.fft.rfftfreq(shape[-1])
    frequency = np.hypot(rows[:, None], columns[None, :])
    frequency[0, 0] = np.inf  # no mean
    planes = np.fft.irfft2(spectrum / frequency, shape[-2:])
    return np.asarray(planes / planes.std(axis=(-2, -1), keepdims=True))
