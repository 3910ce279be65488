"""Who ranks: the estimate until another one orders trials that it does not know better."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from dovetail.schedule.knobs import Point
from dovetail.schedule.templates.template import FEATURES
from dovetail.tuner.candidates import Candidates
from dovetail.tuner.model import TrialGroup
from dovetail.tuner.ranker import SHIPPED, Ranker, save, shipped, untrained
from dovetail.tuner.ranking import by_estimate, by_ranker, chosen, concordance
from dovetail.tuner.synthetic import Synthetic

COLUMNS = Synthetic("a").columns


class Misled(Synthetic):
    """A task whose estimate likes what is bad."""

    def prior(self, point: Point) -> float:
        return 1e12 / super().prior(point)


def tried(task: Synthetic, count: int) -> tuple[Candidates, list[tuple[int, float | None]]]:
    """Candidates with the costs of random points."""
    known, rng = Candidates(task), Random(0)
    numbers = known.add(task.space.sample(rng) for _ in range(count))
    return known, [(number, task.measure(known.points[number]).cost) for number in numbers]


def group(task: Synthetic, count: int = 60) -> TrialGroup:
    known, trials = tried(task, count)
    numbers = [number for number, _ in trials]
    costs = np.array([cost for _, cost in trials], float)
    return TrialGroup(known.facts(numbers), known.guesses(numbers), costs)


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    """A ranker of four kernels with misled estimates."""
    return untrained(COLUMNS).trained([group(Misled("other", seed)) for seed in range(10, 14)])


class TestConcordance:
    COSTS = np.array([1.0, 2.0, 3.0, np.inf])
    ALL = np.ones(4, dtype=bool)

    def test_is_one_for_the_right_order_and_zero_for_its_reverse(self) -> None:
        assert concordance(-np.arange(4.0), self.COSTS, self.ALL) == 1
        assert concordance(np.arange(4.0), self.COSTS, self.ALL) == 0

    def test_is_a_half_for_equal_scores_and_equal_costs(self) -> None:
        assert concordance(np.zeros(4), self.COSTS, self.ALL) == 0.5
        assert concordance(np.arange(4.0), np.ones(4), self.ALL) == 0.5

    def test_counts_pairs_with_a_held_trial_alone(self) -> None:
        held = np.array([False, False, False, True])
        assert concordance(np.array([1.0, 2.0, 3.0, 0.0]), self.COSTS, held) == 1


def test_without_trials_the_estimate_ranks(ranker: Ranker) -> None:
    known, trials = tried(Misled("a"), 40)
    for few in ([], trials[:2], [(number, None) for number, _ in trials]):
        assert chosen(known, few, ranker).name == "estimate"


def test_a_good_estimate_goes_on_ranking(ranker: Ranker) -> None:
    class Knowing(Synthetic):
        def prior(self, point: Point) -> float:
            return self.cost(point)

    known, trials = tried(Knowing("a"), 40)
    assert chosen(known, trials, ranker).name == "estimate"


def test_a_ranker_of_other_kernels_is_better_than_a_misled_estimate(ranker: Ranker) -> None:
    known, trials = tried(Misled("a", 1), 30)
    assert chosen(known, trials[:5], ranker).name == "ranker"
    numbers, costs = [n for n, _ in trials], np.array([cost for _, cost in trials], float)
    every = np.ones(len(trials), dtype=bool)
    right = [
        concordance(ranking.scores(numbers), costs, every)
        for ranking in (by_estimate(known), by_ranker(known, ranker))
    ]
    assert right[1] > right[0]


def test_a_ranker_of_other_columns_is_not_asked() -> None:
    def load() -> tuple[tuple[str, ...], tuple[()]]:
        return ("other",), ()

    known, trials = tried(Misled("a", 1), 6)
    assert chosen(known, trials, Ranker("x", load)).name == "estimate"


def test_many_trials_make_a_model_of_the_kernel() -> None:
    known, trials = tried(Misled("a", 1), 64)
    assert chosen(known, trials, None).name == "model"


def test_order_keeps_candidates_of_one_score_in_their_order() -> None:
    known, trials = tried(Synthetic("a", blind=True), 10)
    numbers = [number for number, _ in trials]
    assert chosen(known, [], None).order(numbers[::-1]) == numbers[::-1]
    assert chosen(known, [], None).order([]) == []


class TestRanker:
    def test_is_a_function_of_what_it_learned(self, ranker: Ranker) -> None:
        again = untrained(COLUMNS).trained([group(Misled("other", seed)) for seed in range(10, 14)])
        other = untrained(COLUMNS).trained([group(Misled("other", seed)) for seed in range(10, 13)])
        told = group(Misled("a", 1))
        assert again.name == ranker.name != other.name
        scores = [one.scores(told.rows, told.guesses) for one in (ranker, again, other)]
        assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])

    def test_goes_through_a_file(self, ranker: Ranker, tmp_path: Path) -> None:
        told = group(Misled("a", 1))
        wanted = ranker.scores(told.rows, told.guesses)
        for name in ("a.ubj", "b.ubj"):
            save(ranker, tmp_path / name)
        assert (tmp_path / "a.ubj").read_bytes() == (tmp_path / "b.ubj").read_bytes()
        found = shipped(tmp_path / "a.ubj")
        assert found.columns == COLUMNS
        assert np.array_equal(found.scores(told.rows, told.guesses), wanted)

    def test_learns_more(self, ranker: Ranker) -> None:
        assert ranker.trained([]) is ranker
        told = group(Misled("a", 1))
        more = ranker.trained([told])
        every = np.ones(len(told.costs), dtype=bool)
        right = [
            concordance(one.scores(told.rows, told.guesses), told.costs, every)
            for one in (ranker, more)
        ]
        assert more.name != ranker.name and right[1] > right[0]

    def test_of_the_package_is_small_and_knows_the_features_of_today(self) -> None:
        assert SHIPPED.stat().st_size < 300_000
        assert shipped().columns == FEATURES and len(shipped().name) == 16
