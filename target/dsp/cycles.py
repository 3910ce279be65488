"""Cycles of listings: phases one after another, threads beside each other.

A phase costs what its slowest thread spends in it (``walk``). Threads of phases that start or await
transfers are walked in order of time (``threads``), because they share one channel to DDR
(``channel``). Fetching code for the first time is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..cost import Cost, Share, TimedSpan, Timeline
from ..program import share
from ..protocol import ProgramPhase
from .channel import Channel
from .listing import Function, PackedListing
from .machine import DspMachine
from .transfer_threads import Copies, Thread, together
from .walk import ACCESSED, CAUSES, DDR, DMA, FIELDS, ZERO, Tally, Walker, cycles, plus, stalled


def calls(function: Function, machine: DspMachine) -> list[tuple[int, int]]:
    """The arguments of each thread's call: its first iteration and count; count 0 means none."""
    if function.parallel is None:
        return [(0, 1)]
    return share(function.parallel, machine.threads)


def cost(listing: PackedListing) -> Cost:
    """The listing's cost on its machine."""
    machine = listing.machine
    walk = _Walk.over([_phase(listing, i) for i in range(len(listing.functions))], listing.free,
                      machine)  # fmt: skip
    values, found = dict(zip(FIELDS, walk.tallies[0], strict=True)), walk.share(0)
    packets = max(values["packets"], 1)
    return Cost(
        found.cycles, found.packets, found.stalls, walk.channel.copied, values["dma"],
        walk.channel.accessed, listing.spills, values["instructions"] / (4 * packets),
        values["multiplies"] / (2 * packets),
        values["loop_dots"] / max(values["loop_packets"], 1), tuple(walk.executed),
        listing.code_bytes, listing.tcm,
    )  # fmt: skip


