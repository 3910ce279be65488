"""Schedules: a function, handles to its blocks and loops, and primitives that reshape it.

    sch = Schedule(func)
    h, w, o, k = sch.loops("conv")
    o_0, o_1 = sch.split(o, (None, 32))
    sch.reorder(h, o_0, w, k, o_1)
    sch.vectorize(o_1)
    sch.func                                # the function now
    print(sch.trace)                        # the steps as Python

A primitive checks that it cannot change what the function computes, changes the (immutable)
function, and records itself. A refused primitive raises ScheduleError and leaves no mark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from ..tir.stmt import Block, Buffer, For, PrimFunc
from . import border as borders
from . import (
    cache,
    expand,
    extents,
    layout,
    offset,
    planes,
    reduction_primitives,
    resize,
    separate,
    stages,
    taps,
    transfer,
    zeros,
)
from . import loops as nesting
from .errors import asked
from .normalize import prepare
from .state import BlockName, BlockRef, Loop, LoopRef, ScheduleState
from .trace import Trace, TraceStep, step
from .transfer import finished
from .tree import blocks_below, loop_at, loops_of

P = ParamSpec("P")
R = TypeVar("R")


def _primitive(
    run: Callable[Concatenate[ScheduleState, P], R],
) -> Callable[Concatenate[Schedule, P], R]:
    """A method that runs a primitive and records it; an error leaves the schedule as it was."""

    @wraps(run)
    def method(self: Schedule, /, *args: P.args, **options: P.kwargs) -> R:
        state, name = self._state, run.__name__
        before, names = state.func, set(state.names)
        try:
            with asked(name):
                result = run(state, *args, **options)
                if self._moved or name == "transfer":
                    self._compact = state.func, finished(state)
                    self._moved = True
        except BaseException:
            state.func, state.names = before, names
            raise
        state.past.append((name, before.body))
        self._steps.append(step(run, args, options))
        return result

    return method


class Schedule:
    """A PrimFunc under transformation; ``func`` is the present one, ``trace`` how it came about."""

    def __init__(self, func: PrimFunc) -> None:
        with asked("Schedule"):
            self._state = prepare(func)
        self._steps: list[TraceStep] = []
        self._moved = False  # transfers must stay possible after each primitive
        self._compact: tuple[PrimFunc, PrimFunc] | None = None

    def copy(self) -> Schedule:
        """The function now, with its steps; what follows changes one of the two alone."""
        twin = Schedule.__new__(Schedule)
        twin._state, twin._steps = self._state.copy(), list(self._steps)
        twin._moved, twin._compact = self._moved, self._compact
        return twin

    @property
    def func(self) -> PrimFunc:
        """The function now, each local buffer at its place and in its size."""
        logical = self._state.func
        if self._compact is None or self._compact[0] is not logical:
            self._compact = logical, finished(self._state)
        return self._compact[1]

    @property
    def logical(self) -> PrimFunc:
        """The function now, local buffers in their first shapes."""
        return self._state.func

    @property
    def trace(self) -> Trace:
        return Trace(tuple(self._steps))

    # Handles ----------------------------------------------------------------------------------

    def blocks(self) -> list[BlockRef]:
        """All blocks in program order."""
        return [BlockRef(block.name) for block in blocks_below(self._state.body)]

    def loops(self, block: BlockName) -> list[LoopRef]:
        """The loops around a block, outermost first."""
        with asked("loops"):
            _, path = self._state.block(block)
        return [LoopRef(str(loop.axis.attr)) for loop in loops_of(path)]

    def get_loop(self, loop: Loop) -> For:
        """The statement of a loop."""
        with asked("get_loop"):
            return loop_at(self._state.loop(loop))

    def get_block(self, block: BlockName) -> Block:
        """The statement of a block."""
        with asked("get_block"):
            return self._state.block(block)[0]

    def get_buffer(self, name: str) -> Buffer:
        """A parameter or local buffer."""
        with asked("get_buffer"):
            return self._state.buffer(name)

    # Loops ------------------------------------------------------------------------------------

    split = _primitive(nesting.split)
    fuse = _primitive(nesting.fuse)
    merge = _primitive(nesting.merge)
    reorder = _primitive(nesting.reorder)
    resize = _primitive(resize.resize)
    leave_out = _primitive(zeros.leave_out)
    divide = _primitive(extents.divide)
    join = _primitive(extents.join)
    unroll = _primitive(nesting.unroll)
    vectorize = _primitive(nesting.vectorize)
    parallel = _primitive(nesting.parallel)

    # Blocks -----------------------------------------------------------------------------------

    compute_at = _primitive(stages.compute_at)
    compute_inline = _primitive(stages.compute_inline)
    border = _primitive(borders.border)
    decompose_reduction = _primitive(reduction_primitives.decompose_reduction)
    rfactor = _primitive(reduction_primitives.rfactor)
    separate = _primitive(separate.separate)
    expand = _primitive(expand.expand)
    guard = _primitive(borders.guard)
    transfer = _primitive(transfer.transfer)

    # Buffers ----------------------------------------------------------------------------------

    cache_read = _primitive(cache.cache_read)
    cache_write = _primitive(cache.cache_write)
    stage = _primitive(cache.stage)
    set_scope = _primitive(layout.set_scope)
    transform_layout = _primitive(layout.transform_layout)
    repeat = _primitive(layout.repeat)
    trim = _primitive(extents.trim)
    offset_operand = _primitive(offset.offset_operand)
    split_bytes = _primitive(planes.split_bytes)
    retype = _primitive(planes.retype)
    word_taps = _primitive(taps.word_taps)
