"""Sums, maxima and minima whose lanes stand beside each other: windows, and means over pixels.

    y[p, c] = f(sum over k of x[p + k, c])         few terms: one expression, so that it is a map

    s[b, q, c] = sum of a block b of rows          many: bytes are summed in u16 or i32, by blocks
    y[c] = f(sum over b and q of s[b, q, c])       of rows and by the pixels q that share a vector

The knob ``by`` says what windows read (a padded copy, or the nearest elements of the operand
itself, which change no maximum) and whether rows are reduced before columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

from ...target.machine_facts import Machine
from ...tir.expr import Expr, free_vars
from ...tir.stmt import Block, PrimFunc, stored_in, walk_stmt
from ...tir.types import u16
from ..errors import ScheduleError
from ..extents import meant
from ..knobs import choice, divisors
from ..schedule import Schedule
from ..structure import Axis, Form, Structure, structure
from ..trace import permuted
from .arranged import Arranged, kept, nests, rows_of, template
from .fold_parts import partly
from .fusing import expand_terms, loops_of, made_by, partial_results
from .lanes import FORMS, layer_of
from .template import Template

TAPS = 64  # terms of one expression
STEP = 32  # terms that a step of a loop takes in
BLOCKS = 16  # of rows


Steps = Callable[[Schedule], None]


def reduction(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of a reduction, of what fills its operand and of maps of its result."""
    fold, vector = fold_of(func), machine.vector_bytes
    found = {} if fold is None else {
        name: kept(func, ("by", name, vector, machine.issue),
                   partial(_arranged, func, steps, machine))
        for name, steps in _named(fold, vector)
    }  # fmt: skip
    ways = {name: way for name, way in found.items() if way is not None}
    if not ways:
        return None
    knobs = choice("by", tuple(ways)), *nests(rows_of(*(way.parts for way in ways.values())))
    return template("reduction", func, machine, knobs, lambda point: ways[str(point["by"])])


def fold_of(func: PrimFunc) -> Structure | None:
    """The one reduction of a kernel whose other blocks are maps, copies and fills."""
    found = [structure(s) for s in walk_stmt(func.body) if isinstance(s, Block)]
    folds = [s for s in found if s is not None and s.form is Form.REDUCTION]
    others = [s for s in found if s is None or s.form is not Form.REDUCTION]
    plain = all(s is not None and s.form in FORMS for s in others)
    if not plain or len(folds) != 1:
        return None
    return folds[0] if len(folds[0].reads) == 1 and folds[0].summed else None


def _arranged(func: PrimFunc, steps: Steps, machine: Machine) -> Arranged | None:
    """Maps and short loops that steps leave of a reduction, all of them in vectors."""
    sch = Schedule(func)
    try:
        steps(sch)
    except ScheduleError:
        return None
    layer = layer_of(sch.logical, machine, (*FORMS, Form.REDUCTION), nearest=True)
    whole = layer is not None and all(part.nest.filled for part in layer.values())
    return Arranged(sch, layer) if layer is not None and whole else None


def _named(fold: Structure, vector: int) -> Iterator[tuple[str, Steps]]:
    taps = prod(axis.extent for axis in fold.summed)
    windows = partial(_windows, fold=fold, vector=vector)
    if taps <= TAPS:
        yield "near", partial(windows, near=True, apart=False)
        yield "copy", partial(windows, near=False, apart=False)
    if fold.out.buffer.type.bits == 8:
        yield "near_apart", partial(windows, near=True, apart=True)
        yield "copy_apart", partial(windows, near=False, apart=True)
    summed = {axis.var for axis in fold.summed if axis.extent > 1}
    kept = {axis.var for axis in fold.spatial if axis.extent > 1}
    if any(free_vars(e) & summed and free_vars(e) & kept for e in fold.reads[0].index):
        return  # rows of windows
    rows = max(fold.summed, key=fold.reads[0].step)
    for count in divisors(rows.extent):
        if count <= BLOCKS:
            yield (
                f"blocks_{count}",
                partial(_sums, fold=fold, rows=rows, blocks=count, vector=vector),
            )


# Windows ------------------------------------------------------------------------------------------


