"""Traces: the primitives that were applied, printed as Python and replayed on a fresh schedule.

    sch.split("i", (None, 32), tail="guard")
    sch.reorder("i_0", "k", "i_1")
    sch.vectorize("i_1")

Loops and blocks are written by their names, which a schedule gives the same way every time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from ..tir.expr import Expr, substitute, var
from ..tir.spell import show_expr
from ..tir.types import Type
from .state import Ref

S = TypeVar("S")  # a schedule


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One primitive and its arguments."""

    name: str
    args: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        shown = [*map(_shown, self.args), *(f"{k}={_shown(v)}" for k, v in self.options)]
        return f"sch.{self.name}({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of a schedule, in order."""

    steps: tuple[TraceStep, ...] = ()

    def __str__(self) -> str:
        return "".join(f"{step}\n" for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[TraceStep]:
        return iter(self.steps)

    def replay(self, sch: S) -> S:
        """Applies the steps to ``sch``, as a rule a fresh schedule of the same function."""
        for step in self.steps:
            getattr(sch, step.name)(*step.args, **dict(step.options))
        return sch


def step(run: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> TraceStep:
    """A primitive and its arguments, of which options that have their defaults are left out."""
    known = _parameters(run) if options else {}
    given = tuple((k, plain(v)) for k, v in options.items() if plain(v) != known[k].default)
    return TraceStep(run.__name__, tuple(map(plain, args)), given)


@cache
def _parameters(run: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(run).parameters


def plain(value: Any) -> Any:
    """An argument as the trace keeps it: names for handles and types, tuples for lists."""
    if isinstance(value, Ref | Type):
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(plain(v) for v in value)
    return value


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        inner = ", ".join(map(_shown, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if callable(value):
        return show_map(value)
    return repr(value)


def call_map(index_map: Callable[..., Any], axes: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The indices that ``index_map`` makes of ``axes``."""
    result = index_map(*axes)
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def permuted(order: Sequence[int]) -> Callable[..., tuple[Expr, ...]]:
    """The map that puts dimensions in this order."""
    dims = [var(f"i{d}") for d in range(len(order))]
    return index_map(dims, [dims[d] for d in order])


def index_map(axes: Sequence[Expr], results: Sequence[Expr]) -> Callable[..., tuple[Expr, ...]]:
    """A map as a function of as many indices as there are axes, made of what they become."""

    def mapped(*given: Expr) -> tuple[Expr, ...]:
        values = dict(zip(axes, given, strict=True))
        return tuple(substitute(e, values) for e in results)

    kind = inspect.Parameter.POSITIONAL_ONLY
    names = [inspect.Parameter(str(axis.attr), kind) for axis in axes]
    mapped.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
    return mapped


def show_map(index_map: Callable[..., Any]) -> str:
    """The source of an index map, found by calling it: ``lambda i, j: (j // 4, i, j % 4)``."""
    names = list(inspect.signature(index_map).parameters)
    results = call_map(index_map, tuple(var(name) for name in names))
    parts = [str(e) if isinstance(e, int) else show_expr(e) for e in results]
    tail = "," if len(parts) == 1 else ""
    return f"lambda {', '.join(names)}: ({', '.join(parts)}{tail})"
