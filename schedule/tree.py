"""Places in a statement: paths from the root, and path copying.

A path is the list of nodes from a function's body down to one node. Blocks are leaves here: what a
block does inside is one step to a schedule. Changing a node copies only the nodes above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..tir.stmt import Alloc, Block, For, If, Seq, Stmt, children, seq

Path = list[Stmt]


def below(node: Stmt) -> tuple[Stmt, ...]:
    """The statements directly below ``node``; a block has none."""
    return () if isinstance(node, Block) else children(node)


class Places:
    """Where each loop and block of a root stands; made once for a root, which never changes."""

    __slots__ = ("_parents", "blocks", "loops", "paths", "root")

    def __init__(self, root: Stmt) -> None:
        self.root = root
        self.loops: dict[str, For] = {}
        self.blocks: dict[str, Block] = {}  # in program order
        self._parents: dict[int, Stmt] = {}
        self._visit(root)
        self.paths = {name: self.path(block) for name, block in self.blocks.items()}

    def _visit(self, node: Stmt) -> None:
        if isinstance(node, For):
            self.loops[node.axis.attr] = node
        elif isinstance(node, Block):
            self.blocks[node.name] = node
            return
        for child in children(node):
            self._parents[id(child)] = node
            self._visit(child)

    def path(self, node: Stmt) -> Path:
        """The path from the root down to ``node``."""
        path = [node]
        while node is not self.root:
            node = self._parents[id(node)]
            path.append(node)
        path.reverse()
        return path


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
