"""Where everything in a model's program lies: operands, scratch, constants that came to TCM.

Tensors lie where the memory plan has them. A kernel's scratch lies behind the tensors that live
while it runs; its near constants lie together, as far behind in TCM as there is room from the
kernel before which their transfer starts, until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..tir.places import ALIGN, taken
from .compiler import KernelError
from .kernel_code import KernelCode
from .memory_plan import MemoryPlan
from .prepare import Ready
from .program_order import At


@dataclass(frozen=True, slots=True)
class Arrival:
    """The transfer of a kernel's constants to ``address`` in TCM, ``size`` bytes in one piece. It
    starts before kernel ``start``, and has ended when kernel ``kernel`` reads them."""

    kernel: int
    start: int
    address: int
    size: int


@dataclass(slots=True)
class ProgramMemory:
    """The kernels' memory, before constants arrive; ``codes`` are those of ``ready.kernels``."""

    ready: Ready
    codes: Sequence[KernelCode]
    plan: MemoryPlan = field(init=False)
    scratch: list[dict[str, At]] = field(init=False)  # by kernel
    ends: list[int] = field(init=False)  # in TCM, of tensors and scratch; by kernel
    ddr: int = field(init=False)  # bytes of tensors and scratch

    def __post_init__(self) -> None:
        self.plan = self.ready.plan
        numbers = [number for number, code in enumerate(self.plan.code) if code]
        self.scratch, self.ends, self.ddr = [], [], self.plan.ddr
        for number, code in zip(numbers, self.codes, strict=True):
            found, ends = {}, {"tcm": self.plan.top[number], "ddr": self.plan.ddr}
            for place, times in code.scratch:
                found[place.name] = place.scope, ends[place.scope]
                ends[place.scope] += taken(place.size) * times
            self.scratch.append(found)
            self.ends.append(ends["tcm"])
            self.ddr = max(self.ddr, ends["ddr"])

    @property
    def holds_all(self) -> bool:
        """Whether all constants that come to TCM can be there at once, and stay."""
        sizes = (taken(place.size) for code in self.codes for place in code.constants)
        return max(self.ends) + sum(sizes) <= self.ready.machine.tcm

    def arrivals(self, ahead: int) -> list[Arrival]:
        """Each kernel's constants as early as TCM has room, but at most ``ahead`` kernels."""
        found: list[Arrival] = []
        for number, code in enumerate(self.codes):
            size = sum(taken(place.size) for place in code.constants)
            if size:
                earliest = max(number - ahead, found[-1].start if found else 0)
                found.append(self._arrival(number, size, earliest, found))
        return found

    def _arrival(self, number: int, size: int, earliest: int, found: Sequence[Arrival]) -> Arrival:
        for start in range(earliest, number + 1):
            others = [one for one in found if one.kernel >= start]
            low = max(self.ends[start : number + 1])
            end = _last_gap(
                low, self.ready.machine.tcm, [(o.address, o.size) for o in others], size
            )
            if end is not None:
                return Arrival(number, start, end, size)
        raise KernelError(
            f"{self.ready.kernels[number].name}: TCM must have room for its constants, but behind "
            f"{self.ends[number]} bytes there is none for {size}"
        )

    def operands(self, number: int, arrivals: Mapping[int, Arrival]) -> dict[str, At]:
        """Where each place of a kernel lies; constants in DDR lie apart from everything else."""
        task, code = self.ready.kernels[number], self.codes[number]
        found = dict(self.scratch[number])
        given = [p.name for p in code.places if not p.local and p.data is None]
        spots = [self.plan.spots[name] for name in (*task.kernel.inputs, task.kernel.output)]
        found |= {name: (s.scope, s.offset) for name, s in zip(given, spots, strict=True)}
        if number in arrivals:
            at = arrivals[number].address
            for place in code.constants:
                found[place.name] = "tcm", at
                at += taken(place.size)
        return found

    def used(self, number: int, arrivals: Sequence[Arrival]) -> int:
        """Bytes of TCM that are taken while a kernel runs."""
        there = (one.size for one in arrivals if one.start <= number <= one.kernel)
        return self.ends[number] + sum(there)


def _last_gap(low: int, high: int, busy: Sequence[tuple[int, int]], size: int) -> int | None:
    """The last place for so many bytes from ``low`` up to ``high``."""
    end = high // ALIGN * ALIGN
    for start, length in sorted(busy, reverse=True):
        if end - (start + length) >= size:
            break
        end = min(end, start)
    return end - size if end - size >= low else None
