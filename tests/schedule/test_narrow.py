"""Templates for vectors of other lengths: kernels get vector code there, byte for byte what they
mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from dovetail.schedule.knobs import Point
from dovetail.schedule.templates import Template, template_for
from dovetail.schedule.templates.contraction_channels import channels
from dovetail.schedule.templates.contraction_groups import groups
from dovetail.schedule.templates.contraction_outputs import outputs
from dovetail.schedule.templates.contraction_parts import parts
from dovetail.schedule.templates.contraction_pixels import columns, pixels
from dovetail.target.dsp.machine import DspMachine
from dovetail.target.errors import SelectError
from dovetail.target.instruction import Register
from dovetail.target.jit import jit
from dovetail.target.program import Program
from dovetail.target.selection_record import SelectionRecord
from dovetail.tir.interpret import interpret
from dovetail.tir.passes.lift import lift
from dovetail.tir.script import parse
from dovetail.tir.stmt import PrimFunc
from dovetail.tuner.task import OK
from tests.driver.toy import Toy
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


@dataclass(frozen=True)
class Narrow(Toy):
    """The few rows for vectors of ``vector_bytes`` as a target."""

    def build(self, func: PrimFunc, *, record: SelectionRecord | None = None,
              forbidden: frozenset[str] = frozenset()) -> Program:  # fmt: skip
        return built(func, self.vector_bytes)


CONTRACTIONS = (outputs, parts, channels, groups, pixels, columns)


LAYERS = ("dense", "few", "groups", "alone", "linear")


def layer(kind: str, rng: Random) -> tuple[nn.Module, tuple[int, ...]]:
    """A small layer of random extents: of few channels, of groups, of each channel by itself."""
    torch.manual_seed(rng.randrange(1 << 30))
    width = rng.choice((8, 12, 16))
    if kind == "linear":
        return nn.Linear(width, rng.choice((20, 36))), (rng.choice((1, 5)), width)
    ways = {
        "dense": (width, rng.choice((20, 40)), 1),
        "alone": (width, width, width),
        "few": (rng.choice((1, 1, 4)), rng.choice((1, 3, 5)), 1),
        "groups": (32, 32, 8),
    }
    inputs, results, apart = ways[kind]
    kernel = rng.choice(((1, 1), (3, 3), (1, 5))) if kind in ("dense", "few") else (3, 3)
    stride, (high, wide) = rng.choice((1, 1, 2)), kernel
    pads = rng.choice((0, high // 2)), rng.choice((0, wide // 2))
    made = nn.Conv2d(inputs, results, kernel, stride, pads, groups=apart)
    return made, (1, inputs, rng.choice((5, 6)), rng.choice((7, 8)))


@pytest.mark.exact
@pytest.mark.parametrize("size", [16, 64])
def test_contractions_are_right_for_any_length(
    size: int, exact: bool, record_property: Callable[[str, object], None]
) -> None:
    """Each kind takes some kernels; points that the few rows have no way for are refused."""
    target, taken = Narrow(vector_bytes=size), Counter[str]()
    for seed in range(200 if exact else 10):
        rng = Random(seed)
        module, shape = layer(LAYERS[seed % len(LAYERS)], rng)
        task = Case("", module, (shape,)).task(target, rng.choice(("tcm", "ddr")))
        for make in CONTRACTIONS:
            template = make(lift(task.kernel.func), target)
            for point in template.space.survey(rng, 3, 200) if template is not None else ():
                task.__dict__["template"] = template
                if task.measure(point).status == OK:
                    right, message = task.check(point)
                    assert right, f"{seed} {make.__name__} {point}: {message}"
                    taken[make.__name__] += 1
    record_property("slice", f"contractions of vectors of {size} bytes: {dict(taken)}")
    assert taken.keys() == {make.__name__ for make in CONTRACTIONS}, taken
