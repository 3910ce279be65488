"""A kernel's operands: which parameters it is given, which it gives back, and arrays for a check.

operands = Operands(func)
memory = operands.memory((x,))        # an array for each parameter that is not constant
operands.results(memory)              # those that the kernel writes
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..graph.graph import Array
from ..tir.expr import Expr, walk
from ..tir.interpret import interpret
from ..tir.stmt import (
    Block,
    Buffer,
    Copy,
    If,
    PrimFunc,
    Region,
    Stmt,
    Store,
    children,
    walk_stmt,
)
from .errors import InputError
from .samples import fixed_input


@dataclass(frozen=True)
class Operands:
    """The parameters of a kernel that are not constant, by what it does with them."""

    func: PrimFunc

    @cached_property
    def free(self) -> list[Buffer]:
        """All of them, in order."""
        return [param for param in self.func.params if param.name not in self.func.constants]

    @cached_property
    def outputs(self) -> list[Buffer]:
        """Those that the kernel writes."""
        written = set(_written(self.func.body))
        return [param for param in self.free if param.name in written]

    @cached_property
    def inputs(self) -> list[Buffer]:
        """Those that it is given: all but the outputs whose content it does not read first."""
        outputs = {param.name for param in self.outputs}
        early = set(_read_first(self.func.body, set()))
        return [param for param in self.free if param.name not in outputs - early]

    def memory(self, arrays: Sequence[object]) -> list[Array]:
        """Copies of an array an input, or of one a free parameter; other outputs begin as 0."""
        given = self.free if len(arrays) == len(self.free) else self.inputs
        if len(arrays) != len(given):
            raise InputError(f"run: {self.func.name} takes {_count(given)}, but got {len(arrays)}")
        found = {p.name: self._fitting(p, a) for p, a in zip(given, arrays, strict=True)}
        return [
            found[p.name].copy() if p.name in found else np.zeros(p.shape, p.type.numpy)
            for p in self.free
        ]

    def results(self, memory: Sequence[Array]) -> list[Array]:
        """The arrays of the outputs."""
        names = {param.name for param in self.outputs}
        return [a for p, a in zip(self.free, memory, strict=True) if p.name in names]

    def _fitting(self, param: Buffer, array: object) -> Array:
        found = np.asarray(array)
        if found.dtype != param.type.numpy or found.shape != param.shape:
            raise InputError(
                f"run: {param.name} of {self.func.name} must be {spelled(param)}, "
                f"but got {found.dtype}{list(found.shape)}"
            )
        return found

    def trial(self) -> tuple[list[Array], list[Array]]:
        """Memory for a check, and what the interpreter makes of it: fixed random numbers of all
        magnitudes, extremes among them; what the kernel indexes with is brought within."""
        rng = np.random.default_rng(0)
        memory = [fixed_input(rng, p.shape, p.type.numpy) for p in self.free]
        try:
            return memory, self._interpreted(memory)
        except IndexError:
            self._within(memory)
        return memory, self.interpreted(memory, "kernel")

    def interpreted(self, memory: Sequence[Array], what: str) -> list[Array]:
        """The memory after the interpreter ran the kernel; InputError where an index is outside."""
        try:
            return self._interpreted(memory)
        except IndexError as error:
            raise InputError(
                f"{what}: {self.func.name} must keep what it indexes within its buffers, but "
                f"{error}; clamp the index with min and max"
            ) from None

    def _interpreted(self, memory: Sequence[Array]) -> list[Array]:
        after = [array.copy() for array in memory]
        interpret(self.func, *after)
        return after

    def _within(self, memory: Sequence[Array]) -> None:
        """Brings numbers that are used as indices below the least extent that they index."""
        least: dict[str, int] = {}
        for buffer, index in accesses(self.func.body):
            for extent, expr in zip(buffer.shape, index, strict=True):
                for node in walk(expr):
                    if node.op == "load":
                        name = node.attr.name
                        least[name] = min(least.get(name, extent), extent)
        for param, array in zip(self.free, memory, strict=True):
            if param.name in least:
                array %= least[param.name]


def accesses(body: Stmt) -> Iterator[tuple[Buffer, tuple[Expr, ...]]]:
    """Each element that is loaded or stored: the buffer and its index."""
    for stmt in walk_stmt(body):
        if isinstance(stmt, Store):
            yield stmt.buffer, stmt.index
        for node in nodes(stmt):
            if node.op == "load":
                yield node.attr, node.args


def _written(body: Stmt) -> Iterator[str]:
    for stmt in walk_stmt(body):
        match stmt:
            case Store(buffer=buffer) | Copy(target=Region(buffer=buffer)):
                yield buffer.name


def _read_first(stmt: Stmt, written: set[str]) -> Iterator[str]:
    """The buffers that are read before anything was written to them, in program order."""
    for node in nodes(stmt):
        if node.op == "load" and node.attr.name not in written:
            yield node.attr.name
    match stmt:
        case Copy(target=target, source=source):
            if source.buffer.name not in written:
                yield source.buffer.name
            written.add(target.buffer.name)
        case Store(buffer=buffer):
            written.add(buffer.name)
    for child in children(stmt):
        yield from _read_first(child, written)


def nodes(stmt: Stmt) -> Iterator[Expr]:
    """The nodes of the expressions that a statement holds itself."""
    for expr in _exprs(stmt):
        yield from walk(expr)


def _exprs(stmt: Stmt) -> tuple[Expr, ...]:
    match stmt:
        case Store(index=index, value=value):
            return (*index, value)
        case If(condition=condition):
            return (condition,)
        case Block(iters=iters, where=where):
            bound = tuple(it.binding for it in iters)
            return bound if where is None else (*bound, where)
        case Copy(target=target, source=source):
            return (*target.start, *source.start)
        case _:
            return ()


def spelled(param: Buffer) -> str:
    """A parameter's type and shape, as messages say them."""
    return f"{param.type}{list(param.shape)}"


def _count(params: Sequence[Buffer]) -> str:
    if not params:
        return "no array"
    names = ", ".join(f"{param.name}: {spelled(param)}" for param in params)
    return f"{len(params)} array{'s' if len(params) > 1 else ''} ({names})"
