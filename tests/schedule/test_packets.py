"""What estimates reckon with is the machine's: what a cycle takes, how many registers there are."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from dovetail.schedule.templates.contraction_outputs import outputs
from dovetail.schedule.templates.packets import Ops
from dovetail.target.dsp.target import dsp
from dovetail.tir.passes.lift import lift
from tests.driver.toy import toy
from tests.schedule.operators import Case

BODY = Ops(plain=8, multiply=6, permute=1, loads=2, words=1, stores=1)


def test_the_scarcest_pipe_says_how_long_a_body_takes() -> None:
    issue = dsp().issue
    assert BODY.packets(issue) == 3  # multipliers
    assert BODY.packets(replace(issue, products=6)) == 3  # instructions
    assert BODY.packets(replace(issue, products=6, slots=12)) == 2  # loads and stores
    assert BODY.packets(toy().issue) == 18  # a product takes three cycles


def test_tiles_have_the_registers_of_the_machine() -> None:
    task, most = Case("", nn.Conv2d(32, 32, 3, padding=1), ((1, 32, 8, 8),)).task(), {}
    for vectors in (12, 20, 32):
        template = outputs(lift(task.func), dsp(vectors=vectors))
        assert template is not None
        held = [template.estimate(point).facts["registers"] for point in template.space]
        most[vectors] = max(held)
    assert all(held <= vectors - 2 for vectors, held in most.items())
    assert most[12] < most[20] <= most[32]
