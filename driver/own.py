"""A person's own kernel, written as a ``prim_func``: compiled, tuned, replayed.

    blur = compile(kernel)                # or tune(kernel, 60, log="run.jsonl")
    y = blur(x)                           # equal to blur.reference(x), byte for byte
    blur.cycles, blur.bound, blur.point, print(blur.trace), print(blur.listing)

``api.py`` hands a kernel to these functions. It is lifted and scheduled by the template that takes
it, or by one that is brought along, and every point that is taken is held to the interpreter.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from ..graph.kernels import kernel_key
from ..options import checks
from ..quant.recipe import Recipe
from ..schedule.errors import ScheduleError
from ..schedule.knobs import Point
from ..schedule.placing.part import KEPT
from ..schedule.schedule import Schedule
from ..schedule.templates.template import Template
from ..schedule.trace import Trace
from ..target.cost import Cost, Work
from ..target.protocol import Target
from ..tir.passes.lift import lift
from ..tir.stmt import PrimFunc, walk_stmt
from ..tir.verify import TRUSTING, VerifyError, verify
from ..tuner.measure import Measurer
from ..tuner.missing import Missing
from ..tuner.records import read
from ..tuner.run import Callback
from ..tuner.settings import DEFAULT_SEARCH, Search
from ..tuner.task import TaskSpec
from .brought import Make, address, found, template_of, title
from .built import Built
from .choose import differing
from .compiler import KernelError, Lifting
from .compulsory import least_work, overwritten
from .default import TARGET
from .errors import InputError
from .given import Given
from .kernel_task import CodeTask
from .points import (
    MODES,
    KernelDrift,
    Points,
    Sought,
    by_default,
    replayed,
    searched,
    target_of,
)
from .run_operands import Operands, nodes
from .values import InterpretedValues


@dataclass
class OwnTask(CodeTask):
    """A person's kernel on one machine, scheduled by our templates or by ``make``, once it is
    lifted; or as it is written."""

    kernel: PrimFunc
    machine: Target
    make: Make | None = None
    lifted: bool = True
    weight: int = 1
    general = True

    @cached_property
    def key(self) -> str:
        return f"{kernel_key(self.kernel)}{'' if self.lifted else '-plain'}@{self.machine.name}"

    @cached_property
    def func(self) -> PrimFunc:
        """The kernel, which says of which outputs something stays as it was, and that we trust its
        author where data decide what is indexed."""
        operands, whole = self.values.operands, overwritten(self.kernel)
        early = {p.name for p in operands.inputs}
        kept = [p.name for p in operands.outputs if p.name in early or p.name not in whole]
        facts = {KEPT: tuple(kept), TRUSTING: True}
        return replace(self.kernel, attrs={**self.kernel.attrs, **facts})

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def kind(self) -> str:
        return "kernel"

    @property
    def form(self) -> Mapping[str, tuple[int, int]]:
        return {}

    @property
    def origin(self) -> str:
        return "a prim_func"

    @property
    def size(self) -> int:
        return sum(param.size for param in self.kernel.params)

    @cached_property
    def work(self) -> Work:
        """The bytes that are compulsory; products are not counted."""
        return least_work(lift(self.func))

    def template_of(self, lifting: Lifting) -> Template:
        lifting = lifting if self.lifted else lambda func: func
        if self.make is None:
            return super().template_of(lifting)
        return template_of(self.make, lifting(self.func), self.machine)

    @property
    def spec(self) -> TaskSpec:
        place = None if self.make is None else address(self.make)
        assert place is not None or self.make is None
        payload = pickle.dumps((self.kernel, self.machine, place, self.lifted))
        return TaskSpec("dovetail.driver.own:rebuild", payload)

    @cached_property
    def values(self) -> InterpretedValues:
        return InterpretedValues(self.kernel)


def rebuild(payload: bytes) -> OwnTask:
    """A worker's copy of the task."""
    kernel, machine, place, lifted = pickle.loads(payload)
    return OwnTask(kernel, machine, None if place is None else found(place), lifted)


@dataclass(frozen=True, slots=True)
class Own:
    """The kernel as ``points.py`` takes kernels: one, alone, and of no float model."""

    task: OwnTask
    recipe = Recipe()

    @property
    def machine(self) -> Target:
        return self.task.machine

    @property
    def kernels(self) -> list[OwnTask]:
        return [self.task]

    @property
    def tasks(self) -> list[OwnTask]:
        return [self.task]

    @property
    def key(self) -> str:
        return self.task.key.partition("@")[0]


class CompiledKernel(Built):
    """A person's kernel at one point of its template."""

    def __init__(self, ready: Own, points: Points) -> None:
        task = ready.task
        choice = points.choices[task.key]
        super().__init__(task.template.apply(choice.point), task.machine, task.kernel)
        self.ready, self.task, self.choices = ready, task, points.choices
        self.target = task.machine.name
        self.point: Point = choice.point
        self.cost: Cost = choice.cost
        self.default_cycles = points.defaults[task.key].cost.cycles
        self.missing: tuple[Missing, ...] = points.missing
        self.drift: tuple[KernelDrift, ...] = points.drift

    @property
    def bound(self) -> int:
        """Cycles that no schedule beats: those of the bytes that it must load, store and move."""
        return int(self.task.bound)

    @property
    def template(self) -> str:
        """The name of the template that made the schedule."""
        return self.task.template.name

    @cached_property
    def trace(self) -> Trace:
        """The steps of the schedule, as Python."""
        return self.task.template.schedule(self.point).trace

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, bound {self.bound:,}>"


