"""The general templates for vectors of other lengths: kernels of blocks get vector code there, byte
for byte what they mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from random import Random

import numpy as np
import pytest
import torch

from dovetail.schedule.knobs import Point
from dovetail.schedule.templates import OF_WORDS, Template, template_for
from dovetail.schedule.templates.contraction import VECTOR
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Register
from dovetail.target.jit import jit
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from tests.schedule.operators import Case
from tests.target.narrow import built
from tests.tir.helpers import random_array

KERNELS = {
    "map": """
def f(x: Buffer[i16, (10, 40)], y: Buffer[i16, (10, 40)], z: Buffer[i16, (10, 40)]):
    for h in range(10):
        for w in range(40):
            with block("map"):
                vh = spatial(10, h)
                vw = spatial(40, w)
                z[vh, vw] = max(x[vh, vw] + y[vh, vw], 5)
""",
    "widen": """
def f(x: Buffer[u8, (96,)], y: Buffer[i32, (96,)]):
    for i in range(96):
        with block("map"):
            v = spatial(96, i)
            y[v] = cast(i32, x[v]) * 3
""",
    "columns": """
def f(x: Buffer[i32, (12, 32)], y: Buffer[i32, (32,)]):
    for c in range(32):
        for k in range(12):
            with block("sum"):
                vc = spatial(32, c)
                vk = reduce(12, k)
                with init():
                    y[vc] = 0
                y[vc] = y[vc] + x[vk, vc]
""",
    "rows": """
def f(x: Buffer[i32, (32, 16)], y: Buffer[i32, (32,)]):
    for r in range(32):
        for k in range(16):
            with block("sum"):
                vr = spatial(32, r)
                vk = reduce(16, k)
                with init():
                    y[vr] = 0
                y[vr] = y[vr] + x[vr, vk]
""",
    "products": """
def f(a: Buffer[u8, (8, 16)], w: Buffer[i8, (16, 32)], y: Buffer[i32, (8, 32)]):
    for m in range(8):
        for n in range(32):
            for k in range(16):
                with block("dot"):
                    vm = spatial(8, m)
                    vn = spatial(32, n)
                    vk = reduce(16, k)
                    with init():
                        y[vm, vn] = 0
                    y[vm, vn] = y[vm, vn] + cast(i32, a[vm, vk]) * cast(i32, w[vk, vn])
""",
    "transpose": """
def f(x: Buffer[u8, (32, 64)], y: Buffer[u8, (64, 32)]):
    for i in range(64):
        for j in range(32):
            with block("copy"):
                vi = spatial(64, i)
                vj = spatial(32, j)
                y[vi, vj] = x[vj, vi]
""",
}


def points(template: Template) -> Iterator[Point]:
    """Some of a template's points, the first one among them."""
    every = list(islice(iter(template.space), 400))
    yield from [every[0], *Random(0).sample(every, min(5, len(every)))]


def runs(func: PrimFunc, scheduled: PrimFunc, size: int) -> bool:
    """Whether the code has vectors; it must give the interpreter's bytes."""
    program = built(scheduled, size)
    rng = np.random.default_rng(0)
    buffers = [random_array(p.type, p.shape, rng) for p in func.params]
    wanted = [data.copy() for data in buffers]
    interpret(func, *wanted)
    jit(program)(*buffers)
    for got, want in zip(buffers, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    return any(op.instruction.result_register is Register.VECTOR for op in program.ops())


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("name", KERNELS)
def test_general_templates_fill_vectors_of_any_length(name: str, size: int) -> None:
    """Points that the few rows have no way for are refused, as everywhere; of others some have
    vectors, and all have the right bytes."""
    func = parse(KERNELS[name])
    template = template_for(func, DspMachine(vector_bytes=size, threads=1), general=True)
    found = []
    for point in points(template):
        with suppress(SelectError):
            found.append(runs(func, template.function(point), size))
    assert any(found)


def test_templates_of_one_length_leave_other_machines_alone() -> None:
    made = torch.nn.Conv2d(8, 40, 3, padding=1)
    kernel = Case("conv", made, ((1, 8, 9, 10),)).task().kernel.func
    special = {make.__name__ for make in OF_WORDS}
    for size, taken in ((VECTOR, True), (16, False)):
        space = template_for(kernel, DspMachine(vector_bytes=size), general=True).space
        assert any({*knob.values} & special for knob in space.knobs if knob.name == "way") == taken
