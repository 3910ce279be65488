"""The instruction table against LLVM's: units, cycles and first versions, row by row."""

from pathlib import Path

import pytest

from dovetail.driver.instructions import rows
from dovetail.target.dsp.instructions import TABLE
from dovetail.target.dsp.page import page
from dovetail.target.dsp.target import dsp
from dovetail.target.instruction import spelled

ROOT = Path(__file__).parents[2]
LINES = [
    [cell.strip() for cell in line.split("|")]
    for line in (Path(__file__).parent / "hvx_timing.txt").read_text().splitlines()
    if not line.startswith("#")
]
TIMED = [line for line in LINES if len(line) == 5 and line[1]]


@pytest.mark.parametrize("line", TIMED, ids=lambda line: line[0])
def test_a_row_has_llvms_units_and_cycles(line: list[str]) -> None:
    name, early, late, cycles, _ = line
    row = TABLE[name]
    assert [row.unit_at(version) for version in (66, 67, 68)] == [early] * 3
    assert [row.unit_at(version) for version in (69, 71, 73)] == [late] * 3
    assert row.timing == tuple(map(int, cycles.split()))


def test_a_row_has_llvms_first_version() -> None:
    found = {line[0]: TABLE[line[0]].since for line in LINES}
    assert found == {line[0]: int(line[-1]) for line in LINES}


def test_nearly_all_rows_are_held_to_llvm() -> None:
    assert set(TABLE) - {line[0] for line in LINES} == {"pred_move"}
    assert len(TIMED) >= 137


def test_all_rows_read_operands_when_their_unit_does() -> None:
    """What holds for each unit of LLVM's table holds for the rows that are not in the test's."""
    late = {"VA", "VA_DV"}
    for name, row in TABLE.items():
        assert row.timing[0] in (0, 9), name
        if row.unit[0][1] in late:
            assert set(row.timing[1:]) <= {7}, name


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    text = (ROOT / "docs" / "instructions.md").read_text()
    assert text == page(), (
        "docs/instructions.md must be made from the table: "
        "run python -m dovetail.target.dsp.page > docs/instructions.md"
    )


def test_a_row_of_the_command_has_unit_timing_and_version() -> None:
    found = {row["name"]: row for row in rows(dsp())}
    row = found["vrmpybusv_acc"]
    assert (row["unit"], row["timing"], row["since"]) == ("VX_DV", [9, 7, 5, 5], 60)
    assert spelled(row["timing"]) == "9: 7 5 5"
    assert spelled([0, 7]) == "-: 7" and spelled([9]) == "9"
    assert {row["name"]: row["unit"] for row in rows(dsp(version=69))}["vrmpybusv_acc"] == "VX"
