"""What the tests of tir share: kernels as text, run in the interpreter on random arrays.

rewrites(lift, before="cast(i8, max(min(x, 127), -128))", after="sat_cast(i8, x)", x="i16x64")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, free_vars
from dovetail.tir.interpret import interpret
from dovetail.tir.passes.lift import lifted
from dovetail.tir.rewrite.engine import Rewriter
from dovetail.tir.rules import lifting_rules
from dovetail.tir.script import parse_expr, show_expr
from dovetail.tir.simplifier import Simplifier
from dovetail.tir.stmt import PrimFunc
from dovetail.tir.types import Type, parse_type

Array = NDArray[Any]


def random_array(kind: Type, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values of ``kind``: half uniform, half near the edges of its range and near 0."""
    if kind.kind == "f":
        return rng.normal(scale=100, size=shape).astype(np.float32)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    uniform = rng.integers(kind.low, kind.high, shape, kind.numpy, endpoint=True)
    edges = np.array([kind.low, kind.low + 1, 0, 1, 2, kind.high - 1, kind.high], kind.numpy)
    small = rng.choice(edges, shape)
    return np.where(rng.integers(0, 2, shape), uniform, small).astype(kind.numpy)


def run(func: PrimFunc, seed: int = 0) -> dict[str, Array]:
    """All parameters of ``func`` after a run on random arrays."""
    rng = np.random.default_rng(seed)
    arrays = {p.name: random_array(p.type, p.shape, rng) for p in func.params}
    arrays.update({name: value.copy() for name, value in func.constants.items()})
    interpret(func, *arrays.values())
    return arrays


def same_values(a: PrimFunc, b: PrimFunc) -> None:
    """Both functions leave the same bytes in the same parameters."""
    left, right = run(a), run(b)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def random_env(
    names: Mapping[str, Type], ranges: Mapping[str, tuple[int, int]], steps: int, seed: int = 0
) -> dict[str, Array]:
    """``steps`` random values of each variable, within its range where one is given."""
    rng = np.random.default_rng(seed)
    env = {}
    for name, kind in names.items():
        values = random_array(kind, (steps, kind.lanes), rng)
        if name in ranges:
            low, high = ranges[name]
            values = rng.integers(low, high, values.shape, kind.numpy, endpoint=True)
        env[name] = values
    return env


def parsed(text: str, types: Mapping[str, str]) -> Expr:
    return parse_expr(text, {name: parse_type(kind) for name, kind in types.items()})


def same_meaning(a: Expr, b: Expr, ranges: Mapping[str, tuple[int, int]] | None = None) -> None:
    """Both expressions have the same values on random variables."""
    names = {v.attr: v.type for v in free_vars(a) | free_vars(b)}
    env = random_env(names, ranges or {}, 200)
    left, right = evaluate_expr(a, env), evaluate_expr(b, env)
    shape = np.broadcast_shapes(left.shape, right.shape)
    np.testing.assert_array_equal(
        np.broadcast_to(left, shape),
        np.broadcast_to(right, shape),
        err_msg=f"{show_expr(a)}\n{show_expr(b)}",
    )


def lift_expr(expr: Expr) -> Expr:
    """One expression lifted, as the values of kernels are."""
    return lifted(expr, Rewriter(lifting_rules()), Simplifier({}))


def rewrites(
    change: Callable[[Expr], Expr],
    before: str,
    after: str,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    **types: str,
) -> None:
    """``change`` turns ``before`` into ``after``, and both have the same values."""
    first, want = parsed(before, types), parsed(after, types)
    same_meaning(first, want, ranges)
    assert show_expr(change(first)) == show_expr(want)


def keeps(change: Callable[[Expr], Expr], text: str, **types: str) -> None:
    """``change`` leaves ``text`` as it is."""
    assert show_expr(change(parsed(text, types))) == show_expr(parsed(text, types))
