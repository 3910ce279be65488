"""Loads that feed the only instruction that wants their value, in its packet.

    v3 = vmem(r8+#1)                    v3.tmp = vmem(r8+#1)
    v5.w = vrmpy(v4.ub,v3.b)     ->     v5.w = vrmpy(v4.ub,v3.b)

Such a value takes no register, and its load no pipe that computes (HVX.md, section 1): the two
become one step, which takes a load and is placed as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from ..instruction import Kind, Register
from .lower_program import PhaseLowering
from .pack import EMPTY, packer
from .packet_distances import overlap
from .steps import Step, feeding


def feed(steps: list[Step], outside: Collection[int], low: PhaseLowering) -> list[Step]:
    """The steps of a loop's body with the loads joined that can be; registers ``outside`` live
    around the body."""
    automaton = packer(low.table.machine)
    users: dict[int, list[int]] = {}  # of each atom: the steps that read it
    makers = Counter(atom for step in steps for atom in step.writes)
    for i, step in enumerate(steps):
        for atom, _ in step.reads:
            users.setdefault(atom, []).append(i)
    found: list[Step | None] = list(steps)
    for i, load in enumerate(steps):
        atom = load.result >> 1
        if not _passes(load, low) or atom >> 1 in outside or makers[atom] > 1:
            continue
        if len(readers := users.get(atom, [])) != 1 or readers[0] < i:
            continue
        user, at = readers[0], next(_places(steps[readers[0]], load.result), -1)
        if found[user] is not steps[user] or at < 0 or _changed(steps[i : user + 1], low.extents):
            continue
        fed = _joined(steps[user], load, at)
        if automaton.fit(EMPTY, automaton.unit(fed)) >= 0:
            found[i], found[user] = None, fed
    return [step for step in found if step is not None]


def _passes(load: Step, low: PhaseLowering) -> bool:
    """Whether the machine can pass on what the step loads, a whole register, without waiting."""
    if load.facts.unit != "LOAD,VA" or low.registers.kinds[load.result >> 2] is not Register.VECTOR:
        return False
    return load.access is not None and load.access.buffer not in low.table.far


def _places(user: Step, code: int) -> Iterator[int]:
    """The operand that the value could be of a vector instruction: not one that it adds to."""
    row = user.facts.row
    if row.kind is not Kind.COMPUTE or user.facts.latency or user.result < 0:
        return
    for i, _ in user.facts.operands:
        if user.operands[i] == code and row.parameters[i].name != row.accumulate:
            yield i


def _changed(steps: list[Step], extents: Mapping[str, int]) -> bool:
    """Whether the first step's load would find another address or other bytes at the last one."""
    load, *between, _ = steps
    assert load.access is not None
    address = {code >> 1 for code in (load.pointer, load.index) if code >= 0}
    return any(
        not address.isdisjoint(step.writes)
        or (step.access is not None and step.access.store
            and step.access.buffer == load.access.buffer
            and overlap(step.access, load.access, extents))
        for step in between
    )  # fmt: skip


def _joined(user: Step, load: Step, at: int) -> Step:
    operands = (*user.operands[:at], -1, *user.operands[at + 1 :])
    return Step(feeding(user.facts, load.facts, at), user.result, operands, pointer=load.pointer,
                imm=load.imm, bump=load.bump, index=load.index, access=load.access,
                origin=user.origin)  # fmt: skip
