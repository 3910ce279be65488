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
from functools import lru_cache, partial
from math import lcm
from numbers import Integral, Real
from typing import Any, TypeVar

from ...options.record import option
from ...tir.hashed import Hashed
from ..errors import MachineError
from ..machine_facts import Issue, Loops

N = TypeVar("N", int, float)
PIPES = ("LD", "ST", "MPY0", "MPY1", "SHIFT", "XLANE")
COMPUTE = PIPES[2:]
LOOPS = Loops(short=4, written=64, few=4, long=64, turned=4, products=128, odd=192,
              begin=2)  # fmt: skip
ISSUE = Issue(
    slots=4, products=2, shuffles=1, loads=1, stores=1, accesses=2,
    depth=10,  # about two latencies
    sums=7, near=3,
    operators={
        "mul": (2, 1, 0), "widening_mul": (2, 1, 0), "rounding_mul_shr": (4, 4, 0),
        "mul_shr": (4, 4, 0), "lookup": (8, 0, 8),
    },
)  # fmt: skip


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


def _number(default: N, low: int, high: float, text: str) -> N:
    """The row of a number and its range: a whole one, where ``high`` is."""
    return option(default, partial(_within, low, high), text)


def _within(low: int, high: float, what: str, value: Any) -> Any:
    """A number of NumPy becomes Python's, which is how names spell it."""
    kind: Any = Integral if isinstance(high, int) else Real
    word = "an integer" if isinstance(high, int) else "a number"
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
        raise MachineError(f"{what} must be {word} from {low} to {high}, but got {value!r}")
    return int(value) if isinstance(value, Integral) else float(value)


def _units(what: str, units: Any) -> tuple[tuple[str, Unit], ...]:
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
            f"{what} must be pairs of a name and a Unit, one for each of "
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


# Ranges: a packet needs its four slots, encodings fix the register files' ends.
@dataclass(frozen=True, slots=True)
class DspMachine(Hashed):
    """One machine's numbers; ``target.dsp`` makes one whose values are checked, with its code."""

    version: int = _number(
        66, 60, 73, "The version of the instruction set, which gives rows and their units."
    )
    clock: float = _number(1.2e9, 1, 1e12, "Hz.")
    threads: int = _number(
        4, 1, 64, "Hardware threads with a vector context each; one packet a cycle each."
    )
    tcm: int = _number(8 << 20, 1 << 12, 1 << 32, "Bytes of tightly coupled memory.")
    vector_bytes: int = _number(128, 128, 128, "Bytes of a vector register.")
    vectors: int = _number(32, 8, 32, "Vector registers of a thread.")
    predicates: int = _number(4, 1, 4, "Vector predicates of a thread.")
    scalars: int = _number(
        29, 12, 29, "Scalar registers: r0 to r28; stack, frame and link registers stay free."
    )
    conditions: int = _number(4, 1, 4, "Scalar predicates of a thread.")
    slots: int = _number(4, 4, 4, "Instructions of a packet.")
    units: tuple[tuple[str, Unit], ...] = option(
        UNITS, _units, "The slots and pipes that each class of instructions takes."
    )
    vector_result: int = _number(
        9, 7, 32, "Pipeline cycle in which vector results appear; operands are 5 or 7."
    )
    load_latency: int = _number(2, 1, 64, "Packets from a scalar load to a use of its result.")
    multiply_latency: int = _number(2, 1, 64, "Packets from a scalar multiplication to a use.")
    scalar_latency: int = _number(1, 1, 64, "Packets from any other scalar result to a use.")
    extract_latency: int = _number(
        15, 1, 64, "Packets from a scalar taken out of a vector to a use."
    )
    barrier: int = _number(
        40, 0, 1 << 20, "Cycles from the last thread's end to the start of a phase that needs it."
    )
    dma_rate: int = _number(
        32, 1, 1 << 20, "Bytes a cycle of the one channel to DDR, for all transfers and accesses."
    )
    dma_start: int = _number(
        300, 0, 1 << 20, "Cycles from the start of a transfer to its first byte; these overlap."
    )
    ddr_latency: int = _number(
        200, 0, 1 << 20, "Cycles that a direct access to DDR takes where the channel is free."
    )
    burst: int = _number(
        64, 1, 1 << 12,
        "Bytes that DDR moves at least: 8 beats of 64 bits (JEDEC DDR4, burst length).",
    )  # fmt: skip
    icache: int = _number(32 << 10, 1, 1 << 30, "Bytes of the instruction cache.")
    fetch_rate: int = _number(
        8, 1, 1 << 20, "Bytes a cycle at which code comes to the instruction cache."
    )

    __hash__ = Hashed.__hash__

    @property
    def loops(self) -> Loops:
        """How loops are compiled."""
        return LOOPS

    @property
    def issue(self) -> Issue:
        """What a cycle takes."""
        return ISSUE

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
def only(machine: DspMachine) -> DspMachine:
    """One for all that are equal: machines of tasks that came to a worker are many."""
    return machine
