"""The walk over a function's packets: the cycles of one thread, loops multiplied out exactly.

A packet issues one cycle after the one before it, or later when an operand is not there yet: the
difference is a stall. A loop is walked until the pending results at its head repeat, which takes
two or three iterations; the rest is multiplication.

An access to DDR takes the thread's share of the channel for as long as its bursts need; the next
one issues after that, and a loaded value is there ``ddr_latency`` cycles later. A function ends
when its accesses are done. A loop whose code exceeds the instruction cache fetches it again in each
iteration but the first: the cache is taken to drop code that was used longest ago, and threads,
which run the same code, to share fetched code.
"""

from __future__ import annotations

from operator import add

from .channel import accessed
from .listing import Function, words_of
from .machine import DspMachine
from .packet_distances import is_far, result_latency
from .steps import OPTIONAL, BasicBlock, Node, Step, Trip

CAUSES = ("early operand", "late operand", "scalar load", "multiply", "scalar", "extract", "ddr",
          "fetch")  # fmt: skip
FIELDS = ("packets", "instructions", "multiplies", "loop_dots", "loop_packets", "accessed",
          *CAUSES, "dma")  # fmt: skip
ZERO = (0,) * len(FIELDS)
DMA = len(FIELDS) - 1
ACCESSED = FIELDS.index("accessed")
FIRST_CAUSE = ACCESSED + 1
DDR, FETCH = (FIRST_CAUSE + CAUSES.index(name) for name in ("ddr", "fetch"))
CHANNEL = -1  # among pending results: the last access to DDR, with the cycles of its bursts

Tally = tuple[int, ...]
State = tuple[tuple[int, int, int], ...]  # pending: (atom, cycles since issue, step's number)
Pending = dict[int, tuple[int, int]]


def cycles(tally: Tally) -> int:
    """Packets and stalls together."""
    return tally[0] + sum(tally[FIRST_CAUSE:])


def plus(a: Tally, b: Tally) -> Tally:
    return tuple(map(add, a, b))


def stalled(tally: Tally, cause: int, count: int) -> Tally:
    """With more stalls in one field."""
    return (*tally[:cause], tally[cause] + count, *tally[cause + 1 :])


