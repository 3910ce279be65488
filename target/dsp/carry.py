"""Values that the next iteration needs again stay in registers instead of being made again.

                                              v1 = vmem(x)
    loop j in 8                               loop j in 8
      v1 = vmem(x[j*128])                       v2 = vmem(x[j*128 + 128])
      v2 = vmem(x[j*128 + 128])        ->       v3 = vmaxub(v1, v2)
      v3 = vmaxub(v1, v2)                       vmem(y[j*128]) = v3
      vmem(y[j*128]) = v3                       v1 = v2

Two values are the same one iteration apart if the same instructions make them of loads whose
addresses differ by what the loop moves them. The value of the first iteration is made before it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

from ..coalesce import base, reads
from ..instruction import Kind, Register
from ..program import Address, Half, Item, Loop, MachineOp, Operand, Reg, ops_in
from .hoist import makes
from .machine import DspMachine
from .pack import packer
from .rows import roles as roles_of
from .simplify_loops import address_at

LEAST = 3  # iterations from which on values are kept


def carry(items: list[Item], machine: DspMachine) -> list[Item]:
    """The code with values kept in the innermost loops that take fewer packets so, or as many of
    fewer instructions."""
    ops = list(ops_in(items))
    numbers = [register.number for op in ops for register in _touched(op)]
    touched = Counter(register for op in ops for register in _touched(op))
    return _CarriedPhase(touched, machine, max(numbers, default=0)).items(items)


def _touched(op: MachineOp) -> list[Reg]:
    made = base(op.result) if op.result is not None else None
    return [*reads(op), *([made] if made is not None else [])]


@dataclass(slots=True)
class _CarriedPhase:
    """``touched`` counts where the phase's instructions name each register."""

    touched: Counter[Reg]
    machine: DspMachine
    last: int  # the greatest number of a register

    def items(self, items: list[Item]) -> list[Item]:
        done: list[Item] = []
        for item in items:
            if isinstance(item, Loop):
                body = [inner for inner in item.body if isinstance(inner, MachineOp)]
                if len(body) == len(item.body) and item.extent >= LEAST:
                    done += self.loop(item, body)
                else:
                    done.append(Loop(item.variable, item.extent, self.items(item.body)))
            else:
                done.append(item)
        return done

    def loop(self, loop: Loop, body: list[MachineOp]) -> list[Item]:
        """The loop and what comes before it."""
        values = _Values(loop.variable, body, self.touched)
        kept, gone = values.kept(), values.gone()
        move = roles_of(self.machine.version).move
        rest = [op for op in values.body if op.result not in gone]
        rest += [MachineOp(move(to.kind), to, (source,)) for to, source in kept.items()]
        if not kept or _cost(rest, self.machine) >= _cost(body, self.machine):
            return [loop]
        return [*self.first(values, list(kept)), Loop(loop.variable, loop.extent, [*rest])]

    def first(self, values: _Values, wanted: list[Reg]) -> list[Item]:
        """Makes the values of the first iteration, in the registers that keep them; what they are
        made of goes into fresh ones."""
        names: dict[Reg, Reg] = {register: register for register in wanted}
        needed = set(wanted)
        for op in reversed(values.body):
            if op.result in needed:
                needed.update(register for register in reads(op) if register in values.made)
        done: list[Item] = []
        for op in values.body:
            if isinstance(op.result, Reg) and op.result in needed:
                if op.result not in names:
                    self.last += 1
                    names[op.result] = Reg(self.last, op.result.kind)
                address = op.address and address_at(op.address, values.variable, 0)
                operands = tuple(_named(operand, names) for operand in op.operands)
                done.append(replace(op, result=names[op.result], operands=operands,
                                    address=address))  # fmt: skip
        return done


def _named(operand: Operand, names: dict[Reg, Reg]) -> Operand:
    if isinstance(operand, Half):
        return Half(names.get(operand.pair, operand.pair), operand.index)
    return names.get(operand, operand) if isinstance(operand, Reg) else operand


def _cost(ops: list[MachineOp], machine: DspMachine) -> tuple[Fraction, int]:
    """The packets that the most contended set of slots or pipes needs, and the instructions."""
    automaton, numbers = packer(machine), [name for name, _ in machine.units]
    units = Counter(numbers.index(op.instruction.unit_at(machine.version)) for op in ops)
    packets = max(
        Fraction(sum(automaton.least(unit)[i] * n for unit, n in units.items()), count)
        for i, (_, count) in enumerate(automaton.sets)
    )
    return packets, len(ops)


