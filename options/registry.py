"""Registries: what an option can name, a row each, in the order in which they enter.

    OBSERVERS = Registry[Callable[[], Observer]]()

    @OBSERVERS.row("minmax", "from the smallest to the largest")
    class MinMax: ...

    OBSERVERS["minmax"]()

A new row is at once a value of the option, part of its help, and named by its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


def enter_files(folder: str, paths: Iterable[str]) -> None:
    """Imports every file of a package, so that its rows are there; in the order of names."""
    for name in sorted(module.name for module in iter_modules(paths)):
        import_module(f"{folder}.{name}")


class Registry(Mapping[str, T], Generic[T]):
    """Things by name, each with a phrase that says what it is."""

    def __init__(self) -> None:
        self._things: dict[str, T] = {}
        self._phrases: dict[str, str] = {}

    def row(self, name: str, phrase: str) -> Callable[[U], U]:
        """A decorator that enters a class or a function under a name that is free."""
        assert name not in self._things, f"two rows have the name {name}"

        def enter(thing: U) -> U:
            self._things[name] = thing  # type: ignore[assignment]
            self._phrases[name] = phrase
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)

    @property
    def help(self) -> str:
        """Each name with its phrase."""
        return "; ".join(f"{name}: {phrase}" for name, phrase in self._phrases.items())
