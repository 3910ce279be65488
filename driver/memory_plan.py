"""The memory plan: where each activation of a model lies, in TCM or in DDR, and at which offset.

    found = plan(graph, kernels, machine)
    found.spots["relu"]                       # Spot(scope="tcm", offset=2432, size=8192)
    found.held[3]                             # TCM that the fourth kernel must leave alone

Inputs and outputs of the model are in DDR. Another activation is in TCM if, at every kernel of its
life, it fits there beside the others and what the kernel itself needs; those go first that are used
most in the shortest life. Offsets are first fit, in the order that leaves kernels most of what they
need; where gaps leave one too little, the tensor that is used least moves to DDR. A kernel that
moves no byte has no code: its output lies where its input does, or inside of it.

Constants are near where they take a part of what is left: the model's program brings them to TCM
before their kernel begins. Those of the first kernel, before which nothing runs, it brings itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from math import prod

from ..graph.borders import stored_shape
from ..graph.graph import Graph
from ..graph.kernels import Kernel
from ..graph.physical import physical
from ..target.machine_facts import Machine
from ..tir.places import ALIGN, taken
from ..tir.stmt import Alloc, walk_stmt

STREAMED = 2  # a kernel's weights and scratch count for at most TCM / this: larger ones stream
STAGED = 4  # and an operand in DDR for at most TCM / this
NEAR = 2  # a kernel's constants are near if they take at most what tensors leave / this


@dataclass(frozen=True, slots=True)
class Spot:
    """A tensor's place; ``size`` is that of its stored form."""

    scope: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + room(self.size)


@dataclass(frozen=True, slots=True)
class NearTensor:
    """A stored tensor in TCM from kernel ``first`` to kernel ``last``: each of its names with the
    bytes from its start on, and the bytes that it takes."""

    names: Mapping[str, int]
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """``tcm`` and ``ddr`` are the bytes of the two arenas, ``code[i]`` whether kernel i has any,
    ``near[i]`` whether its constants are in TCM when it begins."""

    spots: Mapping[str, Spot]
    tensors: tuple[NearTensor, ...]  # those in TCM, in order of birth
    code: tuple[bool, ...]
    near: tuple[bool, ...]
    held: tuple[int, ...]  # a kernel: bytes of TCM that its own places may not use
    top: tuple[int, ...]  # a kernel: the end in TCM of what lives while it runs
    tcm: int
    ddr: int


@dataclass(slots=True)
class _Life:
    """A stored tensor: the names it has, and the kernels from its definition to its last use."""

    names: dict[str, int]  # with the bytes from the stored tensor's start on
    size: int
    first: int
    last: int
    outside: bool  # an input or output of the model
    uses: list[int] = field(default_factory=list)  # the kernels whose operand it is
    own: dict[int, int] = field(default_factory=dict)  # a kernel -> the bytes that it counts

    @property
    def steps(self) -> range:
        return range(max(self.first, 0), self.last + 1)

    def use(self, number: int, size: int) -> None:
        """Kernel ``number`` has ``size`` bytes of it as an operand."""
        if number not in self.own:
            self.uses.append(number)
        self.own[number] = self.own.get(number, 0) + size


def room(size: int) -> int:
    """Bytes that a tensor takes: aligned, with its slack."""
    return taken(size) + ALIGN


def stored_bytes(graph: Graph, tensor: str) -> int:
    return prod(physical(stored_shape(graph, tensor)))


def plan(graph: Graph, kernels: Sequence[Kernel], machine: Machine) -> MemoryPlan:
    """Places of all activations; ``kernels`` are those of the graph's nodes, in order."""
    code = tuple(not _moves_nothing(graph, kernel) for kernel in kernels)
    lives = _lives(graph, kernels, code)
    need = [_need(kernel, machine) for kernel in kernels]
    near = _settled(_choose(lives, need, machine), need, machine)
    known = {id(life) for life in near.lives}
    far = _Arena.of([life for life in lives if id(life) not in known])
    spots: dict[str, Spot] = {}
    for scope, arena in (("tcm", near), ("ddr", far)):
        for life, offset in zip(arena.lives, arena.offsets, strict=True):
            for name, start in life.names.items():
                spots[name] = Spot(scope, offset + start, stored_bytes(graph, name))
    numbers = range(len(kernels))
    held, top = tuple(map(near.held, numbers)), tuple(map(near.top, numbers))
    brought = tuple(map(_brought, kernels, code, top, repeat(machine)))
    first = code.index(True) if True in code else 0
    brought = tuple(one and number > first for number, one in enumerate(brought))
    tensors = tuple(NearTensor(life.names, room(life.size), life.first, life.last)
                    for life in near.lives)  # fmt: skip
    return MemoryPlan(spots, tensors, code, brought, held, top, near.size, far.size)


def _brought(kernel: Kernel, code: bool, top: int, machine: Machine) -> bool:
    """Whether the program has room for the kernel's constants before it begins."""
    size = sum(map(room, _constants(kernel)))
    return code and 0 < size <= (machine.tcm - top) // NEAR


def _constants(kernel: Kernel) -> list[int]:
    return [param.bytes for param in kernel.func.params if param.name in kernel.func.constants]


def _moves_nothing(graph: Graph, kernel: Kernel) -> bool:
    """An alias kernel, unless the model's input would be its output."""
    if not kernel.func.attrs.get("alias") or not kernel.inputs:
        return False
    return not (kernel.inputs[0] in graph.inputs and kernel.output in graph.outputs)


