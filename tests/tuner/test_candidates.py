"""Candidates: one number and one description a point, kinds, and batches of many kinds."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from dovetail.schedule.knobs import Point
from dovetail.tuner.candidates import Candidates, spell
from dovetail.tuner.model import guess_of
from dovetail.tuner.search import BATCHES, Evolution
from dovetail.tuner.synthetic import Synthetic


@dataclass(frozen=True)
class Coarse(Synthetic):
    """A task whose features know nothing of three knobs, and that counts its descriptions."""

    asked: list[Point] = field(default_factory=list, compare=False)

    def features(self, point: Point) -> NDArray[np.float64]:
        self.asked.append(point)
        return np.array([float(np.prod(point["m"])), *map(float, point["n"])])  # type: ignore


def kind(task: Synthetic, point: Point) -> bytes:
    return task.features(point).tobytes()


def test_a_point_has_one_number_and_is_described_once() -> None:
    task, rng = Coarse("a"), Random(0)
    known = Candidates(task)
    points = [task.space.sample(rng) for _ in range(20)]
    numbers = known.add(points)
    assert known.add([dict(point) for point in points[::-1]]) == numbers[::-1]
    assert [known.points[number] for number in numbers] == points
    assert len(task.asked) == len(numbers) == len({spell(task.space, p) for p in points})
    rows, guesses = known.rows(numbers), known.guesses(numbers)
    assert rows.shape == (len(numbers), len(task.space.features(points[0])) + 4)
    assert list(guesses) == list(guess_of(np.array([task.prior(point) for point in points])))


def test_a_batch_has_no_two_points_of_one_kind() -> None:
    task = Coarse("a", 2)
    search = Evolution(task, 0)
    for size in BATCHES:
        points = search.ask()
        assert len({kind(task, point) for point in points}) == len(points) == size
        search.tell(points, [task.measure(point).cost for point in points])


def test_batches_look_at_new_kinds() -> None:
    task = Coarse("a", 2)
    search, seen, new = Evolution(task, 0), set[bytes](), 0
    for _ in BATCHES:
        points = search.ask()
        kinds = {kind(task, point) for point in points}
        new += len(kinds - seen)
        seen |= kinds
        search.tell(points, [task.measure(point).cost for point in points])
    assert new >= sum(BATCHES) // 2


def test_the_first_batch_is_what_the_prior_likes_best() -> None:
    class Sure(Evolution):
        chance = 0.0

    task = Synthetic("a", 4)
    points = Sure(task, 0).ask()
    rng = Random(1)
    typical = sorted(task.prior(task.space.sample(rng)) for _ in range(100))
    assert points[0] == task.default
    assert all(task.prior(point) <= typical[2] for point in points[1:])


def test_points_of_one_kind_are_all_that_is_left() -> None:
    @dataclass(frozen=True)
    class Same(Synthetic):
        def features(self, point: Point) -> NDArray[np.float64]:
            return np.zeros(1)

    search = Evolution(Same("a"), 0)
    for size in BATCHES:
        points = search.ask()
        assert len(points) == size
        search.tell(points, [1.0 + i for i in range(size)])
