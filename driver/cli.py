"""The command line: the twins of the public functions, and what a person asks about a model.

dovetail tune resnet8 --trials 256 --log run.jsonl
dovetail profile resnet8 --log run.jsonl --packets

Wrong input ends with one sentence on standard error and code 2; Ctrl-C with 130, the log kept.
"""

from __future__ import annotations

import functools
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO

import typer

from . import show
from .errors import InputError, user_errors

if TYPE_CHECKING:
    from .api import Search
    from .source import Source
    from .tuned import Row, Tuned

P = ParamSpec("P")

app = typer.Typer(
    name="dovetail",
    help="Compiles PyTorch models to int8 code for a simulated DSP, and tunes it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
zoo_app = typer.Typer(help="The models that come with dovetail.", no_args_is_help=True)
app.add_typer(zoo_app, name="zoo")

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A zoo name, a .pt2 path, or file.py:function, whose function returns "
        "(module, inputs_tuple) or (module, inputs_tuple, calibration).",
    ),
]
Saved = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="As for tune, or a file that compile --output wrote."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Target = Annotated[
    str, typer.Option(help="The machine: dsp, or fields that differ: 'dsp(threads=1)'.")
]
LogIn = Annotated[Path | None, typer.Option("--log", help="A log of tune to take points from.")]
Batches = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="FILE.py:FUNCTION",
        help="Its function returns an iterable of input tuples. Default: the model's own.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Save the compiled model to this file.")
]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes; 0 works in this one. Default: one a core.")
]


def main() -> None:
    """The entry point of the command."""
    app(prog_name="dovetail")


