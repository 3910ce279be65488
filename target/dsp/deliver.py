"""Stores in the packet of what makes their value.

    v5.w = vadd(v4.w,v3.w)              v5.w = vadd(v4.w,v3.w)
    vmem(r8++#1) = v5            ->     vmem(r8++#1) = v5.new

Such a store takes no pipe that computes (HVX.md, section 1): the two become one step, which takes a
store and is placed as a whole. So it is done where pipes bound a loop.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..instruction import Kind
from .interval import resource_bound
from .lower_program import PhaseLowering
from .pack import EMPTY, packer
from .packet_distances import overlap
from .steps import Step, storing


def deliver(steps: list[Step], low: PhaseLowering) -> list[Step]:
    """The steps of a loop's body with the stores joined that can be, where that takes fewer
    packets."""
    automaton = packer(low.table.machine)
    makers: dict[int, list[int]] = {}  # of each atom
    for i, step in enumerate(steps):
        for atom in step.writes:
            makers.setdefault(atom, []).append(i)
    found: list[Step | None] = list(steps)
    for i, store in enumerate(steps):
        made = makers.get(store.reads[0][0], []) if _takes(store, low) else []
        at = made[0] if len(made) == 1 else i
        if at >= i or found[at] is not steps[at] or not _gives(steps[at]):
            continue
        whole = _joined(steps[at], store)
        fits = automaton.fit(EMPTY, automaton.unit(whole)) >= 0
        if fits and _moves(steps[at + 1 : i + 1], low.extents):
            found[at], found[i] = whole, None
    joined = [step for step in found if step is not None]
    before, after = (resource_bound([*map(automaton.unit, body)], automaton)
                     for body in (steps, joined))  # fmt: skip
    return joined if after < before else steps


def _takes(store: Step, low: PhaseLowering) -> bool:
    """Whether a step stores a whole register, without waiting."""
    if store.facts.unit != "STORE,VA" or len(store.operands) > 1 or not store.facts.alone:
        return False
    return store.access is not None and store.access.buffer not in low.table.far


def _gives(maker: Step) -> bool:
    """Whether a step is a vector instruction and no more."""
    return maker.facts.row.kind is Kind.COMPUTE and maker.facts.alone


def _moves(steps: list[Step], extents: Mapping[str, int]) -> bool:
    """Whether the last step's store finds the same address, and others its bytes, before the first
    one."""
    *between, store = steps
    assert store.access is not None
    address = {code >> 1 for code in (store.pointer, store.index) if code >= 0}
    return not any(
        not address.isdisjoint(step.writes)
        or (step.access is not None and step.access.buffer == store.access.buffer
            and overlap(step.access, store.access, extents))
        for step in between
    )  # fmt: skip


def _joined(maker: Step, store: Step) -> Step:
    facts = storing(maker.facts, store.facts, store.operands[0] & 1)
    return Step(facts, maker.result, maker.operands, pointer=store.pointer, imm=store.imm,
                bump=store.bump, index=store.index, access=store.access,
                origin=maker.origin)  # fmt: skip
