"""Tiles of sums as the machine runs them: loops of products, then what is made of the sums.

    for the tiles of a phase's busiest thread:     ``around`` of them in the innermost loop
      head                                         initial sums
      loops:  body                                 products, of several steps
      tail                                         what is made of the sums

What a compiled loop takes follows from how loops are compiled. Short ones are written out
(``target/dsp/simplify``); iterations overlap where there are more than a few of them or where they
are short (``expand``), if registers do; a loop around such a loop is turned, so that the end of a
tile fills the packets of the next one's beginning (``rotate``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, prod

from ...target.dsp.expand import FEW, LONG
from ...target.dsp.machine import Machine
from ...target.dsp.rotate import LEAST
from ...target.dsp.simplify import WRITE_OUT
from .packets import DEPTH, VECTOR, Ops

NEAR = 3  # registers by which a load moves its pointer, at most
LATE = 7  # cycle in which products read their sum


def products(dots: int, vectors: int, words: float, apart: int, steps: int) -> Ops:
    """Steps of ``dots`` products each of vectors, ``apart`` registers from one step's to the next
    one's, and of scalar words, of which neighbours are loaded in pairs."""
    far = apart * steps > NEAR
    return Ops(
        dots * steps + far, dots * steps, 0, vectors * steps, words * steps / (2 - steps % 2)
    )


def around(inner: Iterable[int], shared: int, machine: Machine) -> int:
    """Iterations of the loop around a tile: of the innermost that has several, or of a thread's
    share, if all threads have the same."""
    several = [extent for extent in inner if extent > 1]
    even = shared // machine.threads if shared % machine.threads == 0 else 1
    return several[-1] if several else even


def busiest(shared: int, machine: Machine) -> int:
    """Iterations of the thread that has most of them."""
    return -(-shared // machine.threads)


@dataclass(frozen=True, slots=True)
class Tiles:
    """``loops`` are the trips of those around a body, outermost first, ``items`` its instructions
    before words are paired; ``sums`` are the registers that a tile keeps, ``held`` those that its
    products read at a time."""

    tiles: float
    around: int
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

    def facts(self, tiles: float) -> dict[str, float]:
        """What the cost model is told, where all threads have so many tiles."""
        body = self.body
        return {
            "inner_packets": body.packets, "dots_per_packet": body.multiply / body.packets,
            "loop_trips": self.loops[-1], "loop_starts": prod(self.loops[:-1]), "tiles": tiles,
            "registers": self.sums + self.held, "requant_packets": self.tail.packets,
            "code": body.multiply, "products": tiles * self.bodies * body.multiply * VECTOR,
        }  # fmt: skip

    def each(self, machine: Machine) -> float:
        """Cycles of a tile."""
        body, items = self.body, self.items
        loops = [trips for trips in self.loops if trips > 1]
        while loops and loops[-1] <= FEW and items * loops[-1] <= WRITE_OUT:
            items *= loops[-1]
            body = body * loops.pop()
        if not loops:
            return self._straight(body, machine)
        step, starts = Ops(), prod(loops[:-1])  # that runs alone as a loop begins
        inner: float = body.packets + machine.load_latency
        if loops[-1] > FEW or body.count <= LONG:
            chain = self.steps * (machine.vector_result - LATE)  # of products of one sum
            step, inner = body * (1 / self.steps), max(ceil(body.packets), chain)
        head, tail = step + self.head, self.tail
        ends = head.packets + tail.packets + DEPTH
        if self.around >= LEAST and len(loops) == 1:
            ends = (head + tail).packets
        return starts * loops[-1] * inner + (starts - 1) * step.packets + ends

    def _straight(self, body: Ops, machine: Machine) -> float:
        """A tile without loops: an iteration of the loop around it."""
        both = body + self.head + self.tail
        stay = 2 if self.tail.multiply else 1  # sums stay until all is made of them
        fits = stay * self.sums + self.held <= machine.vectors
        if fits and (self.around > FEW or both.count <= LONG):
            return both.packets + DEPTH / self.around
        return self._alone(body + self.head, machine) + self.tail.packets + DEPTH

    def _alone(self, body: Ops, machine: Machine) -> float:
        """A body that overlaps no other one: loads run ahead of the products that need them; where
        that takes too many registers beside constants, products load what they need."""
        packets = body.packets
        ahead = body.loads * (1 - body.loads / packets)
        if self.sums + ahead + 2 * self.held > machine.vectors - 2:
            packets = max(packets, body.multiply)
        return packets + machine.load_latency
