"""Templates: for each kind of kernel, the schedules worth trying, as a space of knobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
from .contraction_vectors import vectors
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
    vectors,
    products,
    pixels,
    columns,
    folded,
    lanes,
    reduction,
    rows,
    scalar,
)


def template_for(
    func: PrimFunc, machine: Machine, lifting: Callable[[PrimFunc], PrimFunc] = lift
) -> Template:
    """The first template that takes the kernel; where it needs more than TCM, all that take it.
    ``lifting`` is the lift pass, with a budget, forbidden rules or a record if these are wanted."""
    return tight(lifting(func), machine, _taking)


def _taking(func: PrimFunc, machine: Machine) -> Iterator[Template]:
    """The templates that take a kernel at some point at least; the scalar one takes all, but only
    if no other does."""
    alone = True
    for make in TEMPLATES[:-1]:
        found = make(func, machine)
        if found is not None and next(iter(found.space), None) is not None:
            alone = False
            yield found
    if alone:
        yield scalar(func, machine)


__all__ = ["TEMPLATES", "Estimate", "Template", "template_for"]
