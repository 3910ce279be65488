"""Loops in the order of runs, neighbouring axes that move alike as one loop; shared by threads."""

from __future__ import annotations

from collections.abc import Sequence

from ...target.dsp.machine import Machine
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Run


def joined(sch: Schedule, block: str, runs: Sequence[Run]) -> list[LoopRef]:
    """The block's loops in this order, those of each run fused, below loops of one step."""
    names = {it.axis: LoopRef(str(it.binding.attr)) for it in sch.get_block(block).iters}
    wanted = [[names[axis] for axis in run.axes] for run in runs]
    flat = [loop for part in wanted for loop in part]
    single = [loop for loop in sch.loops(block) if loop not in flat]
    for loop in single:
        sch.unroll(loop)
    sch.reorder(*single, *flat)
    return [sch.fuse(*part) for part in wanted]


def even(extent: int, machine: Machine) -> float:
    """The threads' mean work over the longest one's, where equal shares are dealt out."""
    return extent / (-(-extent // machine.threads) * machine.threads)


def share(sch: Schedule, loops: Sequence[LoopRef], machine: Machine) -> None:
    """Puts the loop that threads share best before the others, and on all threads."""
    best = max(loops, key=lambda loop: even(sch.get_loop(loop).extent, machine))
    if best != loops[0]:
        sch.reorder(best, *(loop for loop in loops if loop != best))
    sch.parallel(best)
