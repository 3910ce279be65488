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

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..tir.stmt import Block, Buffer, For, PrimFunc
from ..tir.types import Type, parse_type
from . import border as borders
from . import (
    cache,
    expand,
    extents,
    inline,
    layout,
    loops,
    nearest,
    offset,
    planes,
    reduction,
    repeat,
    resize,
    separate,
    stages,
    taps,
)
from . import transfer as transfers
from .finish import finished
from .prepare import prepare
from .state import BlockName, BlockRef, Loop, LoopRef, State
from .trace import Step, Trace, step
from .tree import blocks_below, loop_at, loops_of

P = ParamSpec("P")
R = TypeVar("R")


class Schedule:
    """A PrimFunc under transformation; ``func`` is the present one, ``trace`` how it came about."""

    def __init__(self, func: PrimFunc) -> None:
        self._state = prepare(func)
        self._steps: list[Step] = []
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

    def _apply(
        self, run: Callable[Concatenate[State, P], R], *args: P.args, **options: P.kwargs
    ) -> R:
        """Runs a primitive and records it; an error leaves the schedule as it was."""
        state, name = self._state, run.__name__
        before, names = state.func, set(state.names)
        try:
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

    # Handles ----------------------------------------------------------------------------------

    def blocks(self) -> list[BlockRef]:
        """All blocks in program order."""
        return [BlockRef(block.name) for block in blocks_below(self._state.body)]

    def loops(self, block: BlockName) -> list[LoopRef]:
        """The loops around a block, outermost first."""
        _, path = self._state.block("loops", block)
        return [LoopRef(str(loop.axis.attr)) for loop in loops_of(path)]

    def get_loop(self, loop: Loop) -> For:
        """The statement of a loop."""
        return loop_at(self._state.loop("get_loop", loop))

    def get_block(self, block: BlockName) -> Block:
        """The statement of a block."""
        return self._state.block("get_block", block)[0]

    def get_buffer(self, name: str) -> Buffer:
        """A parameter or local buffer."""
        return self._state.buffer("get_buffer", name)

    # Loops ------------------------------------------------------------------------------------

    def split(
        self, loop: Loop, factors: Sequence[int | None], tail: str = "exact"
    ) -> list[LoopRef]:
        """Nested loops of these extents, one of which may be None: whatever is left.

        ``tail``: ``exact`` wants factors that divide; ``guard`` guards the last step; ``peel``
        returns a further loop for the rest, if there is any, whose blocks are named ``*_tail``;
        ``overlap`` returns one for a whole last step, of which part was computed before.
        """
        names = self._apply(loops.split, loop, tuple(factors), tail=tail)
        return [LoopRef(name) for name in names]

    def fuse(self, *loop: Loop) -> LoopRef:
        """One loop for several directly nested ones, outermost first."""
        return LoopRef(self._apply(loops.fuse, *loop))

    def reorder(self, *loop: Loop) -> None:
        """Puts nested loops into this order, in the places that they take now."""
        self._apply(loops.reorder, *loop)

    def resize(self, loop: Loop, extent: int, beyond: str = "any") -> LoopRef:
        """Lets a loop run longer, for elements that nobody reads or that mean nothing (``beyond``:
        any, those of a local buffer zeros, or made of the last ones of local operands), or for what
        changes no sum, or less long, where it leaves out pads of a result; gives the new loop."""
        return LoopRef(self._apply(resize.resize, loop, extent, beyond=beyond))

    def divide(self, loop: Loop, size: int) -> list[LoopRef]:
        """Makes two loops of one and two iters of its iter: steps of ``size``, and within them."""
        return [LoopRef(name) for name in self._apply(extents.divide, loop, size)]

    def join(self, *loop: Loop) -> LoopRef:
        """Makes one loop and one iter of those of several of a block's loops, outermost first."""
        return LoopRef(self._apply(extents.join, *loop))

    def unroll(self, *loop: Loop) -> None:
        """The body once for each value of each loop."""
        for one in loop:
            self._apply(loops.unroll, one)

    def vectorize(self, *loop: Loop) -> None:
        """Loops become lanes, row-major in the order of nesting; innermost last."""
        self._apply(loops.vectorize, *loop)

    def parallel(self, loop: Loop) -> None:
        """Iterations are spread over hardware threads."""
        self._apply(loops.parallel, loop)

    # Blocks -----------------------------------------------------------------------------------

    def compute_at(self, block: BlockName, loop: Loop) -> None:
        """Moves a producer below a loop of its consumers, for the part that is needed there."""
        self._apply(stages.compute_at, block, loop)

    def compute_inline(self, block: BlockName) -> None:
        """Puts a block's value into its consumers; block and buffer are gone."""
        self._apply(inline.compute_inline, block)

    def border(self, block: BlockName, late: bool = False) -> list[BlockRef]:
        """Cuts a fill down to the border around what a copy overwrites, as far as it is read; gives
        its parts, of which those behind what is copied come after the copy if ``late``."""
        return [BlockRef(name) for name in self._apply(borders.border, block, late=late)]

    def decompose_reduction(self, block: BlockName, loop: Loop) -> BlockRef:
        """Makes the init of a reduction a block of its own before ``loop``: ``*_init``."""
        return BlockRef(self._apply(reduction.decompose_reduction, block, loop))

    def rfactor(self, block: BlockName, loop: Loop) -> BlockRef:
        """Partial results for each value of a reduction loop (block ``*_rf``), joined after."""
        return BlockRef(self._apply(reduction.rfactor, block, loop))

    def separate(self, block: BlockName, *loop: Loop) -> BlockRef:
        """A reduction over some of its loops first, for all elements that the rest of it reads;
        gives the block that does."""
        return BlockRef(self._apply(separate.separate, block, *loop))

    def expand(self, block: BlockName, *loop: Loop) -> None:
        """Writes the steps of reduction loops, outermost first, as terms of one expression; where
        no other loop reduces, the block becomes a map."""
        self._apply(expand.expand, block, *loop)

    # Buffers ----------------------------------------------------------------------------------

    def cache_read(
        self, block: BlockName, buffer: str, scope: str, also: Sequence[BlockName] = ()
    ) -> BlockRef:
        """The block reads a local copy of a buffer, and so do later blocks of ``also``; gives the
        block that copies."""
        return BlockRef(self._apply(cache.cache_read, block, buffer, scope, also=also))

    def nearest(self, block: BlockName, buffer: str) -> None:
        """A reduction by min or max reads what a padded copy was made of, at the nearest element
        where it lies outside; the copy goes with its last reader."""
        self._apply(nearest.nearest, block, buffer)

    def cache_write(self, block: BlockName, buffer: str, scope: str) -> BlockRef:
        """The block writes a local buffer, copied afterwards; gives the block that copies."""
        return BlockRef(self._apply(cache.cache_write, block, buffer, scope))

    def stage(self, block: BlockName, scope: str) -> BlockRef:
        """A map's values are computed into a local buffer over its iters first; gives the block
        that does, the old one copies."""
        return BlockRef(self._apply(cache.stage, block, scope))

    def set_scope(self, buffer: str, scope: str) -> None:
        """Puts a local buffer into ``ddr``, ``tcm`` or ``reg``."""
        self._apply(layout.set_scope, buffer, scope)

    def transform_layout(self, buffer: str, index_map: Callable[..., Any]) -> None:
        """Stores element (i, j, ...) of a local buffer or constant at ``index_map(i, j, ...)``."""
        self._apply(layout.transform_layout, buffer, index_map)

    def repeat(self, block: BlockName, buffer: str, loop: Loop) -> None:
        """Stores a local buffer or constant, which the block alone reads, once for each step of a
        loop."""
        self._apply(repeat.repeat, block, buffer, loop)

    def trim(self, buffer: str) -> None:
        """Cuts a local buffer or constant, and what is written to it, down to what is read."""
        self._apply(extents.trim, buffer)

    def offset_operand(self, block: BlockName, buffer: str) -> list[BlockRef]:
        """Stores the i8 constant of a dot product as u8 (plus 128); returns the summing blocks:
        ``*_csum`` (channels), ``*_vsum`` and ``*_wsum`` (windows), where each is needed."""
        names = self._apply(offset.offset_operand, block, buffer)
        return [BlockRef(name) for name in names]

    def split_bytes(self, buffer: str) -> list[BlockRef]:
        """Stores an unsigned buffer, local or constant, as planes of bytes (``*_0`` and so on);
        gives the blocks that write them, one a plane."""
        return [BlockRef(name) for name in self._apply(planes.split_bytes, buffer)]

    def retype(self, buffer: str, kind: Type | str) -> None:
        """Stores a local buffer of integers in another type that holds all its values."""
        other = kind if isinstance(kind, Type) else parse_type(kind)
        self._apply(planes.retype, buffer, other)

    def word_taps(self, block: BlockName, loop: Loop, step: int) -> BlockRef:
        """Lets a sum over taps read words of four neighbours, one each ``step`` elements, and zeros
        around its weights; gives the block that makes the words."""
        return BlockRef(self._apply(taps.word_taps, block, loop, step))

    def transfer(self, block: BlockName) -> None:
        """Makes a block that copies a DMA transfer."""
        self._apply(transfers.transfer, block)
