"""How many threads share a kernel is a choice: more of them never take longer."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule.knobs import Point
from dovetail.target.dsp.target import dsp
from dovetail.target.program import THREADS
from tests.schedule.operators import Case, hold

CASES = {
    "linear": Case("outputs", torch.nn.Linear(256, 10), ((1, 256),)),
    "tokens": Case("lanes", lambda x: x.flatten(2).transpose(1, 2), ((1, 128, 14, 14),)),
    "sum": Case("lanes", lambda a, b: a + b, ((1, 64, 6, 6),) * 2, "q_add"),
    "mean": Case("reduction", lambda x: x.mean((2, 3)), ((1, 64, 9, 9),)),
}


CYCLES = {
    "linear": [612, 612, 612, 612],
    "tokens": [3943, 3639, 3549, 3447],
    "sum": [728, 728, 728, 728],
    "mean": [797, 797, 797, 797],
}  # of the defaults on 1 to 4 threads


def task_of(name: str, threads: int = 4) -> KernelTask:
    return CASES[name].task(dsp(threads=threads), "ddr")


def least(task: KernelTask) -> int:
    found = task.measure(task.default).cycles
    assert found is not None
    return found


def on(point: Point, threads: int) -> Point:
    return {**point, THREADS: threads}


@pytest.mark.parametrize("name", CASES)
def test_more_threads_never_take_longer(name: str) -> None:
    cycles = [least(task_of(name, threads)) for threads in (1, 2, 3, 4)]
    assert cycles == CYCLES[name] and cycles == sorted(cycles, reverse=True)


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_on_few_threads_is_that_of_a_smaller_machine(name: str) -> None:
    task, rng = task_of(name), Random(len(name))
    small = {threads: task_of(name, threads) for threads in (1, 2, 3)}
    for _ in range(3):
        point = task.space.sample(rng)
        assert point[THREADS] == 4
        for threads, other in small.items():
            own = {knob.name: point[knob.name] for knob in other.space.knobs}
            own |= {THREADS: threads} if threads > 1 else {}
            if other.space.valid(own):
                found, wanted = task.measure(on(point, threads)), other.measure(own)
                assert (found.status, found.cycles) == (wanted.status, wanted.cycles)
                assert task.prior(on(point, threads)) == other.prior(own)


def test_few_threads_give_the_operators_bytes() -> None:
    for name in CASES:
        task = task_of(name)
        point = task.space.sample(Random(7))
        few = [on(point, threads) for threads in (1, 3)]
        hold(task, [point for point in few if task.space.valid(point)])


def test_a_point_that_does_not_say_runs_on_all() -> None:
    """As logs did when all threads shared each kernel."""
    task = task_of("tokens")
    point = task.space.sample(Random(0))
    before = {name: value for name, value in point.items() if name != THREADS}
    assert task.space.point(before) == point and point[THREADS] == 4


def test_threads_without_work_are_none() -> None:
    """Loops that keep one thread busy make the same nest on any number."""
    task = task_of("linear")
    points = (on(task.default, threads) for threads in (1, 2, 3, 4))
    nests = {task.nest(point) for point in points if task.space.valid(point)}
    assert len(nests) == 1


def test_blind_draws_are_on_all_threads_and_mutations_on_any() -> None:
    task, rng = task_of("sum"), Random(1)
    drawn = task.space.survey(rng, 40, 400)
    near = {n[THREADS] for point in drawn for n in task.space.neighbours(point)}
    assert {point[THREADS] for point in drawn} == {4} and near == {3, 4}


def test_machines_of_one_thread_have_no_choice() -> None:
    task = task_of("mean", 1)
    assert THREADS not in {knob.name for knob in task.space.knobs}
    many = replace(task, machine=dsp(threads=12)).space.knobs[-1]
    assert many.name == THREADS and many.values == (12, 6, 3, 1)
