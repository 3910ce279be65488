"""The selected program: machine instructions over virtual registers, in loops, before packing.

It is the one structure that the JIT, the packer and the C-level emitters read. Virtual registers
may be assigned more than once (accumulators are carried by loops); an instruction that accumulates
has the same register as result and as its ``accumulate`` operand. Memory is named by buffers and
affine byte addresses, so that every consumer can form its own pointers.

    phase (parallel i in 56)
      loop j in 14
        v3 = vmem(x[i*128 + j*1024 + 0])
        v4 = vaddw(v3, v7)
        vmem(y[i*128 + j*1024 + 0]) = v4
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ..tir.quick import quick
from .instruction import Instruction, Register


@dataclass(frozen=True, slots=True)
class Reg:
    """A virtual register, identified by number; the class decides where it may live."""

    number: int
    kind: Register

    def __hash__(self) -> int:
        return self.number

    def __str__(self) -> str:
        return f"{self.kind.value}{self.number}"


@dataclass(frozen=True, slots=True)
class Half:
    """One vector of a PAIR register (or one scalar of a DOUBLE): 0 the low, 1 the high one."""

    pair: Reg
    index: int

    def __str__(self) -> str:
        return f"{self.pair}.{'lo' if self.index == 0 else 'hi'}"


class Late(int):
    """An immediate that fills a hole: code is selected and packed by the interval from ``low`` to
    ``high`` alone, so that it is the same for every number within."""

    low: int
    high: int

    def __new__(cls, value: int, low: int, high: int) -> Late:
        self = super().__new__(cls, value)
        self.low, self.high = low, high
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Late, (int(self), self.low, self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Late) and self.__reduce__() == other.__reduce__()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((int(self), self.low, self.high))


Operand = Reg | Half | int

THREADS = "threads"  # the attribute of a kernel that runs on fewer threads than there are


@quick
@dataclass(frozen=True, slots=True)
class Address:
    """``buffer + offset + sum(coefficient * loop variable)`` in bytes, plus a scalar register."""

    buffer: str
    offset: int = 0
    terms: tuple[tuple[str, int], ...] = ()  # (loop variable, bytes), sorted by name
    index: Reg | None = None  # a byte offset known only at run time (table look-ups)
    even: int = 1  # a divisor of the index

    def __str__(self) -> str:
        parts = [f"{name}*{scale}" for name, scale in self.terms]
        parts += [str(self.index)] if self.index else []
        return f"{self.buffer}[{' + '.join([*parts, str(self.offset)])}]"


@quick
@dataclass(frozen=True, slots=True)
class MachineOp:
    """One instruction with its registers: ``operands`` follow the row's parameters."""

    instruction: Instruction
    result: Reg | Half | None
    operands: tuple[Operand, ...] = ()
    address: Address | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Dma:
    """Starts an asynchronous copy of ``rows`` rows of ``row_bytes``; ``token`` names it for Wait.

    Strides are bytes between row starts. The destination must not be touched before the Wait.
    """

    token: str
    target: Address
    source: Address
    rows: int
    row_bytes: int
    target_stride: int
    source_stride: int


@dataclass(frozen=True, slots=True)
class WaitOp:
    """Blocks until the oldest outstanding copy started under ``token`` by this thread is done."""

    token: str


@dataclass(slots=True)
class Loop:
    """Runs ``body`` for variable = 0 .. extent-1."""

    variable: str
    extent: int
    body: list[Item] = field(default_factory=list)


Item = MachineOp | Loop | Dma | WaitOp


def items_in(items: Iterable[Item]) -> Iterator[Item]:
    """All items of some code, a loop before what is in it."""
    left = list(items)[::-1]
    while left:
        item = left.pop()
        yield item
        if isinstance(item, Loop):
            left += item.body[::-1]


def ops_in(items: Iterable[Item]) -> Iterator[MachineOp]:
    """All instructions of some code."""
    return (item for item in items_in(items) if isinstance(item, MachineOp))


@dataclass(slots=True, eq=False)
class Phase:
    """Code between two barriers: with ``parallel``, the threads share that loop's iterations in
    contiguous chunks (its variable is an absolute index); without, thread 0 runs the body.
    ``start`` sets the register that holds the variable, where there is one, for the first of all
    iterations; the body counts it up.

    Its addresses are meant from ``shifts`` on, bytes by buffer; phases that are ``alike`` one are
    its code elsewhere.
    """

    body: list[Item]
    parallel: tuple[str, int] | None = None  # (variable, extent) around the whole body
    name: str = ""
    start: MachineOp | None = None
    shifts: Mapping[str, int] = field(default_factory=dict)
    alike: Phase | None = None

    @property
    def code(self) -> Phase:
        """The phase without its shifts: one for all phases that are alike."""
        return self.alike or self

    def at(self, shifts: Mapping[str, int]) -> Phase:
        """The same code, which works so many bytes further on in its buffers."""
        total = {name: self.shifts.get(name, 0) + by for name, by in shifts.items()}
        total = {name: by for name, by in {**self.shifts, **total}.items() if by}
        return Phase(self.body, self.parallel, self.name, self.start, total, self.code)


@dataclass(frozen=True, slots=True)
class Place:
    """A buffer of the program: a parameter (in call order) or, with ``local``, scratch TCM.

    ``per_thread``: each thread has its own copy. ``data``: constant bytes packed at compile time.
    Every buffer starts at a multiple of ``ALIGN`` and has as many bytes of slack behind ``size``.
    """

    name: str
    size: int
    scope: str  # "ddr" or "tcm"
    local: bool = False
    per_thread: bool = False
    data: bytes | None = None


@dataclass(slots=True)
class Program:
    """One kernel's selected code."""

    name: str
    places: list[Place]
    phases: list[Phase]
    threads: int | None = None  # that run it, at the most; None: all

    @property
    def vector(self) -> int:
        """Bytes of a vector register of the machine whose instructions these are."""
        return next((op.instruction.vector for op in self.ops()), 0)

    def ops(self) -> Iterator[MachineOp]:
        """Every instruction once, in program order."""
        for phase in self.phases:
            yield from ops_in(phase.body)


def share(extent: int, threads: int) -> list[tuple[int, int]]:
    """Each thread's first iteration and count: contiguous chunks, equal up to one. Few iterations
    are the first threads', of which one also runs what is not shared: no barrier between."""
    busy = min(extent, threads)
    cuts = [extent * min(i, busy) // max(busy, 1) for i in range(threads + 1)]
    return [(a, b - a) for a, b in pairwise(cuts)]
