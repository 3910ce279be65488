"""What the back end schedules: machine instructions over numbered registers, in blocks and loops.

A register is a number with a class. An operand is a *code*: four times the number, plus 0 for a
single register or the low half of a pair, 1 for the high half, 2 for a whole pair. Reads and
writes are of *atoms*: twice the number, plus 1 for a high half. A ``Step`` is one instruction whose
address has become a pointer register and an immediate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...tir.quick import quick
from ..instruction import Instruction, Kind, Register
from ..program import Late
from .machine import DspMachine
from .scalar_rows import SHORT

OPTIONAL = 3  # the level of code that is skipped or run once
WHOLE = 2  # the part of a code that means both halves
PAIRS = (Register.PAIR, Register.DOUBLE)
_LOW_SCALAR = re.compile(r"\(\{(\w+)\}[.\w]*,\{(\w+)\}[.\w]*,\{(\w+)\}[^(),]*\)")


def atoms(code: int) -> tuple[int, ...]:
    """The atoms that a code stands for."""
    register, part = code >> 2, code & 3
    return (2 * register, 2 * register + 1) if part == WHOLE else (2 * register + part,)


def bits(mask: int) -> list[int]:
    """The members of a bit set, in order."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


FILES = ("vector", "scalar", "predicate", "condition")  # names of the register files by number
_FILE = {Register.VECTOR: 0, Register.PAIR: 0, Register.SCALAR: 1, Register.DOUBLE: 1,
         Register.PREDICATE: 2, Register.CONDITION: 3}  # fmt: skip


class Registers:
    """The virtual registers of a function: classes and files by number, and those bound to real
    ones."""

    def __init__(self) -> None:
        self.kinds: list[Register] = []
        self.files: list[int] = []
        self.widths: list[int] = []  # registers of its file that each takes
        self.masks = [0, 0, 0, 0]  # the atoms of each file, as bit sets
        self.fixed: dict[int, int] = {}
        self._lows = 0  # the low halves of pairs

    def paired(self, register: int) -> bool:
        """Whether a register has two halves."""
        return self.widths[register] == 2

    def whole(self, atoms: int) -> int:
        """A bit set of atoms with the other halves of their pairs."""
        lows = self._lows
        return atoms | (atoms & lows) << 1 | atoms >> 1 & lows

    def new(self, kind: Register, fixed: int | None = None) -> int:
        """The code of a fresh register, perhaps bound to the real register ``fixed``."""
        number = len(self.kinds)
        self.kinds.append(kind)
        self.files.append(_FILE[kind])
        self.widths.append(2 if kind in PAIRS else 1)
        self.masks[_FILE[kind]] |= 3 << 2 * number
        if self.paired(number):
            self._lows |= 1 << 2 * number
        if fixed is not None:
            self.fixed[number] = fixed
        return 4 * number + (WHOLE if self.paired(number) else 0)


@dataclass(frozen=True, slots=True)
class RowFacts:
    """The facts of a row on one machine that scheduling needs."""

    row: Instruction
    unit: str
    latency: int  # packets to any use, for scalar results; 0 for vector results
    operands: tuple[tuple[int, int], ...]  # the registers among them: position, cycle of reading
    number: int  # of the unit in the machine's list
    wide: bool  # whether the packet must keep a place for an extender, whatever the immediate
    low: frozenset[int]  # operands that must be in r0 .. r7
    short: tuple[int, int] | None  # range of an immediate without an extender
    reach: tuple[int, int, int]  # of an address: least and greatest immediate, and their step
    bump: tuple[int, int]  # least and greatest post-increment, in bytes; (0, 0): has none
    calls: bool  # whether it calls a function
    load: RowFacts | None = None  # of what brings operand ``at`` from memory in the same packet
    at: int = -1
    store: RowFacts | None = (
        None  # of what takes the result to memory in the same packet, and which
    )
    half: int = 0  # register of it

    @property
    def alone(self) -> bool:
        """Whether nothing is loaded or stored beside it."""
        return self.load is None and self.store is None


