"""The page ``docs/instructions.md``, from the instruction table and the machine's units.

python -m dovetail.target.dsp.page > docs/instructions.md
"""

from __future__ import annotations

from ..instruction import Instruction, spelled
from .instructions import TABLE
from .machine import UNITS, Unit

_HEAD = """\
# The machine's vector instructions

Made by `python -m dovetail.target.dsp.page > docs/instructions.md` from the instruction table
(`target/dsp/instructions/`) and the units of the machine (`target/dsp/machine.py`).

**Timing** is in cycles of the pipeline: the first number is the cycle in which the result appears,
the others are those in which the operands are read, in the order of the meaning's parameters. A
result of cycle 9 that is read in cycle 7 may be used by the next packet; one that is read in cycle
5 waits for a packet more. A memory instruction's address is read in cycle 1 or 2 and not listed.
**Since** is the first version of the instruction set that has the instruction.

## Units

A packet has four slots, numbered 0 to 3, and six pipes. An instruction takes one of its unit's
sets of slots and one of its sets of pipes; a packet takes nothing twice.

| unit | slots | pipes |
|---|---|---|
"""


def page() -> str:
    """Of all versions."""
    used = {unit for row in TABLE.values() for _, unit in row.unit}
    units = "".join(_unit(name, unit) for name, unit in UNITS if name in used)
    head = "| name | unit | timing | since | assembly | meaning |\n|---|---|---|---|---|---|\n"
    table = "".join(_line(row) for row in TABLE.values())
    return f"{_HEAD}{units}\n## Instructions\n\n{head}{table}"


def _unit(name: str, unit: Unit) -> str:
    slots = " or ".join("+".join(map(str, choice)) for choice in unit.slots)
    pipes = " or ".join("+".join(choice) for choice in unit.pipes)
    return f"| {name} | {slots} | {pipes} |\n"


def _line(row: Instruction) -> str:
    first, *later = row.unit
    unit = first[1] + "".join(f", {name} from v{version}" for version, name in later)
    cells = (row.name, unit, spelled(row.timing), f"v{row.since}", f"`{_plain(row)}`", row.doc)
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in cells)} |\n"


def _plain(row: Instruction) -> str:
    """The assembly with the names of its operands in place of registers."""
    return row.asm.replace("{", "").replace("}", "")


if __name__ == "__main__":
    print(page(), end="")
