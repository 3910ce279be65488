"""Bytes: compiled code gives what the operators' exact evaluation gives, at every point tried.

``make exact`` takes every kernel of the zoo at its default and at 50 random points, on two
machines, and runs whole models; ``make test`` a seeded slice of that, and prints which.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dovetail.driver.api import compile as compile_model
from dovetail.driver.prepare import quantized, ready
from dovetail.driver.target import parse
from dovetail.driver.task import Compiled, KernelTask, check
from dovetail.driver.tuned import Tuned
from dovetail.driver.zoo import build, calibration, names
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.knobs import Point, key

pytestmark = pytest.mark.exact

TARGETS = ("dsp", "dsp(tcm=256 << 10)")
WHOLE = ("digits", "resnet8", "dscnn", "autoencoder", "mobilenet_v2")
POINTS, TRIES = 50, 1000
KERNELS_OF_A_SLICE = 2
Record = Callable[[str, object], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All models on both machines under --exact; else each once, on the machines in turn."""
    everything = bool(metafunc.config.getoption("--exact"))
    chosen = {"zoo_kernels": tuple(names()), "zoo_whole": WHOLE, "odd": tuple(ODD)}
    for fixture, models in chosen.items():
        if fixture not in metafunc.fixturenames:
            continue
        if everything:
            pairs = [(model, target) for model in models for target in TARGETS]
        else:
            few = models[:2] if fixture == "zoo_whole" else models
            pairs = [(model, TARGETS[i % 2]) for i, model in enumerate(few)]
        metafunc.parametrize(fixture, pairs, ids=[" on ".join(pair) for pair in pairs])


@cache
def integer(name: str) -> Graph:
    """A zoo model's integer graph."""
    model, inputs = build(name)
    return quantized(model, inputs, calibration(name), "minmax")


def compiled(task: KernelTask, point: Point) -> Compiled | None:
    """The code at a point, or None where the schedule does not fit."""
    try:
        return task.compiled(point)
    except ScheduleError:
        return None


def points(task: KernelTask, count: int, rng: Random) -> list[Compiled]:
    """The default, and so many random points that have code (all, where there are fewer)."""
    found = {key(task.default): compiled(task, task.default)}
    for _ in range(TRIES if count > 1 else 50):
        if sum(code is not None for code in found.values()) > count:
            break
        point = task.space.sample(rng)
        if key(point) not in found:
            found[key(point)] = compiled(task, point)
    return [code for code in found.values() if code is not None]


def test_kernels_of_the_zoo(
    zoo_kernels: tuple[str, str], exact: bool, record_property: Record
) -> None:
    name, target = zoo_kernels
    rng = Random(f"{name} {target}")
    tasks = ready(integer(name), parse(target)).tasks
    chosen = tasks if exact else rng.sample(tasks, min(KERNELS_OF_A_SLICE, len(tasks)))
    for task in chosen:
        tried = points(task, POINTS if exact else 1, rng)
        assert tried, task.name
        for code in tried:
            right, message = check(task, code)
            assert right, f"{name} on {target}, {task.name} at {key(code.point)}: {message}"
        record_property("slice", f"{name} on {target}: {task.name} at {len(tried)} points, e.g. "
                                 f"{key(tried[-1].point)}")  # fmt: skip


def same(tuned: Tuned, inputs: tuple[Tensor, ...]) -> bool:
    """Whether the code leaves the evaluator's bytes."""
    arrays = tuned.quantized(*inputs)
    found, wanted = tuned.runtime.run(arrays), evaluate(tuned.ready.graph, arrays)
    return all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_whole_models_of_the_zoo(zoo_whole: tuple[str, str], record_property: Record) -> None:
    name, target = zoo_whole
    model, inputs = build(name)
    tuned = compile_model(model, inputs, calibration(name), target, workers=1)
    assert all(same(tuned, batch) for batch in calibration(name, 2))
    record_property("slice", f"{name} on {target}: whole, default schedules")


def conv(*sizes: int, **more: int) -> nn.Module:
    return nn.Conv2d(*sizes, **more)  # type: ignore[arg-type]


# Shapes that fill no vector and divide by nothing.
ODD: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "13 to 29 channels": (lambda: conv(13, 29, 3, padding=1), (1, 13, 37, 53)),
    "stride 3": (lambda: conv(5, 7, 3, stride=3), (1, 5, 37, 53)),
    "dilation": (lambda: conv(13, 29, 3, dilation=2, padding=2), (1, 13, 19, 23)),
    "groups": (lambda: conv(12, 18, 3, groups=3, padding=1), (1, 12, 17, 13)),
    "depthwise": (lambda: conv(29, 29, 3, groups=29, stride=2), (1, 29, 37, 53)),
    "one pixel": (lambda: conv(29, 13, 1), (1, 29, 1, 1)),
    "batch of 3": (lambda: conv(3, 8, 3, padding=1), (3, 3, 11, 9)),
    "linear": (lambda: nn.Linear(53, 29), (3, 53)),
    "a small net": (
        lambda: nn.Sequential(
            conv(3, 13, 3, padding=1), nn.ReLU6(), nn.MaxPool2d(3, 2, 1), conv(13, 29, 1),
            nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(29, 5),
            nn.Softmax(1),
        ),
        (1, 3, 37, 53),
    ),
}  # fmt: skip


def test_odd_shapes(odd: tuple[str, str], record_property: Record) -> None:
    name, target = odd
    make, shape = ODD[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = make().eval(), torch.randn(shape)
    tuned = compile_model(model, (x,), [(x,)], target, workers=0)
    assert same(tuned, (x,))
    record_property("slice", f"{name} on {target}: default schedules")
