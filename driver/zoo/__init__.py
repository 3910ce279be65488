"""The model zoo: plain torch.nn, fixed seeds, batch-norm statistics taken from data.

module, inputs = build("resnet18")
batches = calibration("resnet18", batches=8)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from .entry import Entry

# Name -> the file that holds its entry.
_FILES = {
    "digits": "digits",
    "resnet8": "tiny",
    "dscnn": "tiny",
    "autoencoder": "tiny",
    "mobilenet_v2": "mobilenet",
    "resnet18": "resnet",
    "resnet50": "resnet",
}


class UnknownModel(ValueError):
    """The zoo has no model of this name."""


def names() -> list[str]:
    """The names that ``build`` takes."""
    return list(_FILES)


def build(name: str) -> tuple[Module, tuple[Tensor, ...]]:
    """The module in evaluation mode and example inputs; the same weights each time."""
    entry = _entry(name)
    return entry.module(), entry.batches(1)[0]


def calibration(name: str, batches: int = 8) -> list[tuple[Tensor, ...]]:
    """Seeded input tuples of the example's shape."""
    return _entry(name).batches(batches)


def _entry(name: str) -> Entry:
    if name not in _FILES:
        raise UnknownModel(f"zoo: a model must be one of {', '.join(_FILES)}, but got {name!r}")
    entries: dict[str, Entry] = import_module(f".{_FILES[name]}", __name__).ENTRIES
    return entries[name]
