"""The instruction table: every row computes on the real ISA what its body means."""

import numpy as np
import pytest

from dovetail.target.dsp.hexagon.probe_rows import Probe, assembled_values, intrinsic_values
from dovetail.target.dsp.instructions import TABLE, instructions
from dovetail.target.instruction import Instruction, Kind, Register
from tests.target.probing import PROBED, ROWS, expected, packed, trials

VECTOR_UNITS = {"VA", "VA_DV", "VX", "VX_DV", "VS", "VP", "VP_VS"}
BY_INTRINSIC = [row for row in PROBED if row.hvx.startswith("V6.")]


def disagreements(rows: list[Instruction], by_text: bool) -> list[str]:
    """The rows and trials where QEMU's result is not what the body means."""
    probes = [Probe(row, trials(row, 24)) for row in rows]
    results = assembled_values(probes) if by_text else intrinsic_values(probes)
    wrong = []
    for probe, got in zip(probes, results, strict=True):
        row = probe.row
        assert row.result is not None
        wanted = expected(row, [list(sample) for sample in probe.samples])
        for sample, value, meaning in zip(probe.samples, got, wanted, strict=True):
            if packed(row.result, value) != meaning:
                wrong.append(f"{row.name} of {[operand[:4] for operand in sample]}")
    return wrong


@pytest.mark.tool("llvm-mc-19", "clang-19", "ld.lld-19", "qemu-hexagon")
def test_every_row_assembles_and_computes_its_body() -> None:
    assert disagreements(PROBED, by_text=True) == []


@pytest.mark.tool("clang-19", "ld.lld-19", "qemu-hexagon")
def test_every_intrinsic_computes_the_body_of_its_row() -> None:
    assert len(BY_INTRINSIC) > 200
    assert disagreements(BY_INTRINSIC, by_text=False) == []


def test_every_vector_row_names_its_intrinsic_or_is_a_move() -> None:
    silent = {name for name, row in TABLE.items() if not row.hvx}
    assert silent == {"vmem", "vmemu", "vmem_store", "vmemu_store", "vmem_masked", "pred_move"}


def test_every_vector_row_says_what_it_does() -> None:
    assert [name for name, row in TABLE.items() if not row.doc] == []


def test_units_are_resource_classes_of_the_machine() -> None:
    found = {unit for row in TABLE.values() if row.kind is Kind.COMPUTE for _, unit in row.unit}
    assert found == VECTOR_UNITS


@pytest.mark.parametrize(
    ("name", "timing", "unit"),
    [
        ("vaddw", (9, 7, 7), "VA"),
        ("vrmpyub_acc", (9, 7, 5, 2), "VX"),
        ("vrmpybusv_acc", (9, 7, 5, 5), "VX_DV"),
        ("vasrwhrndsat", (9, 5, 5, 2), "VS"),
        ("vshuffvdd_b", (9, 5, 5, 2), "VP_VS"),
        ("vlutvvb_oracc", (9, 7, 5, 5, 2), "VP_VS"),
        ("vcombine", (9, 7, 7), "VA_DV"),
    ],
)
def test_timing_and_unit_on_v66(name: str, timing: tuple[int, ...], unit: str) -> None:
    assert (TABLE[name].timing, TABLE[name].unit_at(66)) == (timing, unit)


def test_two_vector_products_fit_a_packet_from_v69() -> None:
    assert [TABLE["vrmpybusv_acc"].unit_at(version) for version in (66, 68, 69, 73)] == [
        "VX_DV", "VX_DV", "VX", "VX",
    ]  # fmt: skip


def test_rows_appear_with_their_version() -> None:
    assert "vaddubh_acc" not in instructions(60)
    assert "vaddubh_acc" in instructions(62)
    assert "vrmpyub_acc" in instructions(60)


def test_dot_products_are_tagged() -> None:
    tagged = {name for name, row in TABLE.items() if "dot" in row.tags}
    assert {"vrmpyub_acc", "vrmpybus_acc", "vrmpybusv", "vrmpybv_acc"} <= tagged


def test_a_butterfly_needs_a_constant_in_its_scalar() -> None:
    scalar = TABLE["vshuffvdd_h"].parameters[2]
    assert (scalar.register, scalar.low, scalar.high) == (Register.SCALAR, -2, -2)


def test_even_lanes_of_a_widening_product_are_the_low_register() -> None:
    row = TABLE["vmpyubv"]
    a, b = np.arange(128, dtype=np.uint8), np.full(128, 3, np.uint8)
    product = np.frombuffer(expected(row, [[a, b]])[0], np.uint16)
    assert (product == np.concatenate([3 * np.arange(0, 128, 2), 3 * np.arange(1, 128, 2)])).all()


def test_widening_then_narrowing_keeps_the_order() -> None:
    a = np.arange(128, dtype=np.uint8)
    wide = np.frombuffer(expected(ROWS["vzb"], [[a]])[0], np.int16)
    low, high = wide[:64], wide[64:]
    narrow = np.frombuffer(expected(ROWS["vsathub"], [[high, low]])[0], np.uint8)
    assert (narrow == a).all()


def test_two_instructions_make_a_requantization() -> None:
    """vmpye, then vmpyo with rounding: sat((a * m + 2**30) >> 31)."""
    random = np.random.default_rng(0)
    a, m = random.integers(-(2**31), 2**31, (2, 32)).astype(np.int32)
    halves = m.view(np.int16)
    low = expected(ROWS["vmpyewuh"], [[a, halves.view(np.uint16)]])[0]
    both = expected(ROWS["vmpyowh_rnd_sacc"], [[np.frombuffer(low, np.int32), a, halves]])[0]
    wanted = (a.astype(np.int64) * m + 2**30) >> 31
    assert (np.frombuffer(both, np.int32) == wanted).all()
