"""The one channel to DDR, which transfers and direct accesses of all threads share.

It moves ``dma_rate`` bytes a cycle, in whole bursts. Direct accesses go first: each of the threads
that may make any has an equal share of the rate (see ``walk``), and transfers get what is left over
the time in which a stretch of code makes its accesses. Transfers come one after another, in the
order in which they are started. That there is no cache before DDR, and who goes first, are
assumptions.

    channel.use(0, 100, 200, 1600, 4)         # thread 0 of 4 moves 1,600 bytes from cycle 100 on
    channel.end(channel.start(0, copy, far))  # the cycle in which a transfer is done
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, gcd

from ...tir.places import ALIGN
from ..program import Address, Dma
from .machine import DspMachine
from .steps import BytesTouched


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """Bytes that a thread moves by direct accesses, spread evenly over cycles."""

    start: Fraction
    end: Fraction
    bytes: int


@dataclass(slots=True)
class Channel:
    """The uses of the channel over time. Transfers have numbers in the order of their starts.

    Times of starts and waits come in order; ``horizon`` is the time before which nothing changes
    any more, so that no access may begin before it.
    """

    machine: DspMachine
    copied: int = 0  # bytes of all transfers
    accessed: int = 0  # bytes that direct accesses move, in whole bursts
    horizon: int = 0
    _uses: list[ChannelUse] = field(default_factory=list)
    _busy: dict[int, Fraction] = field(default_factory=dict)  # a thread: the end of its last use
    _starts: list[tuple[int, int]] = field(default_factory=list)  # of transfers: ready, bytes
    _ends: list[int] = field(default_factory=list)  # of those that nothing delays any more

    def start(self, now: int, dma: Dma, far: frozenset[str]) -> int:
        """The number of a transfer that is started ``now``."""
        self.copied += dma.rows * dma.row_bytes
        self._starts.append((now + self.machine.dma_start, moved(dma, far, self.machine.burst)))
        return len(self._starts) - 1

    def end(self, number: int) -> int:
        """The cycle in which a transfer is done, as far as accesses are known."""
        return self._ends[number] if number < len(self._ends) else self._coming(number)[-1]

    def _coming(self, number: int) -> list[int]:
        """The ends of the transfers that are not settled, up to this one."""
        found, end = [], self.horizon
        for ready, size in self._starts[len(self._ends) : number + 1]:
            end = self._moved(max(end, ready), size)
            found.append(end)
        return found

    def settle(self, number: int) -> None:
        """Accesses are known up to the end of this transfer: nothing delays it any more."""
        if number >= len(self._ends):
            self._ends += self._coming(number)
            self.horizon = self._ends[-1]
            self._uses = [use for use in self._uses if use.end > self.horizon]

    @property
    def started(self) -> int:
        """The number of transfers so far."""
        return len(self._starts)

    def moves(self) -> Iterator[tuple[int, int, int]]:
        """Of each transfer when it begins to move bytes, when it is done, and its bytes."""
        if self._starts:
            self.settle(len(self._starts) - 1)
        before = 0
        for (ready, size), end in zip(self._starts, self._ends, strict=True):
            yield max(before, ready), end, size
            before = end

    def last(self) -> int:
        """The cycle in which all transfers are done."""
        return self.end(len(self._starts) - 1) if self._starts else 0

    def use(self, thread: int, start: int, end: int, count: int, sharing: int) -> None:
        """Notes bytes that a thread, one of ``sharing``, moves by accesses from start to end."""
        self.accessed += count
        begin = max(Fraction(start), self._busy.get(thread, Fraction(0)))
        until = max(Fraction(end), begin + Fraction(count * sharing, self.machine.dma_rate))
        self._busy[thread] = until
        self._uses.append(ChannelUse(begin, until, count))

    def _moved(self, begin: int, size: int) -> int:
        """The cycle in which bytes that may move from ``begin`` on have moved."""
        rate = self.machine.dma_rate
        uses = [use for use in self._uses if use.end > begin]
        now, left = Fraction(begin), Fraction(size)
        for cut in sorted({t for use in uses for t in (use.start, use.end) if t > begin}):
            inside = (use for use in uses if use.start <= now and use.end >= cut)
            free = rate - sum(use.bytes / (use.end - use.start) for use in inside)
            if free * (cut - now) >= left:
                return ceil(now + left / free)
            left -= free * (cut - now)
            now = cut
        return ceil(now + left / rate)


def moved(dma: Dma, far: frozenset[str], burst: int) -> int:
    """Bytes that a transfer moves over the channel: each row in whole bursts, where rows do not lie
    together on both sides. One between two places in TCM takes the engine as if one were far."""
    rows, size = dma.rows, dma.row_bytes
    if rows == 1 or dma.target_stride == dma.source_stride == size:
        rows, size = 1, rows * size
    sides = [(dma.target, dma.target_stride), (dma.source, dma.source_stride)]
    there = [side for side in sides if side[0].buffer in far] or sides[:1]
    return sum(_bursts(address, stride, rows, size, burst) for address, stride in there) * burst


def _bursts(address: Address, stride: int, rows: int, size: int, burst: int) -> int:
    first = _beginning(address.offset, [scale for _, scale in address.terms], burst)
    period = min(rows, burst // gcd(stride, burst))  # rows until they begin alike
    counts = [-(-((first + i * stride) % burst + size) // burst) for i in range(period)]
    times, rest = divmod(rows, period)
    return times * sum(counts) + sum(counts[:rest])


def accessed(access: BytesTouched, align: int, burst: int) -> int:
    """Bytes that a direct access moves over the channel."""
    if access.exact:
        first = _beginning(access.offset, [scale for _, scale in access.terms], burst)
    else:
        first = _beginning(0, [align], burst)
    return -(-(first + access.bytes) // burst) * burst


def _beginning(offset: int, scales: list[int], burst: int) -> int:
    """Bytes of its first burst before an access, the most that there may be."""
    step = gcd(burst, ALIGN, *scales)
    return offset % step + burst - step
