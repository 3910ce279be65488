"""When what of a model's program runs, as a trace for Perfetto or Chrome, and as a plot.

    write_trace(tuned, "digits.json")        # open it at ui.perfetto.dev
    plot_timeline(tuned, "digits.png")

A row a thread, one for transfers, and the bytes of TCM in use. The format is Chrome's JSON trace
event format: complete events ("X") and counters ("C"), times in microseconds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..target.cost import TimedSpan, Timeline
from ..tuner import files
from .errors import InputError
from .model_program import timeline
from .tuned import KernelRow, Tuned

PROCESS = 1  # of all events; threads of the machine are 0, 1, ...


def timeline_of(tuned: Tuned) -> Timeline:
    """The walk of a whole model; InputError for a part of one."""
    if len(tuned.program.places) < len(tuned.ready.kernels):
        raise InputError("trace: the model must be whole, but only some kernels were compiled")
    return timeline(tuned.ready, tuned.choices, tuned.program)


def write_trace(tuned: Tuned, path: str | os.PathLike[str]) -> None:
    """Writes the trace to a file, whole or not at all."""
    events = {"traceEvents": [*_events(tuned)], "displayTimeUnit": "ns",
              "otherData": {"cycles": tuned.cycles, "bound": tuned.bound,
                            "target": tuned.target}}  # fmt: skip
    files.write_whole(Path(path), json.dumps(events).encode())


def _events(tuned: Tuned) -> Iterator[dict[str, Any]]:
    found, rows, machine = timeline_of(tuned), tuned.kernels, tuned.ready.machine
    scale = 1e6 / machine.clock
    names = [f"thread {number}" for number in range(machine.threads)]
    for number, name in enumerate([*names, "transfers", "barriers"]):
        yield {"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": number,
               "args": {"name": name}}  # fmt: skip
    for span in found.phases:
        yield _event(span, rows[span.owner], span.thread, scale, {})
    for span in found.transfers:
        row = rows[span.owner]
        yield _event(span, row, machine.threads, scale, {"bytes": span.bytes})
    for at in found.barriers:
        yield {"ph": "X", "name": "barrier", "cat": "barrier", "pid": PROCESS,
               "tid": machine.threads + 1, "ts": at * scale,
               "dur": machine.barrier * scale, "args": {"cycles": machine.barrier}}  # fmt: skip
    for row, used, start in zip(rows, tuned.program.tcm, _starts(found), strict=True):
        yield {"ph": "C", "name": "TCM", "pid": PROCESS, "ts": start * scale,
               "args": {"bytes": used}, "cat": row.kind}  # fmt: skip


def _event(
    span: TimedSpan, row: KernelRow, thread: int, scale: float, more: dict[str, int]
) -> dict[str, Any]:
    cycles = span.end - span.start
    return {
        "ph": "X", "name": row.name, "cat": row.kind, "pid": PROCESS, "tid": thread,
        "ts": span.start * scale, "dur": cycles * scale,
        "args": {"cycles": cycles, "kind": row.kind, "origin": row.origin, **more},
    }  # fmt: skip


def _starts(found: Timeline) -> Iterator[int]:
    """The cycle in which each owner's first phase begins."""
    for owner in range(len(found.shares)):
        yield min((span.start for span in found.phases if span.owner == owner), default=0)


def plot_timeline(tuned: Tuned, path: str | os.PathLike[str]) -> None:
    """Draws the timeline with the bound in it; neighbouring kernels differ in their shade."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    found, rows, machine = timeline_of(tuned), tuned.kernels, tuned.ready.machine
    kinds = list(dict.fromkeys(row.kind for row in rows))
    colors = {kind: f"C{number}" for number, kind in enumerate(kinds)}
    figure, axes = pyplot.subplots(figsize=(14, 1.6 + 0.5 * machine.threads))
    for spans, place in ((found.phases, None), (found.transfers, machine.threads)):
        for span in spans:
            at = span.thread if place is None else place
            axes.barh(at, span.end - span.start, left=span.start, height=0.8,
                      color=colors[rows[span.owner].kind],
                      alpha=(1.0, 0.7)[span.owner % 2], linewidth=0)  # fmt: skip
    for at in found.barriers:
        axes.barh((machine.threads - 1) / 2, machine.barrier, left=at, height=machine.threads,
                  color="black", alpha=0.25, linewidth=0)  # fmt: skip
    axes.axvline(tuned.bound, linestyle=":", color="black", label="bound")
    names = [f"thread {number}" for number in range(machine.threads)]
    axes.set_yticks(range(machine.threads + 1), [*names, "transfers"])
    axes.invert_yaxis()
    axes.set(xlabel="cycles", xlim=(0, max(tuned.cycles, tuned.bound)),
             title=f"{tuned.graph.name} on {tuned.target}: {tuned.cycles:,} cycles, "
                   f"bound {tuned.bound:,}")  # fmt: skip
    marks = [Patch(color=colors[kind], label=kind) for kind in kinds]
    marks.append(Patch(color="black", alpha=0.25, label="barrier"))
    (bound,) = axes.get_lines()
    axes.legend(handles=[*marks, bound], loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
