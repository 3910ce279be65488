"""The collector of cyclic garbage gets its settings back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from dovetail.tuner.garbage import seldom
from dovetail.tuner.measure import hired


@pytest.fixture(autouse=True)
def settings() -> Iterator[tuple[int, int, int]]:
    """Settings of the user's own."""
    before = gc.get_threshold()
    gc.set_threshold(500, 7, 8)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_the_collector_runs_seldom_within_the_block(settings: tuple[int, int, int]) -> None:
    with seldom():
        assert gc.get_threshold()[0] > 1000 * settings[0]
    assert gc.get_threshold() == settings


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_block_that_is_stopped_gives_settings_back(
    stop: type[BaseException], settings: tuple[int, int, int]
) -> None:
    with pytest.raises(stop), hired(0, 1.0):
        assert gc.get_threshold() != settings
        raise stop
    assert gc.get_threshold() == settings


def test_a_collector_that_is_off_stays_so() -> None:
    gc.disable()
    try:
        with seldom():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
