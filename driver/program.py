"""A model's program: its kernels' phases one after another, and transfers that run ahead of them.

    found = program(ready, codes)
    found.cycles, found.shares[3].stalls

Threads wait for each other only where one touches what another one does, and the constants of later
kernels are on their way while earlier ones run. How far ahead they start is chosen by walking the
program: as early as TCM has room is too early where kernels that stream their own operands wait
behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..target.barriers import Interval, Touches, overlap
from ..target.cost import Share
from ..target.program import Address, Dma, Phase, Place, Program, WaitOp
from ..target.protocol import Listing, ProgramPhase, Target
from .choose import Choice
from .kernel_code import KernelCode
from .memory_plan import room
from .prepare import Ready
from .program_memory import Arrival, At, ProgramMemory

AHEAD = (1 << 20, 16, 4, 2, 1)  # kernels by which constants may come before theirs
LEADS = (0, 1, 1 << 20)  # phases of the first kernel before constants of later ones start
FAR, NEAR = "constants", "constants_tcm"  # the places between which they move


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """What runs when, where it lies, and what it costs; ``shares`` and ``tcm`` go by kernels."""

    arrivals: tuple[Arrival, ...]
    places: tuple[dict[str, At], ...]  # by kernel, without constants in DDR
    shares: tuple[Share, ...]
    tcm: tuple[int, ...]  # bytes that are taken while a kernel runs
    ddr: int  # bytes of tensors, and of scratch that TCM has no room for

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ModelProgram:
        """As ``asdict`` and JSON spell it."""
        places = [{name: (memory, at) for name, (memory, at) in one.items()}
                  for one in data["places"]]  # fmt: skip
        return cls(
            tuple(Arrival(**one) for one in data["arrivals"]), tuple(places),
            tuple(Share(**one) for one in data["shares"]), tuple(data["tcm"]), data["ddr"],
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        return sum(share.cycles for share in self.shares)

    def arriving(self, kernel: int) -> int:
        """Bytes of a kernel's constants that come ahead of it."""
        return sum(one.size for one in self.arrivals if one.kernel == kernel)


class _Bytes(NamedTuple):
    """What a thread touches of a memory."""

    memory: str
    read: Interval | None
    written: Interval | None

    def disturbs(self, other: _Bytes) -> bool:
        return self.memory == other.memory and (
            overlap(self.written, other.written)
            or overlap(self.written, other.read)
            or overlap(self.read, other.written)
        )


class _Timed(NamedTuple):
    """A phase of the program with what each thread touches."""

    phase: ProgramPhase
    threads: tuple[tuple[_Bytes, ...], ...]

    def reads(self, bytes_: _Bytes) -> bool:
        """Whether a thread reads some bytes that are written."""
        touched = (one for thread in self.threads for one in thread)
        return any(b.memory == bytes_.memory and overlap(b.read, bytes_.written) for b in touched)

    def clashes(self, other: _Timed) -> bool:
        """Whether one thread of it disturbs another one of the other."""
        return any(
            a.disturbs(b)
            for one, mine in enumerate(self.threads)
            for number, theirs in enumerate(other.threads)
            if one != number
            for a in mine
            for b in theirs
        )


_Transfers = dict[int, dict[int, _Timed]]  # by phase, then by arrival


