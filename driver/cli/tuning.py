"""Commands that search, and that repeat what a search found: tune, replay."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...quant.recipe import DEFAULT_RECIPE, Recipe
from ...tuner.settings import DEFAULT_SEARCH, Search
from ...tuner.task import MODEL
from .. import printed
from ..default import TARGET
from ..progress import watching
from . import kernel_options
from .interrupt import interruptible
from .models import check_output, drifted, source_of, summary, tell_drift, tell_missing
from .options import Batches, Brought, Json, Lifted, Model, Output, Target, Workers, command

if TYPE_CHECKING:
    from ..report import Report
    from ..tuned import KernelRow, Tuned


@command(
    "\b\nExamples:\n"
    "  dovetail tune resnet18 --trials 512 --log run.jsonl --json\n"
    "  dovetail tune blur.py:blur --trials 60       # a kernel that is a prim_func"
)
def tune(
    model: Model,
    log: Annotated[
        Path | None, typer.Option(help="The log to write; the same command resumes it.")
    ] = None,
    search: Search = DEFAULT_SEARCH,
    recipe: Recipe = DEFAULT_RECIPE,
    target: Target = TARGET,
    calibration: Batches = None,
    workers: Workers = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a trial may take.")] = 120.0,
    template: Brought = None,
    lift: Lifted = True,
    output: Output = None,
    json: Json = False,
) -> None:
    """Search the schedules of kernels. Shows what each costs at its best point."""
    from .. import api
    from ..report import Report

    check_output(output)
    source, report = source_of(model, calibration), Report()
    form = kernel_options.KernelOptions(template, lift)
    own = kernel_options.takes(source, form, output, recipe)
    try:
        with interruptible() as stopped, watching("default schedules") as watcher:
            how: dict[str, Any] = {
                "target": target, "log": log, "search": search, "executor": workers,
                "timeout": timeout, "callbacks": (report, watcher.hear, stopped),
            }  # fmt: skip
            if own:
                kernel_options.tune(source, form, how, report, json)
                return
            batches = watcher.batches(source.calibration)
            tuned = api.tune(source.model, None, source.inputs, batches, recipe=recipe, **how)
    except KeyboardInterrupt:
        printed.warn(_interrupted(log, report))
        raise typer.Exit(130) from None
    if output:
        tuned.save(output)
    if json:
        printed.print_json(_tune_json(model, tuned, report, log))
        return
    printed.kernel_table(tuned)
    print(
        f"\n{model} on {tuned.target}: {tuned.default_cycles:,} cycles by default, "
        f"{tuned.cycles:,} tuned, bound {tuned.bound:,}; "
        f"{report.trials} trials in {report.seconds:.1f} s "
        f"({report.trials_per_second:.1f} trials/s)"
    )


def _interrupted(log: Path | None, report: Report) -> str:
    if log is None:
        return "interrupted: no log was given, so nothing is kept; --log FILE keeps the trials"
    again = shlex.join(["dovetail", *sys.argv[1:]])
    return f"interrupted: {log} has the {report.trials} trials so far; resume by: {again}"


def _tune_json(name: str, tuned: Tuned, report: Report, log: Path | None) -> dict[str, Any]:
    counted: set[str] = set()
    return {
        "model": name,
        "target": tuned.target,
        "recipe": tuned.recipe.as_dict(),
        "trials": report.trials,
        "seconds": round(report.seconds, 3),
        "trials_per_second": round(report.trials_per_second, 3),
        "cycles": tuned.cycles,
        "default_cycles": tuned.default_cycles,
        "bound": tuned.bound,
        "kernels": [_tune_row(row, report, counted) for row in tuned.kernels],
        "walks": report.statuses.get(MODEL, {}),
        "log": str(log) if log else None,
    }


def _tune_row(row: KernelRow, report: Report, counted: set[str]) -> dict[str, Any]:
    """Trials of a kernel that occurs several times count where it occurs first."""
    counts = {} if row.key in counted else report.statuses.get(row.key, {})
    counted.add(row.key)
    names = ("name", "kind", "macs", "cycles", "default_cycles", "bound")
    return {name: getattr(row, name) for name in names} | {"status_counts": counts}


@command("Example: dovetail replay run.jsonl resnet18 --mode verify")
def replay(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A log that tune wrote.")],
    model: Model,
    mode: Annotated[
        str,
        typer.Option(
            help="apply: the best points; verify: measured and checked again; "
            "strict: refuse a log of other kernels, recipe, target or versions."
        ),
    ] = "apply",
    target: Annotated[str | None, typer.Option(help="Default: the log's.")] = None,
    recipe: Recipe | None = None,
    calibration: Batches = None,
    workers: Workers = None,
    template: Brought = None,
    lift: Lifted = True,
    output: Output = None,
    json: Json = False,
) -> None:
    """Compile a model or kernel as a log says. Nothing is searched; points come from the log."""
    from .. import api

    check_output(output)
    source, form = source_of(model, calibration), kernel_options.KernelOptions(template, lift)
    if kernel_options.takes(source, form, output, recipe):
        if not kernel_options.replay(log, source, mode, target, form, workers, json):
            raise typer.Exit(1)
        return
    with watching("kernels") as watcher:
        tuned = api.replay(
            log, source.model, mode, source.inputs, watcher.batches(source.calibration), target,
            recipe=recipe, executor=workers, callbacks=[watcher.hear],
        )  # fmt: skip
    if output:
        tuned.save(output)
    if json:
        printed.print_json({**summary(model, tuned), "mode": mode, "drift": drifted(tuned.drift)})
    else:
        printed.kernel_table(tuned)
        tell_missing(tuned.missing)
        tell_drift(tuned.drift)
    if not all(row.same for row in tuned.drift):
        raise typer.Exit(1)