def command(text: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A command of the app with examples behind its help; wrong input becomes one sentence."""

    def enter(run: Callable[P, None]) -> Callable[P, None]:
        return app.command(epilog=text)(guarded(run))

    return enter


def guarded(run: Callable[P, None]) -> Callable[P, None]:
    """``run`` with its user errors as one line and code 2, warnings as lines."""

    @functools.wraps(run)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        warnings.showwarning = _warning
        try:
            run(*args, **kwargs)
        except user_errors() as error:
            show.warn(f"error: {error}")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            show.warn("interrupted")
            raise typer.Exit(130) from None

    return call


def _warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):
        show.warn(f"warning: {message}")


@command("Example: dovetail tune resnet18 --trials 512 --log run.jsonl --json")
def tune(
    model: Model,
    trials: Annotated[int, typer.Option(help="Trials over all kernels.")] = 256,
    log: Annotated[
        Path | None, typer.Option(help="The log to write; the same command resumes it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal logs.")] = 0,
    target: Target = "dsp",
    calibration: Batches = None,
    append: Annotated[bool, typer.Option(help="Start a new run in a log of other runs.")] = False,
    search: Annotated[str, typer.Option(help="evolution, random or exhaustive.")] = "evolution",
    workers: Workers = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a trial may take.")] = 120.0,
    output: Output = None,
    json: Json = False,
) -> None:
    """Search the schedules of a model's kernels and show what the best ones cost."""
    from . import api

    _check_output(output)
    source, report = _source(model, calibration), api.Search()
    try:
        with show.watching("default schedules") as watcher:
            tuned = api.tune(
                source.model, trials, source.inputs, source.calibration, target, log, seed,
                append=append, search=search, workers=workers, timeout=timeout,
                callbacks=(watcher.trial,), heard=watcher.heard, report=report,
            )  # fmt: skip
    except KeyboardInterrupt:
        show.warn(_interrupted(log, report))
        raise typer.Exit(130) from None
    if output:
        tuned.save(output)
    if json:
        show.print_json(_tune_json(model, tuned, report, log))
        return
    show.kernel_table(tuned.kernels)
    print(
        f"\n{model} on {tuned.target}: {tuned.default_cycles:,} cycles by default, "
        f"{tuned.cycles:,} tuned, bound {tuned.bound:,}; {report.trials} trials in "
        f"{report.seconds:.1f} s ({report.trials_per_second:.1f} trials/s)"
    )


def _interrupted(log: Path | None, report: Search) -> str:
    if log is None:
        return "interrupted: no log was given, so nothing is kept; --log FILE keeps the trials"
    again = shlex.join(["dovetail", *sys.argv[1:]])
    return f"interrupted: {log} has the {report.trials} trials so far; resume by: {again}"


def _tune_json(name: str, tuned: Tuned, report: Search, log: Path | None) -> dict[str, Any]:
    counted: set[str] = set()
    return {
        "model": name,
        "target": tuned.target,
        "trials": report.trials,
        "seconds": round(report.seconds, 3),
        "trials_per_second": round(report.trials_per_second, 3),
        "cycles": tuned.cycles,
        "default_cycles": tuned.default_cycles,
        "bound": tuned.bound,
        "kernels": [_tune_row(row, report, counted) for row in tuned.kernels],
        "log": str(log) if log else None,
    }


def _tune_row(row: Row, report: Search, counted: set[str]) -> dict[str, Any]:
    """Trials of a kernel that occurs several times count where it occurs first."""
    counts = {} if row.key in counted else report.statuses.get(row.key, {})
    counted.add(row.key)
    names = ("name", "kind", "macs", "cycles", "default_cycles", "bound")
    return {name: getattr(row, name) for name in names} | {"status_counts": counts}


@command("Example: dovetail compile resnet18 --log run.jsonl --output resnet18.dovetail")
def compile(
    model: Model,
    log: LogIn = None,
    target: Target = "dsp",
    calibration: Batches = None,
    workers: Workers = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Compile a model without a search: at its default schedules, or at the best of a log."""
    _check_output(output)
    tuned = _compiled(_source(model, calibration), log, target, workers)
    if output:
        tuned.save(output)
    if json:
        show.print_json(_summary(model, tuned))
        return
    show.kernel_table(tuned.kernels)
    _memory(tuned)


@command("Example: dovetail run digits --log run.jsonl")
def run(
    model: Saved,
    log: LogIn = None,
    target: Target = "dsp",
    calibration: Batches = None,
    workers: Workers = None,
    inputs: Annotated[
        Path | None, typer.Option("--input", help="A .npy, or a .npz with an array an input.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the outputs to this .npz.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a model's code on its example inputs and hold the bytes to the exact evaluation."""
    from .running import run_model

    tuned, examples = _any(model, log, target, calibration, workers)
    found = run_model(tuned, inputs if inputs is not None else examples, output)
    if json:
        show.print_json({"model": model, "target": tuned.target, "cycles": tuned.cycles, **found})
        return
    for row in found["outputs"]:
        print(f"{row['name']}: shape {tuple(row['shape'])}, {row['head']}")
    same = "the same bytes as" if found["exact"] else "OTHER BYTES than"
    print(
        f"{same} the exact evaluation; {tuned.cycles:,} cycles on {tuned.target}, "
        f"{found['seconds'] * 1000:.1f} ms on this host"
    )


@command("Example: dovetail replay run.jsonl resnet18 --mode verify")
def replay(
    log: Annotated[Path, typer.Argument(help="A log that tune wrote.")],
    model: Model,
    mode: Annotated[
        str,
        typer.Option(
            help="apply: the best points; verify: measured and checked again; "
            "strict: refuse a log of other kernels, target or versions."
        ),
    ] = "apply",
    target: Annotated[str | None, typer.Option(help="Default: the log's.")] = None,
    calibration: Batches = None,
    workers: Workers = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Compile a model as a log says, without a search."""
    from . import api

    _check_output(output)
    source = _source(model, calibration)
    with show.watching("kernels") as watcher:
        tuned = api.replay(
            log, source.model, mode, source.inputs, source.calibration, target,
            workers=workers, heard=watcher.heard,
        )  # fmt: skip
    if output:
        tuned.save(output)
    drift = [
        {"name": d.name, "status": d.status, "logged": d.logged, "cycles": d.cycles,
         "same": d.same, "message": d.message} for d in tuned.drift
    ]  # fmt: skip
    if json:
        show.print_json({**_summary(model, tuned), "mode": mode, "drift": drift})
    else:
        show.kernel_table(tuned.kernels)
        for row in drift:
            print(f"{row['name']}: {'repeats' if row['same'] else 'DRIFTED: ' + _why(row)}")
    if not all(row["same"] for row in drift):
        raise typer.Exit(1)


def _why(row: dict[str, Any]) -> str:
    return f"{row['logged']} -> {row['cycles']} cycles, {row['status']} {row['message']}".strip()


@command("Example: dovetail profile digits --packets --kernel relu")
def profile(
    model: Saved,
    log: LogIn = None,
    target: Target = "dsp",
    calibration: Batches = None,
    workers: Workers = None,
    packets: Annotated[bool, typer.Option("--packets", help="Print the packed code.")] = False,
    kernel: Annotated[str | None, typer.Option(help="This kernel only.")] = None,
    json: Json = False,
) -> None:
    """Show where each kernel's cycles go: packets, stalls by cause, transfers, slots."""
    tuned, _ = _any(model, log, target, calibration, workers)
    rows = tuned.kernels if kernel is None else [_row(tuned, kernel)]
    if json:
        listed = [
            row.as_dict() | ({"listing": tuned.listing(row.name)} if packets else {})
            for row in rows
        ]
        show.print_json({**_summary(model, tuned), "kernels": listed})
        return
    if packets:
        for row in rows:
            print(f"// {row.name}: {row.kind}, {row.cycles:,} cycles, {row.origin}")
            print(tuned.listing(row.name))
        return
    _profile_table(rows)
    _memory(tuned)


def _row(tuned: Tuned, name: str) -> Row:
    tuned.kernel(name)
    return next(row for row in tuned.kernels if row.name == name)


def _profile_table(rows: list[Row]) -> None:
    head = ("kernel", "kind", "cycles", "bound", "packets", "stalls", "dma wait", "dma bytes",
            "tcm", "spills", "slots", "multipliers", "dots/packet")  # fmt: skip
    show.table(head, [
        (row.name, row.kind, row.cycles, row.bound, row.packets,
         sum(row.stalls.values()) - row.dma_wait, row.dma_wait, row.dma_bytes, row.tcm, row.spills,
         row.slot_use, row.multiplier_use, row.dots_per_packet) for row in rows
    ], "kernels")  # fmt: skip


def _memory(tuned: Tuned) -> None:
    found = tuned.memory
    print(
        f"\n{tuned.cycles:,} cycles on {tuned.target}, bound {tuned.bound:,}; "
        f"bytes: ddr {found.ddr:,}, tcm {found.tcm:,}, weights {found.weights:,}, "
        f"code {found.code:,}"
    )


@command("Example: dovetail coverage net.pt2 --json")
def coverage(model: Model, json: Json = False) -> None:
    """List every operator of a model, the unsupported ones first, with their source lines."""
    from ..graph.coverage import coverage as rows_of

    source = _source(model, None)
    rows = rows_of(source.model, source.inputs)
    if json:
        listed = [
            {"operator": row.operator, "count": row.count, "supported": row.supported,
             "source": row.source, "reason": row.reason} for row in rows
        ]  # fmt: skip
        supported = all(row.supported for row in rows)
        show.print_json({"model": model, "supported": supported, "operators": listed})
        return
    show.table(("operator", "count", "supported", "source", "reason"), [
        (row.operator, row.count, "yes" if row.supported else "no", row.source, row.reason)
        for row in rows
    ])  # fmt: skip


@command(
    "\b\nExamples:\n"
    "  dovetail explain resnet8 --kernel relu_1     # rules and instructions, and near misses\n"
    "  dovetail explain resnet8 --rule vrmpyubv_acc # where it was used or tried, and what failed\n"
    "  dovetail explain resnet8 --forbid vasrwhrndsat\n"
    "  dovetail explain net.py:build --bisect"
)
def explain(
    model: Saved,
    kernel: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only kernels with this in their name.")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this rule, family of rules or instruction."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was tried and is of another operator or type.")
    ] = False,
    forbid: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Compare without this rule, family or instruction."),
    ] = None,
    rewrite_limit: Annotated[
        int | None, typer.Option(metavar="N", help="Compare with N rewrites of each kernel.")
    ] = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Find the first rewrite that spoils the bytes.")
    ] = False,
    log: LogIn = None,
    target: Target = "dsp",
    calibration: Batches = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Show by which rules and instructions the kernels became code, and why by no others."""
    from .explain import command

    question = command.Question(
        kernel, rule, everything, tuple(forbid or ()), rewrite_limit, bisect, json
    )
    source = functools.partial(_source, model, calibration)
    if not command.answer(question, model, source, log, target, workers):
        raise typer.Exit(1)


@command("Example: dovetail rules clamp_then_cast")
def rules(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A rule or a family of rules.")
    ] = None,
    json: Json = False,
) -> None:
    """List the proven rules of lifting; of one, also its algebra, condition and proof."""
    from .explain import rules as found

    entries = found.entries(name)
    if json:
        show.print_json({"rules": entries})
    elif name is None:
        found.table(entries)
    else:
        found.details(entries)


@command("Example: dovetail instructions --version 66")
def instructions(
    version: Annotated[int, typer.Option(help="Of the instruction set.")] = 66,
    json: Json = False,
) -> None:
    """List the machine's vector instructions: name, resource class, assembly, meaning."""
    from ..target.dsp.instructions import instructions as table
    from ..target.dsp.machine import dsp

    dsp(version=version)  # refuses a version that no machine has
    rows = [
        {"name": row.name, "hvx": row.hvx, "unit": row.unit_at(version), "asm": row.asm,
         "meaning": row.doc} for row in table(version).values()
    ]  # fmt: skip
    if json:
        show.print_json({"version": version, "instructions": rows})
        return
    show.table(tuple(rows[0]), [tuple(row.values()) for row in rows], f"v{version}")


@zoo_app.command("list", epilog="Example: dovetail zoo list")
def zoo_list(json: Json = False) -> None:
    """The names of the zoo's models."""
    from . import zoo

    if json:
        show.print_json({"models": zoo.names()})
        return
    print("\n".join(zoo.names()))


def _check_output(output: Path | None) -> None:
    from .store import require_place

    if output is not None:
        require_place(output)


def _source(model: str, calibration: str | None) -> Source:
    from dataclasses import replace

    from .source import called, find, guarded

    source = find(model)
    if calibration is None:
        return source
    what = f"calibration: {calibration}"
    return replace(source, calibration=guarded(called(calibration, "calibration"), what))


def _compiled(source: Source, log: Path | None, target: str, workers: int | None) -> Tuned:
    from . import api

    with show.watching("kernels") as watcher:
        return api.compile(
            source.model, source.inputs, source.calibration, target, log,
            workers=workers, heard=watcher.heard,
        )  # fmt: skip


def _any(
    model: str, log: Path | None, target: str, calibration: str | None, workers: int | None
) -> tuple[Tuned, object]:
    """A saved model, or one compiled now, with its example inputs."""
    from .source import SAVED

    if not model.endswith(SAVED):
        source = _source(model, calibration)
        return _compiled(source, log, target, workers), _examples(source)
    if log is not None:
        raise InputError("log: a saved model has its points already, but --log was given")
    from .api import load

    return load(model), None


def _examples(source: Source) -> object:
    """Example inputs; a .pt2 may hold its own."""
    from .prepare import examples

    return examples(source.model, source.inputs)


def _summary(name: str, tuned: Tuned) -> dict[str, Any]:
    """What compile, replay and profile print as JSON."""
    from dataclasses import asdict

    rows = [row.as_dict() for row in tuned.kernels]
    return {
        "model": name, "target": tuned.target, "cycles": tuned.cycles,
        "default_cycles": tuned.default_cycles, "bound": tuned.bound,
        "memory": asdict(tuned.memory), "kernels": rows,
    }  # fmt: skip


if __name__ == "__main__":
    main()