def program(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """The best program of a model's kernels at these points, which go by the kernels' keys."""
    if not ready.kernels or len(ready.kernels) < sum(ready.plan.code):
        return by_themselves(ready, choices)
    read = {key: KernelCode.read(choice.code) for key, choice in choices.items()}
    memory = ProgramMemory(ready, [read[task.key] for task in ready.kernels])
    ways = {tuple(memory.arrivals(ahead)): None for ahead in AHEAD}
    found = (_Sequence(memory, arrivals, lead).program for arrivals in ways for lead in LEADS)
    return min(found, key=lambda one: one.cycles)


def by_themselves(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """Kernels of which some are missing: each by itself, as if its operands were there."""
    costs = [choices[task.key].cost for task in ready.kernels]
    shares = tuple(Share(cost.cycles, cost.packets, cost.stalls) for cost in costs)
    held = (task.held for task in ready.kernels)
    tcm = tuple(cost.tcm + more for cost, more in zip(costs, held, strict=True))
    return ModelProgram((), (), shares, tcm, ready.plan.ddr)


@dataclass
class _Sequence:
    """The phases of a program whose constants arrive in one way."""

    memory: ProgramMemory
    arrivals: tuple[Arrival, ...]
    lead: int

    @cached_property
    def program(self) -> ModelProgram:
        timed, free = self._ordered()
        machine = self.memory.ready.machine
        shares = machine.shares([one.phase for one in timed], free)
        tcm = (self.memory.used(number, self.arrivals) for number in range(len(shares)))
        return ModelProgram(self.arrivals, tuple(self.places), shares, tuple(tcm), self.memory.ddr)

    @cached_property
    def places(self) -> list[dict[str, At]]:
        by_kernel = {one.kernel: one for one in self.arrivals}
        return [self.memory.operands(n, by_kernel) for n in range(len(self.memory.codes))]

    @cached_property
    def phases(self) -> list[_Timed]:
        """The kernels' own ones."""
        found: list[_Timed] = []
        for number, (code, places) in enumerate(zip(self.memory.codes, self.places, strict=True)):
            for phase, touches in enumerate(code.touches):
                threads = tuple(tuple(_located(thread, n, code, places))
                                for n, thread in enumerate(touches))  # fmt: skip
                found.append(_Timed(ProgramPhase(code.listing, phase, number), threads))
        return found

    def _ordered(self) -> tuple[list[_Timed], frozenset[int]]:
        """All phases, and those before which threads do not wait for each other."""
        order = _Order()
        starts, waits = self._transfers()
        for number, phase in enumerate(self.phases):
            begun, awaited = starts.get(number, {}), waits.get(number, {})
            late = {one for one, start in begun.items() if order.clashes(start)}
            early = begun.keys() - late
            for some in (early, late):
                for one in sorted(begun.keys() & some):
                    order.add(begun[one])
                for one in sorted(awaited.keys() - (late - some)):
                    order.add(awaited.pop(one))
            order.add(phase)
        return order.phases, frozenset(order.free)

    def _transfers(self) -> tuple[_Transfers, _Transfers]:
        """Starts and waits, by the number of the kernels' phase before which they come. Threads
        that wait for each other anyway wait for a transfer, too."""
        starts: _Transfers = {}
        waits: _Transfers = {}
        if not self.arrivals:
            return starts, waits
        alone = _Order()
        for phase in self.phases:
            alone.add(phase)
        listing = _transfers_code(self.memory.ready.machine, self.arrivals)
        for number, one in enumerate(self.arrivals):
            landing = _Bytes("tcm", None, (one.address, one.address + one.size))
            start, wait = (
                _Timed(ProgramPhase(listing, 2 * number + later, one.kernel), ((landing,),))
                for later in (0, 1)
            )
            begin = self._begin(one.start)
            starts.setdefault(begin, {})[number] = start
            needed = next(n for n in range(self._first(one.kernel), len(self.phases))
                          if self.phases[n].reads(landing))  # fmt: skip
            joint = next(n for n in range(needed, -1, -1) if n not in alone.free)
            waits.setdefault(joint if joint >= begin else needed, {})[number] = wait
        return starts, waits

    def _begin(self, kernel: int) -> int:
        """The phase before which transfers start that may do so before a kernel."""
        return self._first(kernel) if kernel else min(self.lead, self._first(1))

    def _first(self, kernel: int) -> int:
        """The number of a kernel's first phase."""
        return sum(len(code.touches) for code in self.memory.codes[:kernel])


class _Order:
    """Phases in their order; each waits for the others where it must."""

    def __init__(self) -> None:
        self.phases: list[_Timed] = []
        self.free: set[int] = set()
        self._since: list[_Timed] = []  # the last barrier

    def clashes(self, phase: _Timed) -> bool:
        return any(before.clashes(phase) for before in self._since)

    def add(self, phase: _Timed) -> None:
        if self._since and not self.clashes(phase):
            self.free.add(len(self.phases))
        else:
            self._since = []
        self._since.append(phase)
        self.phases.append(phase)


def _located(
    touches: Touches, thread: int, code: KernelCode, places: Mapping[str, At]
) -> Iterator[_Bytes]:
    """What a thread touches, as bytes of memories; constants in DDR are never written."""
    for place in code.places:
        if place.name not in touches or place.name not in places:
            continue
        memory, at = places[place.name]
        end = room(place.size)
        at += thread * end if place.per_thread else 0
        touch = touches[place.name]
        yield _Bytes(memory, _moved(touch.read, at, end), _moved(touch.written, at, end))


def _moved(touched: Interval | None, at: int, end: int) -> Interval | None:
    return touched and (at + max(touched[0], 0), at + min(touched[1], end))


def _transfers_code(machine: Target, arrivals: Sequence[Arrival]) -> Listing:
    """Phases that start and await each arrival, in turn."""
    phases: list[Phase] = []
    at = 0
    for number, one in enumerate(arrivals):
        token, size = f"constants_{number}", one.size
        start = Dma(token, Address(NEAR, one.address), Address(FAR, at), 1, size, size, size)
        phases += [Phase([start], name=f"start_{number}"), Phase([WaitOp(token)])]
        at += size
    places = [Place(FAR, at, "ddr"), Place(NEAR, machine.tcm, "tcm")]
    return machine.code(Program("transfers", places, phases)).listing
