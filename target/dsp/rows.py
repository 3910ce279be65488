"""The rows of a machine: what selection covers values by, and what shared code asks for by role."""

from __future__ import annotations

from functools import cache

from ..instruction import Instruction
from ..roles import Roles
from ..select import Selector
from .decorators import VECTOR
from .hvx_expansions import EXPANSIONS
from .instructions import instructions
from .scalar_rows import INSTRUCTIONS as SCALAR
from .wide import INSTRUCTIONS as WIDE


@cache
def rows(version: int) -> dict[str, Instruction]:
    """All rows of hardware ``version``: scalar ones first, then vectors."""
    return {**SCALAR, **WIDE, **instructions(version)}


@cache
def selector(version: int, forbidden: frozenset[str] = frozenset()) -> Selector:
    """The selector over the rows of hardware ``version``, without those that are forbidden."""
    table = rows(version)
    refused = {name: _PIPES for name, row in table.items() if _costly(row, table, version)}
    refused |= dict.fromkeys(forbidden, "forbidden: it must not be used here")
    return Selector(table.values(), EXPANSIONS, refused, COSTS)


COSTS = {"VX": 2, "VS": 2, "VP": 2, "VA_DV": 2, "VX_DV": 4, "VP_VS": 4}
_PIPES = "pipes: product and sum apart take as many pipes and leave a multiplier free"


def _costly(row: Instruction, table: dict[str, Instruction], version: int) -> bool:
    """Accumulating products that hold both multipliers where plain ones hold one: product and
    sum apart take as many pipes, but leave a multiplier free."""
    plain = table.get(row.name.removesuffix("_acc"), row)
    return (row.unit_at(version), plain.unit_at(version)) == ("VX_DV", "VX")


@cache
def roles(version: int) -> Roles:
    """The rows by role of hardware ``version``."""
    return Roles(rows(version), VECTOR, _shuffling)


_SHUFFLING = {"VA_DV": 1.0, "VP_VS": 1.2, "VP": 1.3}  # pipes a register, XLANE a little dearer
_GATHERING = ("vdealvdd_32", "vdealvdd_64")  # for shuffles there are others that do so


def _shuffling(row: Instruction) -> float | None:
    return None if row.name in _GATHERING else _SHUFFLING.get(row.unit[0][1])