def tune(
    model: PrimFunc,
    trials: int | None = None,
    target: str | Target = TARGET,
    log: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    *,
    search: Search = DEFAULT_SEARCH,
    template: Make | None = None,
    lifted: bool = True,
    executor: Executor | int | None = None,
    timeout: float = 120.0,
    callbacks: Sequence[Callback] = (),
) -> CompiledKernel:
    """Searches the schedules of a kernel and gives the best one; arguments are as for a model.

    ``template`` is a function ``(func, machine) -> Template | None`` that gets the lifted kernel,
    or with ``lifted=False`` the kernel as it is written. Workers import it; one that they cannot
    import is measured in this process.
    """
    given = Given.of(target, executor, timeout, Recipe(), callbacks)
    sought = Sought.of(search, trials, seed, log)
    with _ready(model, template, lifted, given) as (own, given):
        return _compiled(own, searched(own, sought, given), given)


def compile(
    model: PrimFunc,
    target: str | Target = TARGET,
    log: str | os.PathLike[str] | None = None,
    *,
    template: Make | None = None,
    lifted: bool = True,
    executor: Executor | int | None = 0,
    timeout: float = 600.0,
    callbacks: Sequence[Callback] = (),
) -> CompiledKernel:
    """The kernel without a search: at its best point in ``log``, or at its default.

    It is done in this process; ``executor`` asks for others, which a time-out can end.
    """
    given = Given.of(target, executor, timeout, Recipe(), callbacks)
    path = None if log is None else checks.path("log:", log)
    if path is not None:
        read(path)
    with _ready(model, template, lifted, given) as (own, given):
        points = by_default(own, given) if path is None else replayed(own, path, "apply", given)
        return _compiled(own, points, given)


def replay(
    log: str | os.PathLike[str],
    model: PrimFunc,
    mode: str = "apply",
    target: str | Target | None = None,
    *,
    template: Make | None = None,
    lifted: bool = True,
    executor: Executor | int | None = 0,
    timeout: float = 600.0,
    callbacks: Sequence[Callback] = (),
) -> CompiledKernel:
    """The kernel as a log says; the modes are those for a model."""
    mode = checks.choice("replay: the mode", mode, MODES)
    path = checks.path("log:", log)
    target = target_of(read(path)) if target is None else target
    given = Given.of(target, executor, timeout, Recipe(), callbacks)
    with _ready(model, template, lifted, given) as (own, given):
        return _compiled(own, replayed(own, path, mode, given), given)


@contextmanager
def _ready(
    func: PrimFunc, template: object, lifted: object, given: Given
) -> Iterator[tuple[Own, Given]]:
    """The kernel, checked, and the arguments with the executor that measures it."""
    make: Make | None = checks.function("template:", template)
    require_kernel(func)
    task = OwnTask(func, given.machine, make, checks.flag("kernel: lifted", lifted))
    # Faults of the kernel or the template are told before workers are hired.
    assert task.values.trial
    if make is not None:
        assert task.template
        given = given if address(make) else _here(make, given)
    with given.hired() as hands:
        yield Own(task), replace(given, executor=hands)


def _here(make: Make, given: Given) -> Given:
    """Measuring in this process, which is said where workers could have been used."""
    where = f"{title(make)} of {getattr(make, '__module__', 'no module')}"
    if isinstance(given.executor, Executor):
        raise InputError(
            f"template: an executor's workers must be able to import it, but {where} is defined "
            "where only this process has it; put it into a module"
        )
    if given.executor != 0:
        warnings.warn(
            f"template: {where} is defined where worker processes cannot import it, so this "
            "process measures alone; put it into a module to use workers",
            stacklevel=6,
        )
    return replace(given, executor=0)


def require_kernel(func: PrimFunc) -> None:
    """InputError for a kernel that cannot be scheduled, run and checked as it is."""
    holes = {n.attr.name for s in walk_stmt(func.body) for n in nodes(s) if n.op == "hole"}
    if open_holes := sorted(holes - func.numbers.keys()):
        raise InputError(
            f"kernel: {func.name} must have a number for each hole in PrimFunc.numbers, "
            f"but {', '.join(open_holes)} {'has' if len(open_holes) == 1 else 'have'} none"
        )
    try:
        verify(replace(func, attrs={**func.attrs, TRUSTING: True}))
        Schedule(func)
    except (VerifyError, ScheduleError) as refused:
        text = " ".join(str(refused).split())
        raise InputError(f"kernel: {func.name} cannot be compiled: {text}") from None
    if not Operands(func).outputs:
        raise InputError(f"kernel: {func.name} must write one of its parameters, but writes none")


def _compiled(own: Own, points: Points, given: Given) -> CompiledKernel:
    """The kernel at its point, once its bytes there are held to the interpreter's."""
    choices = {key: choice.point for key, choice in points.choices.items()}
    with Measurer(given.executor, timeout=given.timeout) as measurer:
        for task, where in differing(own.kernels, choices, measurer):
            raise KernelError(
                f"compile: code must give the interpreter's bytes, but that of {task.name!r} at "
                f"{dict(choices[task.key])} does not ({where}); please report this"
            )
    return CompiledKernel(own, points)
