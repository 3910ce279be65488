"""A kernel of which no point of its special template has code is done by the templates for any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import dovetail
from dovetail.driver.kernel_task import KernelTask
from dovetail.schedule import templates
from dovetail.schedule.errors import ScheduleError
from dovetail.schedule.knobs import Point, Space, choice
from dovetail.schedule.schedule import Schedule
from dovetail.schedule.templates.backed import GENERAL
from dovetail.schedule.templates.template import Template
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.machine_facts import Machine
from dovetail.tir.stmt import PrimFunc
from tests.schedule.operators import Case

PRODUCT = Case("refusing", nn.Linear(24, 10), ((3, 24),))


def refusing(func: PrimFunc, machine: Machine) -> Template:
    """Takes every kernel, and has code for none."""

    def schedule(point: Point) -> Schedule:
        raise ScheduleError("refuse: no kernel is right") if point["n"] else SelectError("no row")

    return Template("refusing", func, machine, Space((choice("n", (0, 1, 2)),)), schedule)


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "SPECIAL", (refusing,))


@pytest.fixture(params=[1, 4])
def task(request: pytest.FixtureRequest) -> KernelTask:
    return PRODUCT.task(dsp(threads=request.param))


def test_the_default_is_a_general_point(task: KernelTask) -> None:
    assert task.template.name == "refusing" and GENERAL not in task.space.knobs[-1].name
    assert task.default[GENERAL] is True
    assert task.measure(task.default).status == "ok" and task.check(task.default) == (True, "")


def test_the_space_is_then_the_general_one(task: KernelTask) -> None:
    default = task.default
    assert task.space.knobs[-1].name == GENERAL
    assert task.space.point(json.loads(json.dumps(default))) == default
    assert all(task.prior(point) > 1 for point in task.space.neighbours(default))


def test_models_are_compiled_tuned_and_replayed(tmp_path: Path) -> None:
    model, x, log = nn.Linear(24, 10).eval(), (torch.randn(3, 24),), tmp_path / "run.jsonl"
    compiled = dovetail.compile(model, x, x, executor=0)
    assert torch.equal(compiled(*x), compiled.reference(*x))
    assert GENERAL in compiled.kernels[0].point
    tuned = dovetail.tune(model, 6, x, x, log=log, executor=0)
    assert tuned.cycles <= compiled.cycles
    again = dovetail.replay(log, model, "verify", x, x, executor=0)
    assert again.cycles == tuned.cycles and torch.equal(again(*x), tuned.reference(*x))
