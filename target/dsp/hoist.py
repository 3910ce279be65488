"""Takes out of a loop what every iteration computes alike: constants, splats, loads of tables.

loop j in 8                          v1 = vsplat(r0)
  v1 = vsplat(r0)                    loop j in 8
  v2 = vmem(x[j*128])                  v2 = vmem(x[j*128])
  v3 = vadd(v1, v2)                    v3 = vadd(v1, v2)
"""

from __future__ import annotations

from collections.abc import Iterator

from ..coalesce import base, reads
from ..instruction import Kind
from ..program import Dma, Item, Loop, Op, Reg, Wait


def hoist(variable: str, body: list[Item]) -> tuple[list[Item], list[Item]]:
    """(what may run once in front of the loop over ``variable``, the loop's body without it).

    Only for loops without loops inside: values kept across those would crowd their registers.
    """
    if any(isinstance(item, Loop) for item in body):
        return [], body
    ops = list(_ops(body))
    assigned: dict[Reg, int] = {}
    for op in ops:
        if (register := base(op.result) if op.result else None) is not None:
            assigned[register] = assigned.get(register, 0) + 1
    stored = {op.address.buffer for op in ops if op.address and op.instruction.kind is Kind.STORE}
    quiet = not any(isinstance(item, Dma | Wait) for item in _items(body))
    before: list[Item] = []
    rest: list[Item] = []
    read: set[Reg] = set()
    for item in body:
        if isinstance(item, Op) and _same(item, variable, assigned, stored, quiet, read):
            assert isinstance(item.result, Reg)
            del assigned[item.result]
            before.append(item)
        else:
            rest.append(item)
            read.update(register for op in _ops([item]) for register in reads(op))
    return before, rest


def _same(
    op: Op,
    variable: str,
    assigned: dict[Reg, int],
    stored: set[str],
    quiet: bool,
    read: set[Reg],
) -> bool:
    """Whether ``op`` gives one value in all iterations, in a register of its own."""
    row, result = op.instruction, op.result
    if not isinstance(result, Reg) or assigned[result] != 1 or result in read:
        return False
    if row.accumulate is not None or any(register in assigned for register in reads(op)):
        return False
    if row.kind is Kind.COMPUTE:
        return True
    assert op.address is not None
    fixed = all(name != variable for name, _ in op.address.terms)
    return row.kind is Kind.LOAD and fixed and quiet and op.address.buffer not in stored


def _items(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if isinstance(item, Loop):
            yield from _items(item.body)


def _ops(items: list[Item]) -> Iterator[Op]:
    for item in _items(items):
        if isinstance(item, Op):
            yield item
