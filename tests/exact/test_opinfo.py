"""PyTorch's operator tests: what we take is right, with code, and what we refuse is a sentence.

``make test`` takes a sample of every second operator that has a lowering, a few with code;
``make exact`` up to 24 of each, every fourth with code, and two of every other operator.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from dovetail.driver.prepare import ready
from dovetail.driver.targets import parse
from dovetail.graph.graph import Graph
from dovetail.quant.affine import quantize_inputs
from tests.exact.opinfo import Sample, held, operators, samples
from tests.exact.points import Record, hold_whole

pytestmark = pytest.mark.exact

SHARDS = 24
MOST, MOST_OF_OTHERS = 24, 2
CODE_OF_A_SLICE, CODE = 8, 4  # one of so many that are right has its code run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All in shards under --exact; else one slice."""
    everything = bool(metafunc.config.getoption("--exact"))
    metafunc.parametrize("shard", range(SHARDS) if everything else [None], ids=str)


def chosen(shard: int | None) -> Iterator[Sample]:
    """A shard of everything, or one sample of each operator of a slice."""
    ours, others = operators()
    if shard is None:
        for op in ours[::2]:
            found = list(samples(op, 8))
            yield from found and [Random(op.name).choice(found)]
        return
    most: list[tuple[Any, int]] = [(op, MOST) for op in ours]
    most += [(op, MOST_OF_OTHERS) for op in others]
    for op, count in most[shard::SHARDS]:
        yield from samples(op, count)


def test_samples(shard: int | None, record_property: Record) -> None:
    right = refused = code = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in chosen(shard):
            found = held(sample)
            if not isinstance(found, Graph):
                refused += found is not None
                continue
            right += 1
            if right % (CODE_OF_A_SLICE if shard is None else CODE) == 1:
                arrays = quantize_inputs(found, [x.numpy() for x in sample.inputs])
                hold_whole(ready(found, parse("dsp")), arrays)
                code += 1
    assert right > refused if shard is None else right
    record_property("slice", f"OpInfo: {right} right, {code} of them with code, {refused} refused")
