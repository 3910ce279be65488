"""What schedules and plans ask of a machine, whatever else it has; costs are in cycles.

Facts are fields, so that a machine with some of them changed is another machine:

    replace(machine, threads=1)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Loops:
    """How a target compiles loops, which templates reckon with."""

    short: int  # iterations up to which an innermost loop is written out
    written: int  # instructions of such a loop, written out
    few: int  # iterations that overlap only where ...
    long: int  # ... a body has no more instructions than this
    turned: int  # iterations from which on a loop is turned around the loop within it
    products: int  # of a body that is written out, at most
    odd: int  # instructions of an iteration that some threads have more, written out again
    begin: int  # cycles in which a loop gets its count and its pointers


@dataclass(frozen=True, slots=True, eq=False)
class Issue:
    """What a thread begins in a cycle, at most, by the pipes that instructions need; a target has
    one, by which it is known."""

    slots: float  # instructions
    products: float  # of registers
    shuffles: float  # of registers
    loads: float
    stores: float
    accesses: float  # loads and stores
    depth: int  # cycles from a load to the store of what follows from it
    sums: int  # stage of the pipeline in which products read their sum
    near: int  # registers by which a load moves its pointer, at most
    # Instructions of a register that an operator takes where these are not one on any pipe, and how
    # many of them only multipliers, or only what shuffles, take.
    operators: Mapping[str, tuple[float, float, float]]


class Machine(Protocol):
    """A frozen dataclass with these fields, and more of its own."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """As logs and files spell it: ``"dsp(threads=1)"``."""

    @property
    def clock(self) -> float:
        """Cycles a second."""

    @property
    def threads(self) -> int:
        """That share parallel loops, in contiguous parts."""

    @property
    def tcm(self) -> int:
        """Bytes of near memory, in which operands and scratch had better lie."""

    @property
    def vector_bytes(self) -> int: ...

    @property
    def vectors(self) -> int:
        """Vector registers of a thread."""

    @property
    def vector_result(self) -> int:
        """The stage of the pipeline in which vector results appear."""

    @property
    def load_latency(self) -> int:
        """From a scalar load to a use of its result."""

    @property
    def barrier(self) -> int:
        """From the last thread's end to the start of a phase that waits for all of them."""

    @property
    def dma_rate(self) -> int:
        """Bytes a cycle of the one channel to far memory, for transfers and accesses."""

    @property
    def dma_start(self) -> int:
        """From the start of a transfer to its first byte."""

    @property
    def ddr_latency(self) -> int:
        """Of a direct access to far memory."""

    @property
    def burst(self) -> int:
        """Bytes that far memory moves at least."""

    @property
    def loops(self) -> Loops:
        """How loops are compiled."""

    @property
    def issue(self) -> Issue:
        """What a cycle takes."""
