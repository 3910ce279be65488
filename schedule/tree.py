"""Places in a statement: paths from the root, and path copying.

A path is the list of nodes from a function's body down to one node. Blocks are leaves here: what a
block does inside is one step to a schedule. Changing a node copies only the nodes above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..tir.stmt import Alloc, Block, For, If, Seq, Stmt, children, seq, transform_stmt

Path = list[Stmt]


def below(node: Stmt) -> tuple[Stmt, ...]:
    """The statements directly below ``node``; a block has none."""
    return () if isinstance(node, Block) else children(node)


def transformed(node: Stmt, change: Callable[[Stmt], Stmt | None]) -> Stmt:
    """Bottom-up rewriting of the statements down to blocks; None keeps a node."""
    return transform_stmt(node, change, below)


class NestTable:
    """The loops and blocks of one of the function's outermost nests."""

    __slots__ = ("_parents", "_paths", "blocks", "loops", "top")

    def __init__(self, top: Stmt) -> None:
        self.top = top
        self.loops: dict[str, For] = {}
        self.blocks: dict[str, Block] = {}  # in program order
        self._parents: dict[int, Stmt] = {}
        self._paths: dict[int, Path] = {}
        self._visit(top)

    def _visit(self, node: Stmt) -> None:
        while isinstance(node, For):
            self.loops[node.axis.attr] = node
            self._parents[id(node.body)] = node
            node = node.body
        if isinstance(node, Block):
            self.blocks[node.name] = node
            return
        for child in children(node):
            self._parents[id(child)] = node
            self._visit(child)

    def path(self, node: Stmt) -> Path:
        """The path from the nest's outermost statement down to ``node``."""
        found = self._paths.get(id(node))
        if found is None:
            found, at = [node], node
            while at is not self.top:
                at = self._parents[id(at)]
                found.append(at)
            found.reverse()
            self._paths[id(node)] = found
        return found


class Places:
    """The place of each loop and block of a root. Nests that are in ``before``, the places of an
    earlier root, are not looked at again."""

    __slots__ = ("_nests", "root")

    def __init__(self, root: Stmt, before: Places | None = None) -> None:
        self.root = root
        known = {} if before is None else {id(t.top): t for _, t in before._nests}
        self._nests: list[tuple[Path, NestTable]] = []
        self._visit(root, [], known)

    def _visit(self, node: Stmt, above: Path, known: dict[int, NestTable]) -> None:
        if isinstance(node, Alloc | Seq):
            above = [*above, node]
            for child in children(node):
                self._visit(child, above, known)
        else:
            table = known.get(id(node))
            self._nests.append((above, NestTable(node) if table is None else table))

    def loop(self, name: str) -> Path | None:
        """The path to a loop."""
        for above, table in self._nests:
            if name in table.loops:
                return above + table.path(table.loops[name])
        return None

    def block(self, name: str) -> Path | None:
        """The path to a block."""
        for above, table in self._nests:
            if name in table.blocks:
                return above + table.path(table.blocks[name])
        return None

    def loop_names(self) -> list[str]:
        return [name for _, table in self._nests for name in table.loops]

    def blocks(self) -> list[Block]:
        """The blocks in program order."""
        return [block for _, table in self._nests for block in table.blocks.values()]

    def placed(self) -> list[tuple[Block, Path]]:
        """The blocks with their paths, in program order."""
        return [
            (block, above + table.path(block))
            for above, table in self._nests
            for block in table.blocks.values()
        ]


def swap(path: Path, new: Stmt | None) -> Stmt | None:
    """The root of ``path`` with its last node replaced; None takes the node and its loops away."""
    fresh = new
    for parent, child in zip(reversed(path[:-1]), reversed(path), strict=False):
        fresh = _with_child(parent, child, fresh)
    return fresh


def _with_child(parent: Stmt, child: Stmt, new: Stmt | None) -> Stmt | None:
    match parent:
        case For(axis, extent, kind, _, notes):
            return None if new is None else For(axis, extent, kind, new, notes)
        case Seq(stmts):
            kept = [new if s is child else s for s in stmts]
            left = [s for s in kept if s is not None]
            return seq(*left) if left else None
        case Alloc(buffer, _):
            return None if new is None else Alloc(buffer, new)
        case If(condition, _):
            return None if new is None else If(condition, new)
    raise AssertionError(f"{type(parent).__name__} has no children")


def loop_at(path: Path) -> For:
    """The loop at the end of a path."""
    loop = path[-1]
    assert isinstance(loop, For)
    return loop


def loops_of(path: Path) -> list[For]:
    """The loops on ``path``, outermost first."""
    return [node for node in path if isinstance(node, For)]


def blocks_below(root: Stmt) -> Iterator[Block]:
    """The blocks of ``root`` in program order."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Block):
            yield node
        else:
            stack.extend(reversed(children(node)))


def nest(loops: list[For], body: Stmt) -> Stmt:
    """``body`` within copies of ``loops``, outermost first."""
    for loop in reversed(loops):
        body = replace(loop, body=body)
    return body
