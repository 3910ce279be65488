"""The pipeline: the list of passes from a scheduled kernel to its selected program.

PrimFunc -> lower_blocks -> simplify_func -> flatten_buffers -> vectorize_loops
             -> unroll_loops -> promote_sums -> Program

Passes change each statement of a kernel by itself, so those that its points have in common (copies,
sums, all phases but one) are lowered once, wherever in their buffers they work (``target/alike``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import unwrap

from ..tir.passes.checked import kept, verifying
from ..tir.passes.flatten import flatten_buffers
from ..tir.passes.lower_blocks import lower_blocks
from ..tir.passes.promote import promote_sums
from ..tir.passes.simplify import simplify_func
from ..tir.passes.unroll import unroll_loops
from ..tir.passes.vectorize import vectorize_loops
from ..tir.recent import Recent
from ..tir.stmt import Block, PrimFunc, Stmt, seq, top, walk_stmt
from .alike import Shifts, settled
from .program import Program
from .program_builder import PhaseGroup, ProgramBuilder, apart
from .races import require_waits
from .roles import Roles
from .select import Selector
from .selection_record import SelectionRecord

Pass = Callable[..., PrimFunc]
PASSES: tuple[Pass, ...] = (
    lower_blocks,
    simplify_func,
    flatten_buffers,
    vectorize_loops,
    unroll_loops,
    promote_sums,
)

_OF_BLOCKS = (lower_blocks, simplify_func)  # done where operands were placed before
_ON_FLAT = tuple(map(unwrap, PASSES[PASSES.index(flatten_buffers) + 1 :]))

Dump = Callable[[int, str, PrimFunc], None]
_recent = Recent[tuple[PhaseGroup, Shifts]](1024)
_lowered = Recent[PhaseGroup](1024)


def lower(func: PrimFunc, vector: int, dump: Dump | None = None) -> PrimFunc:
    """``func`` after all passes, for vectors of so many bytes; ``dump(number, pass name, kernel)``
    sees each step."""
    kept(func, "schedule")
    blocks = _has_blocks(func)
    for number, run in enumerate(PASSES, 1):
        if blocks or run not in _OF_BLOCKS:
            func = _run(run, func, vector)
            if dump is not None:
                dump(number, run.__name__, func)
    return func


def _run(step: Pass, func: PrimFunc, vector: int) -> PrimFunc:
    return step(func, vector) if unwrap(step) is unwrap(vectorize_loops) else step(func)


def _has_blocks(func: PrimFunc) -> bool:
    return any(isinstance(stmt, Block) for stmt in walk_stmt(func.body))


def _by_phases(func: PrimFunc, grain: int, vector: int) -> list[tuple[PhaseGroup, Shifts]]:
    """``func`` lowered, its statements phase by phase."""
    if _has_blocks(func):
        func = simplify_func(lower_blocks(func))
    groups = apart(top(func.body)[1])
    keys = ((stmts, grain, vector) for stmts in groups)
    return [_recent(key, partial(_placed, *key)) for key in keys]


def _placed(stmts: tuple[Stmt, ...], grain: int, vector: int) -> tuple[PhaseGroup, Shifts]:
    body, shifts = settled(seq(*stmts), grain)
    return _lowered((body, vector), partial(_group, body, vector)), shifts


def _group(body: Stmt, vector: int) -> PhaseGroup:
    func = PrimFunc("group", (), body)
    for run in _ON_FLAT:
        func = _run(run, func, vector)
    return PhaseGroup.of(func.body)


def build(
    func: PrimFunc,
    select: Selector,
    roles: Roles,
    grain: int,
    record: SelectionRecord | None = None,
) -> Program:
    """The selected program of a scheduled kernel by a target's rows; SelectError where they have no
    way. ``grain`` bytes further on in its buffers code is the same; ``record`` takes what selection
    did and why."""
    if record is not None:
        select = select.recording(record)
    if verifying():
        lower(func, roles.bytes)
    program = ProgramBuilder(select, roles, grain).build(func, _by_phases(func, grain, roles.bytes))
    require_waits(program)
    return program
