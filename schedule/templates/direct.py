"""Cycles that accesses to operands in DDR cost a thread, for estimates.

direct(machine, accesses=2, size=128, waits=1)     # 208.0: two shares of 4 cycles, one wait
"""

from __future__ import annotations

from ...target.machine_facts import Machine


def direct(machine: Machine, accesses: float, size: int, waits: float) -> float:
    """Cycles of accesses of ``size`` bytes by each thread, all threads beside each other; ``waits``
    is how often a thread needs the loaded bytes before it can go on."""
    moved = -(-size // machine.burst) * machine.burst
    return accesses * moved * machine.threads / machine.dma_rate + waits * machine.ddr_latency
