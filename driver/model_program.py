"""A model's program: its kernels' phases in a row, and transfers that run ahead of them.

    found = program(ready, choices)
    found.cycles, found.shares[3].stalls

Threads wait for each other only where one touches what another one does; phases run beside those of
earlier kernels where threads have time (``program_overlap``), and the constants of later kernels
are on their way while earlier ones run. What is open in this are its ``Decisions``: how early
constants come, who brings them, which thread begins a kernel. ``model_search`` chooses them by
walking programs; as early as TCM has room is too early where kernels that stream their own operands
wait behind them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, NamedTuple

from ..target.cost import Share, Timeline
from ..target.program import Address, Dma, Phase, Place, Program, WaitOp
from ..target.protocol import Code, ProgramPhase, Target
from .choose import Choice
from .compiler import KernelError
from .decisions import Decisions
from .kernel_code import KernelCode
from .prepare import Ready
from .program_memory import Arrival, ProgramMemory
from .program_order import At, Clashes, Order, TimedPhase, by_one, located, turned
from .program_overlap import overlapped


class ProgramStep(NamedTuple):
    """A phase of a kernel, or of the transfers, which come behind all kernels: two of them start
    and await an arrival. Thread ``first`` begins; threads do not wait for each other where it is
    ``free``."""

    kernel: int
    phase: int
    first: int
    free: bool


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """What runs when, where it lies, and what it costs; ``shares`` and ``tcm`` go by kernels."""

    arrivals: tuple[Arrival, ...]
    places: tuple[dict[str, At], ...]  # by kernel, without constants in DDR
    steps: tuple[ProgramStep, ...]
    shares: tuple[Share, ...]
    tcm: tuple[int, ...]  # bytes that are taken while a kernel runs
    ddr: int  # bytes of tensors, and of scratch that TCM has no room for
    decisions: Decisions = field(default_factory=Decisions)
    steady: int | None = None  # cycles where constants stay in TCM; None: it does not hold them all

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ModelProgram:
        """As ``asdict`` and JSON spell it."""
        places = [{name: (memory, at) for name, (memory, at) in one.items()}
                  for one in data["places"]]  # fmt: skip
        return cls(
            tuple(Arrival(**one) for one in data["arrivals"]), tuple(places),
            tuple(ProgramStep(*one) for one in data["steps"]),
            tuple(Share(**one) for one in data["shares"]), tuple(data["tcm"]), data["ddr"],
            Decisions.read(data["decisions"]), data["steady"],
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        return sum(share.cycles for share in self.shares)

    def arriving(self, kernel: int) -> int:
        """Bytes of a kernel's constants that come ahead of it."""
        return sum(one.size for one in self.arrivals if one.kernel == kernel)

    def owner(self, step: ProgramStep) -> int:
        """The kernel for which a step is made."""
        ours = step.kernel == len(self.shares)
        return self.arrivals[step.phase // 2].kernel if ours else step.kernel


@dataclass(frozen=True, slots=True)
class Together:
    """A point of a whole model: its kernels' points, by key, and what it decides beside."""

    choices: Mapping[str, Choice]
    decisions: Decisions
    cycles: int
    logged: int  # the cycles that its record says


def timeline(ready: Ready, choices: Mapping[str, Choice], found: ModelProgram) -> Timeline:
    """When what of a whole model's program is under way; owners are the kernels' numbers."""
    phases, _ = ordered(ready, choices, found)
    free = frozenset(number for number, step in enumerate(found.steps) if step.free)
    return ready.machine.walk(phases, free)


def ordered(
    ready: Ready, choices: Mapping[str, Choice], found: ModelProgram
) -> tuple[list[ProgramPhase], Code | None]:
    """All phases in their order, and the code of those that start and await transfers."""
    transfers = transfers_of(ready.machine, found.arrivals)
    listings = [code.listing for code in codes_of(ready, choices)] + [transfers.listing]
    phases = [
        ProgramPhase(listings[step.kernel], step.phase, found.owner(step), step.first)
        for step in found.steps
    ]
    return phases, transfers if found.arrivals else None


def codes_of(ready: Ready, choices: Mapping[str, Choice]) -> list[KernelCode]:
    """Of all kernels in a row."""
    codes = {task.key: choices[task.key].read(task) for task in ready.tasks}
    return [codes[task.key] for task in ready.kernels]


def is_whole(ready: Ready) -> bool:
    """Whether all kernels of the model are there; they may have been picked."""
    return bool(ready.kernels) and len(ready.kernels) == sum(ready.plan.code)


def by_themselves(ready: Ready, choices: Mapping[str, Choice]) -> ModelProgram:
    """Kernels of which some are missing: each by itself, as if its operands were there."""
    costs = [choices[task.key].cost for task in ready.kernels]
    shares = tuple(Share(cost.cycles, cost.packets, cost.stalls) for cost in costs)
    held = (task.held for task in ready.kernels)
    tcm = tuple(cost.tcm + more for cost, more in zip(costs, held, strict=True))
    return ModelProgram((), (), (), shares, tcm, ready.plan.ddr)


def transfers_of(machine: Target, arrivals: Sequence[Arrival]) -> Code:
    """Phases that start and await each arrival, in turn."""
    phases: list[Phase] = []
    places: list[Place] = []
    for number, one in enumerate(arrivals):
        token, far, near = (f"{name}_{number}" for name in ("arrival", "far", "near"))
        size = one.size
        start = Dma(token, Address(near), Address(far), 1, size, size, size)
        phases += [Phase([start], name=f"start_{number}"), Phase([WaitOp(token)])]
        places += [Place(near, size, "tcm"), Place(far, size, "ddr")]
    return machine.code(Program("transfers", places, phases))


class ModelParts:
    """What programs of one model have in common: kernels' phases where they lie, transfers, and
    which phases must stay in order."""

    def __init__(self, ready: Ready) -> None:
        self.ready, self.clashes = ready, Clashes()
        self._transfers: dict[tuple[int, ...], Code] = {}
        self._phases: dict[object, list[TimedPhase]] = {}

    def transfers(self, arrivals: Sequence[Arrival]) -> Code:
        sizes = tuple(one.size for one in arrivals)
        if sizes not in self._transfers:
            self._transfers[sizes] = transfers_of(self.ready.machine, arrivals)
        return self._transfers[sizes]

    def kernel(
        self, number: int, code: KernelCode, places: Mapping[str, At], first: int
    ) -> list[TimedPhase]:
        """The phases of a kernel's code, which must not be given up."""
        key = number, id(code), tuple(places.items()), first
        if key not in self._phases:
            turn = partial(turned, first, self.ready.machine.threads)
            self._phases[key] = [
                TimedPhase(
                    ProgramPhase(code.listing, phase, number, first),
                    tuple(located(code, touches, places, turn)), moves,
                )
                for phase, (touches, moves) in enumerate(zip(code.touches, code.moves, strict=True))
            ]  # fmt: skip
        return self._phases[key]

    def transfer(
        self, code: Code, number: int, one: Arrival, carrier: int, awaited: bool
    ) -> TimedPhase:
        """The phase that starts or awaits an arrival."""
        key = number, id(code), one, carrier, awaited
        if key not in self._phases:
            phase = ProgramPhase(code.listing, 2 * number + awaited, one.kernel, carrier)
            touched = by_one("tcm", one.address, one.size, carrier)
            self._phases[key] = [TimedPhase(phase, (touched,), stays=True)]
        return self._phases[key][0]


@dataclass
class ArrangedModel:
    """A model's phases by its decisions. Bytes rest only where TCM has room for that."""

    parts: ModelParts
    codes: Sequence[KernelCode]
    decisions: Decisions
    ready: Ready = field(init=False)
    memory: ProgramMemory = field(init=False)
    arrivals: tuple[Arrival, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.ready = self.parts.ready
        try:
            self._lay(self.decisions.rest)
        except KernelError:
            self._lay(0)

    def _lay(self, rest: int) -> None:
        self.memory = ProgramMemory(self.ready, self.codes, rest)
        self.arrivals = tuple(self.memory.arrivals(self.decisions.ahead))

    def program(self) -> ModelProgram:
        order, shares = self.best
        steps = [self._step(number, one) for number, one in enumerate(order.phases)]
        numbers = range(len(shares))
        return ModelProgram(
            self.arrivals, tuple(map(self._places, numbers)),
            tuple(s._replace(free=n in order.free) for n, s in enumerate(steps)), shares,
            tuple(self.memory.used(number, self.arrivals) for number in numbers), self.memory.ddr,
            self.decisions, self._steady(),
        )  # fmt: skip

    @property
    def cycles(self) -> int:
        return _total(self.best[1])

    @cached_property
    def best(self) -> tuple[Order, tuple[Share, ...]]:
        """All phases in their order, and what kernels take of it."""
        return self._better(self._with_transfers())

    def _better(self, order: Order) -> tuple[Order, tuple[Share, ...]]:
        """An order as it is, or with phases beside others where that takes fewer cycles."""
        walked = self._walk(order)
        beside = overlapped(order, walked.spent)
        again = self._walk(beside)
        if _total(again.shares) < _total(walked.shares):
            return beside, again.shares
        return order, walked.shares

    def _walk(self, order: Order) -> Timeline:
        phases = [one.phase for one in order.phases]
        return self.ready.machine.walk(phases, frozenset(order.free))

    def _steady(self) -> int | None:
        """Cycles where constants have stayed in TCM."""
        return _total(self._better(self._alone)[1]) if self.memory.holds_all else None

    @cached_property
    def _transfers(self) -> Code:
        return self.parts.transfers(self.arrivals)

    @cached_property
    def _firsts(self) -> list[int]:
        """The number of each kernel's first phase."""
        return [*accumulate((len(code.touches) for code in self.codes), initial=0)]

    @cached_property
    def _phases(self) -> list[TimedPhase]:
        """The kernels' own ones."""
        pairs = enumerate(zip(self.ready.kernels, self.codes, strict=True))
        return [
            phase
            for n, (task, code) in pairs
            for phase in self.parts.kernel(
                n, code, self._places(n), self.decisions.first.get(task.name, 0)
            )
        ]

    def _places(self, number: int) -> dict[str, At]:
        return self.memory.operands(number, {one.kernel: one for one in self.arrivals})

    @cached_property
    def _alone(self) -> Order:
        """The kernels' own phases, without transfers between them."""
        order = Order(self.parts.clashes)
        for phase in self._phases:
            order.add(phase)
        return order

    def _with_transfers(self) -> Order:
        """All phases. What starts without waiting for threads does so before they wait; so does
        what is awaited, if it has started."""
        if not self.arrivals:
            return self._alone
        starts, waits = self._placed()
        order = Order(self.parts.clashes)
        for number, phase in enumerate(self._phases):
            late = [one for one in starts[number] if order.waits(self._transfer(one, False))]
            early = [one for one in starts[number] if one not in late]
            for some in (early, late):
                for one in some:
                    order.add(self._transfer(one, False))
                for one in waits[number]:
                    if (one in late) is (some is late):
                        order.add(self._transfer(one, True))
            order.add(phase)
        return order

    def _placed(self) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """The transfers that start and are awaited before each of the kernels' phases: where
        threads wait for each other anyway, before that."""
        firsts, phases = self._firsts, self._phases
        last = (0 if n in self._alone.free else n for n in range(len(phases)))
        barriers = [*accumulate(last, max)]
        starts: dict[int, list[int]] = defaultdict(list)
        waits: dict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(self.arrivals):
            begin = firsts[one.start] if one.start else min(self.decisions.lead, firsts[1])
            landing = by_one("tcm", one.address, one.size)
            needed = next(n for n in range(firsts[one.kernel], len(phases))
                          if phases[n].reads(landing))  # fmt: skip
            joint = barriers[needed]
            starts[begin].append(number)
            waits[joint if joint >= begin else needed].append(number)
        return starts, waits

    def _transfer(self, number: int, awaited: bool) -> TimedPhase:
        one, carrier = self.arrivals[number], self.decisions.carrier
        return self.parts.transfer(self._transfers, number, one, carrier, awaited)

    def _step(self, number: int, one: TimedPhase) -> ProgramStep:
        ours = one.stays  # a transfer
        kernel = len(self.codes) if ours else one.phase.owner
        return ProgramStep(kernel, one.phase.phase, one.phase.first, False)


def arranged(ready: Ready, found: Together) -> ModelProgram:
    """The program of a point of the whole model."""
    return ArrangedModel(
        ModelParts(ready), codes_of(ready, found.choices), found.decisions
    ).program()


def _total(shares: Sequence[Share]) -> int:
    return sum(share.cycles for share in shares)
