"""Rows at once: maxima and sums along an axis that lies in lanes, and what follows from them.

    for each tile of rows, on threads:
        m = max over a row's registers, then over its lanes      a tree over the tile's rows
        e = table[m - x], a plane for each byte
        s = sum of e, likewise                                   a lane a row from here on
        r = f(s)                                                 for 32 rows a register
        y = g(e, r)

Which lanes of a register belong to one row follows from how far apart the axis' elements lie:

    1 byte, channels in whole registers       all 128 lanes; a row is one or more registers
    1 byte, 4, 32 or 64 channels              as many lanes as channels, several rows side by side
    as many bytes as there are channels       a copy puts the columns of a channel side by side
    whole registers                           none: each lane has a row of its own
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import lcm, prod

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, free_vars, var, walk
from ...tir.stmt import Block, Buffer, PrimFunc, Store, stored_in, walk_stmt
from ...tir.types import i32
from ..blocks import read_in, reduction_of
from ..depend import loop_roles
from ..knobs import Point, Space, choice, number
from ..schedule import Schedule
from ..state import LoopRef
from ..structure import Form
from ..trace import index_map
from .chain import LANES, MOST, WORDS, Chain, Steps, chain_of
from .fusing import partial_results, share
from .template import Estimate, Template

WORSE = 1.5  # how much longer than the likeliest tile another one may take by the estimate
PACKETS = 28.0  # that a register takes, from the maximum to the result


def rows(func: PrimFunc, machine: Machine) -> Template | None:
    """The template of chains of reductions along one axis and of maps of their results."""
    chain = chain_of(func)
    tiles = _tiles(chain, machine) if chain else ()
    if chain is None or not tiles:
        return None
    knobs = (choice("rows", tiles),)
    space = Space(knobs)

    def schedule(point: Point) -> Schedule:
        return _across(func, chain, machine) if chain.lanes == 1 else _along(
            func, chain, machine, number(point, "rows")
        )  # fmt: skip

    def estimate(point: Point) -> Estimate:
        return _estimate(chain, machine, number(point, "rows"))

    return Template("rows", func, machine, space, schedule, estimate)


# Tiles ------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _tiles(chain: Chain, machine: Machine) -> tuple[int, ...]:
    """Steps of the tiled axis that a tile may take, the likeliest first. Tiles of few rows compute
    many that mean nothing, in code that takes minutes to pack: those that cannot pay are none."""
    if chain.lanes == 1:
        return (1,)
    extent, least = chain.extents[chain.tiled], _least(chain)
    room = machine.tcm // (4 * machine.threads)
    sizes = [
        size
        for size in range(least, extent + 1, least)
        if extent % size == 0 and (1 < size or extent == 1 or _grown(chain, size) == size)
    ]
    fitting = [
        size for size in sizes if size * chain.unit <= MOST and _scratch(chain, size) <= room
    ]
    found = fitting or sizes[:1]
    costs = {size: _estimate(chain, machine, size).cycles for size in found}
    likely = [size for size in found if costs[size] <= WORSE * min(costs.values())]
    return tuple(sorted(likely, key=costs.__getitem__))  # none where no rows fill a register


def _least(chain: Chain) -> int:
    """Steps that fill a register."""
    return 1 if chain.dealt else chain.beside


def _scratch(chain: Chain, size: int) -> int:
    """Bytes of the planes of a tile."""
    return size * chain.unit // chain.beside * chain.registers * LANES * (4 if chain.dealt else 2)


def _grown(chain: Chain, size: int) -> int:
    """The steps that a tile's results are computed for: whole registers of rows."""
    whole = lcm(WORDS, chain.unit) // chain.unit
    return -(-size // whole) * whole


def _estimate(chain: Chain, machine: Machine, size: int) -> Estimate:
    counts = [*chain.extents[: len(chain.extents) - chain.dealt]]
    if chain.lanes == 1:
        counts[-1] //= min(LANES, counts[-1])
        each = chain.length * PACKETS + 150
    else:
        counts[chain.tiled] //= size
        registers = size * chain.unit / chain.beside * chain.registers
        folded = _grown(chain, size) * chain.unit
        each = registers * (PACKETS + 6 * chain.dealt) + 2.0 * folded + 3 * folded / WORDS + 90
    shared = max(counts, key=lambda n: n / -(-n // machine.threads))
    turns = prod(counts) / shared * -(-shared // machine.threads)
    facts = {"inner_packets": each, "loop_trips": turns, "tiles": turns}
    return Estimate(turns * each + 350, facts)


# Schedules --------------------------------------------------------------------------------------


def _along(func: PrimFunc, chain: Chain, machine: Machine, size: int) -> Schedule:
    """Rows lie along registers: a tile of them at once."""
    made = _Along(Schedule(func), chain, size)
    made.deal()
    made.split_planes()
    made.partial()
    made.widen()
    made.tile()
    for name, step in made.steps.items():
        made.fill(name, step)
    share(made.sch, made.outer, machine)
    return made.sch


class _Along:
    """The trace of one schedule; ``steps`` are the blocks as they are by now, in order."""

    def __init__(self, sch: Schedule, chain: Chain, size: int) -> None:
        self.sch, self.chain, self.size = sch, chain, size
        self.grown = _grown(chain, size)
        self.steps = {step.name: step for step in chain.steps}
        self.outer: list[LoopRef] = []
        self.partials: set[str] = set()  # blocks that reduce over registers alone
        self.narrow = {s.out.name for s in chain.steps if s.along is None or _folds(s)}

    def deal(self) -> None:
        """Columns of a channel side by side, in a copy of the operand and one of the result."""
        chain, sch, ways = self.chain, self.sch, self.chain.lanes
        if not chain.dealt:
            return
        first, *others = (name for name in self.steps if self._reads(name, chain.x.name))
        last = [*self.steps][-1]
        copies = [sch.cache_read(first, chain.x.name, "tcm", also=tuple(others)),
                  sch.cache_write(last, chain.y.name, "tcm")]  # fmt: skip
        for copy, step in zip(copies, (self.steps[first], self.steps[last]), strict=True):
            near = min(b.name for b in _buffers(sch, copy.name) - {chain.x, chain.y})
            sch.transform_layout(near, _of_rank(4, _dealt(ways)))
            if step.name == last:
                self._put(last, {last: step, copy.name: Steps(
                    copy.name, Form.COPY, step.rows, step.along, chain.y)})  # fmt: skip
                continue
            n, h, w, c = (str(it.axis.attr) for it in sch.get_block(copy.name).iters)
            order = (n, h, c)[-len(step.rows) :]
            self._put(
                first, {copy.name: Steps(copy.name, Form.COPY, order, w, chain.y), first: step}
            )

    def _put(self, name: str, made: Mapping[str, Steps]) -> None:
        """Blocks in the place of one."""
        known = self.steps.items()
        self.steps = {
            new: step for old, found in known
            for new, step in (made.items() if old == name else [(old, found)])
        }  # fmt: skip

    def _reads(self, name: str, buffer: str) -> bool:
        return buffer in read_in(self.sch.get_block(name))

    def split_planes(self) -> None:
        """Values of several bytes as planes of bytes: tables, and what is looked up in them."""
        sch = self.sch
        for param in sch.logical.params:
            if (
                param.name in sch.logical.constants
                and param.type.kind == "u"
                and param.type.bits > 8
            ):
                sch.split_bytes(param.name)
        for name, step in list(self.steps.items()):
            wide = step.form is Form.MAP and step.along and step.out != self.chain.y
            if wide and step.out.type.kind == "u" and step.out.type.bits > 8:
                planes = [ref.name for ref in sch.split_bytes(step.out.name)]
                self._put(name, dict.fromkeys(planes, step))
                if self.chain.dealt:
                    for plane in planes:
                        (buffer,) = stored_in(sch.get_block(plane))
                        ways = _of_rank(len(buffer.shape), _dealt(self.chain.lanes))
                        sch.transform_layout(buffer.name, ways)

    def widen(self) -> None:
        """A word for each row's number; partial results stay as they are."""
        for name in sorted(self.narrow):
            self.sch.set_scope(name, "tcm")
            if self.sch.get_buffer(name).type.bits < 32:
                self.sch.retype(name, i32)

    def partial(self) -> None:
        """Reductions first over registers, lane by lane, where a row has several, or where a tile
        is no whole number of registers of rows and the operand has no more of them."""
        sch, chain = self.sch, self.chain
        ways, count = chain.lanes, chain.registers
        for name, step in list(self.steps.items()):
            if not _folds(step):
                continue
            assert step.along is not None
            (loop,) = drives(sch, name, step.along)
            if ways * count > chain.length:
                loop = sch.resize(loop, ways * count)
            short = self.grown > self.size and self._reads(name, chain.x.name)
            if count == 1 and not short:
                continue
            sums = _is_sum(sch.get_block(name))
            if sums and ways < 2 * BYTES:
                continue
            if sums:
                _, loop, _ = sch.split(loop, (count, ways // BYTES, BYTES))
            elif count > 1:
                _, loop = sch.split(loop, (count, ways))
            made, _ = partial_results(sch, name, loop, near=True)
            self.partials.add(made)
            self._put(name, {made: step, name: step})

    def tile(self) -> None:
        """All blocks below the loop of tiles, which have a dimension of their own in buffers."""
        sch, place, size = self.sch, self.chain.tiled, self.size
        if self.grown > size:
            used = {b.name: b for name in self.steps for b in _buffers(sch, name)}
            for buffer in used.values():
                if self._local(buffer):
                    digits = _of_rank(len(buffer.shape), _digits(place, size))
                    sch.transform_layout(buffer.name, digits)
        last = [*self.steps][-1]
        loop = drives(sch, last, self.steps[last].rows[place])[0]
        top, _ = sch.split(loop, (None, size))
        loops = sch.loops(last)
        self.outer = loops[: loops.index(top) + 1]
        for name in [*self.steps][-2::-1]:
            sch.compute_at(name, top)

    def _local(self, buffer: Buffer) -> bool:
        return all(param.name != buffer.name for param in self.sch.logical.params)

    def fill(self, name: str, step: Steps) -> None:
        """The lanes of one block: rows of results, or registers of a row's elements."""
        sch, chain = self.sch, self.chain
        local = [loop for loop in sch.loops(name) if loop not in self.outer]
        along = [loop for loop in local if self._reduces(name, loop)]
        part = [loop for loop in local if name in self.partials and self._numbers(name, loop)]
        if step.along and not along and not part:
            along = [loop for loop in drives(sch, name, step.along) if loop in local]
        (row,) = (x for x in drives(sch, name, step.rows[chain.tiled]) if x in local)
        lanes = [x for x in drives(sch, name, step.rows[-1]) if chain.dealt and x in local]
        narrow = {b.name for b in stored_in(sch.get_block(name))} <= self.narrow
        size = chain.beside
        if narrow:
            row = sch.resize(row, self.grown) if self.grown > self.size else row
            size = max(WORDS // chain.unit, 1)
        if not chain.dealt or narrow:
            if sch.get_loop(row).extent > size:
                _, row = sch.split(row, (None, size))
            lanes = [row, *lanes]
        if along and not part and sch.get_loop(along[-1]).extent > chain.lanes:
            along = sch.split(along[-1], (None, chain.lanes))
        if along and (not part or _is_sum(sch.get_block(name))):
            part.append(along.pop())
        lanes += part
        rest = [x for x in sch.loops(name) if x not in (*self.outer, *lanes, *along)]
        sch.reorder(*rest, *along, *lanes)
        sch.vectorize(*lanes)
        if along and step.form is Form.MAP and rest:  # what rows have in common is made once
            count = sch.get_loop(along[-1]).extent
            some = max(n for n in range(1, min(count, TOGETHER) + 1) if count % n == 0)
            sch.unroll(sch.split(along[-1], (None, some))[-1])
        if along and chain.lanes * chain.registers > chain.length and _folds(step):
            sch.split(along[-1], (chain.registers - 1,), tail="peel")  # only the last is masked

    def _reduces(self, name: str, loop: LoopRef) -> bool:
        return loop_roles(self.sch.get_block(name), self.sch.get_loop(loop).axis)[1]

    def _numbers(self, name: str, loop: LoopRef) -> bool:
        """Whether a loop numbers partial results."""
        axis, step = self.sch.get_loop(loop).axis, self.steps[name]
        known = {*step.rows, step.along}
        return any(
            axis in free_vars(it.binding)
            for it in self.sch.get_block(name).iters
            if not it.reduce and str(it.axis.attr) not in known
        )


TOGETHER = 4  # registers of a row that are written out
BYTES = 4  # of a word, which one product sums


def _folds(step: Steps) -> bool:
    return step.form is Form.REDUCTION


def _is_sum(block: Block) -> bool:
    found = reduction_of(block)
    return found is not None and found.op == "add"


IndexMap = Callable[..., tuple[Expr, ...]]


def _of_rank(rank: int, change: IndexMap) -> IndexMap:
    """``change`` of as many indices as a buffer has dimensions."""
    axes = [var(f"i{k}") for k in range(rank)]
    return index_map(axes, change(*axes))


def _dealt(ways: int) -> IndexMap:
    """An index with the last columns of a channel side by side."""
    return lambda *at: (*at[:-2], at[-2] // ways, at[-1], at[-2] % ways)


def _digits(place: int, size: int) -> IndexMap:
    """An index with its dimension ``place`` as a tile's number and the place in the tile."""
    return lambda *at: (*at[:place], at[place] // size, at[place] % size, *at[place + 1 :])


def _buffers(sch: Schedule, block: str) -> set[Buffer]:
    """The buffers that a block accesses."""
    stores = [s for s in walk_stmt(sch.get_block(block)) if isinstance(s, Store)]
    read = {n.attr for s in stores for e in (*s.index, s.value) for n in walk(e) if n.op == "load"}
    return read | {s.buffer for s in stores}


# Rows across registers --------------------------------------------------------------------------


def _across(func: PrimFunc, chain: Chain, machine: Machine) -> Schedule:
    """Each lane has a row of its own: reductions go from register to register."""
    made = _Along(Schedule(func), chain, 1)
    sch, deep = made.sch, chain.deep
    beside = max(LANES // deep, 1)  # pixels of a register
    made.split_planes()
    for name in sorted(made.narrow):
        buffer = sch.get_buffer(name)
        if buffer.type.bits == 32:
            sch.set_scope(name, "tcm")
            sch.transform_layout(name, _of_rank(len(buffer.shape), _by_bytes(deep, beside)))
    last, rows_ = [*made.steps][-1], chain.steps[-1].rows
    loops = [drives(sch, last, name)[0] for name in rows_]
    split = loops.pop() if beside == 1 else loops.pop(-2)
    top, inner = sch.split(split, (None, LANES if beside == 1 else beside))
    lanes = [inner] if beside == 1 else [inner, loops.pop()]
    (along,) = drives(sch, last, made.steps[last].along or "")
    sch.reorder(*loops, top, along, *lanes)
    for name in [*made.steps][-2::-1]:
        sch.compute_at(name, top)
    outer = [*loops, top]
    for name, step in made.steps.items():
        local = [x for x in sch.loops(name) if x not in outer]
        row_lanes = [x for n in step.rows for x in drives(sch, name, n) if x in local]
        row_lanes = row_lanes[-1:] if beside == 1 else row_lanes[-2:]
        rest = [x for x in local if x not in row_lanes]
        words, byte = sch.split(row_lanes.pop(), (None, BYTES))
        sch.reorder(*rest, *row_lanes, words, byte)
        if step.along:
            sch.vectorize(*row_lanes, words, byte)
            continue
        sch.reorder(byte, *row_lanes, words)
        sch.vectorize(*row_lanes, words)
        sch.unroll(sch.split(byte, (None, 2))[1])
    share(sch, outer, machine)
    return sch


def _by_bytes(deep: int, beside: int) -> IndexMap:
    """An index of numbers of words in the order in which bytes that are widened lie."""
    if beside == 1:
        return lambda *at: (*at[:-1], at[-1] // LANES, at[-1] % BYTES, at[-1] % LANES // BYTES)
    return lambda *at: (
        *at[:-2], at[-2] // beside, at[-1] % BYTES, at[-2] % beside, at[-1] // BYTES
    )  # fmt: skip


def drives(sch: Schedule, block: str, name: str) -> list[LoopRef]:
    """The loops that drive an iter of a block, outermost first."""
    bindings = [it.binding for it in sch.get_block(block).iters if it.axis.attr == name]
    axes = free_vars(bindings[0]) if bindings else frozenset()
    return [loop for loop in sch.loops(block) if sch.get_loop(loop).axis in axes]
