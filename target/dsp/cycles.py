"""Cycles of a listing: its phases one after another, its threads beside each other.

A phase costs what its slowest thread spends in it (``walk``). Threads of phases that start or await
transfers are walked in order of time (``threads``), because they share one channel to DDR
(``channel``). Fetching code for the first time is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..cost import Cost
from ..program import share
from .channel import Channel
from .listing import Function, PackedListing
from .machine import DspMachine
from .transfer_threads import Copies, Thread, together
from .walk import ACCESSED, CAUSES, DDR, FIELDS, ZERO, Tally, Walker, cycles, plus, stalled


def calls(function: Function, machine: DspMachine) -> list[tuple[int, int]]:
    """The arguments of each thread's call: its first iteration and count; count 0 means none."""
    if function.parallel is None:
        return [(0, 1)]
    return share(function.parallel, machine.threads)


def cost(listing: PackedListing) -> Cost:
    """The listing's cost on its machine."""
    machine = listing.machine
    channel, copies = Channel(machine), [Copies() for _ in range(machine.threads)]
    total, executed, now, barriers = ZERO, [], 0, 0
    for group in _between_barriers(listing):
        spent = [ZERO] * machine.threads
        for phase in group:
            begin = [now + cycles(tally) for tally in spent]
            threads = _phase(phase, listing, channel, copies, begin)
            spent[: len(threads)] = map(plus, spent, threads)
            executed.append(tuple(tally[0] for tally in threads))
        slowest = max(spent, key=cycles)
        total, now, barriers = plus(total, slowest), now + cycles(slowest), barriers + 1
        now += machine.barrier
    values = dict(zip(FIELDS, total, strict=True))
    late = max(channel.last() - now, 0)  # transfers that nothing waited for
    values["dma"] += late
    stalls = {cause: values[cause] for cause in (*CAUSES, "dma") if values[cause]}
    stalls["barrier"] = machine.barrier * barriers
    packets = max(values["packets"], 1)
    return Cost(
        now + late, values["packets"], stalls, channel.copied, values["dma"], channel.accessed,
        listing.spills, values["instructions"] / (4 * packets),
        values["multiplies"] / (2 * packets),
        values["loop_dots"] / max(values["loop_packets"], 1), tuple(executed),
        listing.code_bytes, listing.tcm,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Phase:
    """A function that threads run. ``far``: whether it accesses DDR directly; ``sharing``: threads
    that do so between the same two barriers."""

    function: Function
    calls: bool
    far: bool
    sharing: int = 0


def _between_barriers(listing: PackedListing) -> list[list[_Phase]]:
    """The phases, those together that threads run through without waiting for each other."""
    groups: list[list[_Phase]] = []
    known: dict[Function, _Phase] = {}
    for number, function in enumerate(listing.functions):
        if function not in known:
            known[function] = _seen(function, listing.far)
        if number in listing.free:
            groups[-1].append(known[function])
        else:
            groups.append([known[function]])
    return [_sharing(group, listing.machine) for group in groups]


def _seen(function: Function, far: frozenset[str]) -> _Phase:
    if "accessed" not in function.walkers:
        steps = [step for _, packet in function.packets() for step in packet]
        accessed = {step.access.buffer for step in steps if step.access is not None}
        function.walkers["accessed"] = any([step.facts.calls for step in steps]), accessed
    called, accessed = function.walkers["accessed"]
    return _Phase(function, called, not far.isdisjoint(accessed))


def _sharing(group: list[_Phase], machine: DspMachine) -> list[_Phase]:
    """With the number of threads that access DDR in any phase of the group."""
    if not any(phase.far for phase in group):
        return group
    counts = [calls(phase.function, machine) for phase in group if phase.far]
    threads = {i for found in counts for i, (_, count) in enumerate(found) if count}
    return [_Phase(p.function, p.calls, p.far, len(threads)) for p in group]


def _walker(function: Function, machine: DspMachine, far: frozenset[str], sharing: int) -> Walker:
    """The walker of a function; those that share their code share what walks of it found."""
    key = machine, far, sharing
    if key not in function.walkers:
        function.walkers[key] = Walker(function, machine, far, sharing)
    found: Walker = function.walkers[key]
    return found


def _phase(phase: _Phase, listing: PackedListing, channel: Channel, copies: list[Copies],
           begin: list[int]) -> list[Tally]:  # fmt: skip
    """The cycles that each thread spends on a phase that it begins in its own cycle."""
    counts = [count for _, count in calls(phase.function, listing.machine)]
    far = listing.far if phase.far else frozenset[str]()
    walker = _walker(phase.function, listing.machine, far, phase.sharing)
    # What moved before a wait is settled: no access may come before it.
    late = [max(channel.horizon - at, 0) if phase.far else 0 for at in begin[: len(counts)]]
    starts = [at + more for at, more in zip(begin, late, strict=False)]
    if phase.calls:
        parts = zip(counts, copies, starts, strict=False)
        found = together([Thread(i, walker, count, own, channel, listing.far, at)
                          for i, (count, own, at) in enumerate(parts)])  # fmt: skip
    else:
        whole = {count: walker.run(count) for count in set(counts)}
        found = [whole[count] for count in counts]
        for i, tally in enumerate(found):
            if tally[ACCESSED]:
                end = starts[i] + cycles(tally)
                channel.use(i, starts[i], end, tally[ACCESSED], phase.sharing)
    return [stalled(tally, DDR, more) for tally, more in zip(found, late, strict=True)]
