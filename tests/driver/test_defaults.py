"""Defaults: ranked by the estimate, packed in waves, the same on any number of workers."""

from collections.abc import Callable
from random import Random

import pytest

from dovetail.driver.choose import choose
from dovetail.driver.defaults import PACKED, Pick, ranked
from dovetail.driver.prepare import Ready, prepare
from dovetail.driver.targets import parse
from dovetail.driver.zoo import build, calibration
from dovetail.schedule.knobs import Point, Space
from dovetail.target.errors import SelectError
from dovetail.tuner.measure import Measurer
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Measured

POINTS: list[Point] = [{"n": n} for n in range(100)]


def told(pick: Pick, costs: list[int | None], nests: list[str] | None = None) -> list[Point]:
    """Packs waves at these costs, by the number of the point, to the end."""
    packed: list[Point] = []
    while wave := pick.wave():
        numbers = [POINTS.index(point) for point in wave]
        pick.tell(wave, [_answer(costs[n], nests[n] if nests else "") for n in numbers])
        packed += wave
    return packed


def _answer(cost: int | None, nest: str) -> Measured:
    return Measured("ok", cost, nest=nest) if cost else Measured("invalid", message="no")


def test_three_waves_that_bring_nothing_better_are_the_last() -> None:
    pick = Pick(1, [POINTS])
    assert len(told(pick, [50, 40, *[60] * 98])) == 10
    assert (pick.cost, pick.point) == (40, {"n": 1})


def test_no_more_are_packed_than_allowed() -> None:
    pick = Pick(1, [POINTS])
    assert len(told(pick, list(range(200, 100, -1)))) == pick.packed == PACKED
    assert pick.point == {"n": PACKED - 1}


def test_a_cost_at_the_bound_ends_the_choice() -> None:
    assert len(told(Pick(30, [POINTS]), [30] * 100)) == 4


def test_duplicates_are_not_counted() -> None:
    pick = Pick(1, [POINTS])
    nests = [f"{n // 2}" for n in range(100)]
    assert len(told(pick, list(range(200, 100, -1)), nests)) == 2 * PACKED - 1
    assert pick.packed == PACKED


def test_no_part_depends_on_another_one() -> None:
    """What one number of threads gives is the same beside any others."""
    costs: list[int | None] = [50, 40, *[60] * 18, *[45] * 4, 39, *[45] * 75]
    few = Pick(1, [POINTS[20:40]])
    told(few, costs)
    both = Pick(1, [POINTS[:20], POINTS[20:40]])
    told(both, costs)
    assert few.cost == both.cost == 39 and few.point == both.point


def test_code_that_another_part_packed_has_its_cost() -> None:
    pick = Pick(1, [POINTS[:20], POINTS[20:40]])
    nests = [f"{n % 20}" for n in range(100)]
    assert len(told(pick, list(range(50, 150)), nests)) == 20
    assert (pick.packed, pick.cost) == (10, 50)


def test_a_part_without_code_ends_where_another_one_has_some() -> None:
    pick = Pick(1, [POINTS[:4], POINTS[4:]])
    assert len(told(pick, [50, *[None] * 99])) == 4 + PACKED


def test_more_are_tried_only_where_none_has_code() -> None:
    pick = Pick(1, [POINTS])
    assert len(told(pick, [None] * 60 + [5] * 40)) == 68
    assert pick.point == {"n": 60}


def test_spare_points_come_where_no_other_has_code() -> None:
    pick = Pick(1, [POINTS[:40], POINTS[40:50]], lambda: [POINTS[50:]])
    assert len(told(pick, [None] * 50 + [5] * 50)) == 60
    assert pick.point == {"n": 50}
    with pytest.raises(SelectError, match="no schedule of its 100 that were tried works: no"):
        told(Pick(1, [POINTS[:50]], lambda: [POINTS[50:]]), [None] * 100)


def test_a_kernel_without_code_says_why() -> None:
    with pytest.raises(SelectError) as caught:
        told(Pick(1, [POINTS]), [None] * 100)
    assert str(caught.value) == "no schedule of its 100 that were tried works: no"


class Made(Synthetic):
    """A kernel on one number of threads."""

    def parts(self, spare: bool = False) -> list[tuple[float, Callable[[], Space]]]:
        return [] if spare else [(self.bound, lambda: self.space)]


def test_the_first_points_differ_in_their_estimate() -> None:
    class Rough(Made):
        def prior(self, point: Point) -> float:
            return round(super().prior(point), -4)

    task = Rough("a")
    (points,) = ranked(task)
    guesses = [task.prior(point) for point in points]
    leaders = sorted(set(guesses))
    assert guesses[:3] == leaders[:3] and guesses[4] == leaders[3]
    assert guesses[3] == min(guesses[3:]) == leaders[0]
    assert ranked(task) == ranked(Rough("a"))


def test_ranking_looks_around_what_it_likes() -> None:
    task, rng = Made("a"), Random(0)
    sample = [task.prior(task.space.sample(rng)) for _ in range(400)]
    assert task.prior(ranked(task)[0][0]) < min(sample)


@pytest.fixture(scope="module")
def kernels() -> Ready:
    module, inputs = build("resnet8")
    return prepare(module, inputs, calibration("resnet8"), parse("dsp"))


def test_the_choice_is_the_same_on_any_number_of_workers(kernels: Ready) -> None:
    tasks = kernels.tasks[:4]
    found = []
    for workers in (0, 1, 3):
        with Measurer(executor=workers) as measurer:
            chosen = choose(tasks, {}, measurer)
        found.append({key: (choice.point, choice.cost.cycles) for key, choice in chosen.items()})
    assert found[0] == found[1] == found[2]
    assert [found[0][task.key][0] for task in tasks] == [task.default for task in tasks]
