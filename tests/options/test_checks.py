"""Arguments: each check takes every spelling of the right thing, and refuses all else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dovetail.options import checks
from dovetail.options.checks import InputError

RIGHT: dict[str, tuple[Callable[[], object], object]] = {
    "int": (partial(checks.whole, "n", 3), 3),
    "numpy int": (partial(checks.whole, "n", np.int64(3)), 3),
    "numpy uint8": (partial(checks.whole, "n", np.uint8(3), 1, 3), 3),
    "tensor": (partial(checks.whole, "n", torch.tensor(3)), 3),
    "large": (partial(checks.whole, "n", -(1 << 80)), -(1 << 80)),
    "seconds": (partial(checks.seconds, "t", 2), 2.0),
    "numpy float": (partial(checks.seconds, "t", np.float32(0.5)), 0.5),
    "for ever": (partial(checks.seconds, "t", inf), 1e6),
    "flag": (partial(checks.flag, "f", np.bool_(True)), True),
    "choice": (partial(checks.choice, "c", "b", {"a": 1, "b": 2}), "b"),
    "path": (partial(checks.path, "p", "a/b"), Path("a/b")),
    "one of paths": (partial(checks.paths, "p", Path("a")), (Path("a"),)),
    "paths": (partial(checks.paths, "p", ["a", Path("b")]), (Path("a"), Path("b"))),
    "no functions": (partial(checks.functions, "f", None), ()),
    "functions": (partial(checks.functions, "f", [print]), (print,)),
    "function": (partial(checks.function, "f", print), print),
    "no function": (partial(checks.function, "f", None), None),
    "hands": (partial(checks.hands, np.int32(2), np.float64(3)), (2, 3.0)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_thing_becomes_a_plain_one(name: str) -> None:
    run, wanted = RIGHT[name]
    found = run()
    assert found == wanted and type(found) is type(wanted)


class Client:
    def get_executor(self) -> None: ...


N, LEAST, LIMITS = "n must be a whole number", " of at least 1", " from 0 to 1024"
SECONDS = "must be a positive number of seconds, but got"
EXECUTOR = (
    "measure: executor (--workers) must be a concurrent.futures.Executor or a number of worker "
    "processes from 0 to 1024, but got"
)

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "half": (partial(checks.whole, "n", 1.5), f"{N}, but got 1.5"),
    "float": (partial(checks.whole, "n", 2.0, 1), f"{N}{LEAST}, but got 2.0"),
    "low": (partial(checks.whole, "n", 0, 1), f"{N}{LEAST}, but got 0"),
    "high": (partial(checks.whole, "n", 1025, 0, 1024), f"{N}{LIMITS}, but got 1025"),
    "None": (partial(checks.whole, "n", None), f"{N}, but got None"),
    "word": (partial(checks.whole, "n", "3"), f"{N}, but got '3'"),
    "True": (partial(checks.whole, "n", True), f"{N}, but got True"),
    "NumPy's True": (partial(checks.whole, "n", np.True_), f"{N}, but got np.True_"),
    "NumPy's float": (partial(checks.whole, "n", np.float32(2)),
                      f"{N}, but got np.float32(2.0)"),
    "list": (partial(checks.whole, "n", [3]), f"{N}, but got list"),
    "long": (partial(checks.whole, "n", "x" * 999), f"{N}, but got '{'x' * 76}..."),
    "nan": (partial(checks.seconds, "t", nan), f"t {SECONDS} nan"),
    "zero": (partial(checks.seconds, "t", 0), f"t {SECONDS} 0"),
    "no number": (partial(checks.seconds, "t", "5"), f"t {SECONDS} '5'"),
    "complex": (partial(checks.seconds, "t", 1j), f"t {SECONDS} 1j"),
    "truth": (partial(checks.seconds, "t", True), f"t {SECONDS} True"),
    "flag": (partial(checks.flag, "f", "no"), "f must be True or False, but got 'no'"),
    "one": (partial(checks.flag, "f", 1), "f must be True or False, but got 1"),
    "choice": (partial(checks.choice, "c", "d", ["a", "b"]),
               "c must be one of a, b, but got 'd'"),
    "unhashable": (partial(checks.choice, "c", [], {"a": 1}),
                   "c must be one of a, but got list"),
    "path": (partial(checks.path, "p", 3), "p must be the path of a file, but got 3"),
    "bytes": (partial(checks.path, "p", b"a"), "p must be the path of a file, but got b'a'"),
    "paths": (partial(checks.paths, "p", 3), "p must be paths of files, but got 3"),
    "None of paths": (
        partial(checks.paths, "p", [None]), "p must be the path of a file, but got None"
    ),
    "function": (partial(checks.function, "f", 3), "f must be a function, but got 3"),
    "functions": (partial(checks.functions, "f", print),
                  "f must be a list of functions, but got builtin_function_or_method"),
    "no functions": (
        partial(checks.functions, "f", [3]), "f must be a list of functions, but it has 3"
    ),
    "executor": (partial(checks.hands, 1.5, 1), f"{EXECUTOR} 1.5"),
    "client": (
        partial(checks.hands, Client(), 1),
        f"{EXECUTOR} Client; give client.get_executor()",
    ),
    "class": (partial(checks.hands, ThreadPoolExecutor, 1), f"{EXECUTOR} type"),
    "workers": (partial(checks.hands, -1, 1), f"{EXECUTOR} -1"),
    "timeout": (partial(checks.hands, 0, -1), f"measure: timeout {SECONDS} -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_thing_is_one_sentence(name: str) -> None:
    run, wanted = WRONG[name]
    with pytest.raises(InputError) as caught:
        run()
    assert str(caught.value) == wanted


def test_every_value_is_taken_or_refused() -> None:
    """No check fails in a way of its own, whatever it is given."""
    values: list[Any] = [
        None, True, 0, -1, 1 << 99, 1.5, nan, inf, -inf, 1j, "", "x", "\0", b"x", [], [[]], {}, (),
        set(), object(), int, print, np.int8(3), np.float16(nan), np.array(3), np.array([1, 2]),
        np.array("x"), np.datetime64("nat"), torch.tensor(3), torch.tensor([1, 2]), Path("x"),
        range(3), iter(()), Ellipsis, type, Client(), lambda: None,
    ]  # fmt: skip
    tried: list[Callable[[Any], object]] = [
        partial(checks.whole, "n"), partial(checks.seconds, "t"),
        partial(checks.flag, "f"), lambda value: checks.choice("c", value, {"a": 1}),
        partial(checks.path, "p"), partial(checks.paths, "p"),
        partial(checks.function, "f"), partial(checks.functions, "f"),
        lambda value: checks.hands(value, 1), lambda value: checks.hands(0, value),
    ]  # fmt: skip
    refused = 0
    for check in tried:
        for value in values:
            try:
                check(value)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 200
                refused += 1
    assert refused > 200