def facts(row: Instruction, machine: DspMachine) -> RowFacts:
    """Derived from the row's unit, text and bytes."""
    unit = row.unit_at(machine.version)
    names = [p.name for p in row.parameters]
    low = _LOW_SCALAR.search(row.asm)
    kinds = [p.register for p in row.parameters]
    three = low is not None and kinds[names.index(low[3])] is Register.SCALAR and \
        all(kinds[names.index(low[i])] is Register.VECTOR for i in (1, 2))  # fmt: skip
    small = frozenset({names.index(low[3])}) if three and low else frozenset[int]()
    reach, bump = _reach(row)
    used = enumerate(zip(kinds, row.timing[1:], strict=True))
    operands = tuple((i, use) for i, (kind, use) in used if kind is not Register.IMMEDIATE)
    # The label of a loop may turn out to be too far for its field.
    wide = row.name == "tfrlabel" or row.name.startswith("loop")
    number = [name for name, _ in machine.units].index(unit)
    return RowFacts(row, unit, _latency(row, unit, machine), operands, number, wide, small,
                 SHORT.get(row.name), reach, bump, row.name == "call")  # fmt: skip


def feeding(user: RowFacts, load: RowFacts, at: int) -> RowFacts:
    """The facts of ``user`` and ``load`` as one: operand ``at`` comes from memory."""
    operands = tuple(operand for operand in user.operands if operand[0] != at)
    return replace(user, operands=operands, reach=load.reach, bump=load.bump, load=load, at=at)


def storing(maker: RowFacts, store: RowFacts, half: int) -> RowFacts:
    """The facts of ``maker`` and ``store`` as one: the result, or a half of it, goes to memory."""
    return replace(maker, reach=store.reach, bump=store.bump, store=store, half=half)


def _latency(row: Instruction, unit: str, machine: DspMachine) -> int:
    result = row.result_register
    if result in (Register.VECTOR, Register.PAIR, Register.PREDICATE) or result is None:
        return 0
    if any(p.register in (Register.VECTOR, Register.PAIR) for p in row.parameters):
        return machine.extract_latency
    return {"LD": machine.load_latency, "M": machine.multiply_latency}.get(
        unit, machine.scalar_latency
    )


