"""Attempts at placing the steps of a loop's body so that an iteration starts every ``interval``
packets.

Steps are placed backwards from the ends of their chains, each as late as its consumers and the
resources allow, so that values live shortly; a step that finds no room evicts others and they are
placed again (iterative modulo scheduling, with time reversed). The packets of an interval in which
a kind of step finds room are a bit set.
"""

from __future__ import annotations

from collections.abc import Sequence

from .body import Edge, Shape
from .pack import EMPTY, Packer

_TRIES = 6  # placements per step before an interval is given up
_NEVER = -(1 << 40)  # the time of a step that is not placed


def resource_bound(units: Sequence[int], packer: Packer) -> int:
    """The packets that the most contended set of slots or pipes needs."""
    demands = map(sum, zip(*[packer.least(unit) for unit in units], strict=True))
    needs = [-(-demand // count) for demand, (_, count) in zip(demands, packer.sets, strict=False)]
    return max(1, *needs)


def _depths(count: int, edges: Sequence[Edge], interval: int) -> list[int] | None:
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


def recurrence_bound(count: int, edges: Sequence[Edge], low: int, limit: int) -> int:
    """The least interval from ``low`` on in which no chain waits for itself, ``limit`` at most."""
    if _depths(count, edges, low) is not None:
        return low
    while low + 1 < limit:
        middle = (low + limit) // 2
        low, limit = (low, middle) if _depths(count, edges, middle) else (middle, limit)
    return limit


class Placement:
    """Places the steps of one shape, interval by interval. Time runs backwards: 0 is the end of the
    last chains."""

    def __init__(self, shape: Shape, packer: Packer) -> None:
        self.shape, self.packer, self.count = shape, packer, len(shape.units)
        self.kinds = sorted(set(shape.units))
        self.kind = [self.kinds.index(unit) for unit in shape.units]
        self.changes: dict[tuple[int, int], list[int]] = {}  # of a packet's states
        self.depth: list[int] = []
        self.orders: tuple[list[int], list[int]] = [], []

    def times(self, interval: int, deep: bool) -> list[int] | None:
        """Packets counted forward from 0; None when it cannot be, or the tries are used up. Steps
        are placed by the lengths of the chains to them, or, ``deep``, chain by chain."""
        count = self.count
        depth = _depths(count, self.shape.edges, interval)
        if depth is None:
            return None
        if depth != self.depth:
            self.depth = depth
            wide = sorted(range(count), key=lambda i: (-depth[i], self.shape.near[i], i))
            self.orders = wide, _chains(count, self.shape.edges, depth)
        self._start(interval, self.orders[deep])
        todo, order, place = (1 << count) - 1, self.order, self._place  # ranks as a bit set
        for _ in range(_TRIES * count):
            if not todo:
                break
            first = todo & -todo
            todo = todo ^ first | place(order[first.bit_length() - 1])
        if todo:
            return None
        latest = max(self.time)
        return [latest - t for t in self.time]

    def _start(self, interval: int, order: list[int]) -> None:
        self.interval, self.order, count = interval, order, self.count
        self.after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.before: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for i, j, packets, distance in self.shape.edges:
            if i != j:
                self.after[i].append((j, packets - interval * distance))
                self.before[j].append((i, packets - interval * distance))
        self.rank = [0] * count
        for rank, i in enumerate(order):
            self.rank[i] = rank
        self.time = [_NEVER] * count
        self.last = [_NEVER] * count
        self.packets: list[list[int]] = [[] for _ in range(interval)]
        self.states = [EMPTY] * interval
        self.open = [(1 << interval) - 1] * len(self.kinds)  # where each kind of step finds room

    def _place(self, i: int) -> int:
        """Places step ``i``; gives the ranks of the steps that had to leave, as a bit set."""
        earliest, time = 0, self.time
        for j, cost in self.after[i]:
            if time[j] + cost > earliest:
                earliest = time[j] + cost
        room, start = self.open[self.kind[i]], earliest % self.interval
        if later := room >> start:
            return self._put(i, earliest + (later & -later).bit_length() - 1)
        if room:
            return self._put(i, earliest + self.interval - start + (room & -room).bit_length() - 1)
        return self._force(i, max(earliest, self.last[i] + 1))

    def _put(self, i: int, now: int) -> int:
        """Places step ``i`` where it fits."""
        time, at, gone = self.time, now % self.interval, 0
        time[i] = self.last[i] = now
        self.packets[at].append(i)
        self._turn(at, self.packer.fit(self.states[at], self.shape.units[i]))
        for j, cost in self.before[i]:
            if _NEVER < time[j] < now + cost:
                gone |= self._remove(j)
        return gone

    def _force(self, i: int, now: int) -> int:
        """Makes room for step ``i``, which fits nowhere, and places it."""
        at, unit, gone = now % self.interval, self.shape.units[i], 0
        while self.packer.fit(self.states[at], unit) < 0:
            gone |= self._remove(max(self.packets[at], key=self.rank.__getitem__))
        return gone | self._put(i, now)

    def _remove(self, i: int) -> int:
        """Takes step ``i`` out; gives its rank as a bit set."""
        at, state = self.time[i] % self.interval, EMPTY
        self.time[i] = _NEVER
        self.packets[at].remove(i)
        for j in self.packets[at]:
            state = self.packer.fit(state, self.shape.units[j])
        self._turn(at, state)
        return 1 << self.rank[i]

    def _turn(self, at: int, state: int) -> None:
        """The packet ``at`` of the interval comes into another state."""
        change, place = (self.states[at], state), 1 << at
        if change not in self.changes:
            self.changes[change] = self._changed(*change)
        for kind in self.changes[change]:
            self.open[kind] ^= place
        self.states[at] = state

    def _changed(self, before: int, after: int) -> list[int]:
        """The kinds of steps that fit a packet in one of two states alone."""
        fit = self.packer.fit
        return [kind for kind, unit in enumerate(self.kinds)
                if (fit(before, unit) < 0) != (fit(after, unit) < 0)]  # fmt: skip


def _chains(count: int, edges: Sequence[Edge], depth: list[int]) -> list[int]:
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
