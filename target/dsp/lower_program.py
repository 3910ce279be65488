"""Lowers a phase to blocks and loops of steps: pointers instead of addresses, loops set up.

Every pointer runs: it is moved at the end of each loop level by the distance to the address of the
next iteration, less the bytes that inner loops have moved it already. Between, the lowering knows
the pointer's displacement and puts it into the immediates.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ..instruction import Instruction, Kind, Register
from ..program import Address, Dma, Half, Item, Loop, MachineOp, Operand, Phase, WaitOp, items_in
from . import scalar_rows
from .listing import LOOP, PLACES, RECORD, SPILL
from .machine import DspMachine
from .pointers import Pointer, Pointers, PointerUse
from .shares import Shares
from .steps import (
    OPTIONAL,
    WHOLE,
    BasicBlock,
    BytesTouched,
    Node,
    Registers,
    RowFacts,
    Step,
    Trip,
    facts,
)

TABLE, FIRST, COUNT, DMA_TARGET, DMA_SOURCE, DMA_RECORD, LINK = 0, 1, 2, 26, 27, 28, 31


@lru_cache(maxsize=64)
def _facts(machine: DspMachine) -> dict[str, RowFacts]:
    """The facts of the machine's rows that were asked for."""
    return {}


class FactTable:
    """The facts of rows on one machine, made once each; ``far`` are places in DDR."""

    def __init__(self, machine: DspMachine, far: frozenset[str] = frozenset()) -> None:
        self.machine, self.far = machine, far
        self._facts = _facts(machine)

    def __call__(self, row: Instruction) -> RowFacts:
        found = self._facts.get(row.name)
        if found is None or found.row is not row:
            found = self._facts[row.name] = facts(row, self.machine)
        return found


