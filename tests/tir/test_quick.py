"""Quick frozen data is what a frozen dataclass is."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from dovetail.tir.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 7
    note: str = field(default="", compare=False)


def test_arguments_go_by_place_and_by_name_and_have_defaults() -> None:
    assert repr(Point(1)) == "Point(x=1, y=7, note='')"
    assert Point(1, 2, "a") == Point(y=2, x=1, note="b")
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    assert hash(Point(1, 2)) == hash(Point(1, 2, "a"))


def test_arguments_that_are_wrong_are_refused() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=2)  # type: ignore[call-arg]


def test_fields_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Point(1).x = 2  # type: ignore[misc]


def test_it_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Point(1, 2, "a"))).note == "a"
