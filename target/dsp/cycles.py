"""Cycles of a listing: a walk over its packets, with loops multiplied out exactly.

A packet issues one cycle after the one before it, or later when an operand is not there yet: the
difference is a stall. A loop is walked until the pending results at its head repeat, which takes
two or three iterations; the rest is multiplication. Loops that start or await transfers are walked
whole, all threads in order of time, because they share one engine.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import add

from .depend import result_latency
from .listing import Function, Listing
from .machine import Machine
from .steps import OPTIONAL, Block, Node, Step, Trip

CAUSES = ("early operand", "late operand", "scalar load", "multiply", "scalar", "extract", "ddr")
_FIELDS = ("packets", "instructions", "multiplies", "loop_dots", "loop_packets", *CAUSES, "dma")
_ZERO = (0,) * len(_FIELDS)
_DMA = len(_FIELDS) - 1
_FIRST_CAUSE = len(_FIELDS) - 1 - len(CAUSES)

Tally = tuple[int, ...]
State = tuple[tuple[int, int, int], ...]  # pending: (atom, cycles since issue, step's number)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a listing costs. ``cycles`` is ``packets`` + all ``stalls``, of the thread that is
    slowest between two barriers; ``executed`` are the packets of each phase and thread."""

    cycles: int
    packets: int
    stalls: dict[str, int]
    dma_bytes: int
    dma_wait: int
    spills: int
    slot_use: float  # instructions a packet, over the slots
    multiplier_use: float
    dots_per_packet: float  # in the innermost loops that have dot products
    executed: tuple[tuple[int, ...], ...]
    code_bytes: int
    tcm: int


