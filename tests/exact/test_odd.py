"""Bytes of odd shapes: each kernel of models that fill no vector, and the models as wholes.

``make exact`` takes all of ``odd.py`` and 400 random models, on two machines, each kernel at its
default and at 10 random points; ``make test`` a seeded slice of that, and prints which.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from random import Random

import pytest

from dovetail.driver.prepare import quantized, ready
from dovetail.driver.targets import parse
from dovetail.quant.affine import quantize_inputs
from tests.exact.chance import chance
from tests.exact.odd import MODELS, Made
from tests.exact.points import TARGETS, Record, hold, hold_whole

pytestmark = pytest.mark.exact

POINTS = 10
SEEDS = 400
ODD_OF_A_SLICE, SEEDS_OF_A_SLICE = 24, 10


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All on both machines under --exact; else a few, on the machines in turn."""
    everything = bool(metafunc.config.getoption("--exact"))
    rows: dict[str, tuple[Sequence[str | int], int]] = {
        "odd": (list(MODELS), ODD_OF_A_SLICE),
        "seed": (range(SEEDS), SEEDS_OF_A_SLICE),
    }
    for name in rows.keys() & set(metafunc.fixturenames):
        every, few = rows[name]
        if everything:
            cases = [(row, target) for row in every for target in TARGETS]
        else:
            drawn = every[:: -(-len(every) // few)]
            cases = [(row, TARGETS[i % 2]) for i, row in enumerate(drawn)]
        metafunc.parametrize(f"{name}, target", cases, ids=str)


def hold_model(name: str, made: Made, target: str, exact: bool, record: Record) -> None:
    """Each kernel at points of its space, then the model."""
    model, inputs = made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = quantized(model, inputs, [inputs])
    found = ready(graph, parse(target))
    rng = Random(f"{name} {target}")
    counts = [len(hold(task, POINTS if exact else 1, rng)) for task in found.tasks]
    hold_whole(found, quantize_inputs(graph, [x.numpy() for x in inputs]))
    record("slice", f"{name} on {target}: {len(counts)} kernels, {sum(counts)} points, and whole")


def test_odd(odd: str, target: str, exact: bool, record_property: Record) -> None:
    hold_model(odd, MODELS[odd](), target, exact, record_property)


def test_chance(seed: int, target: str, exact: bool, record_property: Record) -> None:
    hold_model(f"seed {seed}", chance(seed), target, exact, record_property)
