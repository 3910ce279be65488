"""Members of a form: other numbers, weights and tables, but one key, one cost and one code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from dovetail.driver.compiler import Compiled
from dovetail.driver.kernel_task import KernelTask
from dovetail.graph.forms import FACTOR, HIGH, LOW, SHIFT, SOFTMAX_SHIFT, SUM_SHIFT, ZERO, Classes
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import infer_shape, verify
from dovetail.graph.lower import lower
from dovetail.schedule.errors import ScheduleError
from dovetail.target.dsp.target import dsp

Numbers = np.random.Generator
SHORT = {"uint8": "u8", "int8": "i8", "int32": "i32"}
MEMBERS = 50


@dataclass
class Draw:
    """Draws numbers: freely, or where a ``base`` is given in the classes of its numbers."""

    rng: Numbers
    base: dict[str, int]

    def __call__(self, name: str, classes: Classes, *choices: int) -> int:
        if name not in self.base:
            self.base[name] = int(self.rng.choice(choices))
            return self.base[name]
        low, high = classes.band(self.base[name])
        ends = self.rng.random() < 0.3
        return int(self.rng.choice([low, high]) if ends else self.rng.integers(low, high + 1))

    def requant(self, channels: int) -> Requant:
        multipliers = tuple(int(m) for m in self.rng.integers(1 << 30, 1 << 31, channels))
        shift = self("shift", SHIFT, 31, 34, 40, 46, 47, 52)
        zero = self("zero", ZERO, 0, 7, 128)
        return Requant(multipliers, shift, zero, *self.ends())

    def ends(self) -> tuple[int, int]:
        """The clamp, its ends in order."""
        high = self("high", HIGH, 255, 90)
        return min(self("low", LOW, 0, 9), high), high

    def zero(self, name: str) -> int:
        return self(name, ZERO, 0, 3, 130)

    def weights(self, *shape: int) -> Array:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def bias(self, count: int) -> Array:
        return self.rng.integers(-9999, 9999, count).astype(np.int32)


PLAIN = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
Given = tuple[str, list[Any], dict[str, object]]


def conv(draw: Draw) -> Given:
    inputs = [(1, 5, 6, 7), draw.weights(33, 5, 3, 3), draw.bias(33)]
    more = {**PLAIN, "groups": 1, "x_zero": draw.zero("x"), "requant": draw.requant(33)}
    return "q_conv2d", inputs, more


def depthwise(draw: Draw) -> Given:
    inputs = [(1, 32, 6, 8), draw.weights(32, 1, 3, 3), draw.bias(32)]
    more = {**PLAIN, "groups": 32, "x_zero": draw.zero("x"), "requant": draw.requant(32)}
    return "q_conv2d", inputs, more


def linear(draw: Draw) -> Given:
    inputs = [(2, 12), draw.weights(3, 12), draw.bias(3)]
    return "q_linear", inputs, {"x_zero": draw.zero("x"), "requant": draw.requant(3)}


def matmul(draw: Draw) -> Given:
    zeros = {"a_zero": draw.zero("a"), "b_zero": draw.zero("b")}
    return "q_matmul", [(1, 5, 36), (1, 36, 40)], {**zeros, "requant": draw.requant(1)}


def add(draw: Draw) -> Given:
    attrs: dict[str, object] = {f"{side}_zero": draw.zero(side) for side in "ab"}
    attrs |= {f"{s}_mult": draw(f"{s}_mult", FACTOR, 23000, -17000) for s in "ab"}
    attrs["shift"] = min(draw("shift", SUM_SHIFT, 14, 17), 21)
    low, high = draw.ends()
    attrs |= {"zero_point": draw("zero", ZERO, 0, 8), "low": low, "high": high}
    return "q_add", [(1, 9, 5, 8)] * 2, attrs


def mul(draw: Draw) -> Given:
    zeros = {"a_zero": draw.zero("a"), "b_zero": draw.zero("b")}
    return "q_mul", [(1, 9, 5, 8)] * 2, {**zeros, "requant": draw.requant(1)}


def average(draw: Draw) -> Given:
    window = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}
    more = {**window, "x_zero": draw.zero("x"), "requant": draw.requant(1)}
    return "q_avg_pool2d", [(1, 32, 9, 9)], more


def mean(draw: Draw) -> Given:
    more = {"axes": (2, 3), "keepdim": True, "x_zero": draw.zero("x")}
    return "q_mean", [(1, 40, 7, 7)], {**more, "requant": draw.requant(1)}


def pad(draw: Draw) -> Given:
    padding = ((0, 0), (0, 0), (1, 2), (2, 1))
    return "pad", [(1, 7, 5, 6)], {"padding": padding, "value": int(draw.rng.integers(256))}


def softmax(draw: Draw) -> Given:
    table = np.rint(np.exp(-0.05 * np.arange(256)) * (1 << 15)).astype(np.int32)
    shift = draw("shift", SOFTMAX_SHIFT, 15, 17, 22)
    return "q_softmax", [(3, 70), table], {"axis": 1, "shift": shift}


FORMS: dict[str, Callable[[Draw], Given]] = {
    made.__name__: made
    for made in (conv, depthwise, linear, matmul, add, mul, average, mean, pad, softmax)
}  # fmt: skip


def task_of(given: Given) -> KernelTask:
    """The kernel of one node on the machine."""
    op, operands, attrs = given
    names = [f"t{i}" for i in range(len(operands))]
    types, constants = {}, {}
    for name, operand in zip(names, operands, strict=True):
        if isinstance(operand, np.ndarray):
            types[name] = TensorType(operand.shape, SHORT[operand.dtype.name])
            constants[name] = operand
        else:
            types[name] = TensorType(operand, "u8")
    node = Node(op, tuple(names), "y", attrs)
    graph = Graph("test", [n for n in names if n not in constants], ["y"], [node], types, constants)
    types["y"] = TensorType(infer_shape(graph, node), "u8")
    verify(graph)
    return KernelTask(lower(graph, node), graph, dsp(threads=2))


def compiled_somewhere(task: KernelTask, rng: Random) -> Compiled:
    """A point of the space that has code."""
    for _ in range(50):
        try:
            return task.compiled(task.space.sample(rng))
        except ScheduleError:
            continue
    raise AssertionError("no point of 50 has code")


def skeleton(compiled: Compiled) -> str:
    """The listing without the immediates that no address and no loop has."""
    lines = compiled.listing.text.splitlines()
    kept = [
        line if re.search(r"mem|loop", line) else re.sub(r"#-?\d+", "#n", line) for line in lines
    ]
    return "\n".join(kept)


@pytest.mark.exact
@pytest.mark.parametrize("name", FORMS)
def test_members_of_a_form_have_one_code(
    name: str, exact: bool, record_property: Callable[[str, object], None]
) -> None:
    seeds, members = range(4 if exact else 1), MEMBERS if exact or name == "linear" else 4
    record_property("slice", f"form of {name}: seeds {seeds}, {members} members")
    for seed in seeds:
        rng = np.random.default_rng(seed)
        numbers: dict[str, int] = {}
        first = task_of(FORMS[name](Draw(rng, numbers)))
        base = compiled_somewhere(first, Random(seed))
        other = 0
        for _ in range(members):
            task = task_of(FORMS[name](Draw(rng, dict(numbers))))
            assert (task.key == first.key) == (task.form == first.form)
            if task.form != first.form:
                other += 1
                continue
            made = task.compiled(base.point)
            assert made.cost == base.cost
            assert skeleton(made) == skeleton(base)
            assert task.check(base.point) == (True, "")
        assert other <= members // 4


@pytest.mark.parametrize("name", FORMS)
def test_fifty_members_share_text_and_key(name: str) -> None:
    rng, numbers = np.random.default_rng(9), dict[str, int]()
    first = task_of(FORMS[name](Draw(rng, numbers)))
    tasks = [task_of(FORMS[name](Draw(rng, dict(numbers)))) for _ in range(MEMBERS)]
    same = [task for task in tasks if task.form == first.form]
    assert len(same) > MEMBERS // 2
    assert {(task.key, task.space.fingerprint) for task in same} == {
        (first.key, first.space.fingerprint)
    }
    assert all(task.key != first.key for task in tasks if task.form != first.form)


CHANGES: dict[str, dict[str, Any]] = {
    "a shift beyond one narrowing": {"shift": (46, 47)},
    "a zero point": {"zero": (0, 1)},
    "ends of the clamp": {"low": (0, 1), "high": (255, 254)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_class_is_another_form(change: str) -> None:
    fields = {"shift": "shift", "zero": "zero_point", "low": "low", "high": "high"}
    for name, values in CHANGES[change].items():
        tasks = []
        for value in values:
            base = {"shift": 40, "zero": 5, "low": 3, "high": 99, "x": 9}
            given = conv(Draw(np.random.default_rng(1), base))
            requant = Requant((1 << 30,) * 33, 40, 5, 3, 99)
            given[2]["requant"] = replace(requant, **{fields[name]: value})
            tasks.append(task_of(given))
        assert tasks[0].key != tasks[1].key and tasks[0].form != tasks[1].form


def test_what_fills_padding_is_no_part_of_the_form() -> None:
    tasks = []
    for zero in (9, 200):
        given = conv(Draw(np.random.default_rng(1), {}))
        tasks.append(task_of((*given[:2], {**given[2], "x_zero": zero})))
    assert tasks[0].key == tasks[1].key
