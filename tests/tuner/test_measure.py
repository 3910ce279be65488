"""Measuring: the same answers from every executor, and what becomes of crashes and time-outs."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from random import Random
from typing import Any

import pytest

from dovetail.schedule.knobs import Point
from dovetail.tuner.measure import Measurer
from dovetail.tuner.synthetic import Synthetic
from dovetail.tuner.task import Measured, TuneError, rebuild

TASK = Synthetic("a", 3)


def points(count: int) -> list[Point]:
    rng = Random(4)
    return [TASK.space.sample(rng) for _ in range(count)]


def dask() -> Executor:
    distributed: Any = import_module("distributed")
    client = distributed.Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    )
    executor: Executor = client.get_executor()
    return executor


EXECUTORS: dict[str, Callable[[], Measurer]] = {
    "in process": lambda: Measurer(executor=0),
    "one worker": lambda: Measurer(executor=1),
    "two workers": lambda: Measurer(executor=2),
    "threads": lambda: Measurer(ThreadPoolExecutor(2)),
    "processes": lambda: Measurer(ProcessPoolExecutor(1, mp_context=get_context("spawn"))),
    "dask": lambda: Measurer(dask()),
}


@pytest.fixture(scope="module", params=EXECUTORS)
def measurer(request: pytest.FixtureRequest) -> Iterator[Measurer]:
    with EXECUTORS[request.param]() as made:
        yield made
    if not made._own:
        made._executor.shutdown()


class TestEveryExecutor:
    def test_answers_in_the_order_of_the_points(self, measurer: Measurer) -> None:
        found = measurer.run(TASK, "measure", points(8))
        assert [one.cycles for one in found] == [TASK.cost(point) for point in points(8)]
        assert all(one.status == "ok" and one.time["measure"] >= 0 for one in found)

    def test_an_exception_is_a_status(self, measurer: Measurer) -> None:
        task = Synthetic("a", 3, fault="raise")
        failed = [one for one in measurer.run(task, "measure", points(40)) if one.status != "ok"]
        assert failed and {one.status for one in failed} == {"compile"}
        assert {one.message for one in failed} == {"ValueError: no rule for this point"}

    def test_values_are_compared(self, measurer: Measurer) -> None:
        task = Synthetic("a", 3, fault="wrong")
        found = measurer.run(task, "check", points(40))
        assert {one.status for one in found} == {"ok", "incorrect"}
        wrong = next(one for one in found if one.status == "incorrect")
        assert wrong.message == "element 3 is 7, but must be 8"


def answers(task: Synthetic, timeout: float = 60.0) -> list[Measured]:
    with Measurer(executor=2, timeout=timeout) as measurer:
        return measurer.run(task, "measure", points(12))


@pytest.mark.parametrize(
    ("fault", "timeout", "status", "message"),
    [("exit", 60.0, "crash", "exit code 3"), ("hang", 1.5, "timeout", "no answer within 1.5 s")],
)
def test_a_lost_worker_costs_the_guilty_trial_only(
    fault: str, timeout: float, status: str, message: str
) -> None:
    task = Synthetic("a", 3, fault=fault, simulated=False)
    found = answers(task, timeout)
    for point, one in zip(points(12), found, strict=True):
        if task._faulty(point):
            assert (one.status, one.message, one.cost) == (status, message, None)
        else:
            assert one.seconds == TASK.cost(point) * 1e-9
    assert 0 < sum(one.status == status for one in found) < 6


def test_on_a_simulated_target_a_lost_worker_ends_the_run() -> None:
    with pytest.raises(TuneError) as caught:
        answers(Synthetic("a", 3, fault="exit"))
    text = str(caught.value)
    assert text.startswith(
        "measure: a trial on a simulated target must end by itself, but kernel 'a' at {"
    )
    assert text.endswith(
        "twice gave a crash (exit code 3); the log is whole up to the trial before"
    )


def test_a_worker_that_cannot_build_its_task_says_why() -> None:
    class Lost(Synthetic):
        @property
        def spec(self):  # type: ignore[no-untyped-def]
            from dovetail.tuner.task import TaskSpec

            return TaskSpec("dovetail.tuner.nowhere:rebuild", b"")

    with pytest.raises(TuneError, match=r"No module named 'dovetail\.tuner\.nowhere'"):
        answers(Lost("a", 3))


def test_a_closed_executor_is_named() -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with Measurer(closed) as measurer, pytest.raises(TuneError) as caught:
        measurer.run(TASK, "measure", points(2))
    assert str(caught.value) == (
        "measure: the executor must take jobs, but ThreadPoolExecutor refused one "
        "(RuntimeError: cannot schedule new futures after shutdown); give an executor that is open"
    )


def test_a_closed_cluster_is_named() -> None:
    closed: Any = dask()
    closed._client.close()
    with Measurer(closed) as measurer, pytest.raises(TuneError) as caught:
        measurer.run(TASK, "measure", points(2))
    text = str(caught.value)
    assert text.startswith("measure: the executor must take jobs, but ClientExecutor refused one (")
    assert text.endswith("; give an executor that is open") and "\n" not in text


def test_a_spec_rebuilds_its_task() -> None:
    assert rebuild(TASK.spec) == TASK and rebuild(TASK.spec).key == TASK.key
