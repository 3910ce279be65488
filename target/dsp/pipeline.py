"""The dsp's pipeline: the list of passes from a scheduled kernel to its selected program.

PrimFunc -> lower_blocks -> simplify_func -> flatten_buffers -> vectorize_loops
             -> unroll_loops -> promote_sums -> Program
"""

from __future__ import annotations

from collections.abc import Callable

from ...tir.passes.blocks import lower_blocks
from ...tir.passes.checked import kept
from ...tir.passes.flatten import flatten_buffers
from ...tir.passes.promote import promote_sums
from ...tir.passes.simplify import simplify_func
from ...tir.passes.unroll import unroll_loops
from ...tir.passes.vectorize import vectorize_loops
from ...tir.stmt import Block, PrimFunc, walk_stmt
from ..build import Builder
from ..program import Program
from ..record import Record
from .machine import Machine
from .races import require_waits
from .rows import roles, selector

PASSES: tuple[Callable[[PrimFunc], PrimFunc], ...] = (
    lower_blocks,
    simplify_func,
    flatten_buffers,
    vectorize_loops,
    unroll_loops,
    promote_sums,
)

_OF_BLOCKS = (lower_blocks, simplify_func)  # done where operands were placed before

Dump = Callable[[int, str, PrimFunc], None]


def lower(func: PrimFunc, dump: Dump | None = None) -> PrimFunc:
    """``func`` after all passes; ``dump(number, pass name, kernel)`` sees each step."""
    kept(func, "schedule")
    blocks = any(isinstance(stmt, Block) for stmt in walk_stmt(func.body))
    for number, run in enumerate(PASSES, 1):
        if run in _OF_BLOCKS and not blocks:
            continue
        func = run(func)
        if dump is not None:
            dump(number, run.__name__, func)
    return func


def build(
    func: PrimFunc,
    machine: Machine,
    dump: Dump | None = None,
    *,
    record: Record | None = None,
    forbidden: frozenset[str] = frozenset(),
) -> Program:
    """The selected program of a scheduled kernel; SelectError where the machine has no way.

    ``record`` takes what selection did and why; ``forbidden`` rows are not matched."""
    select = selector(machine.version, forbidden)
    if record is not None:
        select = select.recording(record)
    program = Builder(select, roles(machine.version)).build(lower(func, dump))
    require_waits(program)
    return program
