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
    """The results that were asked for last: as many as a number says, or half as many."""

    def __init__(self, most: int) -> None:
        self.half = (most + 1) // 2
        self._found: dict[Hashable, R] = {}
        self._before: dict[Hashable, R] = {}  # those that were not asked for since

    def __call__(self, key: Hashable, make: Callable[[], R]) -> R:
        """The result under ``key``, made if there is none."""
        found = self._found.get(key)
        if found is None:
            found = self._before.pop(key, None)
            if found is None:
                found = make()
            if len(self._found) == self.half:
                self._before, self._found = self._found, {}
            self._found[key] = found
        return found


class OfOwner(Generic[R]):
    """The results that were asked for last of an owner, which is held: by its identity, since
    another kernel of its text may have other constants."""

    def __init__(self, most: int) -> None:
        self._recent = Recent[tuple[object, R]](most)

    def __call__(self, owner: object, key: Hashable, make: Callable[[], R]) -> R:
        """The result of ``owner`` under ``key``, made if there is none."""
        return self._recent((id(owner), key), lambda: (owner, make()))[1]
