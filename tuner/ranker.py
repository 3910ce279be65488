"""A ranker that was trained on many kernels, and ranks points of others by their features.

    ranker = shipped().trained(groups)         # with what other logs say
    ranker.scores(rows, guesses)

The shipped one is a model file of XGBoost beside this module, made by ``benchmarks/rank.py``; it
ranks points of kernels whose features have its columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path

from .model import Model, Rows, TrialGroup, fit

SHIPPED = Path(__file__).with_name("ranker.ubj")
ROUNDS = 80

Columns = tuple[str, ...]


class Ranker:
    """Models of these columns, each of which corrects the guess of those before; ``name`` is of all
    that they learned from. They are loaded when something is ranked."""

    def __init__(self, name: str, load: Callable[[], tuple[Columns, tuple[Model, ...]]]) -> None:
        self.name, self._load = name, load

    @cached_property
    def _loaded(self) -> tuple[Columns, tuple[Model, ...]]:
        return self._load()

    @property
    def columns(self) -> Columns:
        """The features that it ranks by."""
        return self._loaded[0]

    def scores(self, rows: Rows, guesses: Rows) -> Rows:
        """Higher for points expected to be cheaper, given the guesses of the estimate."""
        for model in self._loaded[1]:
            guesses = model.scores(rows, guesses)
        return guesses

    def trained(self, groups: Sequence[TrialGroup]) -> Ranker:
        """A ranker that has seen these kernels, too."""
        if not groups:
            return self
        digest = hashlib.sha256(self.name.encode())
        for part in (part for g in groups for part in (g.rows, g.guesses, g.costs)):
            digest.update(part.tobytes())
        return Ranker(digest.hexdigest()[:16], partial(self._more, groups))

    def _more(self, groups: Sequence[TrialGroup]) -> tuple[Columns, tuple[Model, ...]]:
        told = [replace(group, guesses=self.scores(group.rows, group.guesses)) for group in groups]
        return self.columns, (*self._loaded[1], fit(told, ROUNDS))


def untrained(columns: Columns) -> Ranker:
    """A ranker that knows no kernel: it believes the estimate."""
    return Ranker("", lambda: (columns, ()))


def save(ranker: Ranker, path: Path) -> None:
    """Writes a ranker of one model, with the names of its columns."""
    (model,) = ranker._loaded[1]
    model.booster.feature_names = list(ranker.columns)
    model.booster.save_model(path)
    model.booster.feature_names = None


@lru_cache(maxsize=1)
def shipped(path: Path = SHIPPED) -> Ranker:
    """The ranker of the package."""
    data = path.read_bytes()
    return Ranker(hashlib.sha256(data).hexdigest()[:16], partial(_read, data))


def _read(data: bytes) -> tuple[Columns, tuple[Model, ...]]:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(data))
    columns = tuple(booster.feature_names or ())
    booster.feature_names = None
    return columns, (Model(booster),)
