"""Gives each value of a block a register of its own: a number used twice need not wait for itself.

    v1 = vmem(x)          v1 = vmem(x)
    vmem(y) = v1          vmem(y) = v1
    v1 = vmem(x+1)   ->   v7 = vmem(x+1)
    vmem(y+1) = v1        vmem(y+1) = v7

A value that is live before the block keeps its number up to its end, and so does a value that is
live after the block from its last definition on.
"""

from __future__ import annotations

from collections.abc import Mapping

from .allocate import Sets
from .steps import WHOLE, BasicBlock, Node, Registers, Step, blocks


def split_webs(nodes: list[Node], around: Mapping[int, Sets], registers: Registers) -> None:
    """Renames in all blocks that are not packed yet."""
    shared = _shared(nodes)
    for block in blocks(nodes):
        if not block.packets:
            _split(block, around[id(block)][1], shared, registers)


def _shared(nodes: list[Node]) -> set[int]:
    """The registers that more than one block mentions."""
    seen, shared = set[int](), set[int]()
    for block in blocks(nodes):
        here = set[int]()
        for group in block.packets or block.groups:
            for step in group:
                here.update(step.writes)
                for atom, _ in step.reads:
                    here.add(atom)
        registers = {atom >> 1 for atom in here}
        shared |= seen & registers
        seen |= registers
    return shared


def _split(block: BasicBlock, after: int, shared: set[int], registers: Registers) -> None:
    starts: dict[int, int] = {}
    made = {id(step): _defines(step, registers) for group in block.groups for step in group}
    for register in made.values():
        starts[register] = starts.get(register, 0) + 1
    starts.pop(-1, None)
    left = {r: n for r, n in starts.items() if n > 1 or r in shared}
    if not left:
        return
    names: dict[int, int] = {}
    for group in block.groups:
        fresh: dict[int, int] = {}
        for step in group:
            register = made[id(step)]
            if register in left:
                fresh[register] = _name(register, left, shared, after, names, registers)
        if names or fresh:
            for step in group:
                rename(step, names, fresh.get(made[id(step)], -1))
        names.update(fresh)


def _name(register: int, left: dict[int, int], shared: set[int], after: int,
          names: Mapping[int, int], registers: Registers) -> int:  # fmt: skip
    """The number of the register's next value in the block."""
    left[register] -= 1
    if left[register] == 0 and after >> 2 * register & 3:
        return register
    if register not in names and register not in shared:
        return register
    return registers.new(registers.kinds[register]) >> 2


def _defines(step: Step, registers: Registers) -> int:
    """The register that the step makes anew, reading nothing of it; or -1."""
    code = step.result
    if code < 0 or (code & 3 != WHOLE and (code & 1 or registers.paired(code >> 2))):
        return -1
    register = code >> 2
    if register in registers.fixed:
        return -1
    for atom, _ in step.reads:
        if atom >> 1 == register:
            return -1
    return register


def rename(step: Step, names: Mapping[int, int], made: int = -1) -> None:
    """Registers by ``names``; the result is ``made`` if that is a number."""
    if made < 0 and not _mentions(step, names):
        return
    result = step.result
    step.rename(step, names)
    if made >= 0:
        step.result = 4 * made + (result & 3)
    if not step.facts.calls:
        step.link()


def _mentions(step: Step, names: Mapping[int, int]) -> bool:
    if step.result >> 2 in names or step.pointer >> 2 in names or step.index >> 2 in names:
        return True
    operands = step.operands
    return any([operands[i] >> 2 in names for i, _ in step.facts.operands])
