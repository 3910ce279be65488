"""What a kernel needs at the least, and what its code costs, on any machine.

Work(products=1 << 20, ddr=4096)      # of a kernel, whatever its schedule
Cost(cycles=5120, packets=4800)       # of one program; what a machine does not have is 0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """The least work of a kernel under any schedule; ``ddr``, ``loaded``, ``stored`` are bytes."""

    products: int = 0  # that touch data
    ddr: int = 0  # moved to or from DDR
    loaded: int = 0  # that some thread must load, wherever they lie
    stored: int = 0  # that some thread must store
    moves: bool = False  # values stay as they are, so that transfers may do what threads do


@dataclass(frozen=True, slots=True)
class Cost:
    """What code costs. ``cycles`` is ``packets`` + all ``stalls``, of the thread that is
    slowest between two barriers; ``executed`` are the packets of each phase and thread."""

    cycles: int  # from the start to the last thread's end
    packets: int = 0  # packets that issue, a cycle each
    stalls: Mapping[str, int] = field(default_factory=dict)  # cycles without a packet, by cause
    dma_bytes: int = 0  # bytes that transfers move
    dma_wait: int = 0  # cycles that wait for transfers, a part of the stalls
    direct_bytes: int = 0  # bytes that instructions move to and from DDR, in whole bursts
    spills: int = 0  # stores and loads of spilled registers in the code
    slot_use: float = 0.0  # instructions over slots of the packets that issue, 0 to 1
    multiplier_use: float = 0.0  # multiplier pipes taken over those there are, 0 to 1
    dots_per_packet: float = 0.0  # dot-product instructions a packet, in innermost loops with some
    executed: tuple[tuple[int, ...], ...] = ()  # packets, by phase and thread
    code_bytes: int = 0  # bytes of code
    tcm: int = 0  # bytes of TCM: operands there and scratch


@dataclass(frozen=True, slots=True)
class Share:
    """What code costs within a longer program, of the thread that is slowest between barriers:
    ``cycles`` is ``packets`` + all ``stalls``."""

    cycles: int
    packets: int = 0
    stalls: Mapping[str, int] = field(default_factory=dict)  # cycles without a packet, by cause


@dataclass(frozen=True, slots=True)
class TimedSpan:
    """What is under way from ``start`` to ``end``, in cycles: a thread's phase, or a transfer."""

    owner: int
    start: int
    end: int
    thread: int = 0
    bytes: int = 0  # that move


@dataclass(frozen=True, slots=True)
class Timeline:
    """A program walked: each owner's share of its cycles, and when what was under way."""

    shares: tuple[Share, ...]
    phases: tuple[TimedSpan, ...] = ()
    transfers: tuple[TimedSpan, ...] = ()
    barriers: tuple[int, ...] = ()  # the cycles in which threads begin to wait for all
    spent: tuple[tuple[int, ...], ...] = ()  # cycles by phase and thread
