"""The simulated machine: every number that packing, timing and placement depend on.

    Machine(threads=1, tcm=1 << 20).name        # "dsp(threads=1, tcm=1048576)"

The defaults describe an HVX v66 integer machine. Pipes, slots and the cycle of vector results are
those of LLVM's public itineraries. What no public source gives is an assumption: the clock, the
threads, the latencies of scalars, the barrier, the rate and the start of transfers, the latency of
DDR, the instruction cache and its rate. Slots are numbered 0 to 3, and a packet holds at most one
instruction a slot; vector instructions also hold pipes: ``LD``, ``ST`` and the four compute pipes
``MPY0``, ``MPY1``, ``SHIFT`` and ``XLANE``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from math import lcm
from numbers import Integral, Real
from typing import Any

from ...tir.hashed import Hashed
from ..errors import MachineError
from ..machine import Loops

PIPES = ("LD", "ST", "MPY0", "MPY1", "SHIFT", "XLANE")
COMPUTE = PIPES[2:]
LOOPS = Loops(short=4, written=64, few=4, long=64, turned=4)


@dataclass(frozen=True, slots=True)
class Unit:
    """A resource class: the sets of slots and of pipes an instruction takes, one set of each."""

    slots: tuple[tuple[int, ...], ...]
    pipes: tuple[tuple[str, ...], ...] = ((),)


def _any(*slots: int) -> tuple[tuple[int, ...], ...]:
    return tuple((slot,) for slot in slots)


_EACH = tuple((pipe,) for pipe in COMPUTE)
_BOTH = (("MPY0", "MPY1"), ("SHIFT", "XLANE"))
_LOADS = tuple(("LD", pipe) for pipe in COMPUTE)
_STORES = tuple(("ST", pipe) for pipe in COMPUTE)

UNITS: tuple[tuple[str, Unit], ...] = (
    ("VA", Unit(_any(0, 1, 2, 3), _EACH)),
    ("VA_DV", Unit(_any(0, 1, 2, 3), _BOTH)),
    ("VX", Unit(_any(2, 3), (("MPY0",), ("MPY1",)))),
    ("VX_DV", Unit(_any(2, 3), (("MPY0", "MPY1"),))),
    ("VS", Unit(_any(0, 1, 2, 3), (("SHIFT",),))),
    ("VP", Unit(_any(0, 1, 2, 3), (("XLANE",),))),
    ("VP_VS", Unit(_any(0, 1, 2, 3), (("SHIFT", "XLANE"),))),
    ("LOAD,VA", Unit(_any(0, 1), _LOADS)),
    ("LOAD", Unit(_any(0, 1), (("LD",),))),
    ("NOSLOT1,LOAD,VP", Unit(((0, 1),), (("LD", "XLANE"),))),
    ("STORE,VA", Unit(_any(0), _STORES)),
    ("STORE", Unit(_any(0), (("ST",),))),
    ("NOSLOT1,STORE,VP", Unit(((0, 1),), (("ST", "XLANE"),))),
    ("GATHER", Unit(_any(1), _LOADS)),
    ("SCATTER", Unit(_any(0), _STORES)),
    ("4SLOT", Unit(((0, 1, 2, 3),), (COMPUTE,))),
    ("LD", Unit(_any(0, 1))),
    ("ST", Unit(_any(0))),
    ("ALU32", Unit(_any(0, 1, 2, 3))),
    ("S32", Unit(_any(2, 3))),
    ("M", Unit(_any(2, 3))),
    ("CR", Unit(_any(3))),
    ("J", Unit(_any(2, 3))),
    ("JR", Unit(_any(2))),
)


@dataclass(frozen=True, slots=True)
class Machine(Hashed):
    """One machine's numbers; ``target.dsp`` makes one whose values are checked, with its code."""

    version: int = 66  # of the instruction set: rows and their units depend on it
    clock: float = 1.2e9  # Hz
    threads: int = 4  # hardware threads with a vector context each; one packet a cycle each
    tcm: int = 8 << 20  # bytes of tightly coupled memory
    vector_bytes: int = 128
    vectors: int = 32
    predicates: int = 4
    scalars: int = 29  # r0 .. r28; stack, frame and link registers stay free
    conditions: int = 4
    slots: int = 4
    units: tuple[tuple[str, Unit], ...] = UNITS
    vector_result: int = 9  # pipeline cycle in which vector results appear; operands are 5 or 7
    load_latency: int = 2  # packets from a scalar load to a use of its result
    multiply_latency: int = 2  # packets from a scalar multiplication to a use
    scalar_latency: int = 1  # packets from any other scalar result to a use
    extract_latency: int = 15  # packets from a scalar taken out of a vector to a use
    barrier: int = 40  # cycles from the last thread's end to the start of a phase that needs it
    dma_rate: int = 32  # bytes a cycle of the one channel to DDR, for all transfers and accesses
    dma_start: int = 300  # cycles from the start of a transfer to its first byte; these overlap
    ddr_latency: int = 200  # cycles that a direct access to DDR takes where the channel is free
    burst: int = 64  # bytes that DDR moves at least: 8 beats of 64 bits (JEDEC DDR4, burst length)
    icache: int = 32 << 10  # bytes of the instruction cache
    fetch_rate: int = 8  # bytes a cycle at which code comes to the instruction cache

    __hash__ = Hashed.__hash__

    @property
    def loops(self) -> Loops:
        """How loops are compiled."""
        return LOOPS

    @property
    def grain(self) -> int:
        """Bytes by which code may work further on and stay the same: whole vectors and bursts."""
        return lcm(self.vector_bytes, self.burst)

    @property
    def name(self) -> str:
        """``dsp`` with the fields that differ from the defaults."""
        changed = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"dsp({', '.join(changed)})" if changed else "dsp"


