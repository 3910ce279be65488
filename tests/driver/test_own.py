"""A person's own kernels: compiled, tuned, replayed, with our templates and with theirs."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dovetail
from dovetail import Schedule, Space, Template, choice
from dovetail.driver import own
from dovetail.driver.brought import address
from dovetail.driver.compiler import KernelError
from dovetail.driver.compulsory import least_work
from dovetail.driver.errors import InputError
from dovetail.driver.own import CompiledKernel, OwnTask, rebuild
from dovetail.driver.report import Report
from dovetail.driver.run_operands import Operands
from dovetail.driver.samples import fixed_input
from dovetail.driver.tuned import Tuned
from dovetail.driver.values import InterpretedValues
from dovetail.schedule.knobs import Point
from dovetail.target.cost import Work
from dovetail.target.dsp.target import dsp
from dovetail.target.errors import SelectError
from dovetail.target.machine_facts import Machine
from dovetail.tir.script import parse, show
from dovetail.tir.stmt import PrimFunc
from dovetail.tuner.records import LogError, read
from dovetail.tuner.run import Progress
from tests.driver import own_kernels, test_arguments
from tests.driver.own_kernels import (
    ADD,
    BLEND,
    EVEN,
    KERNELS,
    LOOKUP,
    PRODUCT,
    ROWS,
    WIDE,
    image,
    plain,
    strides,
)
from tests.driver.test_arguments import refusals_of, taken
from tests.tuner.logs import without_times

folder = test_arguments.folder  # a fixture
Refused = Callable[[type[Exception], Callable[[], object]], str]
TRIALS = 6


# What comes back ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_every_kernel_gives_the_interpreters_bytes(kernel: PrimFunc) -> None:
    code = dovetail.compile(kernel)
    assert code.bound <= code.cycles == code.default_cycles == code.cost.cycles
    rng = np.random.default_rng(5)
    arrays = [fixed_input(rng, p.shape, p.type.numpy) for p in Operands(kernel).inputs]
    same(code(*arrays), interpreted(kernel, arrays))
    same(code.run(*arrays), code.reference(*arrays))


def interpreted(kernel: PrimFunc, arrays: list[Any]) -> tuple[Any, ...]:
    """By NumPy alone."""
    wide = [array.astype(np.int64) for array in arrays]
    match kernel.name, wide:
        case "blend", [a, b]:
            return (((a + b + 1) >> 1).astype(np.uint8),)
        case "rows", [x]:
            return ((x[:-2] - x[2:]).astype(np.int16),)
        case "product", [x, w]:
            return ((x @ w).astype(np.int32),)
        case "add", [x, total]:
            found = (x + total).astype(np.int32)
            return found, np.concatenate([found.astype(np.uint8), np.zeros(32, np.uint8)])
        case "lookup", [x, t]:
            return (t[x].astype(np.uint8),)
        case "wide", [a, b, c]:
            return (np.minimum(a, 1000) + c).astype(np.int32), (np.maximum(b, -7) >> 1).astype("h")
        case "even", [x, sums]:
            y = np.zeros((32, 128), np.uint8)
            y[::2] = (x + 1).astype(np.uint8)
            return y, (sums + x).astype(np.int16)
        case "divide", [a, b]:
            return (np.where(b == 0, 0, a // np.where(b == 0, 1, b)).astype(np.int32),)
    raise AssertionError(kernel.name)


def same(got: Any, wanted: Any) -> None:
    pairs = zip(*(one if isinstance(one, tuple) else (one,) for one in (got, wanted)), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype and np.array_equal(one, other)


def test_a_kernel_says_what_it_is() -> None:
    code = dovetail.compile(BLEND, "dsp(threads=2)", template=strides)
    assert isinstance(code, CompiledKernel)
    assert code.point == {"lanes": 128, "threads": True} and code.template == "strides"
    assert str(code.trace) == (
        'sch.split("j", (None, 128))\nsch.vectorize("j_1")\nsch.parallel("i")\n'
    )
    assert code.trace.replay(Schedule(dovetail.lift(BLEND))).func == strides_at(code.point)
    assert "vavg" in code.listing and ":endloop0" in code.listing
    assert repr(code) == f"<blend: {code.cycles:,} cycles on dsp(threads=2), bound 61>"


def strides_at(point: Point) -> PrimFunc:
    template = strides(dovetail.lift(BLEND), dsp(threads=2))
    assert template is not None
    return template.schedule(point).func


def test_a_written_parameter_may_be_given_too() -> None:
    code = dovetail.compile(ADD)
    x, total = np.arange(64, dtype=np.int32), np.ones(64, np.int32)
    low = np.full(96, 9, np.uint8)
    _, found = code(x, total, low)
    assert np.array_equal(found[64:], low[64:]) and np.array_equal(found[:64], x + 1)
    assert (total == 1).all() and (low == 9).all()  # a run changes copies


def test_what_is_not_written_stays() -> None:
    code = dovetail.compile(EVEN)
    before = image(1, (32, 128))
    y, _ = code(image(2, (16, 128)), before, np.zeros((16, 128), np.int16))
    assert np.array_equal(y[1::2], before[1::2])
    assert OwnTask(EVEN, dsp()).func.attrs == {"kept": ("y", "sums"), "trusting": True}
    assert OwnTask(ROWS, dsp()).func.attrs == {"kept": (), "trusting": True}


def test_a_kernel_is_lifted_unless_it_must_not_be() -> None:
    lifted = dovetail.compile(BLEND, template=strides)
    written = dovetail.compile(BLEND, template=strides, lifted=False)
    assert "vavg" in lifted.listing and "vavg" not in written.listing
    assert lifted.task.key != written.task.key and lifted.cycles < written.cycles
    task = OwnTask(BLEND, dsp(), None, False)
    assert rebuild(task.spec.payload) == task
    same(written(image(1), image(2)), interpreted(BLEND, [image(1), image(2)]))


def test_constants_are_part_of_the_code() -> None:
    weights = np.random.default_rng(1).integers(-128, 128, (16, 32), np.int8)
    code = dovetail.compile(replace(PRODUCT, constants={"w": weights}))
    x = np.arange(64, dtype=np.int8).reshape(4, 16)
    assert np.array_equal(code(x), x.astype(np.int32) @ weights.astype(np.int32))


def test_a_kernel_is_told_from_a_model_by_name_too(compiled: Tuned) -> None:
    assert isinstance(dovetail.compile(model=BLEND, template=strides), CompiledKernel)
    assert not isinstance(compiled, CompiledKernel)


def test_the_readme_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    code = re.search(r"## A kernel of your own\n\n((?:    .*\n|\n)+)", text)
    assert code is not None
    script = textwrap.dedent(code[1]) + "\nassert (y == 9).all()\n"
    (tmp_path / "readme.py").write_text(script)
    done = run_script(tmp_path / "readme.py")
    assert 'sch.parallel("' in done.stdout and ".text" in done.stdout, done.stderr


def run_script(path: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, path], cwd=path.parent, capture_output=True, text=True, timeout=300,
        env={"PYTHONPATH": f"{root}:{':'.join(sys.path)}"},
    )  # fmt: skip


# Bounds and checks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "wanted"),
    [
        (BLEND, Work(loaded=2 * 8192, stored=8192)),
        (ROWS, Work(loaded=18 * 128, stored=16 * 256, ddr=18 * 128 + 16 * 256)),
        (PRODUCT, Work(loaded=64 + 512, stored=512, moves=True)),
        (ADD, Work(loaded=256, stored=256 + 64)),
        (LOOKUP, Work(loaded=512, stored=512, moves=True)),
        (WIDE, Work(loaded=64 * 8, stored=64 * 6)),
        (replace(PRODUCT, constants={"w": np.zeros((16, 32), np.int8)}),
         Work(loaded=64, stored=512, moves=True)),
    ],
    ids=lambda one: getattr(one, "name", ""),
)  # fmt: skip
def test_compulsory_bytes_are_counted(kernel: PrimFunc, wanted: Work) -> None:
    assert least_work(kernel) == wanted


UNCERTAIN = parse("""
def uncertain(x: Buffer[u8, (128,), "tcm"], z: Buffer[u8, (128,), "tcm"],
              y: Buffer[u8, (128,), "tcm"], n: Buffer[u8, (128,), "tcm"]):
    unread = alloc(u8, (128,), "tcm")
    for i in range(128):
        with block("dead"):
            vi = spatial(128, i)
            unread[vi] = n[vi]
    for i in range(32):
        with block("back"):
            vi = spatial(32, i)
            y[vi * 2] = select(x[62 - vi * 2] < 7, z[vi], 255 - z[vi])
    for i in range(16):
        with block("part"):
            vi = spatial(64, i)
            y[vi + 64] = x[vi + 64] + 1
    for i in range(16):
        with block("guarded"):
            vi = spatial(16, i)
            where(vi < 9)
            y[vi + 100] = x[vi + 100] + 1
