"""Where everything in a model's program lies: operands, scratch, constants that came to TCM.

As tight as can be, tensors lie where the memory plan has them, and a kernel's scratch behind those
that live while it runs. Otherwise bytes of TCM rest for some kernels before others take them: what
lies apart from everything before may be written while other threads still read that. A kernel's
near constants lie together, as far behind in TCM as there is room from the kernel before which
their transfer starts, until it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..tir.places import ALIGN, taken
from .compiler import KernelError
from .kernel_code import KernelCode
from .memory_plan import MemoryPlan, gap
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
    """The kernels' memory, before constants arrive; ``codes`` are those of ``ready.kernels``.
    Bytes of TCM rest for ``rest`` kernels; KernelError if there is no room for that."""

    ready: Ready
    codes: Sequence[KernelCode]
    rest: int = 0
    plan: MemoryPlan = field(init=False)
    tensors: dict[str, At] = field(init=False)
    scratch: list[dict[str, At]] = field(init=False)  # by kernel
    ends: list[int] = field(init=False)  # in TCM, of tensors and scratch; by kernel
    ddr: int = field(init=False)  # bytes of tensors and scratch

    def __post_init__(self) -> None:
        self.plan = self.ready.plan
        self.tensors = {name: (s.scope, s.offset) for name, s in self.plan.spots.items()}
        self.scratch, self.ends, self.ddr = [], [], self.plan.ddr
        for number, code in zip(self._numbers, self.codes, strict=True):
            found, ends = {}, {"tcm": self.plan.top[number], "ddr": self.plan.ddr}
            for place, times in code.scratch:
                found[place.name] = place.scope, ends[place.scope]
                ends[place.scope] += taken(place.size) * times
            self.scratch.append(found)
            self.ends.append(ends["tcm"])
            self.ddr = max(self.ddr, ends["ddr"])
        if self.rest:
            self._spread()

    @property
    def _numbers(self) -> list[int]:
        """Of the kernels that have code, among all kernels."""
        return [number for number, code in enumerate(self.plan.code) if code]

    def _spread(self) -> None:
        """Lays what is in TCM where nothing lay for as many kernels as bytes rest, or for one, or
        none where there is no room."""
        busy: list[tuple[int, int, range]] = []  # from .. to, and for which kernels
        limit = self.ready.machine.tcm - 2 * max(map(constant_bytes, self.codes))
        for first, last, size, holder, names in sorted(self._near(), key=lambda one: one[0]):
            for rest in (self.rest, 1, 0):
                met = sorted((at, end) for at, end, steps in busy if steps.stop + rest > first)
                at = gap(met, size)
                if at + size <= limit:
                    break
            busy.append((at, at + size, range(first, last + 1)))
            holder |= {name: ("tcm", at + start) for name, start in names.items()}
        self.ends = [max((end for _, end, steps in busy if number in steps), default=0)
                     for number in self._numbers]  # fmt: skip
        if max(self.ends) > self.ready.machine.tcm:
            raise KernelError("memory: bytes of TCM cannot rest, there is no room")

    def _near(self) -> Iterator[tuple[int, int, int, dict[str, At], Mapping[str, int]]]:
        """What lies in TCM: first and last kernel, bytes, who knows where, and its names."""
        for one in self.plan.tensors:
            yield max(one.first, 0), one.last, one.size, self.tensors, one.names
        for number, code, found in zip(self._numbers, self.codes, self.scratch, strict=True):
            for place, times in code.scratch:
                if place.scope == "tcm":
                    size = taken(place.size) * times
                    yield number, number, size, found, {place.name: 0}

    @property
    def holds_all(self) -> bool:
        """Whether all constants that come to TCM can be there at once, and stay."""
        return max(self.ends) + sum(map(constant_bytes, self.codes)) <= self.ready.machine.tcm

    def arrivals(self, ahead: int) -> list[Arrival]:
        """Each kernel's constants as early as TCM has room, but at most ``ahead`` kernels."""
        found: list[Arrival] = []
        for number, code in enumerate(self.codes):
            if size := constant_bytes(code):
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
        tensors = [self.tensors[name] for name in (*task.kernel.inputs, task.kernel.output)]
        found |= zip(given, tensors, strict=True)
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


def constant_bytes(code: KernelCode) -> int:
    """Bytes that a kernel's constants take in TCM."""
    return sum(taken(place.size) for place in code.constants)


def _last_gap(low: int, high: int, busy: Sequence[tuple[int, int]], size: int) -> int | None:
    """The last place for so many bytes from ``low`` up to ``high``."""
    end = high // ALIGN * ALIGN
    for start, length in sorted(busy, reverse=True):
        if end - (start + length) >= size:
            break
        end = min(end, start)
    return end - size if end - size >= low else None