def _lives(graph: Graph, kernels: Sequence[Kernel], code: Sequence[bool]) -> list[_Life]:
    found: dict[str, _Life] = {}
    for name in graph.inputs:
        found[name] = _Life({name: 0}, stored_bytes(graph, name), -1, -1, True)
    for number, kernel in enumerate(kernels):
        for name in kernel.inputs:
            found[name].last = number
        if code[number]:
            size = stored_bytes(graph, kernel.output)
            life = _Life({kernel.output: 0}, size, number, number, False)
            life.use(number, size)
            for name in dict.fromkeys(kernel.inputs):
                found[name].use(number, stored_bytes(graph, name))
        else:
            life = found[kernel.inputs[0]]
            start = life.names[kernel.inputs[0]] + kernel.func.attrs.get("start", 0)
            life.names[kernel.output] = start
        found[kernel.output] = life
    for name in graph.outputs:
        if name in found:
            found[name].outside, found[name].last = True, len(kernels)
    return list({id(life): life for life in found.values()}.values())


def _need(kernel: Kernel, machine: Machine) -> int:
    """TCM bytes for a kernel's scratch and staged constants; large constants are streamed."""
    own = [
        s.buffer.bytes
        for s in walk_stmt(kernel.func.body)
        if isinstance(s, Alloc) and s.buffer.scope == "tcm"
    ]
    return min(sum(map(room, own + _constants(kernel))), machine.tcm // STREAMED)


def _choose(lives: Sequence[_Life], need: Sequence[int], machine: Machine) -> list[_Life]:
    """The tensors for TCM: first those that are used most often for the time that they live."""
    near: set[int] = set()
    taken = list(need)
    staged = {id(life): min(room(life.size), machine.tcm // STAGED) for life in lives}
    for life in lives:
        for number in life.uses:
            taken[number] += staged[id(life)]
    order = sorted((life for life in lives if not life.outside), key=_rank)
    for life in order:
        more = {
            number: room(life.size) - (staged[id(life)] if number in life.uses else 0)
            for number in life.steps
        }
        if all(taken[number] + size <= machine.tcm for number, size in more.items()):
            near.add(id(life))
            for number, size in more.items():
                taken[number] += size
    return [life for life in lives if id(life) in near]


def _rank(life: _Life) -> tuple[float, int]:
    """The most uses for each kernel of a tensor's life first, then the order of birth."""
    return -len(life.uses) / (len(life.steps) + 1), life.first


@dataclass(frozen=True, slots=True)
class _Arena:
    """Tensors of one memory, in order of birth, and where each lies."""

    lives: Sequence[_Life]
    offsets: Sequence[int]

    @staticmethod
    def of(lives: Sequence[_Life], order: Callable[[_Life], int] | None = None) -> _Arena:
        """The lowest free offset for each tensor, in the order of birth or of ``order``."""
        placed: dict[int, tuple[_Life, int]] = {}
        for life in sorted(lives, key=order) if order else lives:
            met = [(other, at) for other, at in placed.values() if _meet(life, other)]
            busy = sorted((at, at + room(other.size)) for other, at in met)
            placed[id(life)] = life, gap(busy, room(life.size))
        return _Arena(lives, [placed[id(life)][1] for life in lives])

    @property
    def size(self) -> int:
        return max(map(self._end, self.lives, self.offsets), default=0)

    def _end(self, life: _Life, offset: int) -> int:
        return offset + room(life.size)

    def alive(self, number: int) -> list[_Life]:
        return [life for life in self.lives if number in life.steps]

    def top(self, number: int) -> int:
        """The end of the last tensor that is alive at a kernel."""
        pairs = zip(self.lives, self.offsets, strict=True)
        return max((self._end(*pair) for pair in pairs if number in pair[0].steps), default=0)

    def held(self, number: int) -> int:
        """Bytes up to the top, without the kernel's own operands, which it counts itself."""
        own = sum(min(life.own.get(number, 0), life.size) for life in self.alive(number))
        return max(self.top(number) - own, 0)


def _settled(lives: list[_Life], need: Sequence[int], machine: Machine) -> _Arena:
    """The tensors in TCM; each kernel is left the TCM that it needs."""
    while True:
        orders = None, _largest_first
        arenas = [_Arena.of(lives, order) for order in orders]
        best = min(arenas, key=lambda arena: _short(arena, need, machine.tcm))
        least = [min(size, machine.tcm // STAGED) for size in need]
        crowded = (i for i, size in enumerate(least) if best.top(i) + size > machine.tcm)
        number = next(crowded, None)
        if number is None:
            return best
        out = max(best.alive(number), key=_rank)
        lives = [life for life in lives if life is not out]


def _largest_first(life: _Life) -> int:
    return -life.size


def _short(arena: _Arena, need: Sequence[int], tcm: int) -> int:
    """Bytes of all kernels' needs that the arena leaves no room for."""
    return sum(max(arena.top(i) + size - tcm, 0) for i, size in enumerate(need))


def _meet(one: _Life, other: _Life) -> bool:
    return one.first <= other.last and other.first <= one.last


def gap(busy: Iterable[tuple[int, int]], size: int) -> int:
    """The lowest place for so many bytes beside what is busy, from .. to, in order."""
    at = 0
    for start, end in busy:
        if start - at >= size:
            break
        at = max(at, end)
    return at
