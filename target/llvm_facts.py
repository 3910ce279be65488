"""What loops assign, read and address: which registers are carried, which pointers move.

facts = {}
facts_of(phase.body, facts)[...]   # facts[id(loop)] for every loop below
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .instruction import Register
from .llvm_rows import PARTS
from .program import Address, Dma, Half, Item, Loop, MachineOp, Reg

Slot = tuple[int, int]  # a register's number and which part of it
Terms = tuple[tuple[str, int], ...]


def slots(operand: Reg | Half) -> list[Slot]:
    """The parts that an operand names."""
    if isinstance(operand, Half):
        return [(operand.pair.number, operand.index)]
    return [(operand.number, part) for part in range(PARTS.get(operand.kind, 1))]


def class_of(operand: Reg | Half) -> Register:
    if isinstance(operand, Half):
        return Register.VECTOR if operand.pair.kind is Register.PAIR else Register.SCALAR
    return operand.kind


@dataclass(slots=True)
class BodyFacts:
    """What a loop's body assigns, reads before it assigns, and addresses."""

    assigned: dict[Slot, Register] = field(default_factory=dict)
    needed: dict[Slot, Register] = field(default_factory=dict)
    addresses: dict[tuple[str, Terms], None] = field(default_factory=dict)

    def op(self, op: MachineOp) -> None:
        read = [o for o in op.operands if not isinstance(o, int)]
        if op.address is not None:
            self.address(op.address)
            read += [op.address.index] if op.address.index else []
        for operand in read:
            for slot in slots(operand):
                if slot not in self.assigned:
                    self.needed.setdefault(slot, class_of(operand))
        if op.result is not None:
            self.assigned.update(dict.fromkeys(slots(op.result), class_of(op.result)))

    def address(self, address: Address) -> None:
        self.addresses[address.buffer, address.terms] = None

    def below(self, other: BodyFacts) -> None:
        for slot, kind in other.needed.items():
            if slot not in self.assigned:
                self.needed.setdefault(slot, kind)
        self.assigned.update(other.assigned)
        self.addresses.update(other.addresses)


def facts_of(items: Sequence[Item], known: dict[int, BodyFacts]) -> BodyFacts:
    found = BodyFacts()
    for item in items:
        match item:
            case MachineOp():
                found.op(item)
            case Loop(body=body):
                known[id(item)] = facts_of(body, known)
                found.below(known[id(item)])
            case Dma(target=target, source=source):
                found.address(target)
                found.address(source)
            case _:
                pass
    return found
