"""Which ways out of a function a test never took: so that no rewrite goes untried.

reached = Reached([table_function, ...])
with reached:
    ...
assert not reached.missed()
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

Function = Callable[..., Any]


class Reached:
    """Watches the ``return`` statements of functions, and of those of their module or class that
    they call."""

    def __init__(self, functions: Iterable[Function]) -> None:
        self.ways: dict[CodeType, set[tuple[int, int]]] = {}  # first and last lines, not yet seen
        waiting = list(functions)
        while waiting:
            function = waiting.pop()
            if function.__code__ not in self.ways:
                tree, first = parsed(function)
                self.ways[function.__code__] = set(returns(tree, first))
                waiting += called(function, tree)

    def __enter__(self) -> Reached:
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _entered(self, frame: FrameType, event: str, _: object) -> Any:
        return self._step if self.ways.get(frame.f_code) else None

    def _step(self, frame: FrameType, event: str, _: object) -> Any:
        left = self.ways[frame.f_code]
        left -= {way for way in left if way[0] <= frame.f_lineno <= way[1]}
        return self._step

    def missed(self) -> list[str]:
        """Where no run came to, as function:line."""
        return sorted(
            f"{code.co_qualname if sys.version_info >= (3, 11) else code.co_name}:{first}"
            for code, ways in self.ways.items()
            for first, _ in ways
        )


def parsed(function: Function) -> tuple[ast.AST, int]:
    """The function's tree, and the line in the file before its first one."""
    lines, first = inspect.getsourcelines(function)
    return ast.parse(textwrap.dedent("".join(lines))), first - 1


def returns(tree: ast.AST, first: int) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Return):
            yield node.lineno + first, (node.end_lineno or node.lineno) + first


def called(function: Function, tree: ast.AST) -> list[Function]:
    """Functions of the same module that the tree names, and methods of its classes."""
    scope = function.__globals__
    classes = [c for c in scope.values() if inspect.isclass(c) and _of(c, scope)]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.append(scope.get(node.id))
        elif isinstance(node, ast.Attribute):
            found += [vars(c).get(node.attr) for c in classes]
    return [f for f in found if inspect.isfunction(f) and _of(f, scope)]


def _of(thing: Any, scope: dict[str, Any]) -> bool:
    return bool(thing.__module__ == scope["__name__"])
