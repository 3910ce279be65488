"""Buffers of the interpreter: flat arrays, one copy a step where steps run at once.

Memory that nothing has written holds a fixed odd pattern, so that reads of it show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arithmetic import Value
from .evaluate_expr import Mask
from .stmt import Buffer

POISON = 0xA5


@dataclass(slots=True)
class Memory:
    """``flat`` holds ``copies`` whole buffers; ``base`` is the offset of a step's own copy.

    ``base`` is shaped (loops..., 1) as of when the buffer was allocated.
    """

    buffer: Buffer
    flat: Value
    base: Value
    depth: int  # of loops that run at once around the allocation

    def offsets(self, index: list[Value], lanes: int, mask: Mask, depth: int) -> Value:
        """Places in ``flat`` of ``lanes`` elements from ``index`` on; IndexError outside."""
        total: Value = np.zeros(1, np.int64)
        for d, (at, extent) in enumerate(zip(index, self.buffer.shape, strict=True)):
            span = lanes if d == len(self.buffer.shape) - 1 else 1
            inside = at if mask is None else np.where(mask, at, 0)
            low, high = (int(inside.min()), int(inside.max())) if inside.size else (0, 0)
            if low < 0 or high + span > extent:
                raise IndexError(
                    f"{self.buffer.name}: axis {d} must be indexed within 0..{extent - 1}, "
                    f"but got {low if low < 0 else high + span - 1}"
                )
            total = total * extent + inside
        if len(self.base) > 1 or self.depth:
            total = total + spread(self.base, depth - self.depth)
        return total + np.arange(lanes) if lanes > 1 else total


def spread(value: Value, more: int) -> Value:
    """``value`` of shape (loops..., lanes) under ``more`` further loops."""
    return value.reshape(*value.shape[:-1], *(1,) * more, value.shape[-1]) if more else value


def allocated(buffer: Buffer, steps: tuple[int, ...]) -> Memory:
    """A fresh buffer for each of ``steps`` that run at once."""
    copies = int(np.prod(steps, dtype=np.int64))
    flat = poison(buffer, copies * buffer.size)
    base = (np.arange(copies, dtype=np.int64) * buffer.size).reshape(*steps, 1)
    return Memory(buffer, flat, base, len(steps))


def poison(buffer: Buffer, size: int) -> Value:
    """Elements as memory that nothing has written."""
    raw = np.full(size * buffer.type.bytes, POISON, np.uint8)
    return raw.view(buffer.type.numpy) if buffer.type.kind != "b" else raw.astype(np.bool_)
