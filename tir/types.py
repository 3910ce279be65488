"""Types of expressions: an element and a number of lanes, written ``u8``, ``i32x32``, ``boolx128``.

>>> parse_type("i16x64").element
i16
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

import numpy as np

_KINDS = {"i": "int", "u": "uint", "f": "float"}
_SPELLED = re.compile(r"(?:([iuf])(\d+)|(bool))(?:x(\d+))?")


_known: dict[tuple[str, int, int], Type] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """``lanes`` values of one element: kind is ``i``, ``u``, ``f`` or ``b`` (bool, one bit).

    Interned like expressions: equal types are one object, compared and hashed by identity.
    """

    kind: str
    bits: int
    lanes: int = 1
    is_int: bool = field(init=False, repr=False)
    low: int = field(init=False, repr=False)  # the smallest value of an integer element
    high: int = field(init=False, repr=False)  # the largest one

    def __post_init__(self) -> None:
        signed, bits = self.kind == "i", self.bits - (self.kind == "i")
        object.__setattr__(self, "is_int", self.kind in "iu")
        object.__setattr__(self, "low", -(1 << bits) if signed else 0)
        object.__setattr__(self, "high", (1 << bits) - 1)

    def __new__(cls, kind: str, bits: int, lanes: int = 1) -> Type:
        key = kind, bits, lanes
        if key not in _known:
            _known[key] = object.__new__(cls)
        return _known[key]

    def __reduce__(self) -> tuple[object, ...]:
        return Type, (self.kind, self.bits, self.lanes)

    def __str__(self) -> str:
        name = "bool" if self.kind == "b" else f"{self.kind}{self.bits}"
        return name if self.lanes == 1 else f"{name}x{self.lanes}"

    __repr__ = __str__

    @property
    def element(self) -> Type:
        return vector(self, 1)

    @property
    def signed(self) -> bool:
        return self.kind == "i"

    def holds(self, other: Type) -> bool:
        """Whether every value of an integer element ``other`` is one of this element."""
        return self.low <= other.low and other.high <= self.high

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory (a bool takes one)."""
        return max(self.bits // 8, 1)

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return _numpy(self.kind, self.bits)


@cache
def _numpy(kind: str, bits: int) -> np.dtype[np.generic]:
    return np.dtype(np.bool_) if kind == "b" else np.dtype(f"{_KINDS[kind]}{bits}")


@cache
def vector(element: Type, lanes: int) -> Type:
    """``lanes`` lanes of the element of ``element``."""
    return Type(element.kind, element.bits, lanes)


@cache
def parse_type(text: str) -> Type:
    """The type that ``text`` spells; ValueError when it spells none."""
    found = _SPELLED.fullmatch(text)
    if not found:
        raise ValueError(f"a type is an element and lanes, such as i32x32, but got {text!r}")
    kind, bits, boolean, lanes = found.groups()
    count = int(lanes) if lanes else 1
    return Type("b", 1, count) if boolean else Type(kind, int(bits), count)


boolean = Type("b", 1)
i8, i16, i32, i64 = (Type("i", bits) for bits in (8, 16, 32, 64))
u8, u16, u32, u64 = (Type("u", bits) for bits in (8, 16, 32, 64))
f32 = Type("f", 32)
