"""Observers see a stream in bounded memory and do not care how it was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.options.checks import InputError
from dovetail.quant.observe import OBSERVERS, Observer
from dovetail.quant.observers.percentile import Percentile
from dovetail.quant.recipe import Recipe


@pytest.mark.parametrize("kind", OBSERVERS)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 400), max_size=4))
def test_cuts_do_not_matter(kind: str, seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(500) * 10.0 ** rng.uniform(-3, 3, 500)).astype(np.float32)
    whole, parts = OBSERVERS[kind](), OBSERVERS[kind]()
    whole.add(values)
    for part in np.split(values, sorted(cuts)):
        parts.add(part)
    assert whole.range() == parts.range()


@pytest.mark.parametrize("kind", OBSERVERS)
def test_nothing_and_zeros_are_an_empty_range(kind: str) -> None:
    watch: Observer = OBSERVERS[kind]()
    assert watch.range() == (0.0, 0.0)
    watch.add(np.zeros(5, np.float32))
    assert watch.range() == (0.0, 0.0)


def test_percentile_leaves_the_tails_out() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200_000).astype(np.float32)
    values[0] = 1000.0
    watch = Percentile(99.0)
    watch.add(values)
    low, high = watch.range()
    assert low == pytest.approx(np.quantile(values, 0.005), abs=0.15)
    assert high == pytest.approx(np.quantile(values, 0.995), abs=0.15)


def test_percentile_of_everything_is_the_range() -> None:
    watch = Percentile(100.0)
    watch.add(np.linspace(-3, 5, 1000))
    assert watch.range() == (-3.0, 5.0)


def test_memory_is_bounded() -> None:
    watch = Percentile()
    for exponent in range(60):
        watch.add(np.full(10, 2.0**exponent))
    assert watch.counts.size == Percentile.BINS and watch.counts.sum() == 600


def test_unknown_observer() -> None:
    with pytest.raises(InputError) as error:
        Recipe(observer="entropy")
    assert str(error.value) == ("observer: must be one of minmax, percentile, but got 'entropy'")
