"""What a schedule holds between two primitives: the function, its names, what its blocks access.

Loops have unique names that are never given twice, and a loop's extent never changes under its
name; so extents are known for every axis that ever was.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from ..tir.expr import Expr, conjoin, conjuncts, const, free_vars, loads_in, substitute, var
from ..tir.linear import linear
from ..tir.quick import quick
from ..tir.stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    Iter,
    PrimFunc,
    Seq,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    walk_stmt,
)
from ..tir.types import i32
from .block_forms import extents_of
from .errors import ScheduleError, refusal
from .index import bounds, form_bounds, substitute_axes
from .tree import Path, Places, swap


@dataclass(frozen=True, slots=True)
class Ref:
    """A handle by name."""

    name: str

    def __str__(self) -> str:
        return self.name


class LoopRef(Ref):
    """A loop, by the unique name of its axis."""

    __slots__ = ()


class BlockRef(Ref):
    """A block, by its name."""

    __slots__ = ()


Loop = LoopRef | str
BlockName = BlockRef | str


@quick
@dataclass(frozen=True, slots=True)
class BlockAccess:
    """An element that a block touches, its index over the block's iters and inner loops."""

    buffer: Buffer
    index: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Accesses:
    """The reads and writes of one block, and the names of their buffers; ``inner`` are the loops
    within the block. An access of several lanes (of ``wide`` buffers) counts as an inner loop."""

    reads: tuple[BlockAccess, ...]
    writes: tuple[BlockAccess, ...]
    read: frozenset[str]
    written: frozenset[str]
    wide: frozenset[str]
    inner: dict[Expr, int]

    @property
    def inputs(self) -> frozenset[str]:
        """What is read and not written."""
        return self.read - self.written

    def touch(self, buffer: str) -> bool:
        return buffer in self.read or buffer in self.written

    def reads_of(self, buffer: str) -> list[BlockAccess]:
        return [a for a in self.reads if a.buffer.name == buffer]

    def writes_of(self, buffer: str) -> list[BlockAccess]:
        return [a for a in self.writes if a.buffer.name == buffer]

    def of(self, buffer: str) -> list[BlockAccess]:
        return [*self.reads_of(buffer), *self.writes_of(buffer)]


def unused(name: str, taken: Container[object]) -> str:
    """``name``, or ``name_2``, ``name_3`` ... where it is taken."""
    given, count = name, 1
    while given in taken:
        count += 1
        given = f"{name}_{count}"
    return given


