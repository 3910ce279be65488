"""Loops in the order of runs, neighbouring axes that move alike as one loop; shared by threads."""

from __future__ import annotations

from collections.abc import Sequence

from ...target.machine_facts import Machine
from ...tir.expr import Expr, free_vars, walk
from ...tir.stmt import Store, stored_in
from ..errors import ScheduleError
from ..knobs import Point, divisors
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import AxisRun, structure
from ..trace import permuted
from ..tree import blocks_below

ALONE = -1  # the loop that threads share where one runs all


def joined(sch: Schedule, block: str, runs: Sequence[AxisRun]) -> list[LoopRef]:
    """The block's loops in this order, those of each run fused, below loops of one step, with the
    loops that it reduces over innermost."""
    names = loops_of(sch, block)
    folds = folding(sch, block)
    wanted = [[names[axis] for axis in run.axes] for run in runs]
    flat = [loop for part in wanted for loop in part]
    single = [loop for loop in sch.loops(block) if loop not in (*flat, *folds)]
    sch.unroll(*single)
    sch.reorder(*single, *flat, *folds)
    return [sch.fuse(*part) for part in wanted]


def made_by(sch: Schedule, block: str) -> str:
    """The buffer that a block stores."""
    (made,) = stored_in(sch.get_block(block))
    return made.name


def loops_of(sch: Schedule, block: str) -> dict[Expr, LoopRef]:
    """The loops of a block's iters, each of which has one."""
    return {it.axis: LoopRef(str(it.binding.attr)) for it in sch.get_block(block).iters}


def partial_results(
    sch: Schedule, block: str, loop: LoopRef, near: bool = False
) -> tuple[str, str]:
    """Lets a loop of a fold make partial results, in TCM, those of an element side by side where
    ``near``: their block and buffer."""
    part = sch.rfactor(block, loop).name
    made = made_by(sch, part)
    sch.set_scope(made, "tcm")
    if near:
        rank = len(sch.get_buffer(made).shape)
        sch.transform_layout(made, permuted([*range(1, rank), 0]))
    return part, made


def expand_terms(sch: Schedule, block: str, most: int) -> None:
    """Several terms of a fold a step, at most so many, those of the nearest elements first."""
    found, loops = structure(sch.get_block(block)), loops_of(sch, block)
    if found is None:
        raise ScheduleError(f"expand: the accesses of {block} must be affine")
    left, taken = most, list[LoopRef]()
    for axis in sorted(found.summed, key=lambda a: min(use.step(a) for use in found.reads)):
        step, inner = divisors(axis.extent, left)[-1], loops[axis.var]
        if 1 < step < axis.extent:
            _, inner = sch.split(inner, (None, step))
        if step > 1 or axis.extent == 1:
            taken.insert(0, inner)
        left //= step
        if step < axis.extent:
            break
    if taken:
        sch.expand(block, *taken)


def stepped(
    sch: Schedule, block: str, loop: LoopRef, size: int, tail: str = "overlap"
) -> tuple[LoopRef, list[str]]:
    """Steps of ``size``, of which the last, if it is not whole, is a block of its own (or begins
    early enough to be whole): the loop over them, and the blocks below, that one included."""
    known = {ref.name for ref in sch.blocks()}
    steps, *_ = sch.split(loop, (None, size), tail=tail)
    return steps, [block, *(ref.name for ref in sch.blocks() if ref.name not in known)]


def zoned(sch: Schedule, block: str, loop: LoopRef, runs: Sequence[int]) -> list[str]:
    """Runs of a loop's steps as loops one after another: the name of the block in each."""
    below = [b.name for b in blocks_below(sch.get_loop(loop))]
    names, at = [block], below.index(block)
    for steps in runs[:-1]:
        known = {ref.name for ref in sch.blocks()}
        _, loop = sch.split(loop, (steps,), tail="peel")
        names.append([ref.name for ref in sch.blocks() if ref.name not in known][at])
    return names


def run_on(sch: Schedule, block: str, extents: Sequence[int]) -> None:
    """Lets a block's loops, one an iter, run as far as stated."""
    for it, extent in zip(sch.get_block(block).iters, extents, strict=True):
        if extent > it.extent:
            sch.resize(str(it.binding.attr), extent)


def folding(sch: Schedule, block: str, least: int = 2) -> list[LoopRef]:
    """The loops of at least so many steps that a block reduces over."""
    axes = {
        axis for it in sch.get_block(block).iters if it.reduce for axis in free_vars(it.binding)
    }
    loops = [(loop, sch.get_loop(loop)) for loop in sch.loops(block)]
    return [loop for loop, node in loops if node.axis in axes and node.extent >= least]


def mask_last(sch: Schedule, block: str, folds: Sequence[LoopRef]) -> None:
    """Lets the last step alone of the innermost of some loops leave out what changes nothing."""
    store = sch.get_block(block).body
    masked = isinstance(store, Store) and any(e.op == "select" for e in walk(store.value))
    if folds and masked and sch.get_loop(folds[-1]).extent > 1:
        sch.split(folds[-1], (sch.get_loop(folds[-1]).extent - 1,), tail="peel")


def even(extent: int, machine: Machine) -> float:
    """The threads' mean work over the longest one's, where equal shares are dealt out."""
    return extent / (-(-extent // machine.threads) * machine.threads)


def share(sch: Schedule, loops: Sequence[LoopRef], machine: Machine, point: Point) -> None:
    """Puts the loop that threads share best before the others, and on all threads, unless one runs
    all at this point."""
    if point["loop"] != ALONE:
        best = evenest([sch.get_loop(loop).extent for loop in loops], machine)
        if best:
            sch.reorder(loops[best], *(loop for loop in loops if loop != loops[best]))
        sch.parallel(loops[best])


def evenest(extents: Sequence[int], machine: Machine) -> int:
    """The first of the loops of these extents that threads share best."""
    return max(range(len(extents)), key=lambda at: even(extents[at], machine))