def _windows(sch: Schedule, fold: Structure, near: bool, apart: bool, vector: int) -> None:
    """All terms of a window as one expression, or those of rows and those of columns."""
    copies = [ref for ref in sch.blocks() if fold.reads[0].buffer in stored_in(sch.get_block(ref))]
    wide = _channels(sch, fold, vector) * fold.reads[0].buffer.type.bytes if near else vector
    if wide % vector and wide not in (vector // 4, vector // 2):
        raise ScheduleError("reduction: pixels at edges must be pieces that change places")
    if near:
        _shorter(sch, fold)
        sch.guard(fold.block, fold.reads[0].buffer.name)
        found = structure(sch.get_block(fold.block), nearest=True)
        if found is None or partly(found):
            raise ScheduleError("reduction: the border must change nothing")
    elif len(copies) == 2:
        sch.border(copies[0])
    order = [axis.var for axis in _by_step(fold)]
    if apart:
        deep = _channels(sch, fold, vector)
        first = sch.separate(fold.block, loops_of(sch, fold.block)[order[-1]])
        _whole(sch, first.name, deep, vector)
        sch.expand(first, loops_of(sch, first.name)[order[-1]])
        order = order[:-1]
    _expand(sch, fold.block, order)


def _whole(sch: Schedule, block: str, deep: int, vector: int) -> None:
    """Rows of whole registers, where the operand has room for them."""
    found = structure(sch.get_block(block), nearest=True)
    column = next((a for a in found.spatial if found.out.step(a) == deep), None) if found else None
    if column is None or vector % deep or column.extent * deep % vector == 0:
        return
    extent = -(-column.extent * deep // vector) * vector // deep
    try:
        sch.resize(loops_of(sch, block)[column.var], extent)
    except ScheduleError:
        return


def _by_step(fold: Structure) -> list[Axis]:
    """The summed axes, the nearest elements of the operand first."""
    return sorted(fold.summed, key=fold.reads[0].step)


def _expand(sch: Schedule, block: str, axes: list[Expr]) -> None:
    """A reduction as a map, which its reader takes in."""
    loops = loops_of(sch, block)
    sch.expand(block, *(loops[axis] for axis in axes))
    if all(made_by(sch, block) != param.name for param in sch.logical.params):
        sch.compute_inline(block)


def _shorter(sch: Schedule, fold: Structure) -> None:
    """Leaves out windows that mean nothing, in what follows from them first."""
    sizes = meant(sch.logical, fold.out.buffer)
    for ref in reversed(sch.blocks()):
        found = structure(sch.get_block(ref))
        if found is None or all(use.buffer != fold.out.buffer for use in (found.out, *found.reads)):
            continue
        if found.block != fold.block:
            sizes = meant(sch.logical, found.out.buffer)
        for dim, index in enumerate(found.out.index):
            axis = next((axis for axis in found.spatial if axis.var is index), None)
            if axis is not None and axis.extent > sizes[dim]:
                sch.resize(loops_of(sch, found.block)[axis.var], sizes[dim])


# Long sums ----------------------------------------------------------------------------------------


def _sums(sch: Schedule, fold: Structure, rows: Axis, blocks: int, vector: int) -> None:
    """Partial sums by blocks of rows and by the pixels of a vector, which the map then joins."""
    several = _pixels(sch, fold, vector)
    joins = [fold.block] if several is None else [several, fold.block]
    _steps(sch, _blocks(sch, joins[0], rows, blocks), vector)
    for name in joins:
        _expand(sch, name, [it.axis for it in sch.get_block(name).iters if it.reduce])


def _pixels(sch: Schedule, fold: Structure, vector: int) -> str | None:
    """The sums of pixels that lie in one place of a vector, where channels fill none; gives their
    block."""
    use, size = fold.reads[0], fold.reads[0].buffer.type.bytes
    deep = _channels(sch, fold, vector)
    if deep * size % vector == 0:
        return None
    beside = next((a for a in fold.summed if use.step(a) == deep), None)
    if beside is None or vector // size % deep or deep * size >= vector:
        raise ScheduleError("reduction: pixels must lie side by side")
    several = vector // size // deep
    loop = loops_of(sch, fold.block)[beside.var]
    if beside.extent % several:
        loop = sch.resize(loop, -(-beside.extent // several) * several)
    _, loop = sch.split(loop, (None, several))
    block, sums = partial_results(sch, fold.block, loop)
    sch.trim(sums)
    last = len(sch.get_buffer(sums).shape) - 1
    sch.transform_layout(sums, permuted([*range(1, last), 0, last]))
    return block


def _channels(sch: Schedule, fold: Structure, vector: int) -> int:
    """The elements that lie side by side in the operand, stored ones that mean nothing too, which
    the reduction takes in from here on."""
    use = fold.reads[0]
    near = [a for a in fold.spatial if use.step(a) == 1 == fold.out.step(a) and a.extent > 1]
    if not near:
        raise ScheduleError("reduction: channels must lie side by side")
    others = [use.step(a) for a in fold.axes if a is not near[0] and use.step(a)]
    deep = min([*others, -(-near[0].extent // vector) * vector])
    if deep > near[0].extent:
        sch.resize(loops_of(sch, fold.block)[near[0].var], deep)
    return deep


def _blocks(sch: Schedule, block: str, rows: Axis, count: int) -> str:
    """The sums of each block of rows; gives their block."""
    loop, _ = sch.split(loops_of(sch, block)[rows.var], (count, None))
    return partial_results(sch, block, loop)[0]


def _steps(sch: Schedule, block: str, vector: int) -> None:
    """Several terms a step of what is left to loop over, in u16 where that holds the sums."""
    expand_terms(sch, block, STEP)
    sums = sch.get_buffer(made_by(sch, block))
    if sums.shape[-1] * u16.bytes >= vector:
        try:
            sch.retype(sums.name, u16)
        except ScheduleError:
            return
