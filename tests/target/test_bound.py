"""The bound of a kernel's work, and the most that a packet can do, by the instruction table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dovetail.target.cost import Work
from dovetail.target.dsp import bound as module
from dovetail.target.dsp.bound import bound
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.machine import DspMachine, Unit
from dovetail.target.dsp.rates import Rates, products, rates
from dovetail.target.dsp.target import dsp


def test_the_file_knows_the_machine_alone() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in found} == {"__future__", "cost", "machine", "rates"}


def test_the_greatest_of_multiplying_and_moving() -> None:
    assert bound(Work(products=1 << 20), dsp()) == 1024
    assert bound(Work(products=1 << 20), dsp(threads=1)) == 4096
    assert bound(Work(products=1 << 20, ddr=1 << 20), dsp()) == 32768
    assert bound(Work(products=1, ddr=33), dsp()) == 2


def test_bytes_go_over_the_ports_of_the_threads() -> None:
    assert bound(Work(stored=51200), dsp()) == 100
    assert bound(Work(stored=51200), dsp(threads=1)) == 400
    assert bound(Work(loaded=13600, stored=128), dsp(threads=1)) == 100
    assert bound(Work(loaded=13601, stored=128), dsp(threads=1)) == 101


def test_transfers_may_help_to_move() -> None:
    assert bound(Work(stored=160 * 50, moves=True), dsp(threads=1)) == 50
    assert bound(Work(stored=160 * 50, moves=True), dsp(threads=1, dma_rate=16)) == 56


@pytest.mark.parametrize("version", [60, 66, 69, 73])
def test_a_packet_holds_two_dot_products_a_vector_load_a_word_and_a_store(version: int) -> None:
    assert rates(dsp(version=version)) == Rates(256, 128 + 8, 128)


def changed(name: str, unit: Unit) -> DspMachine:
    return dsp(units=tuple((n, unit if n == name else u) for n, u in DspMachine().units))


def test_rates_follow_the_units() -> None:
    """A machine with one multiplier for single registers; rows that take both make as many."""
    one = changed("VX", Unit(((2,), (3,)), (("MPY0",),)))
    assert rates(one).products == 256
    two = changed("VX_DV", Unit(((2,), (3,)), (("MPY0",), ("MPY1",))))
    assert rates(two).products == 512
    assert rates(changed("STORE,VA", Unit(((0,), (1,)), ((),)))).stored == 256


def test_products_of_data_count_and_those_of_constants_do_not() -> None:
    counts = {name: products(TABLE[name]) for name in
              ("vrmpyub_acc", "vdmpybus_dv", "vmpyewuh", "vlutvvb", "vaddw")}  # fmt: skip
    assert counts == {"vrmpyub_acc": 128, "vdmpybus_dv": 256, "vmpyewuh": 32, "vlutvvb": 0,
                      "vaddw": 0}  # fmt: skip
