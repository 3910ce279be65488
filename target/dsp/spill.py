"""Registers kept in memory: stored after each write, loaded before each read.

A thread's spill area holds 16 vectors, then the scalars, then further vectors; one pointer in its
middle reaches the first two parts, and one more each 16 of the further vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..instruction import Register
from . import scalar_rows
from .instructions import TABLE
from .listing import SPILL
from .lower_program import PhaseLowering
from .machine import DspMachine
from .steps import FILES, BasicBlock, BytesTouched, Node, Registers, Step, Trip, bits

_NEAR = 16  # vectors that a pointer reaches
_MIDDLE = 8 * 128
_SCALARS = 512  # places for scalars
_FAR = (_NEAR + 32) * 128  # where further vectors begin


class Crowded(Exception):
    """Registers do not suffice: those that should live in memory."""

    def __init__(self, victims: Collection[int]) -> None:
        super().__init__(f"{len(victims)} registers should live in memory")
        self.victims = set(victims)


class CompileError(ValueError):
    """The code cannot run on the machine."""


class Area:
    """Spills registers of one lowering."""

    def __init__(self, low: PhaseLowering) -> None:
        self.low = low
        self.slots: dict[int, int] = {}  # atom: offset in the area
        self.vectors = self.scalars = 0
        self.steps = 0  # added loads and stores
        self.fresh: set[int] = set()  # registers that live only from a load to its use
        self.pointer = -1
        self.far: list[int] = []  # pointers to further vectors

    @property
    def bytes(self) -> int:
        if not self.slots:
            return 0
        return _FAR + 128 * max(0, self.vectors - _NEAR)

    def spill(self, chosen: Collection[int]) -> None:
        """Rewrites the lowering's blocks."""
        entry = self.low.nodes[0]
        assert isinstance(entry, BasicBlock)
        self._blocks(self.low.nodes, frozenset(chosen))
        if not self.slots:
            return
        steps = self.low.area(self.pointer, _MIDDLE)
        for bank, pointer in enumerate(self.far):
            steps += self.low.area(pointer, _FAR + bank * _NEAR * 128 + _MIDDLE)
        entry.groups[0:0] = [[step] for step in steps]

    def _blocks(self, nodes: list[Node], chosen: frozenset[int]) -> None:
        for node in nodes:
            if isinstance(node, Trip):
                self._bumps(node, chosen)
                self._blocks(node.body, chosen)
                continue
            groups: list[list[Step]] = []
            for group in node.groups:
                for step in group:
                    groups += [[s] for s in self._step(step, chosen)]
            node.groups = groups

    def _bumps(self, trip: Trip, chosen: frozenset[int]) -> None:
        """A pointer in memory is moved by an addition of its own."""
        block = trip.body[0]
        for pointer in [code for code in trip.bumps if code >> 2 in chosen]:
            assert isinstance(block, BasicBlock)
            row = self.low.table(scalar_rows.INSTRUCTIONS["addi"])
            block.add(Step(row, pointer, (pointer, trip.bumps.pop(pointer))))

    def _step(self, step: Step, chosen: frozenset[int]) -> Iterator[Step]:
        read = {atom >> 1 for atom, _ in step.reads} & chosen
        written = {atom >> 1 for atom in step.writes} & chosen
        if not read and not written:
            yield step
            return
        names: dict[int, int] = {}
        after: list[Step] = []
        for register in sorted(read | written):
            code = self._new(self.low.registers.kinds[register])
            names[register] = code >> 2
            touched = {atom for atom, _ in step.reads} | set(step.writes)
            for half in (0, 1):
                atom = 2 * register + half
                part = (code & ~3) + half
                if atom not in touched:
                    continue
                if any(atom == a for a, _ in step.reads):
                    yield from self._load(atom, part)
                if atom in step.writes:
                    after += self._store(atom, part)
        yield step.renamed(names, step.imm, step.access)
        yield from after

    def _load(self, atom: int, code: int) -> list[Step]:
        """Steps that bring an atom's value from memory."""
        match FILES[self.low.registers.files[atom >> 1]]:
            case "predicate":
                vector, ones = self._new(Register.VECTOR), self._new(Register.SCALAR)
                load = self._memory(atom, vector, store=False)
                return [self._number(ones, -1), load, self._made("vandvrt", code, vector, ones)]
            case "condition":
                word = self._new(Register.SCALAR)
                return [self._memory(atom, word, store=False), self._made("cmpgti", code, word, 0)]
        return [self._memory(atom, code, store=False)]

    def _store(self, atom: int, code: int) -> list[Step]:
        """Steps that keep an atom's value in memory; a predicate becomes bytes of ones, a condition
        a number."""
        match FILES[self.low.registers.files[atom >> 1]]:
            case "predicate":
                vector, ones = self._new(Register.VECTOR), self._new(Register.SCALAR)
                made = [self._number(ones, -1), self._made("vandqrt", vector, code, ones)]
                return [*made, self._memory(atom, vector, store=True)]
            case "condition":
                word, one, zero = (self._new(Register.SCALAR) for _ in range(3))
                made = [self._number(one, 1), self._number(zero, 0)]
                made.append(self._made("mux", word, code, one, zero))
                return [*made, self._memory(atom, word, store=True)]
        return [self._memory(atom, code, store=True)]

    def _new(self, kind: Register) -> int:
        """A register that lives from here to its only use."""
        code = self.low.registers.new(kind)
        self.fresh.add(code >> 2)
        return code

    def _number(self, code: int, value: int) -> Step:
        return self._made("tfrsi", code, value)

    def _made(self, row: str, code: int, *operands: int) -> Step:
        found = scalar_rows.INSTRUCTIONS.get(row) or TABLE[row]
        return Step(self.low.table(found), code, operands, origin="spill")

    def _memory(self, atom: int, code: int, store: bool) -> Step:
        self.steps += 1
        narrow = FILES[self.low.registers.files[atom >> 1]] in ("scalar", "condition")
        if atom not in self.slots:
            self.slots[atom] = self._slot(not narrow)
        offset, size = self.slots[atom], 4 if narrow else 128
        rows = ("loadri", "storeri") if narrow else ("vmem", "vmem_store")
        row = (scalar_rows.INSTRUCTIONS if narrow else TABLE)[rows[store]]
        access = BytesTouched(SPILL, offset, (), size, store)
        pointer, start = self.pointer, _MIDDLE
        if offset >= _FAR:
            bank = (offset - _FAR) // (_NEAR * 128)
            pointer, start = self.far[bank], _FAR + bank * _NEAR * 128 + _MIDDLE
        return Step(self.low.table(row), -1 if store else code, (code,) if store else (),
                    pointer=pointer, imm=offset - start, access=access, origin="spill")  # fmt: skip

    def _slot(self, vector: bool) -> int:
        if self.pointer < 0:
            self.pointer = self._new(Register.SCALAR)
        if not vector:
            self.scalars += 1
            return _NEAR * 128 + 4 * (self.scalars - 1)
        self.vectors += 1
        if self.vectors <= _NEAR:
            return 128 * (self.vectors - 1)
        further = self.vectors - 1 - _NEAR
        if further == _NEAR * len(self.far):
            self.far.append(self._new(Register.SCALAR))
        return _FAR + 128 * further


