"""Padded copies that lowering writes in front of a kernel: blocks ``fill`` and ``copy``."""

from __future__ import annotations

from ...tir.stmt import Alloc, Block, Buffer, PrimFunc, Seq, Stmt, walk_stmt
from ..schedule import Schedule

NAMES = ("fill", "copy")


def prefix(func: PrimFunc) -> tuple[list[Buffer], list[Stmt]]:
    """The padded copy's buffer and nests; empty where a kernel has none."""
    allocs: list[Buffer] = []
    body = func.body
    while isinstance(body, Alloc):
        if body.buffer.name == "xp":
            allocs.append(body.buffer)
        body = body.body
    parts = body.stmts if isinstance(body, Seq) else (body,)
    return allocs, [part for part in parts if _names(part) & {*NAMES}]


def _names(stmt: Stmt) -> set[str]:
    return {s.name for s in walk_stmt(stmt) if isinstance(s, Block)}


def copy_rows(sch: Schedule, name: str) -> None:
    """A row as vectors of 128 bytes where its bytes allow it; else element by element."""
    n, h, w, c = sch.loops(name)
    width, depth = sch.get_loop(w).extent, sch.get_loop(c).extent
    row = sch.fuse(n, h)
    if width * depth % 128 == 0 and (depth % 128 == 0 or 128 % depth == 0):
        inner = sch.fuse(w, c) if depth < 128 else c
        _, lanes = sch.split(inner, (None, 128))
        sch.vectorize(lanes)
    sch.parallel(row)
