"""Templates: for each kind of kernel, the schedules worth trying, as a space of knobs."""

from __future__ import annotations

from collections.abc import Callable

from ...target.dsp.machine import Machine
from ...tir.passes.lift import lift
from ...tir.stmt import PrimFunc
from .broadcast import broadcast
from .conv2d import conv2d
from .depthwise import depthwise
from .elementwise import elementwise
from .grouped import grouped
from .matmul import matmul
from .move import move
from .pool import pool
from .reduce import reduce
from .scalar import scalar
from .softmax import softmax
from .streamed import streamed
from .stripped import stripped
from .table import table
from .template import Estimate, Template

TEMPLATES: tuple[Callable[[PrimFunc, Machine], Template | None], ...] = (
    streamed,
    conv2d,
    depthwise,
    grouped,
    matmul,
    elementwise,
    broadcast,
    table,
    reduce,
    pool,
    move,
    softmax,
    scalar,
)


def template_for(func: PrimFunc, machine: Machine) -> Template:
    """The first template that takes the kernel, in strips where it needs more than TCM."""
    lifted = lift(func)
    return stripped(lifted, _first(lifted, machine), machine, _first)


def _first(func: PrimFunc, machine: Machine) -> Template:
    """The first template that takes the kernel; the scalar one takes all."""
    for make in TEMPLATES:
        found = make(func, machine)
        if found is not None:
            return found
    raise AssertionError("the scalar template takes every kernel")


__all__ = ["TEMPLATES", "Estimate", "Template", "template_for"]
