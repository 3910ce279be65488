"""What float meanings of several operators have in common; ``torch`` comes in as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def padded(torch: Any, x: Tensor, pads: Sequence[tuple[int, int]], value: float) -> Tensor:
    """``pads`` has (before, after) for each of the last axes, none negative."""
    flat = [amount for pair in reversed(pads) for amount in pair]
    made: Tensor = torch.nn.functional.pad(x, flat, value=value) if any(flat) else x
    return made
