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

from dovetail.tuner import arguments
from dovetail.tuner.arguments import InputError

RIGHT: dict[str, tuple[Callable[[], object], object]] = {
    "int": (partial(arguments.whole, "n", 3), 3),
    "numpy int": (partial(arguments.whole, "n", np.int64(3)), 3),
    "numpy uint8": (partial(arguments.whole, "n", np.uint8(3), 1, 3), 3),
    "tensor": (partial(arguments.whole, "n", torch.tensor(3)), 3),
    "large": (partial(arguments.whole, "n", -(1 << 80)), -(1 << 80)),
    "seconds": (partial(arguments.seconds, "t", 2), 2.0),
    "numpy float": (partial(arguments.seconds, "t", np.float32(0.5)), 0.5),
    "for ever": (partial(arguments.seconds, "t", inf), 1e6),
    "flag": (partial(arguments.flag, "f", np.bool_(True)), True),
    "choice": (partial(arguments.choice, "c", "b", {"a": 1, "b": 2}), "b"),
    "path": (partial(arguments.path, "p", "a/b"), Path("a/b")),
    "one of paths": (partial(arguments.paths, "p", Path("a")), (Path("a"),)),
    "paths": (partial(arguments.paths, "p", ["a", Path("b")]), (Path("a"), Path("b"))),
    "no functions": (partial(arguments.functions, "f", None), ()),
    "functions": (partial(arguments.functions, "f", [print]), (print,)),
    "function": (partial(arguments.function, "f", print), print),
    "no function": (partial(arguments.function, "f", None), None),
    "hands": (partial(arguments.hands, None, np.int32(2), np.float64(3)), (None, 2, 3.0)),
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
EXECUTOR = "measure: executor must be a concurrent.futures.Executor, but got"

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "half": (partial(arguments.whole, "n", 1.5), f"{N}, but got 1.5"),
    "float": (partial(arguments.whole, "n", 2.0, 1), f"{N}{LEAST}, but got 2.0"),
    "low": (partial(arguments.whole, "n", 0, 1), f"{N}{LEAST}, but got 0"),
    "high": (partial(arguments.whole, "n", 1025, 0, 1024), f"{N}{LIMITS}, but got 1025"),
    "None": (partial(arguments.whole, "n", None), f"{N}, but got None"),
    "word": (partial(arguments.whole, "n", "3"), f"{N}, but got '3'"),
    "True": (partial(arguments.whole, "n", True), f"{N}, but got True"),
    "NumPy's True": (partial(arguments.whole, "n", np.True_), f"{N}, but got np.True_"),
    "NumPy's float": (partial(arguments.whole, "n", np.float32(2)),
                      f"{N}, but got np.float32(2.0)"),
    "list": (partial(arguments.whole, "n", [3]), f"{N}, but got list"),
    "long": (partial(arguments.whole, "n", "x" * 999), f"{N}, but got '{'x' * 76}..."),
    "nan": (partial(arguments.seconds, "t", nan), f"t {SECONDS} nan"),
    "zero": (partial(arguments.seconds, "t", 0), f"t {SECONDS} 0"),
    "no number": (partial(arguments.seconds, "t", "5"), f"t {SECONDS} '5'"),
    "complex": (partial(arguments.seconds, "t", 1j), f"t {SECONDS} 1j"),
    "truth": (partial(arguments.seconds, "t", True), f"t {SECONDS} True"),
    "flag": (partial(arguments.flag, "f", "no"), "f must be True or False, but got 'no'"),
    "one": (partial(arguments.flag, "f", 1), "f must be True or False, but got 1"),
    "choice": (partial(arguments.choice, "c", "d", ["a", "b"]),
               "c must be one of a, b, but got 'd'"),
    "unhashable": (partial(arguments.choice, "c", [], {"a": 1}),
                   "c must be one of a, but got list"),
    "path": (partial(arguments.path, "p", 3), "p must be the path of a file, but got 3"),
    "bytes": (partial(arguments.path, "p", b"a"), "p must be the path of a file, but got b'a'"),
    "paths": (partial(arguments.paths, "p", 3), "p must be paths of files, but got 3"),
    "None of paths": (
        partial(arguments.paths, "p", [None]), "p must be the path of a file, but got None"
    ),
    "function": (partial(arguments.function, "f", 3), "f must be a function, but got 3"),
    "functions": (partial(arguments.functions, "f", print),
                  "f must be a list of functions, but got builtin_function_or_method"),
    "no functions": (
        partial(arguments.functions, "f", [3]), "f must be a list of functions, but it has 3"
    ),
    "executor": (partial(arguments.hands, 3, None, 1), f"{EXECUTOR} 3"),
    "client": (
        partial(arguments.hands, Client(), None, 1),
        f"{EXECUTOR} Client; give client.get_executor()",
    ),
    "class": (partial(arguments.hands, ThreadPoolExecutor, None, 1), f"{EXECUTOR} type"),
    "workers": (
        partial(arguments.hands, None, -1, 1),
        "measure: workers must be a whole number from 0 to 1024, but got -1",
    ),
    "timeout": (partial(arguments.hands, None, 0, -1), f"measure: timeout {SECONDS} -1"),
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
    checks: list[Callable[[Any], object]] = [
        partial(arguments.whole, "n"), partial(arguments.seconds, "t"),
        partial(arguments.flag, "f"), lambda value: arguments.choice("c", value, {"a": 1}),
        partial(arguments.path, "p"), partial(arguments.paths, "p"),
        partial(arguments.function, "f"), partial(arguments.functions, "f"),
        lambda value: arguments.hands(value, None, 1),
        lambda value: arguments.hands(None, value, 1),
    ]  # fmt: skip
    refused = 0
    for check in checks:
        for value in values:
            try:
                check(value)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 200
                refused += 1
    assert refused > 200
