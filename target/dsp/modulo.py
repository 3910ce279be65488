"""Modulo scheduling of innermost loops: one iteration starts every ``interval`` packets.

Steps are placed backwards from the ends of their chains, each as late as its consumers and the
resources allow, so that values live shortly; a step that finds no room evicts others and they are
placed again (iterative modulo scheduling, with time reversed). A bumped pointer costs no order:
an access before or after the bump only gets another immediate, as far as immediates reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate

from .depend import distances, overlap, result_latency
from .machine import Machine
from .pack import EMPTY, Packer
from .steps import PAIRS, Registers, Step

Edge = tuple[int, int, int, int]  # from, to, packets, iterations
_TRIES = 6  # placements per step before an interval is given up


@dataclass(frozen=True, slots=True)
class Body:
    """An innermost loop: its steps, the bump of each moving pointer, its registers' roles."""

    steps: list[Step]
    bumps: dict[int, tuple[int, int]]  # pointer: (number of the step that bumps it, bytes)
    local: frozenset[int]  # registers that live within one iteration
    variable: str
    trips: int


@dataclass(frozen=True, slots=True)
class Modulo:
    """A schedule: the packet of each step counted from its iteration's start."""

    interval: int
    times: list[int]

    @property
    def stages(self) -> int:
        return max(self.times) // self.interval + 1


def edges_of(body: Body, extents: Mapping[str, int], machine: Machine) -> list[Edge]:
    """All dependences, within an iteration and between iterations."""
    best: dict[tuple[int, int, int], int] = {}

    def add(before: int, after: int, packets: int, distance: int) -> None:
        if before != after or distance:
            key = before, after, distance
            best[key] = max(best.get(key, 0), packets)

    moving = {pointer >> 1 for pointer in body.bumps}
    refs: dict[int, list[tuple[int, int]]] = {}  # of each atom: (step, use cycle or -1: written)
    for i, step in enumerate(body.steps):
        for atom, use in step.reads:
            if atom not in moving:
                refs.setdefault(atom, []).append((i, use))
        for atom in step.writes:
            if atom not in moving:
                refs.setdefault(atom, []).append((i, -1))
    for atom, uses in refs.items():
        _register_edges(body.steps, atom, uses, atom >> 1 not in body.local, machine, add)
    _memory_edges(body, extents, add)
    _pointer_edges(body, add)
    return [(i, j, packets, distance) for (i, j, distance), packets in best.items()]


def _register_edges(steps: Sequence[Step], atom: int, refs: list[tuple[int, int]], carried: bool,
                    machine: Machine, add: object) -> None:  # fmt: skip
    """In order; a register that outlives its iteration is followed into the next one."""
    assert callable(add)
    writer, written_at = -1, 0
    readers: list[tuple[int, int]] = []
    writes = any(use < 0 for _, use in refs)
    for distance in (0, 1) if carried and writes else (0,):
        for i, use in refs:
            if use >= 0:
                if writer >= 0 and (distance == 0 or written_at == 0):
                    wait = result_latency(steps[writer], atom, use, machine.vector_result)
                    add(writer, i, wait, distance - written_at)
                readers.append((i, distance))
                continue
            for reader, at in readers:
                if distance == 0 or at == 0:
                    add(reader, i, 0, distance - at)
            if writer >= 0 and (distance == 0 or written_at == 0):
                add(writer, i, 1, distance - written_at)
            writer, written_at, readers = i, distance, []


def _memory_edges(body: Body, extents: Mapping[str, int], add: object) -> None:
    assert callable(add)
    touched = [(i, step.access) for i, step in enumerate(body.steps) if step.access]
    stored = {access.buffer for _, access in touched if access.store}
    touched = [(i, access) for i, access in touched if access.buffer in stored]
    for i, a in touched:
        for j, b in touched:
            if a.buffer != b.buffer or not (a.store or b.store):
                continue
            packets = 1 if a.store else 0
            if i < j and overlap(a, b, extents):
                add(i, j, packets, 0)
            distance = distances(a, b, body.variable, body.trips, extents)
            if distance is not None and i != j:
                add(i, j, packets, distance)


