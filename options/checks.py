"""Checks of arguments: each gives the value in its plain type, or raises one sentence.

    trials = whole("tune: trials", np.int64(7), least=1)        # 7, an int
    seconds("measure: timeout", "soon")                         # InputError

All public functions and all options use these, so an argument of one name has one rule and one
message.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from math import nan
from numbers import Real
from pathlib import Path
from typing import Any

MOST_WORKERS = 1024
LONGEST = 1e6  # seconds: what the system's calls can wait for, which is more than eleven days


class InputError(ValueError):
    """An argument of the public functions or of the command line that cannot be used."""


def whole(what: str, value: object, least: int | None = None, most: int | None = None) -> int:
    """A whole number: an int, or an object that is one by ``__index__``."""
    try:
        number = None if _is_truth(value) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not _within(number, least, most):
        limits = "" if least is None else f" of at least {least}"
        limits = limits if most is None else f" from {least} to {most}"
        raise InputError(f"{what} must be a whole number{limits}, but got {shown(value)}")
    return number


def _within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def seconds(what: str, value: object) -> float:
    """A positive number of seconds."""
    number = float(value) if isinstance(value, Real) and not _is_truth(value) else nan
    if not number > 0:  # NaN, too
        raise InputError(f"{what} must be a positive number of seconds, but got {shown(value)}")
    return min(number, LONGEST)


def flag(what: str, value: object) -> bool:
    """True or False; a word such as "no" would count as True."""
    if not _is_truth(value):
        raise InputError(f"{what} must be True or False, but got {shown(value)}")
    return bool(value)


def choice(what: str, value: object, names: Collection[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{what} must be one of {', '.join(names)}, but got {shown(value)}")
    return value


def path(what: str, value: object) -> Path:
    """The path of a file."""
    name = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(name, str):
        raise InputError(f"{what} must be the path of a file, but got {shown(value)}")
    return Path(name)


def paths(what: str, value: object) -> tuple[Path, ...]:
    """The paths of some files; one path is itself."""
    if isinstance(value, str | os.PathLike):
        return (path(what, value),)
    found = None if isinstance(value, bytes) else _items(value)
    if found is None:
        raise InputError(f"{what} must be paths of files, but got {shown(value)}")
    return tuple(path(what, one) for one in found)


def words(what: str, value: object) -> tuple[object, ...]:
    """Some words, which are not looked at; one is itself."""
    found = (value,) if isinstance(value, str) else None if value is None else _items(value)
    if found is None:
        raise InputError(f"{what} must be a list of words, but got {shown(value)}")
    return found


def function(what: str, value: Any) -> Any:
    """A function or None."""
    if value is not None and not callable(value):
        raise InputError(f"{what} must be a function, but got {shown(value)}")
    return value


def functions(what: str, value: object) -> tuple[Callable[..., Any], ...]:
    """Some functions; None is none."""
    found = () if value is None else _items(value)
    if found is None:
        raise InputError(f"{what} must be a list of functions, but got {shown(value)}")
    for one in found:
        if not callable(one):
            raise InputError(f"{what} must be a list of functions, but it has {shown(one)}")
    return found


def hands(executor: object, timeout: object) -> tuple[Executor | int | None, float]:
    """An executor, or how many workers of our own, and a trial's time-out in seconds."""
    limit = seconds("measure: timeout", timeout)
    if executor is None or isinstance(executor, Executor):
        return executor, limit
    try:
        return whole("measure: executor", executor, 0, MOST_WORKERS), limit
    except InputError:
        mend = "; give client.get_executor()" if hasattr(executor, "get_executor") else ""
        raise InputError(
            "measure: executor (--workers) must be a concurrent.futures.Executor or a number of "
            f"worker processes from 0 to {MOST_WORKERS}, but got {shown(executor)}{mend}"
        ) from None


def shown(value: object) -> str:
    """A value as a message shows it: plain values as they are written, others by their type."""
    plain = isinstance(value, str | bytes | int | float | complex | None) or _is_truth(value)
    text = repr(value) if plain or isinstance(value, Real | Path) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def _items(value: Any) -> tuple[Any, ...] | None:
    """The items of an iterable; None for any other value."""
    try:
        return tuple(value)
    except TypeError:
        return None


def _is_truth(value: object) -> bool:
    """Whether a value is True or False, NumPy's included."""
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
