"""Bytes of the zoo: every kernel gives what its operator's exact evaluation gives, at any point.

``make exact`` takes each kernel at its default and at 50 random points, on two machines, and runs
whole models; ``make test`` a seeded slice of that, and prints which.
"""

from __future__ import annotations

from functools import cache
from random import Random

import pytest
import torch

from dovetail.driver.api import compile as compile_model
from dovetail.driver.executed import executed
from dovetail.driver.prepare import Ready, quantized, ready
from dovetail.driver.targets import parse
from dovetail.driver.tuned import Tuned
from dovetail.driver.zoo import build, calibration, names
from dovetail.graph.graph import Graph
from tests.exact.points import TARGETS, Record, hold, told

pytestmark = pytest.mark.exact

WHOLE = ("digits", "resnet8", "dscnn", "autoencoder", "mobilenet_v2", "resnet18")
WHOLE_OF_A_SLICE = ("resnet8", "dscnn")
LARGE = ("mobilenet_v2", "resnet18", "resnet50")
PARTS = 6  # of a large model's kernels
POINTS = 50
KERNELS_OF_A_SLICE = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All models on both machines under --exact; else each once, on the machines in turn."""
    everything = bool(metafunc.config.getoption("--exact"))
    if "part" in metafunc.fixturenames:
        cases = [
            (model, target, part)
            for number, model in enumerate(names())
            for target in (TARGETS if everything else TARGETS[number % 2 :][:1])
            for part in range(PARTS if everything and model in LARGE else 1)
        ]
        metafunc.parametrize("model, target, part", cases, ids=str)
    elif "whole" in metafunc.fixturenames:
        models = WHOLE if everything else WHOLE_OF_A_SLICE
        pairs = [(m, t) for m in models for t in (TARGETS if everything else TARGETS[:1])]
        metafunc.parametrize("whole, target", pairs, ids=str)


@cache
def integer(name: str) -> Graph:
    """A zoo model's integer graph."""
    model, inputs = build(name)
    return quantized(model, inputs, calibration(name))


@cache
def placed(name: str, target: str) -> Ready:
    return ready(integer(name), parse(target))


def test_kernels(model: str, target: str, part: int, exact: bool, record_property: Record) -> None:
    tasks, rng = placed(model, target).tasks, Random(f"{model} {target} {part}")
    if exact:
        chosen = tasks[part :: PARTS if model in LARGE else 1]
    else:
        chosen = rng.sample(tasks, KERNELS_OF_A_SLICE)
    assert chosen
    for task in chosen:
        points = hold(task, POINTS if exact else 1, rng)
        record_property("slice", f"{model} on {target}: {told(task, points)}")


@cache
def compiled(name: str, target: str) -> Tuned:
    model, inputs = build(name)
    found = compile_model(model, inputs, calibration(name), target, executor=1)
    assert isinstance(found, Tuned)
    return found


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
def test_whole_under_qemu(whole: str, target: str, record_property: Record) -> None:
    """Real code, linked as one program: the exact bytes, in the packets that listings have."""
    tuned = compiled(whole, target)
    given = tuned.quantized_arrays([x.numpy() for x in calibration(whole, 1)[0]])
    done = executed(tuned, given)
    for got, wanted in zip(done.outputs, tuned.exact(given), strict=True):
        assert got.tobytes() == wanted.tobytes()
    assert all(row.packets == row.predicted for row in done.rows)
    packets = sum(row.packets for row in done.rows)
    record_property("slice", f"{whole} on {target}: {packets} packets under QEMU")


def test_whole(whole: str, target: str, record_property: Record) -> None:
    tuned = compiled(whole, target)
    for (x,) in calibration(whole, 2):
        got, wanted = tuned(x), tuned.reference(x)
        assert isinstance(got, torch.Tensor) and isinstance(wanted, torch.Tensor)
        assert got.numpy().tobytes() == wanted.numpy().tobytes()
    record_property("slice", f"{whole} on {target}: whole, default schedules")


def test_the_slice_has_every_model() -> None:
    assert {*WHOLE, "resnet50"} == set(names())
