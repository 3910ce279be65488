"""The bound: cycles that no schedule of a kernel can beat, from shapes and the machine alone.

>>> bound(macs=1 << 20, ddr_bytes=0, machine=dsp())
1024
"""

from __future__ import annotations

from .machine import Machine, dsp

__all__ = ["bound", "dsp"]


def bound(macs: int, ddr_bytes: int, machine: Machine) -> int:
    """The greater of multiplying time on all threads and moving time of the compulsory bytes."""
    multiplying = -(-macs // (machine.macs_per_packet * machine.threads))
    return max(multiplying, -(-ddr_bytes // machine.dma_rate))
