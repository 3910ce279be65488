"""Cycles that accesses to operands in DDR cost a thread, for estimates.

>>> direct(dsp(threads=1), accesses=2, size=128, waits=1)      # two shares of 4 cycles, one wait
208.0
"""

from __future__ import annotations

from ...target.dsp.machine import Machine, dsp

__all__ = ["direct", "dsp"]


def direct(machine: Machine, accesses: float, size: int, waits: float) -> float:
    """Cycles of accesses of ``size`` bytes by each thread, all threads beside each other; ``waits``
    is how often a thread needs the loaded bytes before it can go on."""
    moved = -(-size // machine.burst) * machine.burst
    return accesses * moved * machine.threads / machine.dma_rate + waits * machine.ddr_latency
