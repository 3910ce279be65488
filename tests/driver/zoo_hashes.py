"""Prints hashes of zoo networks and of their calibration data: python zoo_hashes.py NAME ..."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable

from torch import Tensor, nn

from dovetail.driver import zoo


def hashes(module: nn.Module, batches: list[tuple[Tensor, ...]]) -> tuple[str, str]:
    """Of all weights and statistics, and of the batches; to the last bit."""
    return digest(module.state_dict().items()), digest(("x", x) for (x,) in batches)


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    total = hashlib.sha256()
    for name, tensor in tensors:
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()[:16]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, *hashes(zoo.build(name)[0], zoo.calibration(name)))
