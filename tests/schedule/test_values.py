"""No schedule changes values: random legal primitives on sample kernels, interpreted before and
after, byte for byte; and every trace replays to the identical function."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schedule.kernels import TEXTS, kernel, same
from tests.schedule.moves import play


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30), wanted=st.integers(1, 14))
def test_random_schedules_keep_values(name: str, seed: int, wanted: int) -> None:
    func = kernel(name)
    same(play(func, Random(seed), wanted), func)


def test_moves_are_not_all_refused() -> None:
    steps = {
        step.name for seed in range(40) for step in play(kernel("conv"), Random(seed), 10).trace
    }
    assert steps >= {"split", "reorder", "fuse", "vectorize", "compute_at", "transform_layout",
                     "cache_read", "decompose_reduction"}  # fmt: skip