def _reach(row: Instruction) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Reach of immediates and of post-increments; a sum of pointer and immediate takes s16."""
    if row.kind is Kind.COMPUTE:
        return ((-32768, 32767, 1), (0, 0)) if row.name == "point" else ((0, 0, 1), (0, 0))
    if row.bytes >= 128:
        return (-8 * 128, 7 * 128, 128), (-4 * 128, 3 * 128)
    size = row.bytes
    return (-1024 * size, 1023 * size, size), (-8 * size, 7 * size)


@quick
@dataclass(frozen=True, slots=True)
class BytesTouched:
    """Bytes touched: affine over loop variables; ``exact`` is False with a run-time index."""

    buffer: str
    offset: int
    terms: tuple[tuple[str, int], ...]
    bytes: int
    store: bool
    exact: bool = True

    def at(self, variable: str, value: int) -> BytesTouched:
        """The same access where ``variable`` has this value."""
        if not any(name == variable for name, _ in self.terms):
            return self
        terms = tuple(term for term in self.terms if term[0] != variable)
        offset = self.offset + value * dict(self.terms)[variable]
        return BytesTouched(self.buffer, offset, terms, self.bytes, self.store, self.exact)


class Step:
    """One instruction, or one and the load that feeds it (``facts.load``) or the store of its
    result (``facts.store``) in the same packet.
    ``pointer`` and ``imm`` (bytes) form its address, ``bump`` is added to the pointer afterwards,
    ``index`` is added to the address; ``access`` says what is touched; ``target`` is the label of a
    jump, a call or a record."""

    __slots__ = ("access", "bump", "facts", "imm", "index", "operands", "origin", "pointer",
                 "reads", "result", "target", "writes")  # fmt: skip

    def __init__(
        self,
        facts: RowFacts,
        result: int = -1,
        operands: tuple[int, ...] = (),
        *,
        pointer: int = -1,
        imm: int = 0,
        bump: int = 0,
        index: int = -1,
        access: BytesTouched | None = None,
        origin: str = "",
        target: str = "",
    ) -> None:
        self.facts, self.result, self.operands = facts, result, operands
        self.pointer, self.imm, self.bump, self.index = pointer, imm, bump, index
        self.access, self.origin, self.target = access, origin, target
        self.link()

    def link(self) -> None:
        """Sets the atoms that are read, with pipeline cycles, and those that are written."""
        reads: list[tuple[int, int]] = []
        operands = self.operands
        for position, use in self.facts.operands:
            code = operands[position]
            if code & 3 == WHOLE:
                reads += ((code >> 1 & ~1, use), (code >> 1 | 1, use))
            else:
                reads.append((code >> 2 << 1 | code & 1, use))
        if self.pointer >= 0:
            reads.append((self.pointer >> 1, 2))
            if self.index >= 0:
                reads.append((self.index >> 1, 2))
        writes = atoms(self.result) if self.result >= 0 else ()
        if self.bump:
            writes += (self.pointer >> 1,)
        self.reads, self.writes = tuple(reads), writes

    @property
    def is_call(self) -> bool:
        return self.facts.calls

    @property
    def instructions(self) -> int:
        return 1 if self.facts.load is None and self.facts.store is None else 2

    @property
    def places(self) -> int:
        """Places of the instruction itself in the packet."""
        facts = self.facts
        return 2 if facts.wide or (facts.short is not None and self.extended) else 1

    @property
    def ends_block(self) -> bool:
        return self.facts.unit in ("J", "JR") and not self.is_call

    @property
    def extended(self) -> bool:
        """Whether an immediate needs a constant extender."""
        if self.facts.short is None:
            return self.facts.row.name == "tfrlabel"
        (low, high), given = self.facts.short, self.operands[-1]
        if isinstance(given, Late):
            return not low <= given.low <= given.high <= high
        return not low <= given <= high

    def renamed(self, names: dict[int, int], imm: int, access: BytesTouched | None) -> Step:
        """A copy with registers renamed by number, another immediate, another access."""

        made = Step.__new__(Step)
        made.facts, made.bump, made.imm, made.access = self.facts, self.bump, imm, access
        made.origin, made.target = self.origin, self.target
        made.rename(self, names)
        if names:
            made.link()
        else:
            made.reads, made.writes = self.reads, self.writes
        return made

    def rename(self, other: Step, names: Mapping[int, int]) -> None:
        """Takes over the registers of ``other``, renamed by number."""
        operands = list(other.operands)
        for position, _ in other.facts.operands:
            code = operands[position]
            fresh = names.get(code >> 2)
            if fresh is not None:
                operands[position] = 4 * fresh + (code & 3)
        self.operands = tuple(operands)
        self.result, self.pointer, self.index = [
            4 * names.get(code >> 2, code >> 2) + (code & 3) if code >= 0 else code
            for code in (other.result, other.pointer, other.index)
        ]


@dataclass(slots=True)
class BasicBlock:
    """Straight-line code: groups of steps that run at once, in order; then packets of steps."""

    groups: list[list[Step]] = field(default_factory=list)
    packets: list[list[Step]] = field(default_factory=list)
    kind: str = "block"  # or "kernel": packets are already made
    stopped: bool = False  # whether registers did not suffice to pack it

    def add(self, *steps: Step) -> None:
        self.groups += [[step] for step in steps]

    @property
    def steps(self) -> list[Step]:
        return [step for group in self.groups for step in group]


@dataclass(slots=True)
class Trip:
    """A loop in the tree. ``level`` 0 and 1 are hardware loops, 2 a compare and a jump; the body of
    an ``OPTIONAL`` one is run once, when the phase's iterations are more than ``least``."""

    variable: str
    trips: int | None  # None: the number of iterations that the phase was called with
    level: int
    label: str
    body: list[Node] = field(default_factory=list)
    bumps: dict[int, int] = field(default_factory=dict)  # of an innermost loop: pointer to bytes
    least: int = 0
    setup: Step | None = None  # the step whose immediate is the number of iterations

    @property
    def innermost(self) -> bool:
        return (
            self.level < OPTIONAL and len(self.body) == 1 and isinstance(self.body[0], BasicBlock)
        )


Node = BasicBlock | Trip


def blocks(nodes: list[Node]) -> Iterator[BasicBlock]:
    """The blocks of a tree, in order."""
    for node in nodes:
        if isinstance(node, BasicBlock):
            yield node
        else:
            yield from blocks(node.body)
