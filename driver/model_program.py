"""A model's program: its kernels' phases one after another, and transfers that run ahead of them.

    found = program(ready, choices)
    found.cycles, found.shares[3].stalls

Threads wait for each other only where one touches what another one does, and the constants of later
kernels are on their way while earlier ones run. How far ahead they start is chosen by walking the
program: as early as TCM has room is too early where kernels that stream their own operands wait
behind them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from ..target.cost import Share, Timeline
from ..target.program import Address, Dma, Phase, Place, Program, WaitOp
from ..target.protocol import Code, ProgramPhase
from .choose import Choice
from .prepare import Ready
from .program_memory import Arrival, ProgramMemory
from .program_order import At, Order, TimedPhase, by_one, located

AHEAD = (1 << 20, 16, 4, 2, 1)  # kernels by which constants may come before theirs
LEADS = (0, 1, 1 << 20)  # phases of the first kernel before constants of later ones start


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """What runs when, where it lies, and what it costs; ``shares`` and ``tcm`` go by kernels."""

    arrivals: tuple[Arrival, ...]
    places: tuple[dict[str, At], ...]  # by kernel, without constants in DDR
    shares: tuple[Share, ...]
    tcm: tuple[int, ...]  # bytes that are taken while a kernel runs
    ddr: int  # bytes of tensors, and of scratch that TCM has no room for
    lead: int = 0  # phases of the first kernel before constants of later ones start
    steady: int | None = None  # cycles where constants stay in TCM; None: it does not hold them all

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ModelProgram:
        """As ``asdict`` and JSON spell it."""
        places = [{name: (memory, at) for name, (memory, at) in one.items()}
                  for one in data["places"]]  # fmt: skip
        return cls(
            tuple(Arrival(**one) for one in data["arrivals"]), tuple(places),
            tuple(Share(**one) for one in data["shares"]), tuple(data["tcm"]), data["ddr"],
            data["lead"], data["steady"],
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        return sum(share.cycles for share in self.shares)

    def arriving(self, kernel: int) -> int:
        """Bytes of a kernel's constants that come ahead of it."""
        return sum(one.size for one in self.arrivals if one.kernel == kernel)


