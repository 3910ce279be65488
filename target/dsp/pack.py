"""Packets: which steps fit one, and list scheduling of straight-line code.

Whether instructions fit a packet is a search over slots and pipes; its outcomes are kept as an
automaton whose states are the resources that may be taken, so that scheduling is table look-ups.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from heapq import heappop, heappush
from itertools import chain

from .machine import COMPUTE, PIPES, DspMachine
from .packet_distances import Edges
from .steps import Registers, Step, bits

_WINDOW = 32  # steps that are looked at where registers are short
EMPTY = 0  # the state of a packet without instructions


class Packer:
    """The automaton of one machine: ``fit(state, step)`` is the next state, or -1."""

    def __init__(self, machine: DspMachine) -> None:
        self.units = len(machine.units)
        self._least: dict[int, tuple[int, ...]] = {}
        self._choices: list[tuple[int, ...]] = []
        for extended in (False, True):
            for _, unit in machine.units:
                self._choices.append(_choices(unit.slots, unit.pipes, extended))
        for joined in ("LOAD", "STORE"):
            other = self._choices[[name for name, _ in machine.units].index(joined)]
            for alone in self._choices[: self.units]:
                self._choices.append(tuple({a | b for a in alone for b in other if not a & b}))
        self._states: list[tuple[int, ...]] = [(0,)]
        self._numbers: dict[tuple[int, ...], int] = {(0,): 0}
        self._next: list[dict[int, int]] = [{}]

    def unit(self, step: Step) -> int:
        """The key by which the automaton tells steps apart."""
        facts = step.facts
        if facts.load is not None:
            return facts.number + 2 * self.units
        if facts.store is not None:
            return facts.number + 3 * self.units
        small = facts.short is None and not facts.wide
        return facts.number + (0 if small or step.places == 1 else self.units)

    def fit(self, state: int, unit: int) -> int:
        found = self._next[state].get(unit)
        if found is None:
            found = self._next[state][unit] = self._make(state, unit)
        return found

    @cached_property
    def sets(self) -> list[tuple[int, int]]:
        """Sets of resources that together bound a loop, each with its size."""
        pipes = {pipe: 16 << i for i, pipe in enumerate(PIPES)}
        compute = sum(pipes[pipe] for pipe in COMPUTE)
        found = [1, 3, 12, 15, compute, pipes["MPY0"] | pipes["MPY1"], *pipes.values()]
        found += [pipes["SHIFT"] | pipes["XLANE"]]
        return [(resources, resources.bit_count()) for resources in found]

    def least(self, unit: int) -> tuple[int, ...]:
        """The fewest of each of the ``sets`` that an instruction of ``unit`` takes."""
        if unit not in self._least:
            self._least[unit] = tuple(
                min((choice & resources).bit_count() for choice in self._choices[unit])
                for resources, _ in self.sets
            )
        return self._least[unit]

    def _make(self, state: int, unit: int) -> int:
        taken = {
            used | choice
            for used in self._states[state]
            for choice in self._choices[unit]
            if not used & choice
        }
        if not taken:
            return -1
        key = tuple(sorted(taken))
        if key not in self._numbers:
            self._numbers[key] = len(self._states)
            self._states.append(key)
            self._next.append({})
        return self._numbers[key]


def _choices(
    slots: Sequence[Sequence[int]], pipes: Sequence[Sequence[str]], extended: bool
) -> tuple[int, ...]:
    found = set[int]()
    for choice in slots:
        places = sum(1 << slot for slot in choice)
        extra = [1 << slot for slot in range(4) if not places >> slot & 1] if extended else [0]
        for used in pipes:
            held = sum(16 << PIPES.index(pipe) for pipe in used)
            found |= {places | more | held for more in extra}
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def packer(machine: DspMachine) -> Packer:
    """The automaton of ``machine``, shared by all its compilations."""
    return Packer(machine)


@dataclass(frozen=True, slots=True)
class Pressure:
    """The registers as list scheduling sees them: live atoms around the block, and the limits.
    ``whole``: a pair counts as two for as long as one of its halves lives, since the other one
    alone leaves no place for a pair; else only halves that live do."""

    live_in: int  # bit sets of atoms
    live_out: int
    registers: Registers
    limits: tuple[int, int, int, int]  # of each file
    whole: bool = False


class _Live:
    """Counts live registers of each file while steps are placed: of atoms, or of whole ones."""

    def __init__(self, steps: Sequence[Step], pressure: Pressure) -> None:
        registers, self.limits = pressure.registers, pressure.limits
        by = 1 if pressure.whole else 0  # atoms, or the registers that they are of
        self.touched = [tuple({atom >> by for atom in (*step.writes, *[a for a, _ in step.reads])})
                        for step in steps]  # fmt: skip
        self.live, out = ({atom >> by for atom in bits(live)}
                          for live in (pressure.live_in, pressure.live_out))  # fmt: skip
        self.left = Counter(chain(out, *self.touched))  # steps that touch it, one more if it stays
        known = self.live | self.left.keys()
        self.files = {one: registers.files[one if by else one >> 1] for one in known}
        self.widths = {one: registers.widths[one] if by else 1 for one in known}
        self.counts = [0, 0, 0, 0]
        for one in self.live:
            self.counts[self.files[one]] += self.widths[one]

    @property
    def roomy(self) -> bool:
        """Whether any step fits without counting."""
        a, b, c, d = self.counts
        w, x, y, z = self.limits
        return a + 2 <= w and b + 2 <= x and c + 1 <= y and d + 1 <= z

    def fits(self, i: int) -> bool:
        """Whether placing step ``i`` keeps every file that it fills within its limit."""
        change = [0, 0, 0, 0]
        live, left, files, widths = self.live, self.left, self.files, self.widths
        for register in self.touched[i]:
            lives = left[register] > 1
            if lives != (register in live):
                change[files[register]] += widths[register] if lives else -widths[register]
        for file, more in enumerate(change):
            if more > 0 and self.counts[file] + more > self.limits[file]:
                return False
        return True

    def place(self, i: int) -> None:
        live, left = self.live, self.left
        for register in self.touched[i]:
            uses = left[register] = left[register] - 1
            if uses and register not in live:
                live.add(register)
                self.counts[self.files[register]] += self.widths[register]
            elif not uses and register in live:
                live.remove(register)
                self.counts[self.files[register]] -= self.widths[register]


def heights(edges: Edges) -> list[int]:
    """Packets from each step to the end of the longest chain behind it."""
    height = [0] * len(edges)
    for i in range(len(edges) - 1, -1, -1):
        height[i] = max([height[j] + packets for j, packets in edges[i]], default=0)
    return height


def in_order(edges: Edges) -> list[int]:
    """The steps in the order in which they came, but each behind those that it waits for: one that
    bumps a pointer comes after those of its group that read the pointer."""
    if all([j > i for i, out in enumerate(edges) for j, _ in out]):
        return list(range(len(edges)))
    waiting = [0] * len(edges)
    for out in edges:
        for j, _ in out:
            waiting[j] += 1
    ready, found = [i for i, n in enumerate(waiting) if n == 0], list[int]()
    while ready:
        found.append(heappop(ready))
        for j, _ in edges[found[-1]]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heappush(ready, j)
    return found


def list_schedule(
    steps: Sequence[Step], edges: Edges, machine_packer: Packer, pressure: Pressure
) -> list[list[Step]]:
    """Packets of straight-line code: longest chains first, within the registers there are."""
    schedule = _Schedule(steps, edges, machine_packer, pressure)
    packets: list[list[Step]] = []
    while schedule.left:
        packet = schedule.packet()
        if packet:
            packets.append([steps[i] for i in packet])
    return packets


class _Schedule:
    """List scheduling, a packet at a time. Steps wait for others, then for a cycle, then for room
    in a packet; ``oldest`` is the first in ``sequence`` that is not placed: it always may be, so
    that crowded code falls back to the order in which it came."""

    def __init__(
        self, steps: Sequence[Step], edges: Edges, machine_packer: Packer, pressure: Pressure
    ) -> None:
        self.edges, self.packer = edges, machine_packer
        self.units = [machine_packer.unit(step) for step in steps]
        height = heights(edges)
        order = sorted(range(len(steps)), key=lambda i: (-height[i], i))
        self.rank = [0] * len(steps)
        for rank, i in enumerate(order):
            self.rank[i] = rank
        self.order, self.live = order, _Live(steps, pressure)
        self.waiting = [0] * len(steps)
        for out in edges:
            for j, _ in out:
                self.waiting[j] += 1
        self.start = [0] * len(steps)
        self.ready = sorted(self.rank[i] for i, n in enumerate(self.waiting) if n == 0)
        self.sequence = in_order(edges)
        self.age = [0] * len(steps)
        for age, i in enumerate(self.sequence):
            self.age[i] = age
        self.ages = sorted(self.age[order[rank]] for rank in self.ready)  # the same, by age
        self.later: list[tuple[int, int]] = []  # heap of (cycle, rank)
        self.placed = [False] * len(steps)
        self.left, self.oldest, self.cycle = len(steps), 0, 0

    def packet(self) -> list[int]:
        """The steps that issue in this cycle, perhaps none."""
        while self.later and self.later[0][0] <= self.cycle:
            self._enter(heappop(self.later)[1])
        assert self.ready or self.later, "dependences form a cycle"
        state, packet, fit = EMPTY, list[int](), self.packer.fit
        tries, units, refused = self._candidates(), self.units, set[int]()
        while tries and len(packet) < 4:
            fresh = list[int]()
            for i in tries:
                unit = units[i]
                if unit in refused:
                    continue
                after = fit(state, unit)
                if after < 0:
                    refused.add(unit)  # nor will it fit the packet when it is fuller
                    continue
                if not (self.age[i] == self.oldest or self.live.roomy or self.live.fits(i)):
                    continue
                state = after
                packet.append(i)
                fresh += self._place(i)
                if len(packet) == 4:
                    break
            tries = fresh
        assert packet or self.later, "no step fits, and none will"
        self.cycle += 1
        return packet

    def _candidates(self) -> list[int]:
        """By length of the chain behind them; where registers are short, by age."""
        if self.live.roomy:
            return [self.order[rank] for rank in self.ready]
        return [self.sequence[age] for age in self.ages[:_WINDOW]]

    def _enter(self, rank: int) -> None:
        insort(self.ready, rank)
        insort(self.ages, self.age[self.order[rank]])

    def _place(self, i: int) -> list[int]:
        """Marks a step as placed; gives those that may follow in the same packet."""
        self.placed[i] = True
        self.left -= 1
        self.live.place(i)
        del self.ready[bisect_left(self.ready, self.rank[i])]
        del self.ages[bisect_left(self.ages, self.age[i])]
        fresh, waiting, start, now = list[int](), self.waiting, self.start, self.cycle
        for j, between in self.edges[i]:
            waiting[j] -= 1
            if now + between > start[j]:
                start[j] = now + between
            if waiting[j]:
                continue
            if start[j] > now:
                heappush(self.later, (start[j], self.rank[j]))
            else:
                self._enter(self.rank[j])
                fresh.append(j)
        while self.oldest < len(self.placed) and self.placed[self.sequence[self.oldest]]:
            self.oldest += 1
        return fresh