def timeline(phases: Sequence[ProgramPhase], free: frozenset[int], machine: DspMachine) -> Timeline:
    """Phases of several listings in a row."""
    walk = _Walk.over([_phase(p.listing, p.phase, p.owner, p.first) for p in phases], free,
                      machine)  # fmt: skip
    return Timeline(
        tuple(walk.share(owner) for owner in range(len(walk.tallies))),
        tuple(walk.spans), tuple(walk.transfers()), tuple(walk.ends), tuple(walk.spent),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Phase:
    """A function that threads run, the ``first`` one its first share, and whose it is. ``far``:
    whether it accesses DDR directly; ``sharing``: threads that do so between the same two
    barriers."""

    function: Function
    listing: PackedListing
    owner: int
    first: int
    calls: bool
    far: bool
    sharing: int = 0

    def shares(self, threads: int) -> list[tuple[int, int]]:
        """Each share's thread, of so many, and its iterations."""
        found = calls(self.function, self.listing.machine)
        return [((self.first + i) % threads, count) for i, (_, count) in enumerate(found)]


@dataclass(slots=True)
class _Walk:
    """The state of a walk, and what each owner has spent so far on the slowest threads."""

    machine: DspMachine
    channel: Channel
    copies: list[Copies]
    tallies: list[Tally]  # by owner
    barriers: list[int]  # by owner
    executed: list[tuple[int, ...]] = field(default_factory=list)
    spans: list[TimedSpan] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # where threads begin to wait for all
    spent: list[tuple[int, ...]] = field(default_factory=list)  # cycles by phase and thread
    starting: list[int] = field(default_factory=list)  # the owners of transfers
    now: int = 0

    @classmethod
    def over(cls, phases: Sequence[_Phase], free: frozenset[int], machine: DspMachine) -> _Walk:
        owners = 1 + max(phase.owner for phase in phases)
        walk = cls(machine, Channel(machine), [Copies() for _ in range(machine.threads)],
                   [ZERO] * owners, [0] * owners)  # fmt: skip
        for group in _between_barriers(phases, free, machine.threads):
            walk.run(group)
        late = max(walk.channel.last() - walk.now, 0)  # transfers that nothing waited for
        last = phases[-1].owner
        walk.tallies[last] = stalled(walk.tallies[last], DMA, late)
        return walk

    def run(self, group: Sequence[_Phase]) -> None:
        """The phases from one barrier to the next."""
        spent, parts = [ZERO] * self.machine.threads, []
        for phase in group:
            begin = [self.now + cycles(tally) for tally in spent]
            threads = self.phase(phase, begin)
            spent = list(map(plus, spent, threads))
            self.spans += [TimedSpan(phase.owner, at, at + cycles(tally), thread)
                           for thread, (at, tally) in enumerate(zip(begin, threads, strict=True))
                           if tally != ZERO]  # fmt: skip
            self.spent.append(tuple(map(cycles, threads)))
            self.starting += [phase.owner] * (self.channel.started - len(self.starting))
            parts.append(threads)
        slowest = max(range(len(spent)), key=lambda thread: cycles(spent[thread]))
        for phase, threads in zip(group, parts, strict=True):
            self.tallies[phase.owner] = plus(self.tallies[phase.owner], threads[slowest])
        self.barriers[group[-1].owner] += 1
        self.ends.append(self.now + cycles(spent[slowest]))
        self.now = self.ends[-1] + self.machine.barrier

    def phase(self, phase: _Phase, begin: list[int]) -> list[Tally]:
        """The cycles that each thread spends on a phase that it begins in its own cycle."""
        listing, channel = phase.listing, self.channel
        shares = phase.shares(self.machine.threads)
        far = listing.far if phase.far else frozenset[str]()
        walker = _walker(phase.function, listing.machine, far, phase.sharing)
        # What moved before a wait is settled: no access may come before it.
        late = [max(channel.horizon - begin[i], 0) if phase.far else 0 for i, _ in shares]
        starts = [begin[i] + more for (i, _), more in zip(shares, late, strict=True)]
        if phase.calls:
            found = together([
                Thread(i, walker, count, self.copies[i], channel, listing.far, at)
                for (i, count), at in zip(shares, starts, strict=True)
            ])  # fmt: skip
        else:
            whole = {count: walker.run(count) for _, count in shares}
            found = [whole[count] for _, count in shares]
            for (i, _), at, tally in zip(shares, starts, found, strict=True):
                if tally[ACCESSED]:
                    channel.use(i, at, at + cycles(tally), tally[ACCESSED], phase.sharing)
        self.executed.append(tuple(tally[0] for tally in found))
        spent = [ZERO] * self.machine.threads
        for (i, _), tally, more in zip(shares, found, late, strict=True):
            spent[i] = stalled(tally, DDR, more)
        return spent

    def transfers(self) -> Iterator[TimedSpan]:
        """Each from the first byte that it moves to the last one."""
        for owner, (start, end, size) in zip(self.starting, self.channel.moves(), strict=True):
            yield TimedSpan(owner, start, end, bytes=size)

    def share(self, owner: int) -> Share:
        tally = dict(zip(FIELDS, self.tallies[owner], strict=True))
        stalls = {cause: tally[cause] for cause in (*CAUSES, "dma") if tally[cause]}
        stalls["barrier"] = self.machine.barrier * self.barriers[owner]
        return Share(tally["packets"] + sum(stalls.values()), tally["packets"], stalls)


def _between_barriers(
    phases: Sequence[_Phase], free: frozenset[int], threads: int
) -> list[list[_Phase]]:
    """The phases, those together that threads run through without waiting for each other."""
    groups: list[list[_Phase]] = []
    for number, phase in enumerate(phases):
        if number in free:
            groups[-1].append(phase)
        else:
            groups.append([phase])
    return [_sharing(group, threads) for group in groups]


def _phase(listing: PackedListing, number: int, owner: int = 0, first: int = 0) -> _Phase:
    function = listing.functions[number]
    if "accessed" not in function.walkers:
        steps = [step for _, packet in function.packets() for step in packet]
        accessed = {step.access.buffer for step in steps if step.access is not None}
        function.walkers["accessed"] = any([step.facts.calls for step in steps]), accessed
    called, accessed = function.walkers["accessed"]
    return _Phase(function, listing, owner, first, called, not listing.far.isdisjoint(accessed))


def _sharing(group: list[_Phase], threads: int) -> list[_Phase]:
    """With the number of threads, of so many, that access DDR in any phase of the group."""
    far = [phase.shares(threads) for phase in group if phase.far]
    sharing = {i for shares in far for i, count in shares if count}
    if not far:
        return group
    return [replace(phase, sharing=len(sharing)) for phase in group]


def _walker(function: Function, machine: DspMachine, far: frozenset[str], sharing: int) -> Walker:
    """The walker of a function; those that share their code share what walks of it found."""
    key = machine, far, sharing
    if key not in function.walkers:
        function.walkers[key] = Walker(function, machine, far, sharing)
    found: Walker = function.walkers[key]
    return found