class PhaseLowering:
    """One phase as ``plan`` shares it out, wherever it stands in its program: labels are numbered
    within it, and so are the ``places`` that it uses; ``nodes`` is the function, ``records`` the
    transfers it starts."""

    def __init__(self, phase: Phase, table: FactTable, plan: Shares) -> None:
        self.table = table
        self.places: dict[str, int] = {}
        self.registers = Registers()
        self.codes: dict[int, int] = {}
        self.arguments: dict[int, int] = {}
        self.records: list[Dma] = []
        self.labels = 0
        self.extents: dict[str, int] = {}
        self.nodes = self._function(phase, plan)

    def _function(self, phase: Phase, plan: Shares) -> list[Node]:
        items = [*plan.main, *plan.rest]
        self.pointers = Pointers(self._uses(items, 1 if plan.dynamic else 0))
        self.link = self.registers.new(Register.SCALAR, LINK)
        self.block = BasicBlock()
        nodes: list[Node] = [self.block]
        self.delta: dict[int, int] = {}
        calls = any(isinstance(item, Dma | WaitOp) for item in items_in(items))
        if calls:
            self.saved = self._make(scalar_rows.INSTRUCTIONS["tfr"], self.link)
        self.extents |= plan.extents
        count = self._entry(phase)
        if plan.dynamic:
            nodes += self._loop(plan.step, None, plan.main, count)
        else:
            nodes += self._items(plan.main)
        if plan.rest:
            nodes += self._once_more(plan, count)
        self.block.add(
            self._step(scalar_rows.RETURN, operands=(self.saved if calls else self.link,))
        )
        return nodes

    def _once_more(self, plan: Shares, count: int) -> list[Node]:
        """One more iteration, on the threads whose share is greater by one."""
        for pointer in self._pointers_in(plan.rest):
            moved = plan.least * pointer.terms.get(plan.step, 0)
            self.delta[pointer.register] = self.delta.get(pointer.register, 0) - moved
            self._settle(pointer)
        trip = Trip(plan.step, 1, OPTIONAL, self.label(), least=plan.least)
        more = self.registers.new(Register.CONDITION)
        row = scalar_rows.INSTRUCTIONS["cmpgti"]
        self.block.add(self._step(row, more, (count, plan.least)))
        self.block.add(self._step(scalar_rows.JUMP_UNLESS, operands=(more,), target=trip.label))
        self.block = BasicBlock()
        trip.body = [self.block, *self._items(plan.rest)]
        self.block = BasicBlock()
        return [trip, self.block]

    def label(self) -> str:
        """A fresh one."""
        self.labels += 1
        return f"{LOOP}{self.labels - 1}"

    # Registers and steps

    def _step(self, row: Instruction, result: int = -1, operands: tuple[int, ...] = (), *,
              pointer: int = -1, imm: int = 0, target: str = "",
              access: BytesTouched | None = None) -> Step:  # fmt: skip
        return Step(self.table(row), result, operands, pointer=pointer, imm=imm, target=target,
                    access=access)  # fmt: skip

    def _make(self, row: Instruction, *operands: int, fixed: int | None = None) -> int:
        """Adds a step with a fresh scalar result; gives its code."""
        result = self.registers.new(Register.SCALAR, fixed)
        self.block.add(self._step(row, result, operands))
        return result

    def _code(self, operand: Operand) -> int:
        if isinstance(operand, int):
            return operand
        reg = operand.pair if isinstance(operand, Half) else operand
        code = self.codes.get(reg.number)
        if code is None:
            code = self.codes[reg.number] = self.registers.new(reg.kind)
        assert self.registers.kinds[code >> 2] is reg.kind, f"{reg} has another class elsewhere"
        return code - WHOLE + operand.index if isinstance(operand, Half) else code

    # Entry: pointers from the table of places

    def _entry(self, phase: Phase) -> int:
        self.base = self.registers.new(Register.SCALAR, TABLE)
        first = self.registers.new(Register.SCALAR, FIRST)
        count = self.registers.new(Register.SCALAR, COUNT)
        if phase.start is not None and phase.start.result is not None:
            counter = self._code(phase.start.result)
            self.block.add(self._step(scalar_rows.INSTRUCTIONS["tfr"], counter, (first,)))
        parallel = phase.parallel[0] if phase.parallel else ""
        starts: dict[tuple[str, int], list[Pointer]] = {}
        for pointer in self.pointers.all:
            scale = pointer.terms.get(parallel, 0)
            starts.setdefault((pointer.buffer, scale), []).append(pointer)
        for (buffer, scale), members in starts.items():
            start = self._load(buffer)
            if scale:
                self.block.add(
                    self._step(scalar_rows.INSTRUCTIONS["macsip"], start, (start, first, scale))
                )
            for pointer in members[:-1]:
                pointer.register = self._make(scalar_rows.INSTRUCTIONS["addi"], start, pointer.base)
            members[-1].register = start
            if members[-1].base:
                self.block.add(
                    self._step(scalar_rows.INSTRUCTIONS["addi"], start, (start, members[-1].base))
                )
        return count

    def _load(self, buffer: str) -> int:
        register = self.registers.new(Register.SCALAR)
        self.block.add(self._place(register, buffer))
        return register

    def _place(self, register: int, buffer: str) -> Step:
        """Loads a place's address from the table."""
        place = 4 * self.places.setdefault(buffer, len(self.places))
        access = BytesTouched(PLACES, place, (), 4, False)
        row = scalar_rows.INSTRUCTIONS["loadri"]
        return self._step(row, register, pointer=self.base, imm=place, access=access)

    def area(self, register: int, offset: int) -> list[Step]:
        """Steps that point a register into the thread's spill area."""
        more = self._step(scalar_rows.INSTRUCTIONS["addi"], register, (register, offset))
        return [self._place(register, SPILL), more]

    # Bodies

    def _items(self, items: list[Item]) -> list[Node]:
        """Lowers into the current block and after it; gives the nodes that follow it."""
        nodes: list[Node] = []
        for item in items:
            match item:
                case MachineOp():
                    self._op(item)
                case Loop(variable=variable, extent=extent, body=body):
                    self.extents[variable] = extent
                    nodes += self._loop(variable, extent, body)
                case Dma():
                    self._dma(item)
                case WaitOp(token=token):
                    self._call("dovetail_wait", token)
        return nodes

    def _loop(self, variable: str, trips: int | None, body: list[Item],
              count: int = -1) -> list[Node]:  # fmt: skip
        """The loop and the fresh block behind it; its set-up goes into the current block."""
        used = self._pointers_in(body)
        for pointer in used:
            self._settle(pointer)
        level = min(_height(body), 2)
        trip = Trip(variable, trips, level, self.label())
        counter = self._set_up(trip, count)
        outside, self.block = self.delta, BasicBlock()
        self.delta = {}
        trip.body = [self.block, *self._items(body)]
        moves = {p.register: p.terms.get(variable, 0) - self.delta.get(p.register, 0) for p in used}
        moves = {register: by for register, by in moves.items() if by}
        if level == 0 and not any(isinstance(item, Dma | WaitOp) for item in body):
            trip.bumps = moves
        else:
            move(self.block, moves, self.table)
        if counter >= 0:
            self._turn(trip, counter)
        self.delta = outside
        for pointer in used:
            if trips is not None:
                self.delta[pointer.register] = trips * pointer.terms.get(variable, 0)
        self.block = BasicBlock()
        return [trip, self.block]

    def _set_up(self, trip: Trip, count: int) -> int:
        """Counts the loop: the code of its counter when it is not a hardware loop."""
        if trip.level < 2 and trip.trips is not None and trip.trips < 1024:
            row = scalar_rows.LOOP_COUNT[trip.level]
            trip.setup = self._step(row, operands=(trip.trips,), target=trip.label)
            self.block.add(trip.setup)
            return -1
        if trip.trips is not None:
            count = self.registers.new(Register.SCALAR)
            trip.setup = self._step(
                scalar_rows.INSTRUCTIONS["tfrsi"], count, (trip.trips,), target=trip.label
            )
            self.block.add(trip.setup)
        if trip.level < 2:
            row = scalar_rows.LOOP_REGISTER[trip.level]
            self.block.add(self._step(row, operands=(count,), target=trip.label))
            return -1
        return (
            count if trip.trips is not None else self._make(scalar_rows.INSTRUCTIONS["tfr"], count)
        )

    def _turn(self, trip: Trip, counter: int) -> None:
        more = self.registers.new(Register.CONDITION)
        self.block.add(self._step(scalar_rows.INSTRUCTIONS["cmpgti"], more, (counter, 1)))
        self.block.add(self._step(scalar_rows.INSTRUCTIONS["addi"], counter, (counter, -1)))
        self.block.add(self._step(scalar_rows.JUMP_IF, operands=(more,), target=trip.label))

    # Addresses

    def _op(self, op: MachineOp) -> None:
        row = self.table(op.instruction)
        result = self._code(op.result) if op.result is not None else -1
        operands = tuple(self._code(operand) for operand in op.operands)
        step = Step(row, result, operands, origin=op.origin)
        if op.address is not None:
            self._address(step, op.address)
        self.block.add(step)

    def _address(self, step: Step, address: Address) -> None:
        row = step.facts.row
        pointer = self.pointers.of(address, step.facts.reach)
        terms = key_terms(address)
        even = all(n % row.align == 0 for n in (address.offset, *(scale for _, scale in terms)))
        step.access = BytesTouched(address.buffer, address.offset, terms, row.bytes,
                             row.kind is Kind.STORE, even and address.index is None)  # fmt: skip
        if address.index is None:
            step.pointer, step.imm = pointer.register, self._imm(pointer, address, step.facts)
        else:
            self._indexed(step, address, pointer)
        step.link()

    def _indexed(self, step: Step, address: Address, pointer: Pointer) -> None:
        """A pointer plus a register: in the instruction itself, or added before it."""
        assert address.index is not None
        index = self._code(address.index)
        low, high, unit = step.facts.reach
        self._settle(pointer)
        rest = address.offset - pointer.base
        if rest == 0 and step.facts.unit == "LD":
            step.pointer, step.index = pointer.register, index
            return
        result = self.registers.new(Register.SCALAR)
        row = scalar_rows.POINT_INDEX
        self.block.add(self._step(row, result, (index,), pointer=pointer.register))
        step.pointer, step.imm = result, rest
        assert low <= rest <= high and rest % unit == 0

    def _imm(self, pointer: Pointer, address: Address, row: RowFacts) -> int:
        low, high, unit = row.reach
        imm = address.offset - pointer.base - self.delta.get(pointer.register, 0)
        if not low <= imm <= high or imm % unit:
            self._settle(pointer)
            imm = address.offset - pointer.base
        return imm

    def _settle(self, pointer: Pointer) -> None:
        """Moves a displaced pointer back to where its loops' variables say."""
        delta = self.delta.pop(pointer.register, 0)
        if delta:
            register = pointer.register
            self.block.add(
                self._step(scalar_rows.INSTRUCTIONS["addi"], register, (register, -delta))
            )

    def _pointers_in(self, items: list[Item]) -> list[Pointer]:
        found: dict[int, Pointer] = {}
        for item in items_in(items):
            for address, reach in self._addresses(item):
                pointer = self.pointers.of(address, reach)
                found[pointer.register] = pointer
        return list(found.values())

    def _addresses(self, item: Item) -> Iterator[tuple[Address, tuple[int, int, int]]]:
        if isinstance(item, MachineOp) and item.address is not None:
            yield item.address, self.table(item.instruction).reach
        elif isinstance(item, Dma):
            reach = self.table(scalar_rows.POINT).reach
            yield from ((item.target, reach), (item.source, reach))

    def _uses(self, items: list[Item], depth: int) -> Iterator[PointerUse]:
        for item in items:
            if isinstance(item, Loop):
                yield from self._uses(item.body, depth + 1)
            for address, reach in self._addresses(item):
                carrier = isinstance(item, MachineOp) and address.index is None
                yield PointerUse(address, reach, carrier, depth)

    # Transfers

    def _dma(self, dma: Dma) -> None:
        label = f"{RECORD}{len(self.records)}"
        self.records.append(dma)
        for address, fixed in ((dma.target, DMA_TARGET), (dma.source, DMA_SOURCE)):
            row = self.table(scalar_rows.POINT)
            pointer = self.pointers.of(address, row.reach)
            imm = self._imm(pointer, address, row)
            result = self._argument(fixed)
            self.block.add(self._step(scalar_rows.POINT, result, pointer=pointer.register, imm=imm))
        self.block.add(self._step(scalar_rows.ADDRESS_OF, self._argument(DMA_RECORD), target=label))
        self._call("dovetail_dma", dma.token, label)

    def _argument(self, real: int) -> int:
        """The register, one for all calls, that is bound to a real one."""
        if real not in self.arguments:
            self.arguments[real] = self.registers.new(Register.SCALAR, real)
        return self.arguments[real]

    def _call(self, target: str, token: str, label: str = "") -> None:
        step = self._step(scalar_rows.CALL, target=target)
        step.origin, step.imm = token, len(self.records) - 1
        step.writes = (self.link >> 1,)
        if label:
            # The function reads them after the packet, so that nothing in it may write them.
            step.reads = tuple((code >> 1, 0) for code in self.arguments.values())
            step.writes += tuple(code >> 1 for code in self.arguments.values())
        self.block.add(step)


def key_terms(address: Address) -> tuple[tuple[str, int], ...]:
    return tuple(term for term in address.terms if term[1])


def move(block: BasicBlock, moves: dict[int, int], table: FactTable) -> None:
    """Adds to pointers at the end of a block: by the last access where that can do it."""
    left = dict(moves)
    for step in reversed(block.steps):
        by = left.get(step.pointer)
        if by is None:
            continue
        del left[step.pointer]
        if carries(step, by) and step.imm == 0:
            step.bump = by
            step.link()
        else:
            left[-1 - step.pointer] = by
    for register, by in left.items():
        code = register if register >= 0 else -1 - register
        block.add(Step(table(scalar_rows.INSTRUCTIONS["addi"]), code, (code, by)))


def carries(step: Step, by: int) -> bool:
    """Whether the access could add ``by`` to its pointer."""
    (low, high), unit = step.facts.bump, step.facts.reach[2]
    return low <= by <= high and low < 0 and by % unit == 0 and step.index < 0


def _height(items: list[Item]) -> int:
    loops = [_height(item.body) for item in items if isinstance(item, Loop)]
    return 1 + max(loops) if loops else 0
