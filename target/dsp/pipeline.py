"""The dsp's pipeline: the list of passes from a scheduled kernel to its selected program.

PrimFunc -> lower_blocks -> simplify_func -> flatten_buffers -> vectorize_loops
             -> unroll_loops -> promote_sums -> Program

Passes change each statement of a kernel by itself, so those that its points have in common (copies,
sums, all phases but one) are lowered once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import unwrap

from ...tir.passes.blocks import lower_blocks
from ...tir.passes.checked import kept, verifying
from ...tir.passes.flatten import flatten_buffers
from ...tir.passes.promote import promote_sums
from ...tir.passes.simplify import simplify_func
from ...tir.passes.unroll import unroll_loops
from ...tir.passes.vectorize import vectorize_loops
from ...tir.recent import Recent
from ...tir.stmt import Alloc, Block, Buffer, PrimFunc, Stmt, seq, top, walk_stmt
from ..build import Builder
from ..program import Program
from ..record import Record
from .machine import Machine
from .races import require_waits
from .rows import roles, selector

Pass = Callable[[PrimFunc], PrimFunc]
PASSES: tuple[Pass, ...] = (
    lower_blocks,
    simplify_func,
    flatten_buffers,
    vectorize_loops,
    unroll_loops,
    promote_sums,
)

_OF_BLOCKS = (lower_blocks, simplify_func)  # done where operands were placed before

Dump = Callable[[int, str, PrimFunc], None]
_recent = Recent[Stmt](1024)


def lower(func: PrimFunc, dump: Dump | None = None) -> PrimFunc:
    """``func`` after all passes; ``dump(number, pass name, kernel)`` sees each step."""
    kept(func, "schedule")
    blocks = any(isinstance(stmt, Block) for stmt in walk_stmt(func.body))
    steps = {n: run for n, run in enumerate(PASSES, 1) if blocks or run not in _OF_BLOCKS}
    if dump is None and not verifying():
        return _by_parts(func, tuple(map(unwrap, steps.values())))
    for number, run in steps.items():
        func = run(func)
        if dump is not None:
            dump(number, run.__name__, func)
    return func


def _by_parts(func: PrimFunc, steps: tuple[Pass, ...]) -> PrimFunc:
    """``func`` after these passes, its statements one by one."""
    buffers, parts = top(func.body)
    frame = _through(func.with_body(_allocated(buffers, seq())), steps)
    done = [_recent((part, steps), partial(_alone, part, steps)) for part in parts]
    return frame.with_body(_allocated(top(frame.body)[0], seq(*done)))


def _alone(part: Stmt, steps: tuple[Pass, ...]) -> Stmt:
    return _through(PrimFunc("part", (), part), steps).body


def _through(func: PrimFunc, steps: tuple[Pass, ...]) -> PrimFunc:
    for run in steps:
        func = run(func)
    return func


def _allocated(buffers: list[Buffer], body: Stmt) -> Stmt:
    for buffer in reversed(buffers):
        body = Alloc(buffer, body)
    return body


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
