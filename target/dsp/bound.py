"""The bound: cycles that no schedule of a kernel can beat, from its work and the machine alone.

>>> bound(Work(products=1 << 20), Machine())
1024
"""

from __future__ import annotations

from ..cost import Work
from .machine import DspMachine
from .rates import rates


def bound(work: Work, machine: DspMachine) -> int:
    """The greatest of multiplying, loading and storing on all threads, and moving by DDR."""
    found, threads = rates(machine), machine.threads
    engine = machine.dma_rate if work.moves else 0
    return max(
        -(-work.products // (found.products * threads)),
        -(-work.loaded // (found.loaded * threads + engine)),
        -(-work.stored // (found.stored * threads + engine)),
        -(-work.ddr // machine.dma_rate),
    )