def _pointer_edges(body: Body, add: object) -> None:
    """How far before or after its pointer's bump an access may be, in iterations."""
    assert callable(add)
    for pointer, (bump, by) in body.bumps.items():
        add(bump, bump, 1, 1)
        for i, step in enumerate(body.steps):
            if i == bump or step.pointer != pointer:
                continue
            low, high, unit = step.facts.reach
            if step.index >= 0 or by % unit:
                low = high = step.imm
            below, above = step.imm - low, step.imm - high
            most, least = (
                (below // by, -(-above // by)) if by > 0 else (above // by, -(-below // by))
            )
            add(bump, i, 1, 1 - least)
            add(i, bump, 0, most)


_FINE = 32  # packets of an interval up to which the next one is a packet longer


def resource_bound(steps: Sequence[Step], packer: Packer) -> int:
    """The packets that the most contended set of slots or pipes needs."""
    units = [packer.unit(step) for step in steps]
    bound = 1
    for resources, count in packer.sets:
        demand = sum(packer.least(unit, resources) for unit in units)
        bound = max(bound, -(-demand // count))
    return bound


FLAT = 192  # instructions up to which a loop too short for a kernel is written out whole


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule of one form of a loop's body, and the registers that its local values need."""

    body: Body
    schedule: Modulo
    needs: tuple[int, int, int]  # vectors, scalars, predicates
    unroll: int  # iterations that the kernel holds, so that values outlive the interval

    @property
    def passes(self) -> int:
        """Passes of the kernel; 0 where there is none: too few iterations."""
        passes = (self.body.trips - self.schedule.stages + 1) // self.unroll
        return passes if passes > 1 else 0

    @property
    def pays(self) -> bool:
        """Whether there is a kernel, or so few iterations that they can be written out."""
        return self.passes > 0 or self.body.trips * len(self.body.steps) <= FLAT


class Schedules:
    """The schedules of one loop by rising interval, made when asked for; ``forms`` are bodies that
    do the same, with their dependences."""

    def __init__(self, forms: Sequence[tuple[Body, list[Edge]]], packer: Packer, limit: int,
                 registers: Registers) -> None:  # fmt: skip
        self.forms, self.limit, self.registers = forms, limit, registers
        self._found: list[Found] = []
        self._more = self._make(packer)

    def _make(self, packer: Packer) -> Iterator[Found]:
        """Step by step up to the first schedule; from there on, which only saves registers, in
        growing steps, and not far."""
        limit, first = self.limit, 0
        forms = []
        for body, edges in self.forms:
            low = resource_bound(body.steps, packer)
            low = recurrence_bound(len(body.steps), edges, low, limit)
            forms.append((low, body, _Placement(body.steps, edges, packer)))
        interval = min(low for low, _, _ in forms)
        while interval < limit:
            for low, body, placement in forms:
                for deep in (False, True) if low <= interval else ():
                    times = placement.times(interval, deep)
                    if times is None:
                        continue
                    if not first:
                        first, limit = interval, min(limit, 2 * interval + 8)
                    yield self._judged(body, Modulo(interval, times))
            interval += 1 + max((interval - first) // 4 if first else 0, interval // _FINE)

    def _judged(self, body: Body, found: Modulo) -> Found:
        life = lifetimes(body, found).values()
        spans = [(high - low) // (2 * found.interval) + 1 for low, high in life]
        return Found(body, found, pressure(body, found, self.registers), max(spans, default=1))

    @property
    def needs(self) -> int:
        """The fewest vectors that a schedule needs, of those that were made."""
        return min((found.needs[0] for found in self._found), default=0)

    def least(self, room: tuple[int, int, int]) -> Found | None:
        """The first schedule that pays and needs no more vector, scalar and predicate registers
        than ``room`` for values that live within iterations."""
        able = (one for one in self._rising() if one.pays and _fits(one.needs, room))
        return next(able, None)

    def _rising(self) -> Iterator[Found]:
        """All schedules, made when they are wanted for the first time."""
        yield from self._found
        for found in self._more:
            self._found.append(found)
            yield found


def _fits(needs: tuple[int, int, int], room: tuple[int, int, int]) -> bool:
    return needs[0] <= room[0] and needs[1] <= room[1] and needs[2] <= room[2]


def _depths(count: int, edges: list[Edge], interval: int) -> list[int] | None:
    """Packets from a chain's start to each step; None when a recurrence needs a longer interval."""
    depth = [0] * count
    costs = [(i, j, packets - interval * distance) for i, j, packets, distance in edges]
    for _ in range(count + 1):
        changed = False
        for i, j, cost in costs:
            if depth[i] + cost > depth[j]:
                depth[j] = depth[i] + cost
                changed = True
        if not changed:
            return depth
    return None


def recurrence_bound(count: int, edges: list[Edge], low: int, limit: int) -> int:
    """The least interval from ``low`` on in which no chain waits for itself, ``limit`` at most."""
    if _depths(count, edges, low) is not None:
        return low
    while low + 1 < limit:
        middle = (low + limit) // 2
        low, limit = (low, middle) if _depths(count, edges, middle) else (middle, limit)
    return limit


class _Placement:
    """Attempts at a schedule. Time runs backwards: 0 is the end of the last chains."""

    def __init__(self, steps: Sequence[Step], edges: list[Edge], packer: Packer) -> None:
        self.packer, self.edges = packer, edges
        self.units = [packer.unit(step) for step in steps]
        self.near = _companions(steps)

    def times(self, interval: int, deep: bool) -> list[int] | None:
        """Packets counted forward from 0; None when it cannot be, or the tries are used up. Steps
        are placed by the lengths of the chains to them, or, ``deep``, chain by chain."""
        count = len(self.units)
        depth = _depths(count, self.edges, interval)
        if depth is None:
            return None
        self._start(interval, depth, deep)
        tries = _TRIES * count
        todo = list(range(count))
        while todo:
            if tries == 0:
                return None
            tries -= 1
            for j in self._place(self.order[heappop(todo)]):
                heappush(todo, self.rank[j])
        latest = max(t for t in self.time if t is not None)
        return [latest - t for t in self.time if t is not None]

    def _start(self, interval: int, depth: list[int], deep: bool) -> None:
        self.interval, count = interval, len(self.units)
        self.after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.before: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for i, j, packets, distance in self.edges:
            if i != j:
                self.after[i].append((j, packets - interval * distance))
                self.before[j].append((i, packets - interval * distance))
        if deep:
            self.order = _chains(count, self.edges, depth)
        else:
            self.order = sorted(range(count), key=lambda i: (-depth[i], self.near[i], i))
        self.rank = [0] * count
        for rank, i in enumerate(self.order):
            self.rank[i] = rank
        self.time: list[int | None] = [None] * count
        self.last: list[int] = [-(1 << 30)] * count
        self.rows: list[list[int]] = [[] for _ in range(interval)]
        self.states = [EMPTY] * interval

    def _place(self, i: int) -> list[int]:
        """Places step ``i``; gives the steps that had to leave."""
        earliest = 0
        for j, cost in self.after[i]:
            other = self.time[j]
            if other is not None and other + cost > earliest:
                earliest = other + cost
        unit, interval, states, fit = self.units[i], self.interval, self.states, self.packer.fit
        refused = set[int]()
        for time in range(earliest, earliest + interval):
            row = -time % interval
            if states[row] in refused:
                continue
            state = fit(states[row], unit)
            if state >= 0:
                return self._put(i, time, row, state)
            refused.add(states[row])
        time = max(earliest, self.last[i] + 1)
        return self._force(i, time)

    def _put(self, i: int, time: int, row: int, state: int) -> list[int]:
        self.time[i] = self.last[i] = time
        self.rows[row].append(i)
        self.states[row] = state
        gone = []
        for j, cost in self.before[i]:
            other = self.time[j]
            if other is not None and other < time + cost:
                self._remove(j)
                gone.append(j)
        return gone

    def _force(self, i: int, time: int) -> list[int]:
        row = -time % self.interval
        gone = []
        while (state := self.packer.fit(self.states[row], self.units[i])) < 0:
            j = max(self.rows[row], key=lambda j: self.rank[j])
            self._remove(j)
            gone.append(j)
        return gone + self._put(i, time, row, state)

    def _remove(self, i: int) -> None:
        time = self.time[i]
        assert time is not None
        self.time[i] = None
        row = -time % self.interval
        self.rows[row].remove(i)
        state = EMPTY
        for j in self.rows[row]:
            state = self.packer.fit(state, self.units[j])
        self.states[row] = state


def _chains(count: int, edges: list[Edge], depth: list[int]) -> list[int]:
    """The steps from the ends of chains on, one chain after the other: each behind those that wait
    for it, and then at once, so that few values live until their chain is placed."""
    makers: list[set[int]] = [set() for _ in range(count)]
    users = [0] * count
    for i, j, _, distance in edges:
        if distance == 0 and i not in makers[j]:
            makers[j].add(i)
            users[i] += 1
    todo, found = [i for i in range(count) if users[i] == 0], list[int]()
    todo.sort(key=lambda i: (depth[i], i))
    while todo:
        found.append(todo.pop())
        for i in makers[found[-1]]:
            users[i] -= 1
        ready = [i for i in makers[found[-1]] if users[i] == 0]
        todo += sorted(ready, key=lambda i: (depth[i], i))
    return found


def _companions(steps: Sequence[Step]) -> list[int]:
    """For each step the last step that makes a vector for it: users of a vector stay together."""
    maker: dict[int, int] = {}
    near = []
    for i, step in enumerate(steps):
        near.append(max((maker[atom] for atom, use in step.reads if atom in maker and use > 2),
                        default=i))  # fmt: skip
        if step.result >= 0 and all(code != step.result for code in step.operands):
            for atom in step.writes:
                maker[atom] = i
    return near


def lifetimes(body: Body, found: Modulo) -> dict[int, tuple[int, int]]:
    """Of each local register: the first point that writes it, the last that touches it."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for step, time in zip(body.steps, found.times, strict=True):
        point = 2 * time + 1
        for atom in step.writes:
            register = atom >> 1
            first[register] = min(first.get(register, point), point)
            last[register] = max(last.get(register, point), point)
    for step, time in zip(body.steps, found.times, strict=True):
        point = 2 * time
        for atom, _ in step.reads:
            if point > last.get(atom >> 1, point):
                last[atom >> 1] = point
    return {register: (first[register], last[register]) for register in first
            if register in body.local}  # fmt: skip


def pressure(body: Body, found: Modulo, registers: Registers) -> tuple[int, int, int]:
    """The most vector, scalar and predicate registers that local values hold at once."""
    span = 2 * found.interval
    counts = [[0] * (span + 1) for _ in range(4)]
    for register, (low, high) in lifetimes(body, found).items():
        width = 2 if registers.kinds[register] in PAIRS else 1
        count, length = counts[registers.files[register]], high - low + 1
        whole, part = divmod(length, span)
        start = low % span
        count[0] += width * whole
        count[span] -= width * whole
        count[start] += width
        if start + part <= span:
            count[start + part] -= width
        else:
            count[span] -= width
            count[0] += width
            count[start + part - span] -= width
    vectors, scalars, predicates = (max(accumulate(count)) for count in counts[:3])
    return vectors, scalars, predicates
