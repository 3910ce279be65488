"""Knobs and spaces: values, constraints, walks, and what their errors say."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.knobs import (
    Point,
    Space,
    choice,
    factorizations,
    flag,
    key,
    order,
    split,
)


def small(*constraints: object) -> Space:
    knobs = (
        split("oc", 24, parts=3),
        choice("unroll", (1, 2, 4)),
        choice("place", ("ddr", "tcm")),
        order("loops", ("h", "w", "c")),
        flag("stream"),
    )
    return Space(knobs, tuple(constraints))  # type: ignore[arg-type]


def narrow(point: Point) -> bool:
    """One point in some hundreds."""
    return point["oc"] == (2, 3, 4) and point["unroll"] == 4 and point["stream"] is True


def message(make: object, *args: object, **kwargs: object) -> str:
    with pytest.raises(ScheduleError) as caught:
        make(*args, **kwargs)  # type: ignore[operator]
    return str(caught.value)


def test_splits_are_all_factorizations() -> None:
    assert factorizations(6, 2) == [(1, 6), (2, 3), (3, 2), (6, 1)]
    assert all(a * b * c == 24 for a, b, c in factorizations(24, 3))
    assert len(set(factorizations(24, 3))) == 30
    assert split("w", 100, candidates=(7, 16)).values == (7, 16)


def test_size_and_iteration() -> None:
    space = small()
    points = [key(point) for point in space]
    assert space.size == 30 * 3 * 2 * 6 * 2 == len(points) == len(set(points))
    assert space.count() == (space.size, True)
    assert [key(space.at(i)) for i in range(space.size)] == points
    assert Space(()).size == 1 and list(Space(())) == [{}]


def test_a_point_comes_back_from_json() -> None:
    space = small()
    data = {
        "oc": [2, 3, 4],
        "stream": False,
        "unroll": 2,
        "loops": ["w", "h", "c"],
        "place": "tcm",
    }
    point = space.point(data)
    assert point["oc"] == (2, 3, 4) and point["loops"] == ("w", "h", "c")
    assert key(point) == key(data)
    assert list(point) == ["oc", "unroll", "place", "loops", "stream"]


def test_errors_of_points() -> None:
    space = Space((choice("a", (1, 2)), flag("b")))
    assert message(space.point, {"a": 1, "b": True, "c": 2}) == (
        "point: the knobs must be those of the space (a, b), but got 'c'"
    )
    assert message(space.point, {"a": 1}) == "point: each knob needs a value, but 'b' has none"
    assert message(space.contains, {"a": 3, "b": True}) == (
        "point: knob 'a' takes one of its 2 values (1, 2), but got 3"
    )
    # True equals 1 in Python, but is another value here.
    assert "but got True" in message(space.point, {"a": True, "b": True})
    assert "but got {}" in message(space.point, {"a": {}, "b": True})


def test_errors_of_knobs() -> None:
    assert message(split, "x", 8, parts=1) == (
        "split: extent must be at least 1 and parts at least 2, but 'x' got extent=8, parts=1"
    )
    assert message(choice, "x", ()) == (
        "choice: a knob needs at least one value and no value twice, but 'x' got ()"
    )
    assert message(choice, "x", (1, "two")) == (
        "choice: the values of a knob must be of one type and length, but 'x' got (1, 'two')"
    )
    assert message(Space, (flag("x"), flag("x"))) == (
        "space: knobs must have different names, but got ['x', 'x']"
    )


def test_samples_meet_constraints_even_where_hardly_any_point_does() -> None:
    space = small(narrow)
    assert space.count() == (12, True)
    rng = Random(0)
    assert {key(space.sample(rng)) for _ in range(200)} == {key(point) for point in space}


def test_a_space_without_points_says_so() -> None:
    assert message(small(lambda point: False).sample, Random(0)) == (
        "sample: some point must meet the constraints, but none of 2160 tried of 2160 does"
    )


def test_a_survey_draws_no_more_than_it_may() -> None:
    drawn: list[Point] = []

    def counted(point: Point) -> bool:
        drawn.append(point)
        return narrow(point)

    assert len(small(counted).survey(Random(0), 5, 100)) < 5 and len(drawn) == 100
    assert len(small().survey(Random(0), 5, 100)) == 5


def test_all_points_are_given_where_they_are_few() -> None:
    assert small(narrow).every(12) == list(small(narrow))
    assert small(narrow).every(11) is None
    assert small().every(2160) == list(small())
    seen: list[Point] = []

    def counted(point: Point) -> bool:
        seen.append(point)
        return True

    assert small(counted).every(20) is None and len(seen) == 21


def test_a_walk_meets_every_valid_point_once() -> None:
    space = small(lambda point: point["unroll"] != 2)
    walked = [key(point) for point in space.walk(Random(3))]
    assert len(walked) == len(set(walked)) and set(walked) == {key(point) for point in space}


def test_large_spaces_are_estimated() -> None:
    knobs = tuple(choice(name, range(100)) for name in "abcd")
    count, exact = Space(knobs, (lambda point: int(point["a"]) < 25,)).count()  # type: ignore[arg-type]
    assert not exact and abs(count / 25e6 - 1) < 0.1


@given(st.integers(0, 10**6))
def test_moves_stay_in_the_space(seed: int) -> None:
    rng, space = Random(seed), small(lambda point: point["place"] == "tcm" or not point["stream"])
    one, other = space.sample(rng), space.sample(rng)
    child = space.crossover(one, other, rng)
    mutant = space.mutate(one, rng)
    assert mutant != one
    for point in (one, other, child, mutant, *islice(space.neighbours(one), 50)):
        assert space.contains(point)
        assert len(space.features(point)) == len(space.features(other))
    assert one not in space.neighbours(one)


def test_neighbours_are_small_steps() -> None:
    space = Space((split("k", 12), choice("u", (1, 2, 4)), order("o", ("a", "b", "c"))))
    near = space.neighbours({"k": (2, 6), "u": 1, "o": ("a", "b", "c")})
    assert [point["k"] for point in near[:3]] == [(1, 12), (4, 3), (6, 2)]
    assert [point["u"] for point in near[3:4]] == [2]
    assert [point["o"] for point in near[4:]] == [("b", "a", "c"), ("a", "c", "b")]


def test_a_space_of_one_point() -> None:
    space = Space((split("x", 1), choice("u", (3,))))
    assert space.mutate(space.at(0), Random(0)) == space.at(0) == space.sample(Random(0))
    assert space.neighbours(space.at(0)) == []


def test_the_same_seed_draws_the_same_points() -> None:
    draws = [[small(narrow).sample(Random(5)) for _ in range(3)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_features_and_fingerprint() -> None:
    space = small()
    assert space.features(space.at(0)) != space.features(space.at(1))
    assert space.fingerprint == small(narrow).fingerprint
    assert space.fingerprint != Space(space.knobs[:2]).fingerprint