Key = tuple[object, ...]


class _Values:
    """The values that a loop's body makes anew in each iteration, numbered by how they are made."""

    def __init__(self, variable: str, body: list[MachineOp], touched: Counter[Reg]) -> None:
        self.variable, self.body = variable, body
        here = Counter(register for op in body for register in _touched(op))
        made = (base(op.result) for op in body if op.result is not None)
        assigned = Counter(register for register in made if register is not None)
        stored = {op.address.buffer for op in body
                  if op.address and op.instruction.kind is Kind.STORE}  # fmt: skip
        self.made: dict[Reg, int] = {}  # the number of what a register holds
        self.numbers: dict[Key, int] = {}
        self.keys: list[Key] = []
        read = set[Reg]()
        for op in body:
            sources = reads(op)
            result = op.result
            able = makes(op, assigned, read) and _pure(op, stored) and all(
                register in self.made or not assigned[register] for register in sources
            )  # fmt: skip
            if able and isinstance(result, Reg) and touched[result] == here[result]:
                self.made[result] = self._number(self._key(op))
            read.update(sources)
        holders = {number: register for register, number in reversed(self.made.items())}
        nexts: list[int | None] = []  # of each value, which comes after those that it is made of
        for value in self.keys:
            nexts.append(self._next(value, nexts))
        self.carried: dict[Reg, Reg] = {}  # the register of the same value one iteration earlier
        for register, number in self.made.items():
            later = nexts[number]
            if later is not None and later != number and _is_vector(register):
                self.carried[register] = holders[later]

    def kept(self) -> dict[Reg, Reg]:
        """The registers that keep values for the next iteration, and where they come from, in an
        order in which they can be copied."""
        users = [op for op in self.body if op.result not in self.carried]
        live = {register for op in users for register in reads(op) if register in self.carried}
        for register in list(live):
            while (register := self.carried[register]) in self.carried:
                live.add(register)
        order = sorted(live, key=self._hops, reverse=True)
        return {register: self.carried[register] for register in order}

    def _hops(self, register: Reg) -> int:
        """Iterations from the value's first use to its last."""
        hops = 0
        while register in self.carried:
            register, hops = self.carried[register], hops + 1
        return hops

    def gone(self) -> set[Reg]:
        """The registers that need not be filled anew: of values that are kept, and of those that
        only they are made of."""
        readers: dict[Reg, set[Reg | None]] = {}
        for op in self.body:
            made = base(op.result) if op.result is not None else None
            for register in reads(op):
                readers.setdefault(register, set()).add(made)
        gone = set(self.carried)
        for register in reversed(self.made):
            if register in readers and readers[register] <= gone:
                gone.add(register)
        return gone

    def _number(self, key: Key) -> int:
        if key not in self.numbers:
            self.numbers[key] = len(self.keys)
            self.keys.append(key)
        return self.numbers[key]

    def _key(self, op: MachineOp) -> Key:
        return op.instruction.name, op.address, *map(self._source, op.operands)

    def _source(self, operand: Operand) -> object:
        register = base(operand)
        if register is None or register not in self.made:
            return operand
        return self.made[register], operand.index if isinstance(operand, Half) else -1

    def _next(self, value: Key, nexts: list[int | None]) -> int | None:
        """The number of the same value an iteration later; None where nothing holds it."""
        name, address, *sources = value
        moved: list[object] = []
        for source in sources:
            if isinstance(source, tuple):
                later = nexts[source[0]]
                if later is None:
                    return None
                source = later, source[1]
            moved.append(source)
        if isinstance(address, Address):
            by = dict(address.terms).get(self.variable, 0)
            address = replace(address, offset=address.offset + by)
        return self.numbers.get((name, address, *moved))


def _is_vector(register: Reg) -> bool:
    return register.kind in (Register.VECTOR, Register.PAIR)


def _pure(op: MachineOp, stored: set[str]) -> bool:
    """Whether the result depends on operands and bytes that the loop leaves alone."""
    if op.instruction.kind is Kind.COMPUTE:
        return op.address is None
    assert op.address is not None
    return op.instruction.kind is Kind.LOAD and op.address.index is None and \
        op.address.buffer not in stored  # fmt: skip