""")


def test_only_what_is_certain_is_counted() -> None:
    assert least_work(UNCERTAIN) == Work(loaded=32, stored=32)


def test_inputs_have_extremes_and_all_magnitudes() -> None:
    rng = np.random.default_rng(0)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        found = fixed_input(rng, (4096,), np.dtype(kind))
        limits = np.iinfo(kind)
        assert found.dtype == kind
        assert (found == limits.min).any() and (found == limits.max).any()
        assert len(np.unique(found)) > 50 and (abs(found.astype(object)) < 100).mean() > 0.05
    assert fixed_input(rng, (64,), np.dtype(np.bool_)).any()
    assert fixed_input(rng, (64,), np.dtype(np.float32)).std() > 1


def test_what_indexes_stays_within() -> None:
    small = parse(show(LOOKUP).replace("(256,)", "(10,)"))
    assert Operands(LOOKUP).trial()[0][0].max() == 255
    (x, *_), _ = Operands(small).trial()
    assert x.max() == 9 and len(np.unique(x)) == 10


def test_a_kernel_may_index_by_what_only_its_author_knows(refused: Refused) -> None:
    far = parse(show(LOOKUP).replace("(256,)", "(10,)"))
    x, table = image(3, (512,)) % 10, image(4, (10,))
    code = dovetail.compile(far)
    assert np.array_equal(code(x, table), table[x])
    assert refused(InputError, lambda: code(x + 1, table)) == (
        "run: lookup must keep what it indexes within its buffers, but t: axis 0 must be indexed "
        "within 0..9, but got 10; clamp the index with min and max"
    )


def test_wrong_bytes_are_never_given(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setattr(InterpretedValues, "difference", lambda task, stored: "y: 3 bytes differ")
    assert refused(KernelError, lambda: dovetail.compile(BLEND, template=strides)) == (
        "compile: code must give the interpreter's bytes, but that of 'blend' at "
        "{'lanes': 128, 'threads': True} does not (y: 3 bytes differ); please report this"
    )


def test_a_difference_names_the_output() -> None:
    task = OwnTask(ADD, dsp())
    values = task.values
    total, low = (array.copy() for array in values.expected)
    low[7] += 1
    x = values.stored[0]
    assert values.difference([x, *values.expected]) == ""
    assert values.difference([x, total, low]) == (
        f"low: 1 of 96 bytes differ, the first at (7,): {low[7]} instead of {values.expected[1][7]}"
    )


# Report, log, replay ------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernels and templates as a module that worker processes find."""
    shutil.copy(own_kernels.__file__, tmp_path / "a_persons_kernels.py")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("a_persons_kernels")
    del sys.modules["a_persons_kernels"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own") / "run.jsonl"


@pytest.fixture(scope="module")
def tuned(log: Path) -> CompiledKernel:
    return dovetail.tune(BLEND, TRIALS, log=log, seed=3, executor=0, template=strides)


def test_a_search_finds_the_best(tuned: CompiledKernel, log: Path) -> None:
    records = list(read(log).records())
    assert len(records) == TRIALS
    assert tuned.cycles == min(r.cycles for r in records if r.cycles is not None)


def test_workers_write_the_same_log(
    tuned: CompiledKernel, log: Path, tmp_path: Path, module: Any
) -> None:
    report, other = Report(), tmp_path / "other.jsonl"
    again = dovetail.tune(BLEND, TRIALS, log=other, seed=3, executor=2, template=module.strides,
                          callbacks=[report])  # fmt: skip
    assert without_times(other) == without_times(log)
    assert (again.point, again.cycles) == (tuned.point, tuned.cycles)
    assert report.trials == report.fresh == TRIALS


def test_a_search_resumes(tuned: CompiledKernel, log: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(lines[:3]))
    report = Report()
    again = dovetail.tune(BLEND, TRIALS, log=cut, seed=3, executor=0, template=strides,
                          callbacks=[report])  # fmt: skip
    assert without_times(cut) == without_times(log) and again.point == tuned.point
    assert report.fresh == TRIALS - 2


@pytest.mark.parametrize("mode", ["apply", "strict", "verify"])
def test_a_log_is_replayed(mode: str, tuned: CompiledKernel, log: Path) -> None:
    again = dovetail.replay(log, BLEND, mode, template=strides)
    assert (again.point, again.cycles, again.missing) == (tuned.point, tuned.cycles, ())
    assert all(row.same for row in again.drift) and len(again.drift) == (mode == "verify")
    assert dovetail.compile(BLEND, log=log, template=strides).point == tuned.point


def test_a_log_of_another_kernel_or_template_is_told(
    tuned: CompiledKernel, log: Path, refused: Refused
) -> None:
    assert tuned.cycles
    assert refused(LogError, lambda: dovetail.compile(ROWS, log=log)) == (
        f"log {log}: a replay needs a good trial of at least one kernel of the model on target "
        f"'dsp', but none of its {TRIALS} trials there is one"
    )
    text = refused(LogError, lambda: dovetail.compile(BLEND, log=log, template=plain))
    assert text.startswith(
        f"log {log}: the points of kernel 'blend' must be in its space, but trial "
    )


def test_our_templates_are_tuned() -> None:
    heard: list[Progress] = []
    code = dovetail.tune(ROWS, 4, executor=0, callbacks=[heard.append])
    assert code.cycles <= code.default_cycles
    assert [(one.task.name, one.record is None, one.index, one.count) for one in heard] == [
        ("rows", True, 0, 1), *(("rows", False, index, 4) for index in range(4))
    ]  # fmt: skip
    assert heard[0].best == heard[0].total == code.default_cycles
    x = image(1, (18, 128))
    same(code(x), interpreted(ROWS, [x]))


# Templates that people bring ----------------------------------------------------------------


def test_a_template_needs_no_estimate() -> None:
    code = dovetail.compile(BLEND, template=plain)
    assert code.point == {"threads": True} and code.cycles < 5000


def test_workers_import_a_template(module: Any) -> None:
    assert address(module.strides) == "a_persons_kernels:strides"
    task = OwnTask(BLEND, dsp(), module.strides)
    again = rebuild(task.spec.payload)
    assert again == task and again.key == task.key


def nested() -> Callable[[PrimFunc, Machine], Template | None]:
    def inner(func: PrimFunc, machine: Machine) -> Template | None:
        return strides(func, machine)

    return inner


def test_a_template_that_workers_cannot_import_is_measured_here(
    recwarn: pytest.WarningsRecorder,
) -> None:
    assert address(nested()) is address(lambda *_: None) is address(ONE) is None
    code = dovetail.tune(BLEND, 3, template=nested())
    assert code.template == "strides"
    (warning,) = recwarn.list
    assert warning.filename == __file__ and str(warning.message) == (
        "template: nested.<locals>.inner of tests.driver.test_own is defined where worker "
        "processes cannot import it, so this process measures alone; put it into a module to use "
        "workers"
    )


class Callable_:
    """A template that is an object."""

    def __call__(self, func: PrimFunc, machine: Machine) -> Template | None:
        return strides(func, machine)


ONE = Callable_()


def test_a_template_for_this_process_alone_needs_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dovetail.compile(BLEND, template=nested()).template == "strides"
        assert dovetail.tune(BLEND, 2, template=ONE, executor=0).template == "strides"


SCRIPT = """
import dovetail
from tests.driver import own_kernels, test_arguments
from tests.driver.own_kernels import BLEND, strides


def mine(func, machine):
    return strides(func, machine)


print(dovetail.tune(BLEND, 3, template=mine).template)
"""


def test_a_template_of_a_script_works(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_script(tmp_path / "script.py")
    assert done.stdout == "strides\n", done.stderr
    assert "mine of __main__ is defined where worker processes cannot import it" in done.stderr


def test_an_executor_needs_a_template_that_it_can_import(module: Any, refused: Refused) -> None:
    with ThreadPoolExecutor(1) as pool:
        code = dovetail.tune(BLEND, 2, template=module.strides, executor=pool)
        assert code.template == "strides"
        assert refused(
            InputError, lambda: dovetail.tune(BLEND, 2, template=nested(), executor=pool)
        ) == (
            "template: an executor's workers must be able to import it, but nested.<locals>.inner "
            "of tests.driver.test_own is defined where only this process has it; put it into a "
            "module"
        )


def faulty(func: PrimFunc, machine: Machine) -> Template | None:
    def schedule(point: Point) -> Schedule:
        raise KeyError("lanes")

    return Template("faulty", func, machine, Space((choice("lanes", (1, 2)),)), schedule)


def empty(func: PrimFunc, machine: Machine) -> Template | None:
    space = Space((choice("lanes", (1, 2)),), (lambda point: False,))
    return Template("empty", func, machine, space, lambda point: Schedule(func))


def wrong(func: PrimFunc, machine: Machine) -> Any:
    return Schedule(func)


TEMPLATES = [
    (strides, ROWS, "template: strides must take the kernel rows, but gave None for it"),
    (wrong, ROWS, "template: wrong must give a Template or None, but gave Schedule"),
    (empty, ROWS, "template: the space of empty must have a point, but it is empty"),
    (7, ROWS, "template: must be a function, but got 7"),
]


@pytest.mark.parametrize(("template", "kernel", "wanted"), TEMPLATES, ids=lambda one: "")
def test_a_wrong_template_is_one_sentence(
    template: Any, kernel: PrimFunc, wanted: str, refused: Refused
) -> None:
    assert refused(InputError, lambda: dovetail.compile(kernel, template=template)) == wanted
    tuned = partial(dovetail.tune, kernel, 2, template=template, executor=0)
    assert refused(InputError, tuned) == wanted


def test_a_fault_in_a_template_is_told(refused: Refused) -> None:
    assert refused(SelectError, lambda: dovetail.compile(ROWS, template=faulty)) == (
        "compile: each kernel needs code for dsp, but 'rows' (kernel, a prim_func) has none: "
        "no schedule of its 2 that were tried works: KeyError: 'lanes'"
    )


# What cannot be used ------------------------------------------------------------------------

BODY = """
def f(x: Buffer[u8, (8,), "tcm"], y: Buffer[u8, (8,), "tcm"]):
    for i in range(8):
        {0}
"""
BLOCK = BODY.format('with block("b"):\n            vi = spatial(8, i)\n            {0}')

KERNEL_ERRORS = [
    (parse(BODY.format("y[i] = x[i]")),
     "kernel: f cannot be compiled: Schedule: each store must stand in a block, but got a store "
     "to y outside"),
    (parse(BLOCK.format("y[vi] = x[vi + 1]")),
     "kernel: f cannot be compiled: load: axis 0 of x must be indexed within 0..7, but got 1..8 "
     "y[vi] = x[vi + 1] <- here"),
    (replace(PRODUCT, constants={"v": np.zeros((16, 32), np.int8)}),
     "kernel: product cannot be compiled: constant: it must be a parameter, but got v"),
    (replace(PRODUCT, constants={"w": np.zeros((16, 32), np.int16)}),
     "kernel: product cannot be compiled: constant: w must be i8[16, 32], but got int16[16, 32]"),
    (parse(BLOCK.format("y[vi] = y[cast(i32, x[vi]) * 9]")),
     "kernel: f must keep what it indexes within its buffers, but y: axis 0 must be indexed within "
     "0..7, but got 63; clamp the index with min and max"),
    (parse(BLOCK.format('y[vi] = x[vi] + hole("n", u8, 1, 9) + hole("m", u8, 1, 9)')),
     "kernel: f must have a number for each hole in PrimFunc.numbers, but m, n have none"),
    (parse(BLOCK.format("z[vi] = x[vi]").replace("    for", "    z = alloc(u8, (8,))\n    for")),
     "kernel: f must write one of its parameters, but writes none"),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "wanted"), KERNEL_ERRORS, ids=lambda one: "")
def test_a_wrong_kernel_is_one_sentence(kernel: PrimFunc, wanted: str, refused: Refused) -> None:
    assert refused(InputError, lambda: dovetail.compile(kernel)) == wanted
    assert refused(InputError, lambda: dovetail.tune(kernel, 2, executor=0)) == wanted


RUNS: list[tuple[tuple[object, ...], str]] = [
    ((), "run: blend takes 2 arrays (a: u8[32, 256], b: u8[32, 256]), but got 0"),
    ((image(0),) * 4, "run: blend takes 2 arrays (a: u8[32, 256], b: u8[32, 256]), but got 4"),
    ((image(0), image(0, (256, 32))),
     "run: b of blend must be u8[32, 256], but got uint8[256, 32]"),
    ((image(0).astype(np.int64), image(0)),
     "run: a of blend must be u8[32, 256], but got int64[32, 256]"),
    ((3, None), "run: a of blend must be u8[32, 256], but got int64[]"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "wanted"), RUNS, ids=lambda one: "")
def test_wrong_arrays_are_one_sentence(
    arrays: tuple[object, ...], wanted: str, refused: Refused
) -> None:
    code = dovetail.build(BLEND)
    assert refused(InputError, lambda: code.run(*arrays)) == wanted
    assert refused(InputError, lambda: code.reference(*arrays)) == wanted


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (function, name)
        for function in (own.tune, own.compile, own.replay)
        for name in signature(function).parameters
        if name != "model"
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_wrong_argument_is_one_sentence(
    function: Callable[..., object], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "OwnTask", taken)
    assert len(refusals_of(function, name, BLEND)) > 20


def test_what_is_no_kernel_is_told(refused: Refused) -> None:
    def bare(x: object, y: object) -> None:
        """Is not decorated."""

    assert refused(InputError, lambda: dovetail.compile(bare)) == (
        "model: bare must be a prim_func to be a kernel, but is a function; decorate it with "
        "@dovetail.prim_func"
    )
    assert refused(InputError, lambda: dovetail.compile(Schedule(BLEND))) == (
        "model: must be without a schedule; dovetail.build takes a Schedule"
    )


def test_arguments_of_models_are_not_taken() -> None:
    with pytest.raises(TypeError, match="calibration"):
        dovetail.compile(BLEND, calibration=[])


# By hand ------------------------------------------------------------------------------------


def test_a_schedule_is_built() -> None:
    a, b = image(1), image(2)
    (wanted,) = interpreted(BLEND, [a, b])
    plain_code = dovetail.build(BLEND)
    sch = Schedule(BLEND)
    i, j = sch.loops("blend")
    _, j_1 = sch.split(j, (None, 128))
    sch.vectorize(j_1)
    vector, threads = dovetail.build(sch), dovetail.build(sch, dsp(threads=8))
    sch.parallel(i)
    for code in (plain_code, vector, threads, dovetail.build(sch, "dsp(threads=2)")):
        same(code.run(a, b), wanted)
        same(code(a, b), wanted)
    assert vector.cycles < plain_code.cycles / 20 and vector.cycles == threads.cycles
    assert "vmem" in vector.listing and "vmem" not in plain_code.listing


def test_what_cannot_be_built_is_one_sentence(refused: Refused) -> None:
    assert refused(InputError, lambda: dovetail.build(3)) == (  # type: ignore[arg-type]
        "build: must be a Schedule or a prim_func, but got 3"
    )
    assert refused(dovetail.ScheduleError, lambda: dovetail.build(BLEND, "dsp(tcm=16384)")) == (
        "build: a kernel's buffers must fit into TCM (16384 bytes), but those of blend take 24576"
    )
