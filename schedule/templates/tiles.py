"""Tiles of sums as the machine runs them: loops of products, then what is made of the sums.

    for the tiles of a phase's busiest thread:     ``around`` of them in the innermost loop
      head                                         initial sums
      loops:  body                                 products, of several steps
      tail                                         what is made of the sums

What a compiled loop takes follows from how loops are compiled (``Loops`` of the machine). Short
ones are written out; iterations overlap where there are more than a few of them or where they are
short, if registers do; a loop around such a loop is turned, so that the end of a tile fills the
packets of the next one's beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from ...target.machine_facts import Machine
from ...tir.quick import quick
from .packets import Ops
from .template import Estimate


def busiest(shared: int, machine: Machine) -> int:
    """Steps of the thread that has most of them."""
    return -(-shared // machine.threads)


@dataclass(frozen=True, slots=True)
class Walk:
    """Tiles one after another: the loops ``inner``, outermost first, in one of ``shared`` steps
    that threads share, for each image."""

    shared: int
    inner: tuple[int, ...]
    images: int
    machine: Machine

    @property
    def tiles(self) -> int:
        """Of all threads."""
        return self.shared * prod(self.inner) * self.images

    @property
    def longest(self) -> int:
        """Tiles of the thread that has most of them."""
        return busiest(self.shared, self.machine) * prod(self.inner) * self.images

    @property
    def starts(self) -> int:
        """How often loops over tiles begin in the longest thread."""
        total, count = 0, self.images
        for extent in (busiest(self.shared, self.machine), *self.inner):
            total, count = total + (count if extent > 1 else 0), count * extent
        return total

    @property
    def around(self) -> int:
        """Iterations of the loop around a tile: of the innermost that has several, or as many
        as all threads share."""
        several, threads = [extent for extent in self.inner if extent > 1], self.machine.threads
        return several[-1] if several else max(self.shared // threads, 1)


def walk_of(extents: Mapping[str, int], share: object, images: int, machine: Machine) -> Walk:
    """Loops over tiles in their order, but the shared one first."""
    inner = tuple(extent for name, extent in extents.items() if name != share)
    return Walk(extents[str(share)], inner, images, machine)


@quick
@dataclass(frozen=True, slots=True)
class Tiles:
    """``loops`` are the trips of those around a body, outermost first, ``items`` its instructions
    before words are paired; ``sums`` are the registers that a tile keeps, ``held`` those that its
    products read at a time."""

    walk: Walk
    loops: tuple[int, ...]
    steps: int
    items: int
    body: Ops
    head: Ops
    tail: Ops
    sums: int
    held: int

    @property
    def bodies(self) -> int:
        """Of a tile."""
        return prod(self.loops)

    @property
    def products(self) -> float:
        """Of all tiles of a phase."""
        return self.walk.tiles * self.bodies * self.body.multiply * self.walk.machine.vector_bytes

    @property
    def loaded(self) -> float:
        """Bytes of vectors that products of all tiles of a phase load."""
        return self.walk.tiles * self.bodies * self.body.loads * self.walk.machine.vector_bytes

    def cycles(self, machine: Machine, beside: float = 0.0) -> float:
        """Of the longest thread, ``beside`` of each tile added."""
        walk = self.walk
        return (self.each(machine) + beside) * walk.longest + machine.loops.begin * walk.starts

    def each(self, machine: Machine) -> float:
        """Cycles of a tile."""
        body, items, how, issue = self.body, self.items, machine.loops, machine.issue
        loops = [trips for trips in self.loops if trips > 1]
        while loops and loops[-1] <= how.few and items * loops[-1] <= how.written:
            items *= loops[-1]
            body = body * loops.pop()
        if not loops:
            return self._straight(body, machine)
        step, starts = Ops(), prod(loops[:-1])  # that runs alone as a loop begins
        inner: float = body.packets(issue) + machine.load_latency
        if loops[-1] > how.few or body.count <= how.long:
            chain = self.steps * (machine.vector_result - issue.sums)  # of products of one sum
            step, inner = body * (1 / self.steps), max(ceil(body.packets(issue)), chain)
        head, tail = step + self.head, self.tail
        ends = head.packets(issue) + tail.packets(issue) + issue.depth
        if self.walk.around >= how.turned and len(loops) == 1:
            ends = (head + tail).packets(issue)
        return starts * loops[-1] * inner + (starts - 1) * step.packets(issue) + ends

    def _straight(self, body: Ops, machine: Machine) -> float:
        """A tile without loops: an iteration of the loop around it."""
        both = body + self.head + self.tail
        how, issue = machine.loops, machine.issue
        stay = 2 if self.tail.multiply else 1  # sums stay until all is made of them
        fits = stay * self.sums + self.held <= machine.vectors
        if fits and (self.walk.around > how.few or both.count <= how.long):
            return both.packets(issue) + issue.depth / self.walk.around
        alone = self._alone(body + self.head, machine)
        return alone + self.tail.packets(issue) + issue.depth

    def _alone(self, body: Ops, machine: Machine) -> float:
        """A body that overlaps no other one: loads run ahead of the products that need them; where
        that takes too many registers beside constants, products load what they need."""
        packets = body.packets(machine.issue)
        ahead = body.loads * (1 - body.loads / packets)
        if self.sums + ahead + 2 * self.held > machine.vectors - 2:
            packets = max(packets, body.multiply)
        return packets + machine.load_latency


def scalar_tiles(
    walk: Walk, loops: tuple[int, ...], steps: int, tile: tuple[int, int, int], apart: int,
    head: Ops, tail: Ops,
) -> Tiles:  # fmt: skip
    """Tiles of (sums, vectors, scalar words): products of a vector and a word each. Vectors of a
    step are ``apart`` registers from the next one's; neighbouring words are loaded in pairs."""
    sums, vectors, words = tile
    far = apart * steps > walk.machine.issue.near
    body = Ops(
        sums * steps + far, sums * steps, 0, vectors * steps, words * steps / (2 - steps % 2)
    )
    items = (sums + vectors + words) * steps
    return Tiles(walk, loops, steps, items, body, head, tail, sums, vectors)


