"""Kernels whose blocks each store elements that follow from their axes: maps, copies and fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...target.machine_facts import Machine
from ...tir.stmt import PrimFunc
from ..knobs import choice, number
from ..schedule import Schedule
from ..structure import Form
from .arranged import WIDE, Arranged, nests, rows_of, template
from .fold_parts import Moved
from .fusing import ALONE
from .lanes import FORMS, LaneNest, layer_of
from .nest import Nest
from .template import Template


def lanes(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of such kernels: their vectors, elements or transfers; copies that turn may do
    so in registers or fill vectors from afar."""
    layer = layer_of(func, machine)
    if layer is None:
        return None
    ways = [Arranged(Schedule(func), layer, plain=FORMS)] * 2
    if any(part.turn for part in layer.values()):
        ways.append(
            Arranged(Schedule(func), {b: replace(part, turn=None) for b, part in layer.items()})
        )
    if all(_transfers(part.nest) for part in layer.values()):
        ways.append(_transferred(func, layer))
    loops = (0, 1, ALONE) if len(layer) > 1 else (0, 1)
    knobs = *nests(rows_of(layer), loops), choice(WIDE, tuple(range(len(ways)))[::-1])
    return template("lanes", func, machine, knobs, lambda point: ways[number(point, WIDE)])


def _transfers(nest: Nest) -> bool:
    """Whether a block moves bytes that lie together from DDR to DDR."""
    found = nest.found
    far = all(use.buffer.scope == "ddr" for use in (found.out, *found.reads))
    whole = len(nest.runs) == 1 and nest.runs[0].to == 1 and nest.runs[0].come == (1,)
    return found.form is Form.COPY and far and whole


def _transferred(func: PrimFunc, layer: Mapping[str, LaneNest]) -> Arranged:
    """To TCM and back, with no instruction in between."""
    sch = Schedule(func)
    ends = [part.nest.found for part in layer.values()]
    near = [sch.cache_read(found.block, found.reads[0].buffer.name, "tcm").name for found in ends]
    blocks = [*near, *(found.block for found in ends)]
    return Arranged(sch, dict.fromkeys(blocks, Moved(0)))
