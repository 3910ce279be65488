"""The last results of a pure function: parts that points of a kernel have in common are made once.

Points of one kernel mostly differ in one phase; the others (padding, sums of inputs) are equal
statement by statement. Nothing is kept beyond the process, and nothing but memory and time depends
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

R = TypeVar("R")


class Recent(Generic[R]):
    """The results that were asked for last, up to a number."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._found: dict[Hashable, R] = {}

    def __call__(self, key: Hashable, make: Callable[[], R]) -> R:
        """The result under ``key``, made if there is none."""
        found = self._found.pop(key, None)
        if found is None:
            found = make()
        self._found[key] = found
        if len(self._found) > self.most:
            del self._found[next(iter(self._found))]
        return found
