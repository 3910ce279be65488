"""The interpreter: the normative meaning of a PrimFunc, in NumPy.

    interpret(func, x, y)       # arrays of the parameters, changed in place

Loops whose steps are independent run all at once as an axis of the arrays (``independence.py``),
in chunks that bound memory; other loops run step by step. An asynchronous copy takes place at its
Wait; until then its target holds the pattern of memory that nothing has written.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

from .arithmetic import Value
from .evaluate_expr import Calls, Evaluator, Mask, hole_key
from .expr import Expr
from .independence import MERGES, independent, merge_of
from .memory import Memory, allocated, poison, spread
from .stmt import (
    Alloc,
    Block,
    Buffer,
    Copy,
    For,
    If,
    PrimFunc,
    Region,
    Seq,
    Stmt,
    Store,
    Wait,
)

CHUNK = 1 << 19  # elements that run at once


def interpret(func: PrimFunc, *arrays: Value, calls: Calls | None = None) -> None:
    """Runs ``func`` on an array a parameter, changing them; constants may be left out.

    ``calls``: operands' names and body of each instruction that the function calls.
    """
    given = bind(func, arrays)
    run = _Run(calls or {})
    memory = {}
    flats = []
    for buffer, array in given:
        flat = array.reshape(-1)
        flats.append((array, flat))
        memory[buffer.name] = Memory(buffer, flat, np.zeros(1, np.int64), 0)
    numbers = {hole_key(name): np.full(1, n, np.int64) for name, n in func.numbers.items()}
    run.stmt(func.body, _State((), numbers, memory, None))
    for array, flat in flats:
        if not np.shares_memory(array, flat):
            array[...] = flat.reshape(array.shape)


def bind(func: PrimFunc, arrays: tuple[Value, ...]) -> list[tuple[Buffer, Value]]:
    """Each parameter with its array; TypeError where one does not fit."""
    missing = [p for p in func.params if p.name not in func.constants]
    if len(arrays) == len(func.params):
        missing = list(func.params)
    if len(arrays) != len(missing):
        raise TypeError(
            f"{func.name}: it takes {len(missing)} arrays ({', '.join(p.name for p in missing)}), "
            f"but got {len(arrays)}"
        )
    given = dict(zip([p.name for p in missing], arrays, strict=True))
    values = {**func.constants, **given}
    pairs = [(p, values[p.name]) for p in func.params]
    for buffer, array in pairs:
        if array.dtype != buffer.type.numpy or array.shape != buffer.shape:
            raise TypeError(
                f"{func.name}: {buffer.name} must be {buffer.type}{list(buffer.shape)}, "
                f"but got {array.dtype}{list(array.shape)}"
            )
    return pairs


@dataclass(slots=True)
class _State:
    """The state of execution: the loops that run at once, values of axes, memory, and a mask."""

    steps: tuple[int, ...]
    env: dict[str, Value]
    memory: dict[str, Memory]
    mask: Mask

    def under(self, axis: Expr, values: Value) -> _State:
        """Within a loop that runs ``values`` of its axis at once."""
        env = {name: spread(value, 1) for name, value in self.env.items()}
        env[axis.attr] = values.reshape(*(1,) * len(self.steps), len(values), 1)
        mask = None if self.mask is None else spread(self.mask, 1)
        return _State((*self.steps, len(values)), env, self.memory, mask)

    def bound(self, values: dict[str, Value]) -> _State:
        return _State(self.steps, {**self.env, **values}, self.memory, self.mask)

    def masked(self, condition: Value) -> _State:
        mask = condition if self.mask is None else condition & self.mask
        return _State(self.steps, self.env, self.memory, None if mask.all() else mask)


class _Run:
    """One execution of a function."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.pending: dict[str, deque[tuple[Copy, Value, Value]]] = defaultdict(deque)
        self.decided: dict[int, tuple[bool, int]] = {}  # by loop: independent, elements a step
        self.merges: dict[int, tuple[str, Expr] | None] = {}

    def stmt(self, stmt: Stmt, state: _State) -> None:
        match stmt:
            case Seq(stmts):
                for below in stmts:
                    self.stmt(below, state)
            case For():
                self.loop(stmt, state)
            case Block():
                self.block(stmt, state)
            case Store():
                self.store(stmt, state)
            case If(condition, then):
                self.guarded(self.values(state).value(condition, state.mask), then, state)
            case Alloc(buffer, body):
                memory = {**state.memory, buffer.name: allocated(buffer, state.steps)}
                self.stmt(body, _State(state.steps, state.env, memory, state.mask))
            case Copy():
                self.copy(stmt, state)
            case Wait(token):
                self.wait(token, state)

    def values(self, state: _State) -> Evaluator:
        """Evaluates expressions in ``state``, as long as no memory changes."""

        def load(node: Expr, index: list[Value], mask: Mask) -> Value:
            memory = state.memory[node.attr.name]
            places = memory.offsets(index, node.type.lanes, mask, len(state.steps))
            return memory.flat[places]

        return Evaluator(state.env, load, self.calls)

    def guarded(self, condition: Value, then: Stmt, state: _State) -> None:
        inside = state.masked(condition)
        if inside.mask is None or inside.mask.any():
            self.stmt(then, inside)

    # Loops --------------------------------------------------------------------------------

    def loop(self, loop: For, state: _State) -> None:
        if id(loop) not in self.decided:
            self.decided[id(loop)] = independent(loop), elements(loop.body)
        at_once, size = self.decided[id(loop)]
        chunk = max(CHUNK // (int(np.prod(state.steps, dtype=np.int64)) * size), 1)
        if not at_once or chunk == 1 or loop.extent == 1:
            for step in range(loop.extent):
                value = np.full(1, step, np.int32)
                value = value.reshape((1,) * (len(state.steps) + 1))
                self.stmt(loop.body, state.bound({loop.axis.attr: value}))
            return
        for start in range(0, loop.extent, chunk):
            values = np.arange(start, min(start + chunk, loop.extent), dtype=np.int32)
            self.stmt(loop.body, state.under(loop.axis, values))

    def block(self, block: Block, state: _State) -> None:
        values = self.values(state)
        axes = {it.axis.attr: values.value(it.binding, state.mask) for it in block.iters}
        inside = state.bound(axes)
        if block.where is not None:
            inside = inside.masked(self.values(inside).value(block.where, inside.mask))
            if inside.mask is not None and not inside.mask.any():
                return
        if block.init is not None:
            first = np.ones((1,) * (len(state.steps) + 1), np.bool_)
            for it in block.iters:
                first = first & (axes[it.axis.attr] == 0) if it.reduce else first
            self.guarded(first, block.init, inside)
        self.stmt(block.body, inside)

    # Memory -------------------------------------------------------------------------------

    def store(self, store: Store, state: _State) -> None:
        if id(store) not in self.merges:
            self.merges[id(store)] = merge_of(store)
        merge = self.merges[id(store)]
        values = self.values(state)
        index = [values.value(e, state.mask) for e in store.index]
        memory = state.memory[store.buffer.name]
        lanes = store.value.type.lanes
        places = memory.offsets(index, lanes, state.mask, len(state.steps))
        value = values.value(merge[1] if merge else store.value, state.mask)
        shape = (*state.steps, lanes)
        places = places.reshape(*(1,) * (len(shape) - places.ndim), *places.shape)
        value = value.reshape(*(1,) * (len(shape) - value.ndim), *value.shape)
        if merge:
            _merge(memory, places, value, shape, state.mask, merge[0])
        else:
            _put(memory, places, value, shape, state.mask)

    def copy(self, copy: Copy, state: _State) -> None:
        source, target = self.region(copy.source, state), self.region(copy.target, state)
        data = state.memory[copy.source.buffer.name].flat[source]
        memory = state.memory[copy.target.buffer.name]
        if not copy.token:
            _put(memory, target, data, np.broadcast_shapes(target.shape, data.shape), state.mask)
            return
        memory.flat[target] = poison(copy.target.buffer, 1)
        self.pending[copy.token].append((copy, target, data))

    def region(self, region: Region, state: _State) -> Value:
        """Places of a box's elements, row by row, as lanes."""
        values = self.values(state)
        start = [values.value(e, state.mask) for e in region.start]
        size = int(np.prod(region.extent, dtype=np.int64))
        boxes = np.indices(region.extent).reshape(len(region.extent), size)
        index = [at + offset.astype(np.int32) for at, offset in zip(start, boxes, strict=True)]
        memory = state.memory[region.buffer.name]
        return memory.offsets(index, 1, state.mask, len(state.steps))

    def wait(self, token: str, state: _State) -> None:
        if not self.pending[token]:
            raise RuntimeError(f'wait: a copy with token "{token}" must be under way, but got none')
        copy, target, data = self.pending[token].popleft()
        state.memory[copy.target.buffer.name].flat[target] = data


def _put(memory: Memory, places: Value, value: Value, shape: tuple[int, ...], mask: Mask) -> None:
    """Stores; where several steps store to one place, the last one stays."""
    if mask is None and all(p == n for p, n in zip(places.shape[:-1], shape, strict=False)):
        memory.flat[places] = value
        return
    spots, values = np.broadcast_to(places, shape), np.broadcast_to(value, shape)
    if mask is None:
        memory.flat[spots] = values
    else:
        runs = np.broadcast_to(mask, shape)
        memory.flat[spots[runs]] = values[runs]


def _merge(
    memory: Memory, places: Value, value: Value, shape: tuple[int, ...], mask: Mask, op: str
) -> None:
    """Adds (or takes the minimum or maximum) over all steps that store to one place."""
    merge = MERGES[op]
    if mask is not None:
        runs = np.broadcast_to(mask, shape)
        merge.at(memory.flat, np.broadcast_to(places, shape)[runs],
                 np.broadcast_to(value, shape)[runs])  # fmt: skip
        return
    folded = tuple(d for d in range(len(shape) - 1) if places.shape[d] == 1 and shape[d] > 1)
    missing = 1
    for d in folded:
        missing *= shape[d] if value.shape[d] == 1 else 1
    if folded:
        kept = value.dtype if op == "add" else None  # sums stay in the element's type, wrapping
        value = merge.reduce(value, axis=folded, dtype=kept, keepdims=True)
    if op == "add" and missing > 1:
        value = value * np.asarray(missing).astype(value.dtype)
    spots = np.broadcast_to(places, np.broadcast_shapes(places.shape, value.shape))
    if _distinct(spots, memory.flat.size):
        memory.flat[spots] = merge(memory.flat[spots], value)
    else:
        merge.at(memory.flat, spots, value)


def _distinct(places: Value, size: int) -> bool:
    if places.size < 1 << 12:
        return len(np.unique(places)) == places.size
    seen = np.zeros(size, np.bool_)
    seen[places] = True
    return int(np.count_nonzero(seen)) == places.size


def elements(stmt: Stmt) -> int:
    """The most elements that one execution of ``stmt`` handles at once."""
    match stmt:
        case Seq(stmts):
            return max((elements(s) for s in stmts), default=1)
        case For(extent=extent, body=body):
            return extent * elements(body)
        case Block(init=init, body=body):
            return max(elements(body), 1 if init is None else elements(init))
        case If(then=body):
            return elements(body)
        case Alloc(buffer, body):
            return max(buffer.size, elements(body))
        case Store(value=value):
            return value.type.lanes
        case Copy(source=source):
            return int(np.prod(source.extent, dtype=np.int64))
        case Wait():
            return 1
