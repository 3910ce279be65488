"""The threads of a phase that starts or awaits transfers, walked in order of time.

Between calls a thread is walked alone; calls are served for the thread that is behind first. A
wait is served when every other thread is as far: accesses of the others until then may have delayed
the transfer, so the thread waits for the end that is known, and asks again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from .channel import Channel
from .steps import BasicBlock, Node, Step
from .walk import (
    ACCESSED,
    DDR,
    DMA,
    FETCH,
    ZERO,
    State,
    Tally,
    Walker,
    cycles,
    plus,
    stalled,
    times,
)


@dataclass(slots=True)
class Copies:
    """A thread's outstanding transfers: the numbers of those of each token, the oldest first."""

    numbers: dict[str, list[int]] = field(default_factory=dict)

    def started(self, token: str, number: int) -> None:
        self.numbers.setdefault(token, []).append(number)

    def oldest(self, token: str) -> int:
        if not self.numbers.get(token):
            raise ValueError(f"cycles: a wait needs a transfer of its thread, but {token} has none")
        return self.numbers[token][0]

    def done(self, token: str) -> None:
        self.numbers[token].pop(0)


@dataclass(slots=True)
class Thread:
    """A thread that is walked packet by packet where it transfers."""

    number: int
    walker: Walker
    count: int
    copies: Copies
    channel: Channel
    ddr: frozenset[str]  # all places in DDR
    now: int
    total: Tally = ZERO
    state: State = ()

    def events(self) -> Generator[Step, None, None]:
        """Runs; stops at each call."""
        if self.count:
            yield from self._nodes(self.walker.function.nodes)
            self.stall(DDR, self.walker.drain(self.state))

    def stall(self, cause: int, count: int) -> None:
        self.total = stalled(self.total, cause, count)
        self.now += count

    def _nodes(self, nodes: list[Node]) -> Generator[Step, None, None]:
        for node in nodes:
            if not self._calls(node):
                tally, self.state = self.walker.node(node, self.state, self.count)
                self._add(tally)
            elif isinstance(node, BasicBlock):
                yield from self._block(node)
            else:
                for turn in range(times(node, self.count)):
                    if turn:
                        self.stall(FETCH, self.walker.fetches.get(id(node), 0))
                    yield from self._nodes(node.body)

    def _block(self, block: BasicBlock) -> Generator[Step, None, None]:
        pending = {atom: (-since, number) for atom, since, number in self.state}
        now, total = 0, list(ZERO)
        for packet in block.packets:
            now = self.walker.packet(packet, pending, now, total)
            call = next((step for step in packet if step.is_call), None)
            if call is not None:
                self._add((*total[:3], 0, 0, *total[5:]))
                before = self.now
                yield call
                now += self.now - before
                pending = {atom: (came - now, number) for atom, (came, number) in pending.items()}
                now, total = 0, list(ZERO)
        self._add((*total[:3], 0, 0, *total[5:]))
        self.state = self.walker.state(pending, now)

    def _add(self, tally: Tally) -> None:
        self.total = plus(self.total, tally)
        before, self.now = self.now, self.now + cycles(tally)
        if tally[ACCESSED]:
            sharing = self.walker.sharing
            self.channel.use(self.number, before, self.now, tally[ACCESSED], sharing)

    def _calls(self, node: Node) -> bool:
        known = self.walker.with_calls
        if id(node) not in known:
            if isinstance(node, BasicBlock):
                known[id(node)] = any(step.is_call for p in node.packets for step in p)
            else:
                known[id(node)] = any(self._calls(inner) for inner in node.body)
        return known[id(node)]


def together(threads: list[Thread]) -> list[Tally]:
    """Walks all threads of a phase; the thread whose clock is behind goes first."""
    running = {i: thread.events() for i, thread in enumerate(threads)}
    waiting = {i: step for i in list(running) if (step := next(running[i], None)) is not None}
    while waiting:
        i = min(waiting, key=lambda i: (threads[i].now, i))
        if not _served(threads[i], waiting[i]):
            continue
        following = next(running[i], None)
        if following is None:
            del waiting[i]
        else:
            waiting[i] = following
    return [thread.total for thread in threads]


def _served(thread: Thread, call: Step) -> bool:
    """Whether the thread goes on; a wait takes its time first, and is asked for again."""
    channel = thread.channel
    if call.target == "dovetail_wait":
        number = thread.copies.oldest(call.origin)
        wait = channel.end(number) - thread.now
        if wait > 0:
            thread.stall(DMA, wait)
            return False
        channel.settle(number)
        thread.copies.done(call.origin)
        return True
    dma = thread.walker.function.records[call.imm]
    thread.copies.started(dma.token, channel.start(thread.now, dma, thread.ddr))
    return True