def costs(nodes: list[Node], weight: int = 1) -> dict[int, int]:
    """What spilling each register would cost: its reads and writes, by how often they run."""
    found: dict[int, int] = {}
    for node in nodes:
        if isinstance(node, Trip):
            inner = costs(node.body, weight * min(node.trips or 8, 32))
        else:
            inner = {}
            for step in node.steps:
                for atom in [atom for atom, _ in step.reads] + list(step.writes):
                    inner[atom >> 1] = inner.get(atom >> 1, 0) + weight
        for register, cost in inner.items():
            found[register] = found.get(register, 0) + cost
    return found


@dataclass(frozen=True, slots=True)
class RegisterRoom:
    """The registers that code may fill, and which of them may be spilled at what cost."""

    machine: DspMachine
    registers: Registers
    spare: tuple[int, int, int]  # vectors, scalars, predicates left free, so that all find a place
    cost: Mapping[int, int]
    kept: frozenset[int]  # registers that must not be spilled
    link: int  # the register of the return address, which no file counts
    whole: bool = False  # whether pairs of which one half lives take two registers

    @property
    def limits(self) -> tuple[int, int, int, int]:
        """Registers of each file."""
        machine = self.machine
        files = machine.vectors, machine.scalars, machine.predicates
        vectors, scalars, predicates = (n - less for n, less in zip(files, self.spare, strict=True))
        return vectors, scalars, predicates, machine.conditions

    def left(self, through: Iterable[int]) -> tuple[int, int, int]:
        """Vector, scalar and predicate registers that these atoms leave free."""
        limits = list(self.limits)
        for atom in through:
            limits[self.registers.files[atom >> 1]] -= atom >> 1 != self.link
        return limits[0], limits[1], limits[2]

    def taken(self, file: int, state: int) -> int:
        """The atoms of a file that a point's live atoms take; the link register is in no file."""
        state = self.registers.whole(state) if self.whole else state
        return state & self.registers.masks[file] & ~(3 << 2 * self.link)

    def victims(self, atoms: Iterable[int], excess: int, span: Mapping[int, int]) -> Crowded:
        """The cheapest registers to spill, for as long as they would be in the way."""
        able = {atom >> 1 for atom in atoms}
        able = {r for r in able if r in self.cost and r not in self.kept}
        if not able:
            sizes = ", ".join(f"{n} {name}" for n, name in zip(self.limits, FILES, strict=True))
            raise CompileError(
                f"compile: the code must fit the machine's registers ({sizes}), but needs "
                f"{excess} more at one place, and none of those there can be kept in memory"
            )
        order = sorted(able, key=lambda r: (self.cost[r] / (1 + span.get(r, 0)), r))
        return Crowded(order[:excess])


def fits(states: Sequence[int], room: RegisterRoom) -> bool:
    """Whether a block's points of time need no more registers than there are."""
    return all(_excess(states, room, file) <= 0 for file in (0, 1))


def _excess(states: Sequence[int], room: RegisterRoom, file: int) -> int:
    most = max([room.taken(file, state).bit_count() for state in states], default=0)
    return most - room.limits[file]


def crowd(states: Sequence[int], room: RegisterRoom) -> Crowded:
    """The registers to spill so that each point of a block has enough of them."""
    file = 0 if _excess(states, room, 0) > 0 else 1
    excess = _excess(states, room, file)
    taken = [room.taken(file, state) for state in states]
    worst = max(taken, key=int.bit_count)
    span: dict[int, int] = {}
    for state in taken:
        for atom in bits(state & worst):
            span[atom >> 1] = span.get(atom >> 1, 0) + 1
    return room.victims(bits(worst), excess, span)
