"""A slice of benchmarks/fidelity.py: listings of all templates against the assembler and QEMU."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dovetail.graph.operators import INTEGERS
from dovetail.graph.operators.group import nodes_of

pytestmark = pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEED = 11
CASES = (
    "conv2d", "conv2d_point", "conv2d_deep", "conv2d_odd", "conv2d_groups", "depthwise", "linear",
    "matmul", "max_pool", "average_pool", "mean", "add", "mul", "lookup", "softmax", "cat",
    "permute", "conv_transpose2d", "upsample", "layer_norm", "move",
)  # fmt: skip


@pytest.fixture(scope="module")
def fidelity() -> Any:
    """The benchmark as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("fidelity")


@pytest.mark.exact
def test_listings_are_faithful(
    fidelity: Any, exact: bool, record_property: Callable[[str, object], None]
) -> None:
    count = 120 if exact else len(CASES)
    record_property("slice", f"fidelity: seed {SEED}, samples 0 to {count - 1}")
    done = list(fidelity.run(count, SEED, list(fidelity.CASES) if exact else CASES))
    total = fidelity.summary(done)
    reasons = {f"{one.number} {one.case}": one.reasons for one in done if not one.faithful}
    assert total["passed"], reasons
    if not exact:
        assert not reasons


def test_every_case_makes_a_kernel_and_every_operator_has_a_case(fidelity: Any) -> None:
    import numpy as np

    made = [make(np.random.default_rng(seed)) for make in fidelity.CASES.values()
            for seed in range(8)]  # fmt: skip
    assert all(len(graph.nodes) == 1 for graph in made)
    nodes = [graph.nodes[0] for graph in made]
    assert {part.op for node in nodes for part in (node, *nodes_of(node))} == INTEGERS.keys()


def test_a_sample_is_repeated_by_its_number(fidelity: Any) -> None:
    first = fidelity.sample(10, "lookup", SEED)
    again = next(fidelity.run(99, SEED, ["lookup"], only=10))
    assert first.faithful and first.packets
    assert replace(first, seconds=0.0) == replace(again, seconds=0.0)


def test_wrong_bytes_and_counts_are_misses(fidelity: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fidelity.run_program

    def wrong(*arguments: Any, **options: Any) -> Any:
        done = right(*arguments, **options)
        outputs = {name: data ^ 1 for name, data in done.outputs.items()}
        packets = tuple(tuple(n + 1 for n in threads) for threads in done.packets)
        return replace(done, outputs=outputs, packets=packets)

    monkeypatch.setattr(fidelity, "run_program", wrong)
    made = fidelity.sample(0, "lookup", SEED)
    assert made.assembled and made.reference_bytes and made.wrong and not made.counted
    assert made.reasons[0].startswith("bytes: QEMU differs from the operator in ")
    assert made.reasons[1].startswith("packets: phase 0, thread 0: ")
    assert not fidelity.summary([made])["passed"]


def test_a_refused_packet_is_a_miss(fidelity: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise fidelity.AssembleError("assemble: no such packet")

    monkeypatch.setattr(fidelity, "run_program", refuse)
    made = fidelity.sample(0, "lookup", SEED)
    assert not made.assembled and not made.faithful
    assert made.reasons == ["assemble: no such packet"]


def test_the_command_prints_json_and_its_verdict() -> None:
    command = [sys.executable, str(BENCHMARKS / "fidelity.py"), "--json", "--samples", "1"]
    done = subprocess.run([*command, "--cases", "lookup"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    total = json.loads(done.stdout)
    assert total["faithful"] == total["samples"] == len(total["rows"]) == 1
    helped = subprocess.run([*command[:2], "--help"], capture_output=True, text=True)
    assert helped.returncode == 0 and "examples:" in helped.stdout
