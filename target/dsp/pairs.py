"""Two scalar loads of neighbouring words become one load of a pair: a place less in the packets.

    r1 = memw(x[k*16 + 8])          d9 = memd(x[k*16 + 8])
    r2 = memw(x[k*16 + 12])   ->    v4 = vrmpy(v4, v5, d9.lo)
    v4 = vrmpy(v4, v5, r1)          v4 = vrmpy(v4, v5, d9.hi)
    v4 = vrmpy(v4, v5, r2)

Buffers start at multiples of 128, so that an offset and its terms tell the alignment. A pair costs
registers, so that only code with more instructions than its multipliers and vector loads take
packets gets some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ..instruction import Kind, Register
from ..program import Address, Half, Item, Loop, MachineOp, Reg, ops_in
from .scalar_rows import INSTRUCTIONS

_PAIR = INSTRUCTIONS["loadrd"]
_Key = tuple[str, tuple[tuple[str, int], ...]]


def pair_loads(items: list[Item], version: int) -> list[Item]:
    """The same code with neighbouring words loaded at once where that saves packets."""
    ops = list(ops_in(items))
    made = Counter(op.result.number for op in ops if isinstance(op.result, Reg))
    read = Counter(number for op in ops for number in _reads(op))
    once = {number for number, count in made.items() if count == 1}
    return _Pairing(once, read, max([0, *made, *read]), version).items(items)


class _Pairing:
    """``once``: registers written once; ``read``: how often each is read at all."""

    def __init__(self, once: set[int], read: Counter[int], last: int, version: int) -> None:
        self.once, self.read, self.last, self.version = once, read, last, version

    def items(self, items: list[Item]) -> list[Item]:
        if not any(isinstance(item, Loop) for item in items) and not self._full(items):
            return items
        here = Counter(n for item in items if isinstance(item, MachineOp) for n in _plainly(item))
        done: list[Item] = []
        halves: dict[int, Half] = {}
        waiting: dict[_Key, dict[int, int]] = {}  # offset: position in ``done``
        for item in items:
            if isinstance(item, Loop):
                waiting.clear()
                done.append(Loop(item.variable, item.extent, self.items(item.body)))
                continue
            if not isinstance(item, MachineOp):
                waiting.clear()
                done.append(item)
                continue
            op = _renamed(item, halves)
            if op.instruction.kind is Kind.STORE and op.address is not None:
                buffer = op.address.buffer
                waiting = {key: at for key, at in waiting.items() if key[0] != buffer}
            if not self._able(op, here) or not self._joined(op, done, halves, waiting):
                done.append(op)
        return done

    def _full(self, items: list[Item]) -> bool:
        """Whether places and scalar loads, not multipliers or vector loads, bound the packets."""
        rows = [item.instruction for item in items if isinstance(item, MachineOp)]
        units = Counter(row.unit_at(self.version) for row in rows)
        memory = sum(row.kind is not Kind.COMPUTE for row in rows)
        vectors = sum(row.kind is Kind.LOAD and row.bytes >= 128 for row in rows)
        others = max((units["VX"] + 2 * units["VX_DV"] + 1) // 2, vectors)
        return max((len(rows) + 4) // 4, (memory + 1) // 2) > others

    def _able(self, op: MachineOp, here: Counter[int]) -> bool:
        """A word at a known address, in a register that only operands of this list read."""
        address, result = op.address, op.result
        if op.instruction.name != "loadri" or address is None or address.index is not None:
            return False
        if not isinstance(result, Reg) or result.number not in self.once:
            return False
        return here[result.number] == self.read[result.number] and all(
            scale % 8 == 0 for _, scale in address.terms
        )

    def _joined(
        self,
        op: MachineOp,
        done: list[Item],
        halves: dict[int, Half],
        waiting: dict[_Key, dict[int, int]],
    ) -> bool:
        """Joins the load to its neighbour if that came before; else remembers it."""
        address, result = op.address, op.result
        assert isinstance(address, Address) and isinstance(result, Reg)
        others = waiting.setdefault((address.buffer, address.terms), {})
        at = others.pop(address.offset ^ 4, None)
        if at is None:
            others[address.offset] = len(done)
            return False
        first = done[at]
        assert isinstance(first, MachineOp) and isinstance(first.result, Reg)
        self.last += 1
        pair = Reg(self.last, Register.DOUBLE)
        upper = address.offset >> 2 & 1
        halves[result.number] = Half(pair, upper)
        halves[first.result.number] = Half(pair, 1 - upper)
        where = replace(address, offset=address.offset & ~7)
        done[at] = MachineOp(_PAIR, pair, (), where, first.origin or op.origin)
        for later in range(at + 1, len(done)):
            between = done[later]
            if isinstance(between, MachineOp):
                done[later] = _renamed(between, halves)
        return True


def _renamed(op: MachineOp, halves: dict[int, Half]) -> MachineOp:
    if not any(isinstance(o, Reg) and o.number in halves for o in op.operands):
        return op
    operands = tuple(
        halves.get(o.number, o) if isinstance(o, Reg) else o for o in op.operands
    )  # fmt: skip
    return replace(op, operands=operands)


def _plainly(op: MachineOp) -> Iterator[int]:
    """Registers that are whole operands: these can be halves instead."""
    yield from (operand.number for operand in op.operands if isinstance(operand, Reg))


def _reads(op: MachineOp) -> Iterator[int]:
    yield from _plainly(op)
    yield from (operand.pair.number for operand in op.operands if isinstance(operand, Half))
    if op.address is not None and op.address.index is not None:
        yield op.address.index.number
