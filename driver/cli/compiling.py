"""Commands that compile a model, run it, and show where its cycles go: compile, run, profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...quant.recipe import DEFAULT_RECIPE, Recipe
from .. import printed
from ..default import TARGET
from ..errors import InputError
from . import kernel_options
from .models import (
    check_output,
    compiled,
    saved_or_compiled,
    saved_or_quantized,
    source_of,
    summary,
    tell_missing,
)
from .options import (
    Batches,
    Brought,
    Json,
    Lifted,
    LogIn,
    Model,
    Output,
    Saved,
    Target,
    Workers,
    command,
)

if TYPE_CHECKING:
    from ..tuned import KernelRow, Tuned


@command(
    "\b\nExamples:\n"
    "  dovetail compile resnet18 --log run.jsonl --output resnet18.dovetail\n"
    "  dovetail compile digits --emit elf -o digits.elf\n"
    "  dovetail compile blur.py:blur                # a kernel that is a prim_func"
)
def compile(
    model: Model,
    log: LogIn = None,
    target: Target = TARGET,
    recipe: Recipe = DEFAULT_RECIPE,
    calibration: Batches = None,
    workers: Workers = None,
    template: Brought = None,
    lift: Lifted = True,
    output: Output = None,
    emit: Annotated[
        str | None,
        typer.Option(
            help="Write its code to --output, or beside: asm: its listing; obj: an object; elf: a "
            "program with weights, which reads the DDR's bytes with the inputs and writes packets "
            "and DDR."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compile a model or kernel. It takes the best points of --log, or its defaults."""
    from ..code_files import place_of, write

    file = None if emit is None else place_of(emit, model, output)
    check_output(file or output)
    source, form = source_of(model, calibration), kernel_options.KernelOptions(template, lift)
    if kernel_options.takes(source, form, None if file else output, recipe):
        kernel_options.compile(source, log, target, form, workers, json, emit, file)
        return
    tuned = compiled(source, log, target, workers, recipe)
    if emit is not None and file is not None:
        write(tuned, emit, file)
    elif output:
        tuned.save(output)
    if json:
        printed.print_json(summary(model, tuned))
        return
    printed.kernel_table(tuned)
    tell_missing(tuned.missing)
    _memory(tuned)


