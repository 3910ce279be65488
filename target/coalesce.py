"""Gives values their registers at a region's end, without copies where lifetimes allow it.

A region's code comes in single assignment. Two kinds of results want a register of someone else:
an accumulating instruction writes the register it reads, and a carried unit must be in its own
register when the region ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from .instruction import Instruction, Register
from .program import Half, MachineOp, Operand, Reg


def assign(
    code: list[MachineOp],
    wanted: Mapping[Reg, Operand],
    kept: set[Reg],
    move: Callable[[Register], Instruction],
    fresh: Callable[[Register], Reg],
) -> list[MachineOp]:
    """``code`` with tied registers, then moves that bring each ``wanted`` value to its register.

    ``kept`` registers must keep their values to the end.
    """
    last = _last_uses(code)
    ends = {base(value) for value in wanted.values()}
    out: list[MachineOp] = []
    names: dict[Reg, Reg] = {}
    for position, op in enumerate(code):
        op = _renamed(op, names)
        tied = op.instruction.accumulate
        if tied is not None:
            op = _tie(op, position, code[position], last, kept, ends, names, out, move, fresh)
        out.append(op)
    final = {unit: _rename(value, names) for unit, value in wanted.items()}
    return _deliver(out, final, kept, move, fresh)


def base(value: Operand) -> Reg | None:
    """The register that a value lies in."""
    if isinstance(value, Half):
        return value.pair
    return value if isinstance(value, Reg) else None


def _last_uses(code: list[MachineOp]) -> dict[Reg, int]:
    last: dict[Reg, int] = {}
    for position, op in enumerate(code):
        for register in reads(op):
            last[register] = position
    return last


def reads(op: MachineOp) -> list[Reg]:
    """The registers that an instruction reads, its address included."""
    found: list[Reg] = []
    for value in op.operands:
        if isinstance(value, Reg):
            found.append(value)
        elif isinstance(value, Half):
            found.append(value.pair)
    if op.address is not None and op.address.index is not None:
        found.append(op.address.index)
    return found


def _rename(value: Operand, names: Mapping[Reg, Reg]) -> Operand:
    if isinstance(value, Reg):
        return names.get(value, value)
    if isinstance(value, Half):
        return replace(value, pair=names.get(value.pair, value.pair))
    return value


def _renamed(op: MachineOp, names: Mapping[Reg, Reg]) -> MachineOp:
    if not names:
        return op
    operands = tuple(_rename(value, names) for value in op.operands)
    address = op.address
    if address is not None and address.index is not None and address.index in names:
        address = replace(address, index=names[address.index])
    if operands == op.operands and address is op.address:
        return op
    return replace(op, operands=operands, address=address)


def _tie(
    op: MachineOp,
    position: int,
    original: MachineOp,
    last: Mapping[Reg, int],
    kept: set[Reg],
    ends: set[Reg | None],
    names: dict[Reg, Reg],
    out: list[MachineOp],
    move: Callable[[Register], Instruction],
    fresh: Callable[[Register], Reg],
) -> MachineOp:
    """The accumulating ``op`` with one register as operand and result."""
    index = [p.name for p in op.instruction.parameters].index(op.instruction.accumulate or "")
    value, before = op.operands[index], original.operands[index]
    assert isinstance(op.result, Reg)
    dies = isinstance(before, Reg) and last[before] == position and before not in ends
    repeated = sum(base(v) == base(value) for v in op.operands) > 1
    if isinstance(value, Reg) and dies and value not in kept and not repeated:
        names[op.result] = value
        return replace(op, result=value)
    copy = fresh(op.result.kind)
    out.append(MachineOp(move(op.result.kind), copy, (value,)))
    names[op.result] = copy
    operands = (*op.operands[:index], copy, *op.operands[index + 1 :])
    return replace(op, result=copy, operands=operands)


def _deliver(
    out: list[MachineOp],
    final: Mapping[Reg, Operand],
    kept: set[Reg],
    move: Callable[[Register], Instruction],
    fresh: Callable[[Register], Reg],
) -> list[MachineOp]:
    moves = {unit: value for unit, value in final.items() if value != unit}
    first: dict[Reg, int] = {}
    last = _last_uses(out)
    for position, op in enumerate(out):
        register = base(op.result) if op.result is not None else None
        if register is not None:
            first.setdefault(register, position)
    written = {base(op.result) for op in out if op.result is not None}
    claimed: set[Reg] = set()
    names: dict[Reg, Reg] = {}
    sources = [base(value) for value in final.values()]
    for unit, value in list(moves.items()):
        free = (
            isinstance(value, Reg)
            and value.kind is unit.kind
            and value in first
            and value not in final
            and value not in kept
            and value not in claimed
            and sources.count(value) == 1
            and unit not in written
            and unit not in sources
            and last.get(unit, -1) <= first[value]
        )
        if free:
            assert isinstance(value, Reg)
            claimed.add(value)
            names[value] = unit
            del moves[unit]
    out = [_everywhere(op, names) for op in out]
    return [*out, *_moves({u: _rename(v, names) for u, v in moves.items()}, move, fresh)]


def _everywhere(op: MachineOp, names: Mapping[Reg, Reg]) -> MachineOp:
    op = _renamed(op, names)
    if isinstance(op.result, Reg) and op.result in names:
        return replace(op, result=names[op.result])
    return op


def _moves(
    moves: Mapping[Reg, Operand],
    move: Callable[[Register], Instruction],
    fresh: Callable[[Register], Reg],
) -> list[MachineOp]:
    """All moves as if at once: a source that another move overwrites is saved first."""
    out: list[MachineOp] = []
    saved: dict[Reg, Reg] = {}
    for unit, value in moves.items():
        source = base(value)
        if source in moves and source is not None and source is not unit and source not in saved:
            saved[source] = fresh(source.kind)
            out.append(MachineOp(move(source.kind), saved[source], (source,)))
    for unit, value in moves.items():
        out.append(MachineOp(move(unit.kind), unit, (_rename(value, saved),)))
    return out
