"""What a model decides beside the points of its kernels.

Decisions(carrier=3).spelled()                # as a log has it
Decisions.read({"carrier": 3, "first": {"linear": 2}})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

ALL = 1 << 20  # more kernels or phases than a model has


@dataclass(frozen=True, slots=True)
class Decisions:
    """How constants come to TCM, how soon its bytes are used again, and who begins."""

    lead: int = 1  # phases of the first kernel before constants of later ones start
    ahead: int = ALL  # kernels by which constants may come before theirs
    rest: int = ALL  # kernels for which bytes of TCM rest, with room, before others take them
    carrier: int = 0  # the thread that starts and awaits transfers of constants
    first: Mapping[str, int] = field(default_factory=dict)  # a kernel: the thread that begins

    def spelled(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)

    def but(self, name: str, value: int) -> Self:
        """With another one of those for the whole model."""
        return type(self)(**{**self.spelled(), name: value})

    def begun(self, kernel: str, thread: int) -> Self:
        """With another thread that begins a kernel."""
        first = {**self.first, kernel: thread}
        return replace(self, first={name: at for name, at in sorted(first.items()) if at})


def values(kernels: int, threads: int) -> Mapping[str, tuple[int, ...]]:
    """What may be decided for a whole model of so many kernels."""
    ahead = (count for count in (16, 4, 2, 1) if count < kernels)
    return {"lead": (1, 0, ALL), "ahead": (ALL, *ahead), "rest": (ALL, 2, 0),
            "carrier": tuple(range(threads))}  # fmt: skip