def program(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """The best program of a model's kernels at these points, which go by the kernels' keys."""
    if not ready.kernels or len(ready.kernels) < sum(ready.plan.code):
        return by_themselves(ready, choices)
    memory = _memory(ready, choices)
    waits = [choices[task.key].cost.dma_wait for task in ready.kernels]
    best: ModelProgram | None = None
    for found in _programs(memory):
        if best is None or found.cycles < best.cycles:
            best = found
        if all(s.stalls.get("dma", 0) <= wait for s, wait in zip(best.shares, waits, strict=True)):
            break  # nothing arrives late
    assert best is not None
    return best


def timeline(ready: Ready, choices: Mapping[str, Choice], found: ModelProgram) -> Timeline:
    """When what of a whole model's program is under way; owners are the kernels' numbers."""
    return _again(ready, choices, found).timeline()


def ordered(
    ready: Ready, choices: Mapping[str, Choice], found: ModelProgram
) -> tuple[list[ProgramPhase], Code | None]:
    """All phases in their order, and the code of those that start and await transfers."""
    arranged = _again(ready, choices, found)
    phases = [one.phase for one in arranged.ordered().phases]
    return phases, arranged.fixed.transfers if found.arrivals else None


def _again(ready: Ready, choices: Mapping[str, Choice], found: ModelProgram) -> _Arranged:
    fixed = _Fixed(_memory(ready, choices), found.arrivals)
    return _Arranged(fixed, found.arrivals, fixed.phases(found.arrivals), found.lead)


def _memory(ready: Ready, choices: Mapping[str, Choice]) -> ProgramMemory:
    codes = {task.key: choices[task.key].read(task) for task in ready.tasks}
    return ProgramMemory(ready, [codes[task.key] for task in ready.kernels])


def by_themselves(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """Kernels of which some are missing: each by itself, as if its operands were there."""
    costs = [choices[task.key].cost for task in ready.kernels]
    shares = tuple(Share(cost.cycles, cost.packets, cost.stalls) for cost in costs)
    held = (task.held for task in ready.kernels)
    tcm = tuple(cost.tcm + more for cost, more in zip(costs, held, strict=True))
    return ModelProgram((), (), shares, tcm, ready.plan.ddr)


def _programs(memory: ProgramMemory) -> Iterator[ModelProgram]:
    """Programs whose constants arrive in different ways, the likeliest ones first."""
    ways = dict.fromkeys(tuple(memory.arrivals(ahead)) for ahead in AHEAD)
    fixed = _Fixed(memory, next(iter(ways)))
    for arrivals in ways:
        phases = fixed.phases(arrivals)
        for lead in LEADS if arrivals else LEADS[:1]:
            yield _Arranged(fixed, arrivals, phases, lead).program()


@dataclass
class _Fixed:
    """What is the same wherever constants arrive."""

    memory: ProgramMemory
    arrivals: tuple[Arrival, ...]  # of any way

    @cached_property
    def firsts(self) -> list[int]:
        """The number of each kernel's first phase."""
        return [*accumulate((len(code.touches) for code in self.memory.codes), initial=0)]

    @cached_property
    def alone(self) -> Order:
        """The kernels' own phases, without transfers between them."""
        order = Order()
        for phase in self.phases(()):
            order.add(phase)
        return order

    @cached_property
    def barriers(self) -> list[int]:
        """For each phase the last one before which threads wait for each other anyway."""
        last = (0 if n in self.alone.free else n for n in range(len(self.alone.phases)))
        return [*accumulate(last, max)]

    @cached_property
    def steady(self) -> int | None:
        """Cycles where constants have stayed in TCM."""
        if not self.memory.holds_all:
            return None
        walk = self.memory.ready.machine.walk
        found = walk([one.phase for one in self.alone.phases], frozenset(self.alone.free))
        return sum(share.cycles for share in found.shares)

    @cached_property
    def transfers(self) -> Code:
        """Phases that start and await each arrival, in turn."""
        phases: list[Phase] = []
        places: list[Place] = []
        for number, one in enumerate(self.arrivals):
            token, far, near = (f"{name}_{number}" for name in ("arrival", "far", "near"))
            size = one.size
            start = Dma(token, Address(near), Address(far), 1, size, size, size)
            phases += [Phase([start], name=f"start_{number}"), Phase([WaitOp(token)])]
            places += [Place(near, size, "tcm"), Place(far, size, "ddr")]
        return self.memory.ready.machine.code(Program("transfers", places, phases))

    def phases(self, arrivals: tuple[Arrival, ...]) -> list[TimedPhase]:
        """The kernels' own ones."""
        found: list[TimedPhase] = []
        by_kernel = {one.kernel: one for one in arrivals}
        for number, code in enumerate(self.memory.codes):
            places = self.memory.operands(number, by_kernel)
            for phase, touches in enumerate(code.touches):
                touched = tuple(located(code, touches, places))
                found.append(TimedPhase(ProgramPhase(code.listing, phase, number), touched))
        return found


@dataclass
class _Arranged:
    """The phases of a program whose constants arrive in one way."""

    fixed: _Fixed
    arrivals: tuple[Arrival, ...]
    phases: list[TimedPhase]
    lead: int
    starts: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    waits: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def program(self) -> ModelProgram:
        shares, memory = self.timeline().shares, self.fixed.memory
        by_kernel = {one.kernel: one for one in self.arrivals}
        places = (memory.operands(n, by_kernel) for n in range(len(shares)))
        tcm = (memory.used(number, self.arrivals) for number in range(len(shares)))
        return ModelProgram(
            self.arrivals, tuple(places), shares, tuple(tcm), memory.ddr, self.lead,
            self.fixed.steady,
        )  # fmt: skip

    def timeline(self) -> Timeline:
        order, machine = self.ordered(), self.fixed.memory.ready.machine
        return machine.walk([one.phase for one in order.phases], frozenset(order.free))

    def ordered(self) -> Order:
        """All phases. What starts without waiting for threads does so before they wait; so does
        what is awaited, if it has started."""
        self._place_transfers()
        order = Order()
        for number, phase in enumerate(self.phases):
            starts, waits = self.starts[number], self.waits[number]
            late = [one for one in starts if order.waits(self._transfer(one, False))]
            early = [one for one in starts if one not in late]
            for some in (early, late):
                for one in some:
                    order.add(self._transfer(one, False))
                for one in waits:
                    if (one in late) is (some is late):
                        order.add(self._transfer(one, True))
            order.add(phase)
        return order

    def _place_transfers(self) -> None:
        """Before which of the kernels' phases each transfer starts and is awaited: where threads
        wait for each other anyway, before that."""
        firsts = self.fixed.firsts
        for number, one in enumerate(self.arrivals):
            begin = firsts[one.start] if one.start else min(self.lead, firsts[1])
            landing = by_one("tcm", one.address, one.size)
            needed = next(n for n in range(firsts[one.kernel], len(self.phases))
                          if self.phases[n].reads(landing))  # fmt: skip
            joint = self.fixed.barriers[needed]
            self.starts[begin].append(number)
            self.waits[joint if joint >= begin else needed].append(number)

    def _transfer(self, number: int, awaited: bool) -> TimedPhase:
        one = self.arrivals[number]
        phase = ProgramPhase(self.fixed.transfers.listing, 2 * number + awaited, one.kernel)
        return TimedPhase(phase, (by_one("tcm", one.address, one.size),))
