"""Templates: for each kind of kernel, the schedules worth trying, as a space of knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ...target.dsp.machine import Machine
from ...tir.passes.lift import lift
from ...tir.stmt import PrimFunc
from .contraction_channels import channels
from .contraction_folded import folded
from .contraction_groups import groups
from .contraction_outputs import outputs
from .contraction_parts import parts
from .contraction_pixels import columns, pixels
from .contraction_slabs import slabs
from .folds import folds
from .lanes import lanes
from .product_tiles import products
from .reduction import reduction
from .rows import rows
from .scalar import scalar
from .template import Estimate, Template
from .tight import tight

TEMPLATES: tuple[Callable[[PrimFunc, Machine], Template | None], ...] = (
    slabs,
    outputs,
    parts,
    channels,
    groups,
    products,
    pixels,
    columns,
    folded,
    lanes,
    reduction,
    rows,
    folds,
    scalar,
)


GENERAL = (folds, scalar)  # those that may be asked only where no other takes a kernel


def template_for(
    func: PrimFunc,
    machine: Machine,
    lifting: Callable[[PrimFunc], PrimFunc] = lift,
    general: bool = False,
) -> Template:
    """The templates that take the kernel as one, the first of them first. ``lifting`` is the lift
    pass, with a budget, forbidden rules or a record if these are wanted; ``general`` asks those
    for any kernel, too, where others take it, whose vectors may have no code."""
    last = () if general else [make.__name__ for make in GENERAL]
    return tight(lifting(func), machine, partial(_taking, general=general), last)


def _taking(func: PrimFunc, machine: Machine, general: bool) -> Iterator[Template]:
    """The templates that take a kernel at some point at least."""
    taken = False
    for make in TEMPLATES:
        found = make(func, machine) if general or not taken or make not in GENERAL else None
        if found is not None and next(iter(found.space), None) is not None:
            taken = taken or make not in GENERAL
            yield found


__all__ = ["TEMPLATES", "Estimate", "Template", "template_for"]