@command(
    "\b\nExamples:\n"
    "  dovetail run digits --log run.jsonl\n"
    "  dovetail run digits --evaluate --requantize float\n"
    "  dovetail run digits --target hexagon         # real HVX code under QEMU, packets counted"
)
def run(
    model: Saved,
    log: LogIn = None,
    target: Target = TARGET,
    recipe: Recipe = DEFAULT_RECIPE,
    calibration: Batches = None,
    workers: Workers = None,
    evaluation: Annotated[
        bool,
        typer.Option("--evaluate", help="Without code: the exact evaluation, for all modes."),
    ] = False,
    inputs: Annotated[
        Path | None, typer.Option("--input", help="A .npy, or a .npz with an array an input.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the outputs to this .npz.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a model's code on its example inputs. Its bytes are held to the exact evaluation. On
    the target hexagon, or hexagon(threads=4), the whole program runs under QEMU."""
    from ..running import require_place, run_model
    from ..targets import emulated

    require_place(output)
    real = emulated(target)
    if evaluation and real:
        raise InputError("run: --evaluate runs no code, so it cannot be given with target hexagon")
    if evaluation:
        quantized, examples = saved_or_quantized(model, log, calibration, recipe)
        found = run_model(quantized, inputs if inputs is not None else examples, output)
        if json:
            printed.print_json({"model": model, "recipe": quantized.recipe.as_dict(), **found})
            return
        _print_outputs(found)
        print(f"by the exact evaluation, {found['seconds'] * 1000:.1f} ms on this host")
        return
    tuned, examples = saved_or_compiled(model, log, real or target, calibration, workers, recipe)
    found = run_model(tuned, inputs if inputs is not None else examples, output, bool(real))
    if json:
        printed.print_json(
            {"model": model, "target": tuned.target, "cycles": tuned.cycles, **found}
        )
        return
    _print_outputs(found)
    if real:
        rows = found["packets"]
        printed.table(("kernel", "packets", "predicted"),
                      [(row["name"], row["packets"], row["predicted"]) for row in rows],
                      "packets of all threads")  # fmt: skip
    same = "the same bytes as" if found["exact"] else "OTHER BYTES than"
    print(
        f"{same} the exact evaluation; {tuned.cycles:,} cycles on {tuned.target}, "
        f"{found['seconds'] * 1000:.1f} ms {'under QEMU' if real else 'on this host'}"
    )


def _print_outputs(found: dict[str, Any]) -> None:
    for row in found["outputs"]:
        print(f"{row['name']}: shape {tuple(row['shape'])}, {row['head']}")


@command(
    "\b\nExamples:\n"
    "  dovetail profile digits --packets --kernel relu\n"
    "  dovetail profile digits --trace digits.json --plot digits.png   # open it at ui.perfetto.dev"
)
def profile(
    model: Saved,
    log: LogIn = None,
    target: Target = TARGET,
    recipe: Recipe = DEFAULT_RECIPE,
    calibration: Batches = None,
    workers: Workers = None,
    packets: Annotated[bool, typer.Option("--packets", help="Print the packed code.")] = False,
    kernel: Annotated[str | None, typer.Option(help="This kernel only.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write when what runs: a JSON trace for Perfetto or Chrome.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw when what runs as a PNG.")] = None,
    json: Json = False,
) -> None:
    """Show where each kernel's cycles go. Its columns: packets, stalls, transfers, use of slots."""
    from ..model_timeline import plot_timeline, write_trace

    check_output(trace)
    check_output(plot)
    tuned, _ = saved_or_compiled(model, log, target, calibration, workers, recipe)
    if trace:
        write_trace(tuned, trace)
    if plot:
        plot_timeline(tuned, plot)
    rows = tuned.kernels if kernel is None else [_row(tuned, kernel)]
    if json:
        listed = [
            row.as_dict() | ({"listing": tuned.listing(row.name)} if packets else {})
            for row in rows
        ]
        printed.print_json({**summary(model, tuned), "kernels": listed})
        return
    if packets:
        for row in rows:
            print(f"// {row.name}: {row.kind}, {row.cycles:,} cycles, {row.origin}")
            print(tuned.listing(row.name))
        return
    _profile_table(rows)
    _memory(tuned)


def _row(tuned: Tuned, name: str) -> KernelRow:
    tuned.kernel(name)
    return next(row for row in tuned.kernels if row.name == name)


def _profile_table(rows: list[KernelRow]) -> None:
    head = ("kernel", "kind", "cycles", "bound", "packets", "stalls", "dma wait", "dma bytes",
            "direct bytes", "tcm", "spills", "slots", "multipliers", "dots/packet")  # fmt: skip
    printed.table(head, [
        (row.name, row.kind, row.cycles, row.bound, row.packets,
         sum(row.stalls.values()) - row.dma_wait, row.dma_wait, row.dma_bytes,
         row.direct_bytes, row.tcm, row.spills, row.slot_use, row.multiplier_use,
         row.dots_per_packet) for row in rows
    ], "kernels")  # fmt: skip


def _memory(tuned: Tuned) -> None:
    found, steady = tuned.memory, tuned.steady_cycles
    again = "" if steady is None else f" ({steady:,} where constants stay in TCM)"
    print(
        f"\n{tuned.cycles:,} cycles on {tuned.target}{again}, bound {tuned.bound:,}; "
        f"bytes: ddr {found.ddr:,}, tcm {found.tcm:,}, "
        f"weights {found.weights:,}, code {found.code:,}"
    )
