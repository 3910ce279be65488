"""How a search goes: its options, a row each.

    tune(model, 256, inputs, search=Search(algorithm="random", warm="earlier.jsonl"))

An option that is added here is an argument of ``Search``, a flag of ``dovetail tune``, and stands
in the header of the log where it is not the default: another value is another run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ..options import checks
from ..options.record import Among, Logged, Options, at_least, option
from .search import SEARCHES

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Search(Options):
    """The options of a search; InputError for a value that cannot be used."""

    subject = "tune: {}"
    trials: int = option(
        256, at_least(1), "How many trials, over all kernels together.", logged=Logged.NEVER
    )
    seed: int = option(0, checks.whole, "The same seed gives the same log.", logged=Logged.ALWAYS)
    algorithm: str = option(
        "evolution", Among(SEARCHES), "What proposes points.", word="search", logged=Logged.ALWAYS
    )
    warm: Paths = option(  # noqa: RUF009  (it makes a field)
        (), checks.paths, "A log that the search may know; give one or more.", logged=Logged.NEVER
    )  # what is known of these kernels has a hash in the header
    append: bool = option(
        False, checks.flag, "Start a new run in a log of other runs.", logged=Logged.NEVER
    )
    resume: bool = option(True, checks.flag, "Go on with the run of a log.", logged=Logged.NEVER)

    @property
    def logs(self) -> tuple[Path, ...]:
        """The paths of ``warm``."""
        return checks.paths("tune: warm", self.warm)

    def but(self, trials: int | None, seed: int | None) -> Self:
        """The same options with other trials or another seed, where they are given."""
        trials = self.trials if trials is None else trials
        return replace(self, trials=trials, seed=self.seed if seed is None else seed)


DEFAULT_SEARCH = Search()