@dataclass(slots=True)
class Engine:
    """The transfer engine that threads share: starts overlap, bytes do not."""

    machine: Machine
    free: int = 0
    bytes: int = 0

    def start(self, now: int, size: int) -> int:
        """The cycle in which a transfer started ``now`` is done."""
        self.bytes += size
        begin = max(self.free, now + self.machine.dma_start)
        self.free = begin + -(-size // self.machine.dma_rate)
        return self.free


@dataclass(slots=True)
class Copies:
    """A thread's outstanding transfers: when those of each token end, the oldest first."""

    ends: dict[str, list[int]] = field(default_factory=dict)

    def oldest(self, token: str) -> int:
        if not self.ends.get(token):
            raise ValueError(f"cycles: a wait needs a transfer of its thread, but {token} has none")
        return self.ends[token].pop(0)


def share(extent: int, threads: int) -> list[tuple[int, int]]:
    """Each thread's first iteration and count: contiguous chunks, equal up to one."""
    cuts = [extent * i // threads for i in range(threads + 1)]
    return [(a, b - a) for a, b in pairwise(cuts)]


def calls(function: Function, machine: Machine) -> list[tuple[int, int]]:
    """What each thread is called with: its first iteration and count; count 0 means not at all."""
    if function.parallel is None:
        return [(0, 1)]
    return share(function.parallel, machine.threads)


def cost(listing: Listing) -> Cost:
    """The listing's cost on its machine."""
    machine = listing.machine
    engine, pending = Engine(machine), [Copies() for _ in range(machine.threads)]
    total, executed, now, barriers = _ZERO, [], 0, 0
    for group in _between_barriers(listing):
        spent = [_ZERO] * machine.threads
        for function in group:
            begin = [now + cycles(tally) for tally in spent]
            threads = _phase(function, listing, engine, pending, begin)
            spent[: len(threads)] = map(_sum, spent, threads)
            executed.append(tuple(tally[0] for tally in threads))
        slowest = max(spent, key=cycles)
        total, now, barriers = _sum(total, slowest), now + cycles(slowest), barriers + 1
        now += machine.barrier
    values = dict(zip(_FIELDS, total, strict=True))
    stalls = {cause: values[cause] for cause in (*CAUSES, "dma") if values[cause]}
    stalls["barrier"] = machine.barrier * barriers
    packets = max(values["packets"], 1)
    return Cost(
        now, values["packets"], stalls, engine.bytes, values["dma"], listing.spills,
        values["instructions"] / (4 * packets), values["multiplies"] / (2 * packets),
        values["loop_dots"] / max(values["loop_packets"], 1), tuple(executed),
        listing.code_bytes, listing.tcm,
    )  # fmt: skip


def _between_barriers(listing: Listing) -> list[list[Function]]:
    """The phases, those together that threads run through without waiting for each other."""
    groups: list[list[Function]] = []
    for number, function in enumerate(listing.functions):
        if number in listing.free:
            groups[-1].append(function)
        else:
            groups.append([function])
    return groups


def cycles(tally: Tally) -> int:
    """Packets and stalls together."""
    return tally[0] + sum(tally[_FIRST_CAUSE:])


def _sum(a: Tally, b: Tally) -> Tally:
    return tuple(map(add, a, b))


def _phase(function: Function, listing: Listing, engine: Engine, pending: list[Copies],
           begin: list[int]) -> list[Tally]:  # fmt: skip
    """What each thread spends on a phase that it begins in its own cycle."""
    counts = [count for _, count in calls(function, listing.machine)]
    walker = Walker(function, listing.machine, listing.far, sum(map(bool, counts)))
    if not any(step.is_call for _, packet in function.packets() for step in packet):
        whole = {count: walker.run(count) for count in set(counts)}
        return [whole[count] for count in counts]
    threads = zip(counts, pending, begin, strict=False)
    return _together([Thread(walker, *thread) for thread in threads], engine)


class Walker:
    """Walks one function; what a node costs from a state is remembered."""

    def __init__(self, function: Function, machine: Machine, far: frozenset[str] = frozenset(),
                 threads: int = 1) -> None:  # fmt: skip
        self.function, self.machine, self.far = function, machine, far
        self.threads = max(threads, 1)  # that share the rate of DDR
        self.known: dict[tuple[int, State, int], tuple[Tally, State]] = {}
        self.steps: list[Step] = []
        self.numbers: dict[int, int] = {}
        self.inner = {id(t.body[0]) for t in _trips(function.nodes) if t.innermost}
        self.with_calls: dict[int, bool] = {}

    def run(self, count: int) -> Tally:
        """The whole function for a thread with ``count`` iterations."""
        if count == 0:
            return _ZERO
        total, _ = self.sequence(self.function.nodes, (), count)
        return total

    def sequence(self, nodes: list[Node], state: State, count: int) -> tuple[Tally, State]:
        total = _ZERO
        for node in nodes:
            tally, state = self.node(node, state, count)
            total = _sum(total, tally)
        return total, state

    def node(self, node: Node, state: State, count: int) -> tuple[Tally, State]:
        key = (id(node), state, count)
        found = self.known.get(key)
        if found is None:
            found = self._block(node, state) if isinstance(node, Block) else \
                self._loop(node, state, count)  # fmt: skip
            self.known[key] = found
        return found

    def _loop(self, trip: Trip, state: State, count: int) -> tuple[Tally, State]:
        """Iterations until a state repeats, then whole periods at once, then what is left."""
        trips = times(trip, count)
        seen: dict[State, int] = {}
        totals = [_ZERO]
        while len(totals) <= trips and state not in seen:
            seen[state] = len(totals) - 1
            tally, state = self.sequence(trip.body, state, count)
            totals.append(_sum(totals[-1], tally))
        if len(totals) > trips:
            return _counted(trip, totals[trips]), state
        start = seen[state]
        period = len(totals) - 1 - start
        periods, rest = divmod(trips - start, period)
        once = tuple(b - a for a, b in zip(totals[start], totals[-1], strict=True))
        whole = tuple(value * periods for value in once)
        states = {number: at for at, number in seen.items()}
        return _counted(trip, _sum(totals[start + rest], whole)), states[start + rest]

    def _block(self, block: Block, state: State) -> tuple[Tally, State]:
        pending = {atom: (-since, number) for atom, since, number in state}
        total, now = list(_ZERO), 0
        for packet in block.packets:
            now = self.packet(packet, pending, now, total)
        if id(block) not in self.inner:
            total[3] = total[4] = 0
        return tuple(total), self.state(pending, now)

    def state(self, pending: dict[int, tuple[int, int]], now: int) -> State:
        """What is still on its way, in a form that compares equal when it behaves equally."""
        return tuple(sorted(
            (atom, now - issued, number)
            for atom, (issued, number) in pending.items()
            if self._last(number, atom) > now - issued
        ))  # fmt: skip

    def _last(self, number: int, atom: int) -> int:
        """Cycles from the issue until every kind of use is free of stalls."""
        return result_latency(self.steps[number], atom, 5, self.machine.vector_result)

    def packet(self, packet: list[Step], pending: dict[int, tuple[int, int]], now: int,
               total: list[int]) -> int:  # fmt: skip
        """Issues one packet; gives the cycle after it."""
        issue, cause = now, 0
        for step in packet:
            for atom, use in step.reads:
                came = pending.get(atom)
                if came is None or use == 0:
                    continue
                producer = self.steps[came[1]]
                ready = came[0] + result_latency(producer, atom, use, self.machine.vector_result)
                if ready > issue:
                    issue, cause = ready, _cause(producer, use)
        stall = self._far_bytes(packet) if self.far else 0
        if stall:
            total[_FIRST_CAUSE + CAUSES.index("ddr")] += stall
            now, issue = now + stall, issue + stall
        for step in packet:
            number = self._number(step)
            for atom in step.writes:
                pending[atom] = (issue, number)
            unit = step.facts.unit
            total[1] += step.facts.row.name != "nop"
            total[2] += 2 if unit == "VX_DV" else unit == "VX"
            total[3] += "dot" in step.facts.row.tags
        total[0] += 1
        total[4] += 1
        total[_FIRST_CAUSE + cause] += issue - now
        return issue + 1

    def _far_bytes(self, packet: list[Step]) -> int:
        """Cycles in which DDR moves what the packet accesses there, its rate shared by threads."""
        count = sum(s.access.bytes for s in packet if s.access and s.access.buffer in self.far)
        return -(-count * self.threads // self.machine.dma_rate)

    def _number(self, step: Step) -> int:
        number = self.numbers.get(id(step))
        if number is None:
            number = self.numbers[id(step)] = len(self.steps)
            self.steps.append(step)
        return number


def times(trip: Trip, count: int) -> int:
    """How often a loop's body is run in a phase called with ``count`` iterations."""
    if trip.level == OPTIONAL:
        return int(count > trip.least)
    return trip.trips if trip.trips is not None else count


def _counted(trip: Trip, tally: Tally) -> Tally:
    """An innermost loop counts for dot products a packet only if it has some."""
    return (*tally[:4], 0, *tally[5:]) if trip.innermost and not tally[3] else tally


def _cause(producer: Step, use: int) -> int:
    if producer.facts.latency == 0:
        return 0 if use < 7 else 1
    unit = producer.facts.unit
    return {"LD": 2, "M": 3}.get(unit, 5 if unit.startswith("V") else 4)


def _trips(nodes: list[Node]) -> list[Trip]:
    found = []
    for node in nodes:
        if isinstance(node, Trip):
            found += [node, *_trips(node.body)]
    return found


@dataclass(slots=True)
class Thread:
    """A thread that is walked packet by packet where it transfers."""

    walker: Walker
    count: int
    copies: Copies
    now: int
    total: Tally = _ZERO
    state: State = ()

    def events(self) -> Generator[Step, None, None]:
        """Runs; stops at each call."""
        if self.count:
            yield from self._nodes(self.walker.function.nodes)

    def _nodes(self, nodes: list[Node]) -> Generator[Step, None, None]:
        for node in nodes:
            if not self._calls(node):
                tally, self.state = self.walker.node(node, self.state, self.count)
                self._add(tally)
            elif isinstance(node, Block):
                yield from self._block(node)
            else:
                for _ in range(times(node, self.count)):
                    yield from self._nodes(node.body)

    def _block(self, block: Block) -> Generator[Step, None, None]:
        pending = {atom: (-since, number) for atom, since, number in self.state}
        now, total = 0, list(_ZERO)
        for packet in block.packets:
            now = self.walker.packet(packet, pending, now, total)
            call = next((step for step in packet if step.is_call), None)
            if call is not None:
                self._add((*total[:3], 0, 0, *total[5:]))
                pending = {atom: (came - now, number) for atom, (came, number) in pending.items()}
                now, total = 0, list(_ZERO)
                yield call
        self._add((*total[:3], 0, 0, *total[5:]))
        self.state = self.walker.state(pending, now)

    def _add(self, tally: Tally) -> None:
        self.total = _sum(self.total, tally)
        self.now += cycles(tally)

    def _calls(self, node: Node) -> bool:
        known = self.walker.with_calls
        if id(node) not in known:
            if isinstance(node, Block):
                known[id(node)] = any(step.is_call for p in node.packets for step in p)
            else:
                known[id(node)] = any(self._calls(inner) for inner in node.body)
        return known[id(node)]


def _together(threads: list[Thread], engine: Engine) -> list[Tally]:
    """All threads of a phase, the one that is behind first."""
    running = {i: thread.events() for i, thread in enumerate(threads)}
    waiting = {i: step for i in list(running) if (step := next(running[i], None)) is not None}
    while waiting:
        i = min(waiting, key=lambda i: (threads[i].now, i))
        _serve(threads[i], waiting[i], engine)
        following = next(running[i], None)
        if following is None:
            del waiting[i]
        else:
            waiting[i] = following
    return [thread.total for thread in threads]


def _serve(thread: Thread, call: Step, engine: Engine) -> None:
    if call.target == "dovetail_wait":
        done = thread.copies.oldest(call.origin)
        wait = max(0, done - thread.now)
        thread.now += wait
        thread.total = (*thread.total[:_DMA], thread.total[_DMA] + wait)
        return
    record = call.imm
    dma = thread.walker.function.records[record]
    done = engine.start(thread.now, dma.rows * dma.row_bytes)
    thread.copies.ends.setdefault(dma.token, []).append(done)
