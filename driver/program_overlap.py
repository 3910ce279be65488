"""Phases of a model's program between barriers: each where the threads have time for it.

    overlapped(order, spent).free

A phase may run as soon as nothing that it touches is still at work: beside phases of kernels before
its own, whose threads wait for others or have nothing to do. In turn each goes into the slot, from
one barrier to the next, in which the slowest thread takes the fewest cycles longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .program_order import ACROSS, Clashes, Order, TimedPhase

WINDOW = 16  # slots that a phase may look back

Spent = Sequence[int]  # cycles by thread


@dataclass(slots=True)
class _Slot:
    """Phases between two barriers, and the cycles of each thread there."""

    phases: list[TimedPhase]
    spent: Spent

    def longer(self, spent: Spent) -> int:
        """The cycles by which it takes longer with a phase."""
        return max(a + b for a, b in zip(self.spent, spent, strict=True)) - max(self.spent)

    def take(self, phase: TimedPhase, spent: Spent) -> None:
        self.phases.append(phase)
        self.spent = [a + b for a, b in zip(self.spent, spent, strict=True)]


def overlapped(order: Order, spent: Sequence[Spent]) -> Order:
    """The phases in a better order, for what they spend in this one."""
    slots: list[_Slot] = []
    moved = 0  # the last slot in which a kernel moves something
    for phase, cycles in zip(order.phases, spent, strict=True):
        least = _earliest(phase, slots, order.clashes)
        if phase.moves:
            least = max(least, moved)
        if phase.stays:
            least = max(least, len(slots) - 1)
        open_slots = range(least, len(slots))
        at = min(open_slots, key=lambda n: (slots[n].longer(cycles), -n), default=len(slots))
        if at == len(slots):
            slots.append(_Slot([], [0] * len(cycles)))
        slots[at].take(phase, cycles)
        moved = at if phase.moves else moved
    found = Order(order.clashes)
    for slot in slots:
        for phase in slot.phases:
            found.add(phase)
    return found


def _earliest(phase: TimedPhase, slots: Sequence[_Slot], clashes: Clashes) -> int:
    """The first slot in which a phase may be, behind what is there."""
    last = max(len(slots) - WINDOW, 0)
    for number in range(len(slots) - 1, last - 1, -1):
        clash = max(clashes.of(other, phase) for other in slots[number].phases)
        if clash:
            return number + (clash == ACROSS)
    return last
