"""Templates: for each kind of kernel, the schedules worth trying, as a space of knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

from ...target.machine_facts import Machine
from ...tir.passes.lift import lift
from ...tir.stmt import PrimFunc
from .backed import backed
from .contraction_channels import channels
from .contraction_groups import groups
from .contraction_outputs import outputs
from .contraction_parts import parts
from .contraction_pixels import columns, pixels
from .folds import folds, products, sums
from .maps import lanes
from .reduction import reduction
from .scalar import scalar
from .template import Estimate, Template
from .threads import shared
from .tight import tight

Maker = Callable[[PrimFunc, Machine], Template | None]

SPECIAL: tuple[Maker, ...] = (
    outputs,
    parts,
    channels,
    groups,
    products,
    pixels,
    columns,
    sums,
    lanes,
    reduction,
)
GENERAL: tuple[Maker, ...] = (folds, scalar)  # for any kernel that has no special one


def template_for(
    func: PrimFunc,
    machine: Machine,
    lifting: Callable[[PrimFunc], PrimFunc] = lift,
    general: bool = False,
) -> Template:
    """The templates that take the kernel as one, the first of them first. ``lifting`` is the lift
    pass, with a budget, forbidden rules or a record if these are wanted; ``general`` asks those
    for any kernel, too, where others take it, whose vectors may have no code."""
    lifted = lifting(func)

    def made(makers: Sequence[Maker]) -> Template | None:
        taking = partial(_taking, makers)
        return shared(
            cache(lambda threads: tight(lifted, replace(machine, threads=threads), taking)), machine
        )

    found = made((*SPECIAL, *GENERAL) if general else SPECIAL)
    if found is not None:
        return found if general else backed(found, lambda: _some(made(GENERAL)))
    return _some(made(GENERAL))


def _some(template: Template | None) -> Template:
    """The general templates take every kernel."""
    assert template is not None
    return template


def _taking(makers: Sequence[Maker], func: PrimFunc, machine: Machine) -> Iterator[Template]:
    """The templates that take a kernel at some point at least."""
    for make in makers:
        found = make(func, machine)
        if found is not None and next(iter(found.space), None) is not None:
            yield found


__all__ = ["GENERAL", "SPECIAL", "Estimate", "Template", "template_for"]
