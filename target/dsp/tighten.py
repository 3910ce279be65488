"""Schedules of loops in which vectors live shorter, so that registers do.

    packet   step                        packet   step
         3   v1 = vmem(x)                     5   v1 = vmem(x)
         4   v3 = vadd(v2,v2)       ->        4   v3 = vadd(v2,v2)
         9   v4 = vadd(v1,v3)                 9   v4 = vadd(v1,v3)

Within what its makers and users leave it, a step goes to another packet that has room for it, or
changes places with a step of its kind there, as long as all vectors together live shorter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .body import Shape
from .pack import EMPTY, Packer

_SWEEPS = 8  # over all steps, at most
_FAR = 2  # intervals by which a step goes at most


def tightened(shape: Shape, times: Sequence[int], interval: int, packer: Packer) -> list[int]:
    """The packets of the steps from 0 on, changed; the interval stays."""
    found = _Tightening.of(shape, times, interval, packer)
    for sweep in range(_SWEEPS):
        found.sweep(late=sweep % 2 == 0)
    first = min(found.time)
    return [time - first for time in found.time]


@dataclass(slots=True)
class _Tightening:
    shape: Shape
    interval: int
    packer: Packer
    time: list[int]
    after: list[list[tuple[int, int]]]
    before: list[list[tuple[int, int]]]
    values: list[list[int]]  # the vectors that a step makes or reads, by number
    packets: list[list[int]]  # the steps in each packet of the interval

    @staticmethod
    def of(shape: Shape, times: Sequence[int], interval: int, packer: Packer) -> _Tightening:
        count = len(times)
        after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        before: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for i, j, wait, distance in shape.edges:
            if i != j:
                after[i].append((j, wait - interval * distance))
                before[j].append((i, wait - interval * distance))
        values: list[list[int]] = [[] for _ in range(count)]
        for number, value in enumerate(shape.values):
            for i in {*value.writers, *(i for i, _ in value.readers)} if value.file == 0 else ():
                values[i].append(number)
        packets: list[list[int]] = [[] for _ in range(interval)]
        for i, time in enumerate(times):
            packets[time % interval].append(i)
        return _Tightening(shape, interval, packer, [*times], after, before, values, packets)

    def sweep(self, late: bool) -> None:
        """Moves each step once: the last ones first, and as late as that can be, or the first ones
        as early as that can be."""
        order = sorted(range(len(self.time)), key=lambda i: (self.time[i], i), reverse=late)
        for i in order:
            self._move(i, 1 if late else -1)

    def _move(self, i: int, way: int) -> None:
        """Puts step ``i``, or it and another one, where vectors live shortest."""
        old, known = self.time[i], self._lives(self.values[i])
        best = 0, way * old
        moves: tuple[int, int, int] | None = None  # where to, the other step, and where it goes
        for now in self._places(i):
            self.time[i] = now
            less = known - self._lives(self.values[i])
            if (less, way * now) > best and self._fits(i, now):
                best, moves = (less, way * now), (now, i, now)
            elif less > 0:
                for other, there in self._others(i, old):
                    swapped = self._less(i, other, old, there), way * now
                    if swapped[0] > 0 and swapped > best:
                        best, moves = swapped, (now, other, there)
        self.time[i] = old
        if moves is not None:
            now, other, there = moves
            self._put(other, there)
            self._put(i, now)

    def _places(self, i: int) -> Iterator[int]:
        """The packets that the steps around step ``i`` leave it, but its own."""
        time, old, far = self.time, self.time[i], _FAR * self.interval
        first = max([old - far, *(time[j] + cost for j, cost in self.before[i])])
        last = min([old + far, *(time[j] - cost for j, cost in self.after[i])])
        return (now for now in range(first, last + 1) if now != old)

    def _lives(self, numbers: Sequence[int]) -> int:
        """The packets in which vectors live, all together."""
        time, total = self.time, 0
        for number in numbers:
            _, width, writers, readers = self.shape.values[number]
            made = [time[i] for i in writers]
            ends = [time[i] + hops * self.interval for i, hops in readers]
            total += width * (max(made + ends) - min(made))
        return total

    def _fits(self, i: int, now: int, without: int = -1) -> bool:
        """Whether there is room for a step, once another one is gone."""
        state, units = EMPTY, self.shape.units
        for j in self.packets[now % self.interval]:
            if j not in (without, i):
                state = self.packer.fit(state, units[j])
        return self.packer.fit(state, units[i]) >= 0

    def _others(self, i: int, old: int) -> Iterator[tuple[int, int]]:
        """The steps of its kind in the packet to which step ``i`` has gone, and where each may go
        in the packet that it left."""
        units, interval = self.shape.units, self.interval
        here = self.time[i] % interval
        if here == old % interval:
            return
        for j in self.packets[here]:
            if units[j] == units[i] and j != i:
                for there in self._places(j):
                    if there % interval == old % interval:
                        yield j, there

    def _less(self, i: int, other: int, old: int, there: int) -> int:
        """By how much vectors live shorter with step ``other`` there, too."""
        numbers, time = {*self.values[i], *self.values[other]}, self.time
        now, before = time[i], time[other]
        time[other] = there
        lives = self._lives([*numbers])
        time[i], time[other] = old, before
        known = self._lives([*numbers])
        time[i] = now
        return known - lives

    def _put(self, i: int, now: int) -> None:
        self.packets[self.time[i] % self.interval].remove(i)
        self.time[i] = now
        self.packets[now % self.interval].append(i)
