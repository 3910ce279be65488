"""Every argument of the public functions, given everything that it should not be.

Each call is taken or ends in one sentence; none writes a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from inspect import signature
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dovetail.driver import api, quantized
from dovetail.driver.errors import user_errors
from dovetail.driver.given import Given
from dovetail.driver.tuned import Tuned
from dovetail.graph.coverage import coverage
from dovetail.graph.torch_import import import_model
from dovetail.quant.analyze import analyze
from dovetail.quant.quantize import quantize
from dovetail.quant.recipe import Recipe
from dovetail.target.dsp.target import Dsp
from dovetail.tuner.log import Log
from dovetail.tuner.records import header


class Taken(Exception):
    """The arguments were taken, and work would begin."""


def values() -> list[Any]:
    """What people give by mistake, and what tests think of."""
    return [
        None, True, 0, -1, 1 << 99, 1.5, nan, inf, 1j, "", "x", "a\0b", "x" * 300, b"x", [], [[]],
        {}, (), object(), int, print, Ellipsis, range(3), iter([3]), np.int64(1), np.float32(1),
        np.array(3), np.array([1.0]), np.str_("dsp"), torch.tensor(3), torch.zeros(1, 4),
        Path("/tmp"), "/dev/null", "/dev/zero", "/dev/full", "pipe", "loop", "dangling", "empty",
        "noise", "log.jsonl", "no/where", nn.ReLU(), [None], [3], ["x"], ["pipe"],
        Dsp(threads="a"), replace(Dsp(), units=3), "dsp(threads=np)", "dsp(" * 300,  # type: ignore[arg-type]
        "dsp(tcm=1 << 70)", "dsp(units=(1,) * 9999999999)", "dsp(clock='a')", "dsp(units=())",
        "dsp()()", "dsp(threads=1 << -1)", ThreadPoolExecutor, {"x": 1},
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files that are none."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("no/where")
    Path("empty").touch()
    Path("noise").write_bytes(bytes(range(256)))
    with Log("log.jsonl", header({}, "dsp", "m", 0, kernels=[])):
        pass
    return tmp_path


def refusals(run: Callable[[Any], object]) -> Iterator[str]:
    """What ``run`` says of each value that it does not take."""
    for value in values():
        before = sorted(os.listdir())
        try:
            run(value)
        except Taken:
            pass
        except user_errors() as error:
            assert "\n" not in str(error), repr(value)
            yield str(error)
        assert sorted(os.listdir()) == before, repr(value)


def taken(*_: object) -> None:
    """Stands where work would begin."""
    raise Taken


def refusals_of(function: Callable[..., object], name: str, model: object) -> list[str]:
    """What a public function says of each wrong value of one argument; the others are right."""
    given = {"model": model, "log": "log.jsonl", "trials": 1}
    known = {key: given[key] for key in given if key in signature(function).parameters}
    return list(refusals(lambda value: function(**known | {name: value})))


OPEN = {"model", "example_inputs", "calibration"}  # for the importer to judge


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (function, name)
        for function in (api.tune, api.compile, api.replay, quantized.quantize, quantized.analyze)
        for name in signature(function).parameters
        if name not in OPEN
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_wrong_argument_is_one_sentence(
    function: Callable[..., object], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Given, "ready", taken)
    monkeypatch.setattr(quantized, "floating", taken)
    monkeypatch.setattr(quantized, "imported", taken)
    assert len(refusals_of(function, name, nn.ReLU())) > 20


@pytest.mark.parametrize("function", [coverage, partial(api.compile, executor=0)])
def test_a_wrong_model_is_one_sentence(function: Callable[..., object], folder: Path) -> None:
    wrong = [text for text in refusals(lambda value: function(value, (torch.zeros(1, 4),)))]
    assert len(wrong) == len(values()) - 1  # all but a module


def test_wrong_inputs_are_one_sentence(folder: Path) -> None:
    assert len(list(refusals(lambda value: coverage(nn.Linear(4, 4), value)))) > 40


def test_wrong_files_are_one_sentence(folder: Path, compiled: Tuned) -> None:
    assert len(list(refusals(api.load))) == len(values())

    def save(value: Any) -> None:
        existed = isinstance(value, str | os.PathLike) and value in os.listdir()
        compiled.save(value)
        if not existed:
            Path(value).unlink()

    assert len(list(refusals(save))) > 40
    assert len(list(refusals(compiled.listing))) == len(values())
    assert len(list(refusals(compiled))) == len(values())


def test_wrong_graphs_and_batches_are_one_sentence(folder: Path) -> None:
    graph = import_model(nn.Linear(4, 4).eval(), (torch.zeros(1, 4),))
    batches = [[np.ones((1, 4), np.float32)]]
    integer = quantize(graph, batches)
    count = len(values())
    assert len(list(refusals(lambda value: quantize(value, batches)))) == count
    assert len(list(refusals(lambda value: quantize(graph, value)))) == count
    assert len(list(refusals(lambda value: quantize(graph, batches, value)))) == count
    assert len(list(refusals(lambda value: Recipe(observer=value)))) == count
    assert len(list(refusals(lambda value: Recipe(mode=value)))) == count
    assert (
        len(list(refusals(lambda value: Recipe(algorithms=value)))) > count - 8
    )  # no words at all
    assert len(list(refusals(lambda value: analyze(value, integer, batches)))) == count
    assert len(list(refusals(lambda value: analyze(graph, value, batches)))) == count
    assert len(list(refusals(lambda value: analyze(graph, integer, value)))) == count
