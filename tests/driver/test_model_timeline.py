"""The trace and the plot of a model: what they say is what the walk says."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dovetail import compile, dsp, load
from dovetail.driver.errors import InputError
from dovetail.driver.explain.found import narrow
from dovetail.driver.model_timeline import plot_timeline, timeline_of, write_trace
from dovetail.driver.tuned import Tuned


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 40, 1), nn.Flatten())
    x = torch.randn(1, 3, 13, 13)
    found = compile(model.eval(), (x,), [(x,)], dsp(threads=2), executor=0)
    assert isinstance(found, Tuned)
    return found


def events(path: Path) -> list[dict[str, Any]]:
    data = json.loads(path.read_text())
    assert data.keys() == {"traceEvents", "displayTimeUnit", "otherData"}
    found: list[dict[str, Any]] = data["traceEvents"]
    for event in found:  # what the format asks of each
        assert {"ph", "name", "pid"} <= event.keys() and event["ph"] in "XCM"
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0 and "tid" in event
    return found


def test_threads_do_one_thing_at_a_time(tuned: Tuned, tmp_path: Path) -> None:
    write_trace(tuned, tmp_path / "t.json")
    found = events(tmp_path / "t.json")
    names = {e["tid"]: e["args"]["name"] for e in found if e["ph"] == "M"}
    assert list(names.values()) == ["thread 0", "thread 1", "transfers", "barriers"]
    rows = defaultdict(list)
    for event in found:
        if event["ph"] == "X":
            rows[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in rows.values():
        spans.sort()
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))
    cycles = 1e6 / tuned.ready.machine.clock * tuned.cycles
    assert max(end for spans in rows.values() for _, end in spans) == pytest.approx(cycles)
    kernels = {e["name"] for e in found if e["ph"] == "X"} - {"barrier"}
    assert kernels == {row.name for row in tuned.kernels}


def test_the_walk_moves_what_the_rows_say(tuned: Tuned) -> None:
    walk = timeline_of(tuned)
    assert walk.shares == tuned.program.shares
    moved = sum(span.bytes for span in walk.transfers)
    assert moved >= sum(row.dma_bytes for row in tuned.kernels)
    for span in walk.transfers:
        rate = tuned.ready.machine.dma_rate
        assert span.end - span.start >= span.bytes // rate


def test_loaded_models_are_traced_and_drawn(tuned: Tuned, tmp_path: Path) -> None:
    tuned.save(tmp_path / "m.dovetail")
    loaded = load(tmp_path / "m.dovetail")
    assert timeline_of(loaded) == timeline_of(tuned)
    plot_timeline(loaded, tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"


def test_a_part_of_a_model_has_no_timeline(tuned: Tuned) -> None:
    with pytest.raises(InputError, match="the model must be whole"):
        timeline_of(narrow(tuned, tuned.kernels[0].name))
