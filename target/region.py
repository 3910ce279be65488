"""A region: straight-line statements gathered as a DAG before they are selected.

Register buffers become units with a value each, loads carry the version of their buffer, stores
stand in program order; a later load of the same bytes takes the stored value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..tir.expr import Expr
from ..tir.linear import Linear, linear
from ..tir.stmt import Buffer, Store
from ..tir.types import Type
from .emit import Effect, RegionEmitter
from .errors import SelectError
from .instruction import size_of
from .legalize import Legalizer
from .program import Address, Item, Place
from .roles import Roles
from .select import Selector
from .trees import Tree, register


@dataclass(slots=True)
class BufferState:
    """What the kernel does to one buffer of memory: its place, and a version that stores raise."""

    place: Place
    element: Type
    version: int = 0


class KernelFacts(Protocol):
    """What a region reads of the kernel that it is of."""

    @property
    def selector(self) -> Selector: ...

    @property
    def roles(self) -> Roles: ...

    @property
    def memory(self) -> Mapping[str, BufferState]: ...

    @property
    def registers(self) -> Mapping[str, Buffer]: ...

    @property
    def vectors(self) -> frozenset[str]:
        """Registers that hold whole vectors."""


class Around(Protocol):
    """The phase that a region is of."""

    @property
    def builder(self) -> KernelFacts: ...

    @property
    def emitter(self) -> RegionEmitter: ...

    def address(self, buffer: str, form: Linear, size: int, extra: int = 0) -> Address:
        """Of an element, ``extra`` bytes on."""


class RegionBuilder:
    """Straight-line code as a DAG: register units with their values, stores in order."""

    def __init__(self, body: Around) -> None:
        self.body, self.builder = body, body.builder
        self.legal = Legalizer(
            self.builder.roles, self.fetch, lambda e: self.builder.selector.expand(e, early=True)
        )
        self.bytes = self.builder.roles.bytes
        self.values: dict[tuple[str, int], Expr] = {}
        self.effects: list[Effect] = []
        self.stored: dict[str, dict[tuple[Address, Type], Expr]] = {}  # what memory must hold
        self.loaded: dict[
            str, int
        ] = {}  # buffers that are loaded -> number of effects before the load

    def release(self) -> None:
        """Forgets who uses it, once all is built, so that no cycle keeps what was made."""
        del self.legal, self.body

    def touched(self, buffer: str) -> None:
        """The buffer changes in ways that the region does not see."""
        self.builder.memory[buffer].version += 1
        self.stored.pop(buffer, None)
        self.legal.forget()

    def scalar(self, expr: Expr) -> Expr:
        """A scalar expression with its loads resolved."""
        return register(self.legal.tree(expr))

    def fetch(self, node: Expr, start: int, kind: Type) -> Expr:
        """The register-size part of a load that begins ``start`` bytes into it."""
        buffer: Buffer = node.attr
        form = linear(node.args[0])
        if buffer.name in self.builder.registers:
            return self._read(buffer, form, start, kind)
        memory = self.builder.memory[buffer.name]
        where = self.body.address(buffer.name, form, buffer.type.bytes, start)
        known = self.stored.get(buffer.name, {}).get((where, kind))
        if known is not None:
            return known
        self.loaded[buffer.name] = len(self.effects)
        return Expr("fetch", kind, (), (where, memory.version))

    def _unit(self, buffer: Buffer, form: Linear, start: int) -> tuple[str, int]:
        if form.terms:
            raise SelectError(
                f"registers: an index of {buffer.name} must be known, but got {form}"
                " (unroll the loops over it)"
            )
        offset = form.constant * buffer.type.bytes + start
        size = self.bytes if buffer.name in self.builder.vectors else buffer.type.bytes
        if offset % size:
            raise SelectError(f"registers: accesses of {buffer.name} must be whole registers")
        return buffer.name, offset // size

    def _read(self, buffer: Buffer, form: Linear, start: int, kind: Type) -> Expr:
        unit = self._unit(buffer, form, start)
        if size_of(kind) != self.bytes and buffer.name in self.builder.vectors:
            raise SelectError(f"registers: {buffer.name} is read in parts of a register")
        found = self.values.get(unit)
        return Expr("var", kind, (), unit) if found is None else found

    def store(self, stmt: Store) -> None:
        tree = self.legal.tree(stmt.value)
        form = linear(stmt.index[0])
        buffer, size = stmt.buffer, size_of(stmt.value.type)
        pieces = self._pieces(tree, buffer)
        if buffer.name in self.builder.registers:
            step = size // len(pieces)
            for i, piece in enumerate(pieces):
                self.values[self._unit(buffer, form, i * step)] = piece
            self.legal.forget()
            return
        for i, piece in enumerate(pieces):
            offset = i * (size // len(pieces))
            where = self.body.address(buffer.name, form, buffer.type.bytes, offset)
            self._effect(where, piece)
        self.builder.memory[buffer.name].version += 1
        self.legal.forget()

    def _effect(self, where: Address, piece: Expr) -> None:
        """Notes a store. Later loads of the same bytes take its value, and a store that is
        overwritten before anything could load it is dropped."""
        known = self.stored.setdefault(where.buffer, {})
        size = size_of(piece.type)
        if (where, piece.type) in known:
            last = max(i for i, e in enumerate(self.effects) if e[0] == where)
            if self.loaded.get(where.buffer, -1) <= last:
                del self.effects[last]
                self.loaded = {b: n - (n > last) for b, n in self.loaded.items()}
        for other in list(known):
            if not _apart(other[0], size_of(other[1]), where, size):
                del known[other]
        known[where, piece.type] = piece
        self.effects.append((where, piece, self.builder.memory[where.buffer].version))

    def _pieces(self, tree: Tree, buffer: Buffer) -> list[Expr]:
        """The registers of a value in memory order."""
        pieces = self.legal.trees.registers(tree)
        size = size_of(pieces[0].type)
        whole = buffer.name in self.builder.registers and buffer.name in self.builder.vectors
        known = self.bytes if whole else size
        if pieces[0].type.kind == "b" or size not in (1, 2, 4, 8, self.bytes) or size != known:
            raise SelectError(
                f"lanes: a store to {buffer.name} must fill vector registers, "
                f"but got {pieces[0].type}"
            )
        return pieces

    def close(self) -> list[Item]:
        """The region's code."""
        if not (self.values or self.effects):
            return []
        items = self.body.emitter.region(self.effects, self.values)
        self.values, self.effects = {}, []
        self.stored, self.loaded = {}, {}
        self.legal.forget()
        return items


def _apart(a: Address, a_size: int, b: Address, b_size: int) -> bool:
    """Whether two accesses of a buffer surely touch different bytes."""
    if a.terms != b.terms or a.index is not None or b.index is not None:
        return False
    return a.offset + a_size <= b.offset or b.offset + b_size <= a.offset
