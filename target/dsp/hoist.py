"""Takes out of a loop what every iteration computes alike: constants, splats, loads of tables.

loop j in 8                          v1 = vsplat(r0)
  v1 = vsplat(r0)                    loop j in 8
  v2 = vmem(x[j*128])                  v2 = vmem(x[j*128])
  v3 = vadd(v1, v2)                    v3 = vadd(v1, v2)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from ..coalesce import base, reads
from ..instruction import Kind, Register
from ..program import Dma, Item, Loop, MachineOp, Reg, WaitOp, items_in, ops_in

ALL = 1 << 10  # as many as there are


def hoist(variable: str, body: list[Item], most: int = ALL) -> tuple[list[MachineOp], list[Item]]:
    """(what may run once in front of the loop over ``variable``, the loop's body without it).

    Only for loops without loops inside: values kept across those would crowd their registers. Of
    vectors ``most`` move, if loads can stay: those for the fewest instructions do.
    """
    if most == 0 or any(isinstance(item, Loop) for item in body):
        return [], body
    before, rest = _split(variable, body, set())
    excess = sum(_is_vector(op) for op in before) - most
    if excess <= 0:
        return before, rest
    users = Counter(register for op in ops_in(rest) for register in reads(op))
    read = {register for op in before for register in reads(op)}
    loads = [op.result for op in before if op.instruction.kind is Kind.LOAD and _is_vector(op)]
    able = [register for register in loads if isinstance(register, Reg) and register not in read]
    able.sort(key=lambda register: users[register])
    return _split(variable, body, set(able[:excess]))


def _is_vector(op: MachineOp) -> bool:
    return op.instruction.result_register in (Register.VECTOR, Register.PAIR)


def _split(variable: str, body: list[Item], kept: set[Reg]) -> tuple[list[MachineOp], list[Item]]:
    """As ``hoist``; ``kept`` are made in every iteration."""
    ops = list(ops_in(body))
    assigned: dict[Reg, int] = {}
    for op in ops:
        if (register := base(op.result) if op.result else None) is not None:
            assigned[register] = assigned.get(register, 0) + 1
    stored = {op.address.buffer for op in ops if op.address and op.instruction.kind is Kind.STORE}
    quiet = not any(isinstance(item, Dma | WaitOp) for item in items_in(body))
    before: list[MachineOp] = []
    rest: list[Item] = []
    read = set(kept)
    for item in body:
        if isinstance(item, MachineOp) and _same(item, variable, assigned, stored, quiet, read):
            assert isinstance(item.result, Reg)
            del assigned[item.result]
            before.append(item)
        else:
            rest.append(item)
            read.update(register for op in ops_in([item]) for register in reads(op))
    return before, rest


def _same(
    op: MachineOp,
    variable: str,
    assigned: dict[Reg, int],
    stored: set[str],
    quiet: bool,
    read: set[Reg],
) -> bool:
    """Whether ``op`` gives one value in all iterations, in a register of its own."""
    row = op.instruction
    if not makes(op, assigned, read) or any(register in assigned for register in reads(op)):
        return False
    if row.kind is Kind.COMPUTE:
        return True
    assert op.address is not None
    fixed = all(name != variable for name, _ in op.address.terms)
    return row.kind is Kind.LOAD and fixed and quiet and op.address.buffer not in stored


def makes(op: MachineOp, assigned: Mapping[Reg, int], read: Collection[Reg]) -> bool:
    """Whether ``op`` alone gives its register a value, before anything has ``read`` it."""
    result = op.result
    once = isinstance(result, Reg) and assigned[result] == 1 and result not in read
    return once and op.instruction.accumulate is None
