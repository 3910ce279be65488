"""Who ranks the points of a kernel: the estimate, a ranker of many kernels, a model of its own.

    rank = chosen(known, trials, ranker)      # a Ranking with the name of who ranks
    rank.order(numbers)

The estimate ranks until another one orders trials that it was not fitted to better than the
estimate does. For that the trials so far are held back by turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidates
from .model import Rows, TrialGroup, fit
from .ranker import Ranker

FOLDS = 4
LEAST = 8  # different costs from which on a kernel has a model of its own

Trials = Sequence[tuple[int, float | None]]  # the number of a candidate and its cost, None: failed
Scores = Callable[[Sequence[int]], Rows]  # of candidates, higher is better


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order of candidates; ``name`` is ``estimate``, ``ranker`` or ``model``."""

    name: str
    scores: Scores

    def order(self, numbers: Sequence[int]) -> list[int]:
        """The candidates, the best first; those of one score stay in their order."""
        if not numbers:
            return []
        return [numbers[i] for i in np.argsort(-self.scores(numbers), kind="stable")]


def by_estimate(known: Candidates) -> Ranking:
    """The order of the estimate."""
    return Ranking("estimate", known.guesses)


def by_ranker(known: Candidates, ranker: Ranker) -> Ranking:
    """The order of a ranker that corrects the estimate."""
    return Ranking("ranker", partial(known.ranked, ranker))


def by_model(known: Candidates, trials: Trials, before: Ranking) -> Ranking:
    """The order of a model of these trials, which corrects another one's scores."""
    numbers = [number for number, _ in trials]
    model = fit([TrialGroup(known.rows(numbers), before.scores(numbers), _costs(trials))])

    def scores(numbers: Sequence[int]) -> Rows:
        return model.scores(known.rows(numbers), before.scores(numbers))

    return Ranking("model", scores)


def chosen(known: Candidates, trials: Trials, ranker: Ranker | None) -> Ranking:
    """Who orders trials best that it does not know; in case of doubt the estimate."""
    best = by_estimate(known)
    different = len({cost for _, cost in trials if cost is not None})
    if different < 3:
        return best
    numbers, costs = [number for number, _ in trials], _costs(trials)
    every = np.ones(len(trials), dtype=bool)
    right = concordance(best.scores(numbers), costs, every)
    if ranker is not None and ranker.columns == known.task.columns:
        other = by_ranker(known, ranker)
        found = concordance(other.scores(numbers), costs, every)
        if found > right:
            best, right = other, found
    if different >= LEAST and _held_back(known, trials, best) > right:
        best = by_model(known, trials, best)
    return best


def _held_back(known: Candidates, trials: Trials, before: Ranking) -> float:
    """How well models order trials that were held back from them, among all trials."""
    numbers, costs = [number for number, _ in trials], _costs(trials)
    found = []
    for fold in range(FOLDS):
        held = np.arange(len(trials)) % FOLDS == fold
        told = [trial for trial, out in zip(trials, held, strict=True) if not out]
        scores = by_model(known, told, before).scores(numbers)
        found.append(concordance(scores, costs, held))
    return float(np.mean(found))


def concordance(scores: Rows, costs: Rows, held: NDArray[np.bool_]) -> float:
    """The share of pairs with a trial of ``held`` in them that the scores order as the costs do; a
    half where no pair differs."""
    better = costs[:, None] < costs[None, :]
    told = better & (held[:, None] | held[None, :])
    above = np.sign(scores[:, None] - scores[None, :])
    count = told.sum()
    return float(((above[told] + 1) / 2).mean()) if count else 0.5


def _costs(trials: Trials) -> Rows:
    return np.array([inf if cost is None else cost for _, cost in trials])
