"""The task scheduler: trials go where the model gets faster."""

from collections import Counter

from dovetail.tuner.scheduler import Scheduler
from dovetail.tuner.synthetic import Synthetic


def spend(tasks: list[Synthetic], batches: int, gains: dict[str, float]) -> Counter[str]:
    """Which kernels get the batches, if each batch takes this share off a kernel's cost."""
    scheduler = Scheduler(tasks, seed=0)
    costs = {task.name: task.prior(task.default) for task in tasks}
    spent: Counter[str] = Counter()
    for _ in range(batches):
        number = scheduler.pick()
        if number is None:
            break
        name = tasks[number].name
        costs[name] = max(costs[name] * (1 - gains[name]), tasks[number].bound)
        scheduler.tell(number, costs[name])
        spent[name] += 1
    return spent


def test_every_kernel_gets_a_first_batch_in_time() -> None:
    tasks = [Synthetic(f"k{i}", i, weight=1 + i) for i in range(6)]
    spent = spend(tasks, 24, {task.name: 0.1 for task in tasks})
    assert set(spent) == {task.name for task in tasks}


def test_the_heavier_kernel_comes_first() -> None:
    tasks = [Synthetic("light", 1), Synthetic("heavy", 1, weight=9)]
    assert Scheduler(tasks, seed=0).pick() == 1


def test_kernels_whose_batches_are_under_way_wait() -> None:
    scheduler = Scheduler([Synthetic(f"k{i}", i) for i in range(3)], seed=0)
    assert {scheduler.pick({0, 2}) for _ in range(40)} == {1}
    assert scheduler.pick(range(3)) is None


def test_batches_go_where_they_gain() -> None:
    tasks = [Synthetic("stuck", 1), Synthetic("falling", 2)]
    spent = spend(tasks, 30, {"stuck": 0.0, "falling": 0.2})
    assert spent["falling"] > 1.5 * spent["stuck"] > 0


def test_a_kernel_at_its_bound_is_done() -> None:
    tasks = [Synthetic("a", 1), Synthetic("b", 2)]
    scheduler = Scheduler(tasks, seed=0)
    scheduler.tell(0, tasks[0].bound)
    assert {scheduler.pick() for _ in range(40)} == {1}
    scheduler.close(1)
    assert scheduler.pick() is None


def test_failed_batches_do_not_stop_it() -> None:
    scheduler = Scheduler([Synthetic("a", 1)], seed=0)
    for _ in range(5):
        assert scheduler.pick() == 0
        scheduler.tell(0, None)
