"""What walking and printing know of an expression: operator, type, operands, and what it holds.

Expressions themselves (``tir/expr.py``) build on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from .types import Type


class DagNode(Protocol):
    """One of a graph without cycles, known by its ``number``."""

    op: str
    attr: Any
    number: int

    def __hash__(self) -> int: ...

    @property
    def type(self) -> Type: ...

    @property
    def args(self) -> tuple[Any, ...]: ...


N = TypeVar("N", bound=DagNode)


def walk(root: N, into: Callable[[N], bool] | None = None) -> Iterator[N]:
    """Every node below ``root`` once, operands before users; those that ``into``
    does not hold for, and what is below them, left out."""
    seen: set[int] = set()
    stack: list[tuple[N, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node.number not in seen:
            seen.add(node.number)
            if into is not None and not into(node):
                continue
            if not node.args:
                yield node
                continue
            stack.append((node, True))
            for arg in reversed(node.args):
                stack.append((arg, False))
