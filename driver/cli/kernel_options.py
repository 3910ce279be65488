"""A person's own kernel on the command line: what compile, tune and replay do with one.

dovetail tune blur.py:blur --trials 60 --template blur.py:tiles
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import printed
from ..errors import InputError
from ..progress import watching
from .models import drifted, tell_drift, tell_missing

if TYPE_CHECKING:
    from ...quant.recipe import Recipe
    from ..brought import Make
    from ..own import CompiledKernel
    from ..report import Report
    from ..source import ModelSource


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """The options that only kernels have."""

    template: str | None
    lifted: bool

    def given(self) -> dict[str, Any]:
        """As arguments of the functions."""
        return {"template": _make(self.template), "lifted": self.lifted}


def takes(
    source: ModelSource, form: KernelOptions, output: Path | None, recipe: Recipe | None
) -> bool:
    """Whether a source is a kernel; an option that is of no use for it is refused."""
    if source.kernel is None:
        if form.template is not None or not form.lifted:
            what = "template" if form.template is not None else "no-lift"
            raise InputError(f"{what}: {source.name} must be a kernel, but is a model")
        return False
    from ..source import require_untouched

    require_untouched(recipe, f"{source.name} is a kernel, which is not quantized")
    if output is not None:
        raise InputError(f"output: {source.name} is a kernel, which is not saved; --json prints it")
    return True


def compile(source: ModelSource, log: Path | None, target: str, form: KernelOptions,
            workers: int | None, json: bool, emit: str | None = None,
            file: Path | None = None) -> None:  # fmt: skip
    """Compiles and prints a kernel, and writes its code where that is asked."""
    from .. import own
    from ..code_files import write

    assert source.kernel is not None
    with watching("kernels") as watcher:
        code = own.compile(
            source.kernel, target, log, **form.given(), executor=workers or 0,
            callbacks=[watcher.hear],
        )  # fmt: skip
    if emit is not None and file is not None:
        write(code, emit, file)
    _print(source, code, json, {})


def tune(source: ModelSource, form: KernelOptions, how: dict[str, Any], report: Report,
         json: bool) -> None:  # fmt: skip
    """Tunes a kernel with the arguments ``how``, ``report`` among its callbacks, and prints it."""
    from .. import own

    assert source.kernel is not None
    code = own.tune(source.kernel, **form.given(), **how)
    log = how["log"]
    _print(source, code, json, {
        "trials": report.trials, "seconds": round(report.seconds, 3),
        "trials_per_second": round(report.trials_per_second, 3),
        "status_counts": report.statuses.get(code.task.key, {}), "log": str(log) if log else None,
    })  # fmt: skip
    if not json:
        print(
            f"{code.default_cycles:,} cycles by default; {report.trials} trials in "
            f"{report.seconds:.1f} s ({report.trials_per_second:.1f} trials/s)"
        )


def replay(log: Path, source: ModelSource, mode: str, target: str | None, form: KernelOptions,
           workers: int | None, json: bool) -> bool:  # fmt: skip
    """Replays and prints a kernel; False where a verified one has drifted."""
    from .. import own

    assert source.kernel is not None
    with watching("kernels") as watcher:
        code = own.replay(
            log, source.kernel, mode, target, **form.given(), executor=workers or 0,
            callbacks=[watcher.hear],
        )  # fmt: skip
    _print(source, code, json, {"mode": mode, "drift": drifted(code.drift)})
    if not json:
        tell_drift(code.drift)
    return all(row.same for row in code.drift)


def _make(template: str | None) -> Make | None:
    """The function that --template names."""
    from ...tir.stmt import PrimFunc
    from ..source import named

    if template is None:
        return None
    make: Make = named(template, "template")
    if isinstance(make, PrimFunc):
        raise InputError(f"template: {template} must be a function, but is a prim_func")
    return make


def _print(source: ModelSource, code: CompiledKernel, json: bool, more: Mapping[str, Any]) -> None:
    if json:
        printed.print_json({
            "model": source.name, "target": code.machine.name, "cycles": code.cycles,
            "default_cycles": code.default_cycles, "bound": code.bound,
            "template": code.template, "point": code.point,
            "trace": str(code.trace).splitlines(), "cost": asdict(code.cost),
            "listing": code.listing, "missing": [asdict(row) for row in code.missing], **more,
        })  # fmt: skip
        return
    point = ", ".join(f"{name}={value}" for name, value in code.point.items())
    print(f"{code.func.name}: {code.cycles:,} cycles on {code.machine.name}, bound {code.bound:,}")
    print(f"template {code.template}: {point}")
    for line in str(code.trace).splitlines():
        print(f"    {line}")
    tell_missing(code.missing)
