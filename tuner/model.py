"""The cost model: XGBoost learns to rank the points of one kernel from the trials so far.

It starts from the analytic prior (as base margin) and learns what the prior gets wrong, so that it
is useful as soon as there are a few trials. Same rows, same trees: one thread, a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

Rows = NDArray[np.float64]

_ROUNDS = 40
_PARAMETERS = {
    "objective": "rank:pairwise",
    "lambdarank_pair_method": "mean",
    "lambdarank_num_pair_per_sample": 8,
    "tree_method": "hist",
    "max_bin": 32,
    "max_depth": 4,
    "eta": 0.12,
    "lambda": 1.0,
    "min_child_weight": 0.1,
    "nthread": 1,
    "seed": 0,
    "verbosity": 0,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted ranking; ``scores`` are higher for points expected to be cheaper."""

    booster: xgboost.Booster

    def scores(self, rows: Rows, priors: Rows) -> Rows:
        """One number a row; only their order means something."""
        import xgboost

        data = xgboost.DMatrix(rows, base_margin=_margin(priors), nthread=1)
        return np.asarray(self.booster.predict(data, output_margin=True), dtype=np.float64)


def fit(rows: Rows, priors: Rows, costs: Rows) -> Model:
    """A model of trials with these features, priors and costs (inf for a failed one)."""
    import xgboost

    data = xgboost.DMatrix(rows, label=_relevance(costs), base_margin=_margin(priors), nthread=1)
    data.set_info(qid=np.zeros(len(rows), dtype=np.uint32))
    return Model(xgboost.train(_PARAMETERS, data, num_boost_round=_ROUNDS))


def _margin(priors: Rows) -> Rows:
    return -np.log(np.maximum(priors, 1e-30))


def _relevance(costs: Rows) -> Rows:
    """Best cost over cost: 1 for the best trial, 0 for a failed one."""
    finite = costs[np.isfinite(costs)]
    best = finite.min() if finite.size else 1.0
    return np.where(np.isfinite(costs), best / np.maximum(costs, best), 0.0)
