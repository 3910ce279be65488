"""Values that the next iterations read are read from the registers that iterations have anyway.

    loop j in 8                          loop j in 8
      v2 = vmem(x[j*128 + 128])            v2 = vmem(x[j*128 + 128])
      v3 = vmaxub(v1, v2)         ->       v3 = vmaxub(v2 of the last iteration, v2)
      v1 = v2

Iterations that overlap have registers of their own for values that live so long (``expand``), so
that no copy is needed; the value from before the loop goes where the iteration before the first
one would have left it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..instruction import Register
from .machine import DspMachine
from .rows import roles as roles_of
from .steps import BasicBlock, Node, Registers, Step, blocks

Carried = Mapping[int, tuple[int, int]]  # a register: it holds another one's value of so many
# iterations before


def renew(
    steps: list[Step],
    before: BasicBlock,
    nodes: list[Node],
    registers: Registers,
    machine: DspMachine,
) -> tuple[list[Step], Carried]:
    """The steps of a loop without copies at its end, and what those carried; ``before`` is the
    block in front of the loop, where what they carry begins."""
    writers, readers = _touched(steps)
    copies: dict[int, tuple[int, int]] = {}  # of a register: the copy's number, what is copied
    for i, step in enumerate(steps):
        register, source = step.result >> 2, _copied(step, registers, machine)
        if source >= 0 and writers[register] == [i] and max(readers.get(register, [i])) <= i:
            copies[register] = i, source
    for register in _elsewhere(steps, before, nodes) if copies else ():
        copies.pop(register, None)
    carried = {
        register: found for register in copies if (found := _from(register, copies, writers))
    }
    gone = {copies[register][0] for register in carried}
    return [step for i, step in enumerate(steps) if i not in gone], carried


def _touched(steps: list[Step]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """The steps that write each register, and those that read it."""
    writers, readers = dict[int, list[int]](), dict[int, list[int]]()
    for i, step in enumerate(steps):
        for register in {atom >> 1 for atom in step.writes}:
            writers.setdefault(register, []).append(i)
        for register in {atom >> 1 for atom, _ in step.reads}:
            readers.setdefault(register, []).append(i)
    return writers, readers


def _copied(step: Step, registers: Registers, machine: DspMachine) -> int:
    """The register of vectors of which a step copies all to another one, or -1."""
    roles = roles_of(machine.version)
    if step.facts.row not in (roles.move(Register.VECTOR), roles.move(Register.PAIR)):
        return -1
    result, source = step.result, step.operands[0]
    kinds = registers.kinds[result >> 2], registers.kinds[source >> 2]
    return source >> 2 if kinds[0] is kinds[1] and result & 3 == source & 3 else -1


def _elsewhere(steps: list[Step], before: BasicBlock, nodes: list[Node]) -> set[int]:
    """The registers that other steps than those of a loop and of the block before it touch."""
    inside = {id(step) for step in (*steps, *before.steps)}
    others = (s for block in blocks(nodes) for s in block.steps if id(s) not in inside)
    return {atom >> 1 for s in others for atom in (*s.writes, *(atom for atom, _ in s.reads))}


def _from(
    register: int, copies: Mapping[int, tuple[int, int]], writers: Mapping[int, list[int]]
) -> tuple[int, int] | None:
    """The register that is made in each iteration of which this one carries the value, and over
    how many; a copy of a copy finds what the latter held before."""
    at, source = copies[register]
    if source not in copies:
        made = writers.get(source, [])
        return (source, 1) if made and made[-1] < at else None
    further = _from(source, copies, writers) if copies[source][0] > at else None
    return further and (further[0], further[1] + 1)
