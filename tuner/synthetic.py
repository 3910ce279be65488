"""Tasks with made-up cost functions: what searches are compared and tests are run on.

The cost is that of a tiled matrix product on an imagined machine: work at a rate that depends on
the unrolling, traffic that depends on tiles and loop order, spills, padding and start-up, with
interactions and cliffs; a small rugged term keeps it from being smooth. The prior knows a part of
it, as an analytic model does.

    >>> task = Synthetic("small", seed=1, extents=(64, 64, 64))
    >>> task.measure(task.default).status
    'ok'
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..schedule.knobs import Point, Space, choice, flag, key, order, split
from .task import ESTIMATE, INVALID, OK, Measured, TaskSpec


@dataclass(frozen=True)
class Synthetic:
    """A task whose seed draws the machine; ``fault`` makes some points misbehave."""

    name: str
    seed: int = 0
    extents: tuple[int, int, int] = (112, 96, 144)
    weight: int = 1
    fault: str = ""  # "exit", "hang", "raise", "wrong" at one point in eight, "slow" at all
    blind: bool = False  # a prior that knows nothing
    twins: bool = False  # unrolling by 8 makes the nest of 4
    simulated: bool = True
    kind: str = "synthetic"

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(self.spec.payload).hexdigest()[:16]

    @property
    def form(self) -> dict[str, tuple[int, int]]:
        return {}

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(f"{__name__}:rebuild", json.dumps(asdict(self)).encode())

    @cached_property
    def space(self) -> Space:
        knobs = [split(axis, extent, 3) for axis, extent in zip("mnk", self.extents, strict=True)]
        loops = order("loops", ("m", "n", "k"))
        rest = (choice("unroll", (1, 2, 4, 8)), choice("place", ("ddr", "tcm")), flag("overlap"))
        return Space((*knobs, loops, *rest), (self._fits,))

    @cached_property
    def default(self) -> Point:
        tiles = {a: (e, 1, 1) for a, e in zip("mnk", self.extents, strict=True)}
        rest = {"loops": ("m", "n", "k"), "unroll": 1, "place": "ddr", "overlap": False}
        return self.space.point(tiles | rest)

    @cached_property
    def bound(self) -> int:
        return math.prod(self.extents) // 256

    @cached_property
    def _machine(self) -> NDArray[np.float64]:
        return np.random.default_rng(self.seed).uniform(0.4, 1.6, 8)

    def _fits(self, point: Point) -> bool:
        m, n, k = self._tiles(point)
        return m * n + n * k + m * k <= 1 << 15 and self._inner(point) <= 256

    def _tiles(self, point: Point) -> tuple[int, int, int]:
        m, n, k = (extent // point[a][0] for a, extent in zip("mnk", self.extents, strict=True))  # type: ignore[index,operator]
        return m, n, k

    def _inner(self, point: Point) -> int:
        return int(point["m"][2]) * int(point["n"][2])  # type: ignore[index]

    def _work(self, point: Point) -> float:
        """Cycles of arithmetic: lanes that are filled, chains that are broken up."""
        lanes = int(point["n"][2]) * int(point["k"][2])  # type: ignore[index]
        filled = lanes / (32 * math.ceil(lanes / 32))
        chains = min(1.0, self._inner(point) / 12) ** self._machine[0]
        rate = 1 + 2 * float(self._machine[1]) * (1 - filled)
        return self.bound * rate / max(float(chains), 0.05)

    def _traffic(self, point: Point) -> float:
        """Cycles of memory: what a tile loads, less what the innermost loop keeps."""
        m, n, k = self._tiles(point)
        steps = math.prod(e // t for e, t in zip(self.extents, (m, n, k), strict=True))
        kept = {"m": n * k, "n": m * k, "k": m * n}[str(point["loops"][2])]  # type: ignore[index]
        moved = steps * (m * n + n * k + m * k - kept * (1 - 1 / max(1, steps) ** 0.5))
        return float(moved / (8 if point["place"] == "ddr" else 24) * self._machine[2])

    def _spills(self, point: Point) -> float:
        live = self._inner(point) + int(point["unroll"]) * 3 * self._machine[3]  # type: ignore[arg-type]
        return float(max(0.0, live - 26) * self.bound * 0.03 * self._machine[4])

    def _overhead(self, point: Point) -> float:
        m, n, k = self._tiles(point)
        steps = math.prod(e // t for e, t in zip(self.extents, (m, n, k), strict=True))
        inner = math.prod(self.extents) / (self._inner(point) * int(point["k"][2]))  # type: ignore[index]
        loop = inner * 0.6 * self._machine[5] / int(point["unroll"])  # type: ignore[arg-type]
        start = steps * (90 if point["place"] == "tcm" else 30) * self._machine[6]
        return float(loop / 8 + start * (1.7 if point["overlap"] else 1.0))

    def cost(self, point: Point) -> int:
        """The cycles of a point, never below the bound."""
        point = self._made(point)
        work = self._work(point) + self._spills(point)
        traffic = self._traffic(point)
        both = max(work, traffic) + 0.1 * min(work, traffic) if point["overlap"] else work + traffic
        digest = hashlib.sha256(f"{self.seed}{self.nest(point)}".encode()).digest()
        rugged = 1 + 0.06 * digest[0] / 255
        return max(self.bound, round((both + self._overhead(point)) * rugged))

    def prior(self, point: Point) -> float:
        """Work and traffic without lanes, spills, start-up and overlap."""
        if self.blind:
            return float(self.bound)
        chains = max(min(1.0, self._inner(point) / 12), 0.05)
        return self.bound / chains + self._traffic(point) / float(self._machine[2])

    @property
    def columns(self) -> tuple[str, ...]:
        return "m", "n", "k", "inner", "traffic", ESTIMATE

    def features(self, point: Point) -> NDArray[np.float64]:
        """Logarithms of tiles, inner sizes, traffic and prior."""
        values = [*self._tiles(point), self._inner(point), self._traffic(point), self.prior(point)]
        return np.log2(1 + np.array(values, dtype=np.float64))

    def _faulty(self, point: Point) -> bool:
        odd = hashlib.sha256(key(point).encode()).digest()[1] % 8 == 0
        return odd and point != self.default

    def _made(self, point: Point) -> Point:
        return {**point, "unroll": 4} if self.twins and point["unroll"] == 8 else point

    def nest(self, point: Point) -> str:
        return key(self._made(point))

    def measure(self, point: Point) -> Measured:
        if self.fault == "slow":
            time.sleep(0.01)
        if self._faulty(point):
            if self.fault == "exit":
                os._exit(3)
            if self.fault == "hang":
                time.sleep(3600)
            if self.fault == "raise":
                raise ValueError("no rule for this point")
        if self.fault == "invalid" and point["unroll"] == 8:
            return Measured(INVALID, message="unroll 8 is refused")
        cost = self.cost(point)
        if self.simulated:
            return Measured(OK, cycles=cost)
        return Measured(OK, seconds=cost * 1e-9)

    def check(self, point: Point) -> tuple[bool, str]:
        if self.fault == "wrong" and self._faulty(point):
            return False, "element 3 is 7, but must be 8"
        return True, ""


def rebuild(payload: bytes) -> Synthetic:
    """The task of a spec."""
    fields = json.loads(payload)
    return Synthetic(**{**fields, "extents": tuple(fields["extents"])})
