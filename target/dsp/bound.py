"""The bound: cycles that no schedule of a kernel can beat, from its work and the machine alone.

>>> bound(Work(products=1 << 20), dsp())
1024
"""

from __future__ import annotations

from dataclasses import dataclass

from .machine import Machine, dsp
from .rates import rates

__all__ = ["Work", "bound", "dsp"]


@dataclass(frozen=True, slots=True)
class Work:
    """The least work of a kernel under any schedule; ``ddr``, ``loaded``, ``stored`` are bytes."""

    products: int = 0  # that touch data
    ddr: int = 0  # moved to or from DDR
    loaded: int = 0  # that some thread must load, wherever they lie
    stored: int = 0  # that some thread must store
    moves: bool = False  # values stay as they are, so that transfers may do what threads do


def bound(work: Work, machine: Machine) -> int:
    """The greatest of multiplying, loading and storing on all threads, and moving by DDR."""
    found, threads = rates(machine), machine.threads
    engine = machine.dma_rate if work.moves else 0
    return max(
        -(-work.products // (found.products * threads)),
        -(-work.loaded // (found.loaded * threads + engine)),
        -(-work.stored // (found.stored * threads + engine)),
        -(-work.ddr // machine.dma_rate),
    )
