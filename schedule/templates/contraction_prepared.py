"""What schedules of a contraction have in common: inputs as products read them, phase by phase.

Which phases there are, and their nests, is the same at all points of a template, and on any number
of threads. What they take follows from the plans of their nests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from ...target.dsp.machine import Machine
from ...tir.recent import Recent
from ...tir.stmt import PrimFunc, Store
from ..schedule import Schedule
from ..state import Loop
from .contraction import local
from .fold_tiles import Deal
from .plans import Part, total

Parts = dict[str, Part]  # of phases, by their blocks


@dataclass(frozen=True)
class Prepared:
    """A schedule whose inputs are prepared, by phases of their own."""

    sch: Schedule
    parts: Parts
    _cycles: dict[Machine, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def scratch(self) -> dict[str, int]:
        """Bytes of each local image."""
        return {b.name: b.bytes for b in local(self.sch.func)}

    def cycles(self, machine: Machine) -> tuple[float, float]:
        """Cycles of these phases, and of those among them that read nothing."""
        if machine not in self._cycles:
            edges = [name for name in self.parts if not self._reads(name)]
            self._cycles[machine] = self._total(machine, self.parts), self._total(machine, edges)
        return self._cycles[machine]

    def _total(self, machine: Machine, names: Iterable[str]) -> float:
        plans = [plan for name in names for plan in self.parts[name].plans(machine, {})]
        return total(plans, machine).cycles if plans else 0.0

    def _reads(self, block: str) -> bool:
        store = self.sch.get_block(block).body
        return not isinstance(store, Store) or store.value.reads


def kept(func: PrimFunc, form: Hashable, make: Callable[[], Prepared]) -> Prepared:
    """What schedules of a kernel have in common in some form, on any number of threads."""
    return _recent((id(func), form), lambda: (func, make()))[1]


# By the identity of the kernel, which is held: another one of its text may have other constants.
_recent = Recent[tuple[PrimFunc, Prepared]](64)


def by_rows(sch: Schedule, n: Loop, *loops: Loop) -> None:
    """Rows on all threads, or parts of the only row; image by image, for rows of different images
    lie unevenly apart."""
    at = next((at for at, loop in enumerate(loops) if sch.get_loop(loop).extent > 1), 0)
    if at:
        sch.reorder(n, loops[at], *loops[:at])
    sch.unroll(n)
    sch.parallel(loops[at])


def dealt(sch: Schedule, block: str, *lanes: tuple[int, int]) -> Part:
    """A copy whose elements change places in registers, or a border of it: see ``Deal``."""
    deal = Deal(lanes, prod(it.extent for it in sch.get_block(block).iters))
    by_rows(sch, *deal.lay(sch, block))
    return deal
