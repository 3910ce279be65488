"""Loops in the order of runs, neighbouring axes that move alike as one loop; shared by threads."""

from __future__ import annotations

from collections.abc import Sequence

from ...target.dsp.machine import Machine
from ..index import axes_in
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Run


def joined(sch: Schedule, block: str, runs: Sequence[Run]) -> list[LoopRef]:
    """The block's loops in this order, those of each run fused, below loops of one step, with the
    loops that it reduces over innermost."""
    names = {it.axis: LoopRef(str(it.binding.attr)) for it in sch.get_block(block).iters}
    folds = folding(sch, block)
    wanted = [[names[axis] for axis in run.axes] for run in runs]
    flat = [loop for part in wanted for loop in part]
    single = [loop for loop in sch.loops(block) if loop not in (*flat, *folds)]
    sch.unroll(*single)
    sch.reorder(*single, *flat, *folds)
    return [sch.fuse(*part) for part in wanted]


def stepped(
    sch: Schedule, block: str, loop: LoopRef, size: int, tail: str = "overlap"
) -> tuple[LoopRef, list[str]]:
    """Steps of ``size``, of which the last, if it is not whole, is a block of its own (or begins
    early enough to be whole): the loop over them, and the blocks below, that one included."""
    known = {ref.name for ref in sch.blocks()}
    steps, *_ = sch.split(loop, (None, size), tail=tail)
    return steps, [block, *(ref.name for ref in sch.blocks() if ref.name not in known)]


def run_on(sch: Schedule, block: str, extents: Sequence[int]) -> None:
    """Lets a block's loops, one an iter, run as far as stated."""
    for it, extent in zip(sch.get_block(block).iters, extents, strict=True):
        if extent > it.extent:
            sch.resize(str(it.binding.attr), extent)


def folding(sch: Schedule, block: str, least: int = 2) -> list[LoopRef]:
    """The loops of at least so many steps that a block reduces over."""
    axes = {axis for it in sch.get_block(block).iters if it.reduce for axis in axes_in(it.binding)}
    loops = [(loop, sch.get_loop(loop)) for loop in sch.loops(block)]
    return [loop for loop, node in loops if node.axis in axes and node.extent >= least]


def even(extent: int, machine: Machine) -> float:
    """The threads' mean work over the longest one's, where equal shares are dealt out."""
    return extent / (-(-extent // machine.threads) * machine.threads)


def share(sch: Schedule, loops: Sequence[LoopRef], machine: Machine) -> None:
    """Puts the loop that threads share best before the others, and on all threads."""
    best = max(loops, key=lambda loop: even(sch.get_loop(loop).extent, machine))
    if best != loops[0]:
        sch.reorder(best, *(loop for loop in loops if loop != best))
    sch.parallel(best)