@dataclass
class ScheduleState:
    """The function under the primitives; ``past`` are the earlier ones, with what changed them."""

    func: PrimFunc
    extents: dict[Expr, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    past: list[tuple[str, Stmt]] = field(default_factory=list)
    partial: frozenset[str] = frozenset()  # blocks that never ran over their iters' extents
    _places: Places | None = None
    _accesses: dict[int, tuple[Stmt, Stmt | None, Accesses]] = field(default_factory=dict)

    def copy(self) -> ScheduleState:
        """Another state of the same function."""
        kept = dict(self.extents), set(self.names), list(self.past)
        return ScheduleState(self.func, *kept, self.partial, self._places, dict(self._accesses))

    @property
    def body(self) -> Stmt:
        return self.func.body

    @body.setter
    def body(self, body: Stmt | None) -> None:
        assert body is not None
        self.func = replace(self.func, body=body)

    def swap(self, path: Path, new: Stmt | None) -> None:
        """Replaces the last node of ``path``."""
        self.body = swap(path, new)

    def fresh(self, name: str) -> str:
        """``name``, or ``name_2``, ``name_3`` ... where it has been given before."""
        given = unused(name, self.names)
        self.names.add(given)
        return given

    def axis(self, name: str, extent: int) -> Expr:
        """A new loop variable."""
        fresh = var(self.fresh(name))
        self.extents[fresh] = extent
        return fresh

    @property
    def places(self) -> Places:
        """The places of all loops and blocks in the present function."""
        if self._places is None or self._places.root is not self.func.body:
            self._places = Places(self.func.body, self._places)
        return self._places

    def loop(self, loop: Loop) -> Path:
        """The path to a loop; ScheduleError where there is none of this name."""
        path = self.places.loop(str(loop))
        if path is None:
            raise self._unknown("loop", str(loop), self.places.loop_names())
        return path

    def block(self, block: BlockName) -> tuple[Block, Path]:
        """A block and the path to it; ScheduleError where there is none of this name."""
        path = self.places.block(str(block))
        if path is None:
            names = [b.name for b in self.places.blocks()]
            raise self._unknown("block", str(block), names)
        node = path[-1]
        assert isinstance(node, Block)
        return node, path

    def _unknown(self, kind: str, name: str, there: list[str]) -> ScheduleError:
        went = (step for step, body in reversed(self.past) if _has(Places(body), kind, name))
        why = "".join(f" (it went with {step})" for step in islice(went, 1))
        known = ", ".join(dict.fromkeys(there)) or "none"
        return refusal(f"the {kind} must be in the function", f"{name!r}{why}",
                       mend=f"The {kind}s now: {known}.")  # fmt: skip

    def buffer(self, name: str) -> Buffer:
        """A parameter or local buffer by name."""
        for buffer in self.buffers():
            if buffer.name == name:
                return buffer
        known = ", ".join(b.name for b in self.buffers())
        raise refusal("the buffer must be in the function", repr(name),
                      mend=f"The buffers now: {known}.")  # fmt: skip

    def own(self, name: str, fixed: bool = True) -> Buffer:
        """A local buffer or, if ``fixed``, a constant: what a schedule may store in other ways."""
        found = self.buffer(name)
        if not self.is_local(name) and not (fixed and name in self.func.constants):
            rule = "the buffer must be local" + fixed * " or a constant"
            raise refusal(rule, name, mend="Use cache_read or cache_write for a local copy.")
        return found

    def buffers(self) -> Iterator[Buffer]:
        yield from self.func.params
        yield from self.locals()

    def locals(self) -> Iterator[Buffer]:
        """The buffers that the function allocates."""
        stack = [self.body]
        while stack:
            node = stack.pop()
            if isinstance(node, Alloc):
                yield node.buffer
            if not isinstance(node, Block):
                stack.extend(reversed(children(node)))

    def is_local(self, name: str) -> bool:
        return all(p.name != name for p in self.func.params)

    def placed(self) -> list[tuple[Block, Path]]:
        """All blocks with their paths, in program order."""
        return self.places.placed()

    def accesses(self, block: Block) -> Accesses:
        """The reads and writes of ``block``, kept by the identity of its body."""
        key = id(block.body)
        found = self._accesses.get(key)
        if found is None or found[0] is not block.body or found[1] is not block.init:
            found = block.body, block.init, _accesses(block)
            self._accesses[key] = found
        return found[2]

    def ranges(self, block: Block) -> dict[Expr, int]:
        """The extents of a block's iters and of the loops within it."""
        return extents_of(block.iters) | self.accesses(block).inner

    def check_elements(self, buffer: str) -> None:
        """ScheduleError unless all blocks access ``buffer`` element by element."""
        for block, _ in self.placed():
            if buffer in self.accesses(block).wide:
                raise refusal("the buffer must be accessed element by element",
                              f"several lanes of {buffer} at once", block)  # fmt: skip

    def writers(self, buffer: str) -> list[tuple[Block, Path]]:
        return [p for p in self.placed() if buffer in self.accesses(p[0]).written]

    def readers(self, buffer: str) -> list[tuple[Block, Path]]:
        """Blocks that read ``buffer``, a reduction's reading of its own result left out."""
        return [p for p in self.placed() if buffer in self.accesses(p[0]).inputs]


def _has(places: Places, kind: str, name: str) -> bool:
    return (places.loop(name) if kind == "loop" else places.block(name)) is not None


def _accesses(block: Block) -> Accesses:
    reads: dict[tuple[str, tuple[Expr, ...]], BlockAccess] = {}
    writes: dict[tuple[str, tuple[Expr, ...]], BlockAccess] = {}
    inner: dict[Expr, int] = {}
    wide: set[str] = set()

    def note(where: dict[tuple[str, tuple[Expr, ...]], BlockAccess], buffer: Buffer,
             index: tuple[Expr, ...], lanes: int) -> None:  # fmt: skip
        if lanes > 1:
            lane = var(f"?lane{lanes}")
            inner[lane] = lanes
            wide.add(buffer.name)
            index = (*index[:-1], index[-1] + lane)
        where.setdefault((buffer.name, index), BlockAccess(buffer, index))

    def read(expr: Expr) -> None:
        for node in loads_in(expr):
            note(reads, node.attr, node.args, node.type.lanes)

    for root in (block.init, block.body):
        for node in walk_stmt(root) if root is not None else ():
            match node:
                case For(axis=axis, extent=extent):
                    inner[axis] = extent
                case Store(buffer, index, value):
                    note(writes, buffer, index, value.type.lanes)
                    for expr in (*index, value):
                        read(expr)
    read_, written = (frozenset(name for name, _ in found) for found in (reads, writes))
    return Accesses(tuple(reads.values()), tuple(writes.values()), read_, written,
                    frozenset(wide), inner)  # fmt: skip


def replace_axes(node: Stmt, values: Mapping[Expr, Expr], extents: Mapping[Expr, int]) -> Stmt:
    """``node`` with loop variables replaced in bindings and guards (blocks' bodies are closed)."""
    match node:
        case Block():
            return _block_replaced(node, values, extents)
        case For(axis, extent, kind, body, notes):
            fresh = replace_axes(body, values, extents)
            return node if fresh is body else For(axis, extent, kind, fresh, notes)
        case Copy():
            return map_exprs(node, lambda e: substitute_axes(e, values, extents))
        case If(condition, then):
            return If(substitute(condition, values), replace_axes(then, values, extents))
        case _:
            before = children(node)
            after = tuple(replace_axes(child, values, extents) for child in before)
            same = all(a is b for a, b in zip(before, after, strict=True))
            return node if same else rebuild_stmt(node, after)


def renamed(
    node: Stmt, values: Mapping[Expr, Expr], state: ScheduleState, suffix: str = ""
) -> Stmt:
    """``node`` with new variables for its loops, and ``values`` for others."""
    match node:
        case For(axis, extent, kind, body, notes):
            fresh = state.axis(f"{axis.attr}{suffix}", extent)
            return For(
                fresh, extent, kind, renamed(body, {**values, axis: fresh}, state, suffix), notes
            )
        case Seq() | Alloc():
            below = [renamed(child, values, state, suffix) for child in children(node)]
            return rebuild_stmt(node, tuple(below))
        case If(condition, then):
            return If(substitute(condition, values), renamed(then, values, state, suffix))
    changed = {a: b for a, b in values.items() if a is not b}
    return replace_axes(node, changed, state.extents) if changed else node


def _block_replaced(
    block: Block, values: Mapping[Expr, Expr], extents: Mapping[Expr, int]
) -> Block:
    iters = tuple(
        replace(it, binding=bound) if bound is not it.binding else it
        for it in block.iters
        for bound in (substitute_axes(it.binding, values, extents),)
    )
    if all(a is b for a, b in zip(iters, block.iters, strict=True)):
        if not any(v in values for part in conjuncts(block.where) for v in free_vars(part)):
            return block
    kept = [substitute(part, values) for part in conjuncts(block.where)]
    needed = [part for part in kept if not always(part, iters, extents)]
    return replace(block, iters=iters, where=conjoin(needed))


def always(part: Expr, iters: tuple[Iter, ...], extents: Mapping[Expr, int]) -> bool:
    """Whether a guard ``axis < n`` or one over loops holds for all loops' values."""
    if part.op not in ("lt", "le"):
        return False
    bindings = {it.axis: it.binding for it in iters}
    a, b = (linear(substitute(arg, bindings)) for arg in part.args)
    _, high = form_bounds(a.plus(b, -1), extents)
    return high < 0 or (part.op == "le" and high == 0)


def domain_guard(it: Iter, extents: Mapping[Expr, int]) -> list[Expr]:
    """The guards ``axis < extent`` and ``0 <= axis``, as far as the binding may break them."""
    low, high = bounds(it.binding, extents)
    parts = []
    if low < 0:
        parts.append(const(0, i32) <= it.axis)
    if high >= it.extent:
        parts.append(it.axis < it.extent)
    return parts


def is_domain_guard(part: Expr, iters: tuple[Iter, ...]) -> bool:
    """Whether ``part`` only keeps an iter within 0 .. extent-1."""
    return any(part is (it.axis < it.extent) or part is (const(0, i32) <= it.axis) for it in iters)