@lru_cache(maxsize=64)
def only(machine: Machine) -> Machine:
    """One for all that are equal: machines of tasks that came to a worker are many."""
    return machine


# The range of each number: a packet needs its four slots, encodings fix the register files' ends.
_RANGES = {
    "version": (60, 73), "clock": (1, 1e12), "threads": (1, 64), "tcm": (1 << 12, 1 << 32),
    "vector_bytes": (128, 128), "vectors": (8, 32), "predicates": (1, 4), "scalars": (12, 29),
    "conditions": (1, 4), "slots": (4, 4), "vector_result": (7, 32), "load_latency": (1, 64),
    "multiply_latency": (1, 64), "scalar_latency": (1, 64), "extract_latency": (1, 64),
    "barrier": (0, 1 << 20), "dma_rate": (1, 1 << 20), "dma_start": (0, 1 << 20),
    "ddr_latency": (0, 1 << 20), "burst": (1, 1 << 12), "icache": (1, 1 << 30),
    "fetch_rate": (1, 1 << 20),
}  # fmt: skip


def checked(name: str, value: Any) -> Any:
    """The value of a field; a number of NumPy as Python's, which is how names spell it."""
    if name == "units":
        return _checked_units(value)
    low, high = _RANGES[name]
    kinds: tuple[Any, ...] = (Integral, Real) if name == "clock" else (Integral,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise MachineError(
            f"dsp: {name} must be {'a number' if name == 'clock' else 'an integer'} "
            f"from {low} to {high}, but got {value!r}"
        )
    return int(value) if isinstance(value, Integral) else float(value)


def _checked_units(units: Any) -> tuple[tuple[str, Unit], ...]:
    try:
        pairs: tuple[tuple[str, Unit], ...] = tuple((name, unit) for name, unit in units)
        for name, unit in pairs:
            _check_unit(name, unit)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, MachineError):
            raise
        pairs = ()
    if missing := [name for name, _ in UNITS if name not in dict(pairs)]:
        raise MachineError(
            f"dsp: units must be pairs of a name and a Unit, one for each of "
            f"{', '.join(name for name, _ in UNITS)}, but {', '.join(missing)} are missing"
        )
    return pairs


def _check_unit(name: str, row: Unit) -> None:
    if any(not 0 <= slot <= 3 for choice in row.slots for slot in choice):
        raise MachineError(f"dsp: the slots of unit {name} must be 0 to 3, but got {row.slots}")
    for pipe in (pipe for choice in row.pipes for pipe in choice):
        if pipe not in PIPES:
            raise MachineError(
                f"dsp: the pipes of unit {name} must be of {', '.join(PIPES)}, but got {pipe!r}"
            )
