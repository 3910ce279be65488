"""Commands that answer questions: coverage, explain, rules, instructions, zoo."""

from __future__ import annotations

import functools
from dataclasses import asdict
from math import isfinite
from typing import Annotated

import typer

from ...quant.recipe import DEFAULT_RECIPE, Recipe
from .. import printed
from ..default import TARGET
from ..progress import watching
from .models import model_of, source_of
from .options import Batches, Json, LogIn, Model, Saved, Target, Workers, command, zoo_app


@command("Example: dovetail coverage net.pt2 --json")
def coverage(model: Model, json: Json = False) -> None:
    """List every operator of a model. Unsupported ones come first, each with its source line."""
    from ...graph.coverage import coverage as rows_of

    source = model_of(model, None)
    rows = rows_of(source.model, source.inputs)
    if json:
        listed = [
            {"operator": row.operator, "count": row.count, "supported": row.supported,
             "source": row.source, "reason": row.reason} for row in rows
        ]  # fmt: skip
        supported = all(row.supported for row in rows)
        printed.print_json({"model": model, "supported": supported, "operators": listed})
        return
    printed.table(("operator", "count", "supported", "source", "reason"), [
        (row.operator, row.count, "yes" if row.supported else "no", row.source, row.reason)
        for row in rows
    ])  # fmt: skip


@command("Example: dovetail analyze digits --observer percentile")
def analyze(
    model: Model,
    recipe: Recipe = DEFAULT_RECIPE,
    calibration: Batches = None,
    json: Json = False,
) -> None:
    """Show where quantization loses accuracy. Signal to noise of each layer in dB: with all errors
    before it (total), and of its own on float inputs (own)."""
    from .. import quantized

    source = model_of(model, calibration)
    with watching("layers") as watcher:
        batches = watcher.batches(source.calibration)
        found = quantized.analyze(source.model, source.inputs, batches, recipe=recipe)
    if json:
        layers = [asdict(row) | {"total": _decibels(row.total), "own": _decibels(row.own)}
                  for row in found]  # fmt: skip
        printed.print_json({"model": model, "recipe": recipe.as_dict(), "layers": layers})
        return
    printed.table(("layer", "operator", "total", "own", "source"), [
        (row.name, row.op, row.total, row.own, row.origin) for row in found
    ], "dB")  # fmt: skip


def _decibels(value: float) -> float | None:
    """Null in JSON where nothing is lost, or where there is no signal."""
    return round(value, 3) if isfinite(value) else None


@command(
    "\b\nExamples:\n"
    "  dovetail explain resnet8 --kernel relu_1     # rules and instructions, and near misses\n"
    "  dovetail explain resnet8 --rule vrmpyubv_acc # where it was used or tried, and what failed\n"
    "  dovetail explain resnet8 --forbid vasrwhrndsat\n"
    "  dovetail explain net.py:build --bisect\n"
    "  dovetail explain blur.py:blur                # a kernel that is a prim_func"
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
        bool,
        typer.Option(
            "--all", help="Also rows and rules that were tried and are of another operator or type."
        ),
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
    target: Target = TARGET,
    recipe: Recipe = DEFAULT_RECIPE,
    calibration: Batches = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Explain how kernels became code. Shows rules, instructions, and near misses."""
    from ..explain import command

    question = command.Question(
        kernel, rule, everything, tuple(forbid or ()), rewrite_limit, bisect, json
    )
    source = functools.partial(source_of, model, calibration)
    if not command.answer(question, model, source, log, target, workers, recipe):
        raise typer.Exit(1)


@command("Example: dovetail rules clamp_then_cast")
def rules(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A rule or a family of rules.")
    ] = None,
    json: Json = False,
) -> None:
    """List the proven rules of lifting. With NAME: also algebra, condition and proof."""
    from ..explain import rules as found

    entries = found.entries(name)
    if json:
        printed.print_json({"rules": entries})
    elif name is None:
        found.table(entries)
    else:
        found.details(entries)


@command("Example: dovetail instructions --version 66")
def instructions(
    version: Annotated[int, typer.Option(help="The version of the instruction set.")] = 66,
    json: Json = False,
) -> None:
    """List the machine's vector instructions. Timing is in cycles, the result's before the colon
    and the operands' behind it; docs/instructions.md explains the columns."""
    from ...target.instruction import spelled
    from ..instructions import rows as rows_of
    from ..targets import parse

    rows = rows_of(parse(f"{TARGET}(version={version})"))
    if json:
        printed.print_json({"version": version, "instructions": rows})
        return
    texts = [{**row, "timing": spelled(row["timing"]), "since": f"v{row['since']}"}
             for row in rows]  # fmt: skip
    printed.table(tuple(texts[0]), [tuple(row.values()) for row in texts], f"v{version}")


@command("Example: dovetail machine --target 'dsp(threads=1)'")
def machine(target: Target = TARGET, json: Json = False) -> None:
    """List the fields of a machine. These are what --target can change: 'dsp(threads=1)'."""
    from ..targets import fields_of, parse

    made = parse(target)
    rows = fields_of(made)
    if json:
        printed.print_json({"target": made.name, "fields": rows})
        return
    values = [row | {"value": _short(row["value"])} for row in rows]
    printed.table(tuple(rows[0]), [tuple(row.values()) for row in values], made.name)


def _short(value: object) -> str:
    """A field's value, or how many rows it has."""
    return f"{len(value)} rows" if isinstance(value, tuple | list) else str(value)


@zoo_app.command("list", epilog="Example: dovetail zoo list")
def zoo_list(json: Json = False) -> None:
    """The names of the zoo's models."""
    from .. import zoo

    if json:
        printed.print_json({"models": zoo.names()})
        return
    print("\n".join(zoo.names()))
