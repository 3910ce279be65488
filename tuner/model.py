"""The cost model: XGBoost learns to rank the points of kernels from their trials.

It starts from a guess of each row (as base margin) and learns what the guess gets wrong, so that it
is useful as soon as there are a few trials. Each kernel is a group of its own: rows are compared
with rows of their group alone. Same rows, same trees: one thread, a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

Rows = NDArray[np.float64]

CERTAINTY = 3.0  # of a guess: what it says of two costs, e-fold apart, in logits of their order
_ROUNDS = 40
_PARAMETERS = {
    "objective": "rank:pairwise",
    "lambdarank_pair_method": "mean",
    "lambdarank_num_pair_per_sample": 8,
    "tree_method": "hist",
    "max_bin": 32,
    "max_depth": 3,
    "eta": 0.1,
    "lambda": 1.0,
    "min_child_weight": 0.1,
    "nthread": 1,
    "seed": 0,
    "verbosity": 0,
}


@dataclass(frozen=True, slots=True)
class TrialGroup:
    """Trials of one kernel: features, guesses (higher is better), costs (inf for a failed one)."""

    rows: Rows
    guesses: Rows
    costs: Rows


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted ranking; ``scores`` are higher for points expected to be cheaper."""

    booster: xgboost.Booster

    def scores(self, rows: Rows, guesses: Rows) -> Rows:
        """One number a row; only their order means something."""
        import xgboost

        data = xgboost.DMatrix(rows, base_margin=guesses, nthread=1)
        return np.asarray(self.booster.predict(data, output_margin=True), dtype=np.float64)


def fit(groups: Sequence[TrialGroup], rounds: int = _ROUNDS) -> Model:
    """A model of these trials."""
    import xgboost

    rows, guesses, labels = (
        np.concatenate(parts)
        for parts in zip(*((g.rows, g.guesses, _relevance(g.costs)) for g in groups), strict=True)
    )
    data = xgboost.DMatrix(rows, label=labels, base_margin=guesses, nthread=1)
    sizes = [len(group.rows) for group in groups]
    data.set_info(qid=np.repeat(np.arange(len(groups), dtype=np.uint32), sizes))
    return Model(xgboost.train(_PARAMETERS, data, num_boost_round=rounds))


def guess_of(priors: Rows) -> Rows:
    """The guess that an estimate makes: lower costs are better, by their ratios."""
    return -CERTAINTY * np.log(np.maximum(priors, 1e-30))


def _relevance(costs: Rows) -> Rows:
    """Best cost over cost: 1 for the best trial, 0 for a failed one."""
    finite = costs[np.isfinite(costs)]
    best = finite.min() if finite.size else 1.0
    return np.where(np.isfinite(costs), best / np.maximum(costs, best), 0.0)