@quick
@dataclass(frozen=True, slots=True)
class PhaseTimes:
    """Phases of products one after another, each of so many cycles once so many bytes of weights
    are there, which have ``places`` that take turns (none: they stay in DDR); the first one begins
    once inputs are ``ready`` and the bytes of ``others`` are there, too."""

    ready: float
    each: Sequence[tuple[float, float]]
    places: float
    others: float
    machine: Machine

    @property
    def sizes(self) -> list[float]:
        sizes = [size if self.places else 0.0 for _, size in self.each]
        return [sizes[0] + self.others, *sizes[1:]]

    @property
    def end(self) -> float:
        """Cycles until the last phase is over."""
        machine, moved, ends = self.machine, 0.0, [self.ready]
        for turn, size in enumerate(self.sizes):
            if size:
                free = ends[turn + 1 - int(self.places)] if turn >= self.places > 0 else 0.0
                moved = max(moved, free + machine.dma_start) + size / machine.dma_rate
            ends.append(max(ends[-1], moved) + self.each[turn][0])
        return ends[-1]

    def estimate(self, nest: Tiles, behind: float, **known: float) -> Estimate:
        """What tiles take in such phases, and so many cycles ``behind``; ``known`` are facts that
        are not those of one of the phases."""
        body, machine, count, sizes = nest.body, self.machine, len(self.each), self.sizes
        packets = body.packets(machine.issue)
        direct = 0.0 if self.places else nest.loaded * count
        facts = {
            "inner_packets": packets, "dots_per_packet": body.multiply / packets,
            "loop_trips": nest.loops[-1], "loop_starts": prod(nest.loops[:-1]),
            "tiles": nest.walk.tiles * count, "registers": nest.sums + nest.held,
            "requant_packets": nest.tail.packets(machine.issue), "extra_packets": self.ready,
            "unbalance": nest.walk.longest * machine.threads / nest.walk.tiles,
            "phases": count, "code": body.multiply, "products": nest.products * count,
            "first_wait": machine.dma_start + sizes[0] / machine.dma_rate,
            "dma_cycles": sum(sizes) / machine.dma_rate, "bytes": sum(sizes) + direct,
        }  # fmt: skip
        return Estimate(self.end + behind, facts | known)