class Walker:
    """Walks one function; the cost of a node from a state is remembered. ``far`` are the places in
    DDR that it accesses directly, ``sharing`` the threads that share the channel with it."""

    def __init__(self, function: Function, machine: DspMachine, far: frozenset[str] = frozenset(),
                 sharing: int = 1) -> None:  # fmt: skip
        self.function, self.machine, self.far = function, machine, far
        self.sharing = max(sharing, 1)
        self.known: dict[tuple[int, State, int], tuple[Tally, State]] = {}
        self.steps: list[Step] = []
        self.numbers: dict[int, int] = {}
        self.bursts: dict[int, int] = {}  # bytes on the channel by packet
        self.counts: dict[int, tuple[int, int, int]] = {}  # by packet
        trips = _trips(function.nodes)
        self.inner = {id(t.body[0]) for t in trips if t.innermost}
        self.fetches = _fetches(trips, function, machine)
        self.with_calls: dict[int, bool] = {}

    def run(self, count: int) -> Tally:
        """The whole function for a thread with ``count`` iterations."""
        if count == 0:
            return ZERO
        total, state = self.sequence(self.function.nodes, (), count)
        return stalled(total, DDR, self.drain(state)) if self.far else total

    def sequence(self, nodes: list[Node], state: State, count: int) -> tuple[Tally, State]:
        total = ZERO
        for node in nodes:
            tally, state = self.node(node, state, count)
            total = plus(total, tally)
        return total, state

    def node(self, node: Node, state: State, count: int) -> tuple[Tally, State]:
        key = (id(node), state, count)
        found = self.known.get(key)
        if found is None:
            found = self._block(node, state) if isinstance(node, BasicBlock) else \
                self._loop(node, state, count)  # fmt: skip
            self.known[key] = found
        return found

    def _loop(self, trip: Trip, state: State, count: int) -> tuple[Tally, State]:
        """Iterations until a state repeats, then whole periods at once, then the rest."""
        trips = times(trip, count)
        again = self.fetches.get(id(trip), 0) * max(trips - 1, 0)
        seen: dict[State, int] = {}
        totals = [ZERO]
        while len(totals) <= trips and state not in seen:
            seen[state] = len(totals) - 1
            tally, state = self.sequence(trip.body, state, count)
            totals.append(plus(totals[-1], tally))
        if len(totals) > trips:
            return _counted(trip, stalled(totals[trips], FETCH, again)), state
        start = seen[state]
        period = len(totals) - 1 - start
        periods, rest = divmod(trips - start, period)
        once = tuple(b - a for a, b in zip(totals[start], totals[-1], strict=True))
        whole = tuple(value * periods for value in once)
        states = {number: at for at, number in seen.items()}
        total = stalled(plus(totals[start + rest], whole), FETCH, again)
        return _counted(trip, total), states[start + rest]

    def _block(self, block: BasicBlock, state: State) -> tuple[Tally, State]:
        pending = {atom: (-since, number) for atom, since, number in state}
        total, now = list(ZERO), 0
        for packet in block.packets:
            now = self.packet(packet, pending, now, total)
        if id(block) not in self.inner:
            total[3] = total[4] = 0
        return tuple(total), self.state(pending, now)

    def state(self, pending: Pending, now: int) -> State:
        """The results still on their way, as a tuple that is equal where later cycles are equal."""
        return tuple(sorted(
            (atom, now - issued, number)
            for atom, (issued, number) in pending.items()
            if self._last(number, atom) > now - issued
        ))  # fmt: skip

    def _last(self, number: int, atom: int) -> int:
        """Cycles from the issue until every kind of use is free of stalls."""
        if atom == CHANNEL:
            return number + self.machine.ddr_latency
        return result_latency(self.steps[number], atom, 5, self.machine.vector_result)

    def drain(self, state: State) -> int:
        """Cycles until the accesses to DDR are done."""
        return sum(self._last(number, CHANNEL) - since for a, since, number in state if a < 0)

    def packet(self, packet: list[Step], pending: Pending, now: int,
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
                    issue, cause = ready, self._cause(producer, use)
        delay = 0
        if self.far and (count := self._bursts(packet)):
            share = -(-count * self.sharing // self.machine.dma_rate)
            free = sum(pending.get(CHANNEL, (0, 0)))
            if free > issue:
                issue, cause = free, DDR
            pending[CHANNEL] = issue, share
            total[ACCESSED] += count
            delay = share + self.machine.ddr_latency
        for step in packet:
            number = self._number(step)
            for atom in step.writes:
                pending[atom] = (issue, number)
            if delay and is_far(step, self.far):
                for atom in step.writes:
                    if atom != step.pointer >> 1:
                        pending[atom] = (issue + delay, number)
        issued, multiplies, dots = self._counts(packet)
        total[1] += issued
        total[2] += multiplies
        total[3] += dots
        total[0] += 1
        total[4] += 1
        if issue > now:
            total[cause] += issue - now
        return issue + 1

    def _counts(self, packet: list[Step]) -> tuple[int, int, int]:
        """Instructions of a packet, the multipliers that they take, those that are products."""
        found = self.counts.get(id(packet))
        if found is None:
            issued = multiplies = dots = 0
            for step in packet:
                facts = step.facts
                issued += step.instructions if facts.row.name != "nop" else 0
                multiplies += 2 if facts.unit == "VX_DV" else facts.unit == "VX"
                dots += "dot" in facts.row.tags
            found = self.counts[id(packet)] = issued, multiplies, dots
        return found

    def _bursts(self, packet: list[Step]) -> int:
        """Bytes of the channel that the packet's direct accesses move."""
        found = self.bursts.get(id(packet))
        if found is None:
            found = sum(
                accessed(step.access, step.facts.row.align, self.machine.burst)
                for step in packet
                if step.access is not None and is_far(step, self.far)
            )
            self.bursts[id(packet)] = found
        return found

    def _cause(self, producer: Step, use: int) -> int:
        """The field of the stall for a result."""
        if self.far and is_far(producer, self.far):
            return DDR
        if producer.facts.latency == 0:
            return FIRST_CAUSE + (0 if use < 7 else 1)
        unit = producer.facts.unit
        return FIRST_CAUSE + {"LD": 2, "M": 3}.get(unit, 5 if unit.startswith("V") else 4)

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


def _trips(nodes: list[Node]) -> list[Trip]:
    found = []
    for node in nodes:
        if isinstance(node, Trip):
            found += [node, *_trips(node.body)]
    return found


def _fetches(trips: list[Trip], function: Function, machine: DspMachine) -> dict[int, int]:
    """Cycles in which an iteration's code is fetched again, for the loops that exceed the cache."""
    if 16 * sum(1 for _ in function.packets()) <= machine.icache:  # a packet is 4 words at most
        return {}
    sizes = {id(trip): 4 * words_of(trip.body) for trip in trips}
    return {
        trip: -(-size // machine.fetch_rate) for trip, size in sizes.items()
        if size > machine.icache
    }  # fmt: skip
