"""The arguments of a search, checked: trials, seed, kind, known logs and callbacks.

asked = Asked.of(64, 0, "evolution", False, True, (), ())
asked.trials, asked.search
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from . import arguments
from .records import read
from .run import Callback
from .search import SEARCHES


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of ``tune`` that say how to search; ``warm`` are logs that it may know."""

    trials: int
    seed: int
    search: str
    append: bool
    resume: bool
    warm: tuple[Path, ...]
    callbacks: tuple[Callback, ...]

    @staticmethod
    def of(trials: object, seed: object, search: object, append: object, resume: object,
           warm: object, callbacks: object) -> Asked:  # fmt: skip
        """InputError for an argument that cannot be used, LogError for a log of ``warm``."""
        made = Asked(
            arguments.whole("tune: trials", trials, least=1),
            arguments.whole("tune: seed", seed),
            arguments.choice("tune: search", search, SEARCHES),
            arguments.flag("tune: append", append),
            arguments.flag("tune: resume", resume),
            arguments.paths("tune: warm", warm),
            arguments.functions("tune: callbacks", callbacks),
        )
        for path in made.warm:
            read(path)
        return made

    def heard_by(self, callback: Callback) -> Asked:
        """The same arguments with one more callback, which is called first."""
        return replace(self, callbacks=(callback, *self.callbacks))
