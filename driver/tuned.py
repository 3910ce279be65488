"""A compiled model: torch in, torch out, with what each of its kernels costs and why.

tuned(x)                     # float32, dequantized, in the form in which the model gives it
tuned.integers(x)            # the same in raw integers
tuned.reference(x)           # by the graph's evaluator: equal to tuned(x), byte for byte
tuned.kernels[0].stalls      # {"late operand": 12, "dma": 300, "barrier": 100}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..graph.graph import Array
from ..options.checks import shown
from ..schedule.knobs import Point
from ..target.cost import Cost
from ..tuner.missing import Missing
from .choose import Choice
from .compiler import KernelError
from .errors import InputError
from .kernel_task import KernelTask
from .model_bound import model_bound
from .model_program import ModelProgram
from .points import KernelDrift
from .prepare import Ready
from .quantized import Quantized
from .saving import save

if TYPE_CHECKING:
    from .runtime import Runtime


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """The bytes that a model takes of each memory."""

    ddr: int  # bytes of activations in DDR, at most at one time
    tcm: int  # bytes of TCM, at most at one time
    weights: int  # bytes of all constants
    code: int  # bytes of the code of all distinct kernels


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One kernel, in the order in which they run; its cycles are those of the threads that are
    slowest between barriers, with what they wait for constants on their way."""

    name: str  # of the kernel's output
    kind: str  # of the kernel: "conv2d", "matmul", ...
    key: str  # equal for equal kernels
    macs: int  # multiplications that are summed, as the operator's shapes count them
    cycles: int  # its share of the model's
    bound: int  # cycles that no schedule can beat, once its operands are where they are
    default_cycles: int  # its share where every kernel is at its default point
    alone: int  # cycles by itself, as trials measure it
    packets: int  # packets that issue, a cycle each
    stalls: Mapping[str, int]  # cycles without a packet, by cause
    dma_bytes: int  # bytes that transfers move
    dma_wait: int  # cycles that wait for transfers, a part of the stalls
    direct_bytes: int  # bytes that instructions move to and from DDR, in whole bursts
    tcm: int  # bytes of TCM while the kernel runs, other kernels' tensors included
    spills: int  # stores and loads of spilled registers in the code
    slot_use: float  # instructions over slots of the packets that issue, 0 to 1
    multiplier_use: float  # multiplier pipes taken over those there are, 0 to 1
    dots_per_packet: float  # dot-product instructions a packet, in innermost loops that have some
    code_bytes: int  # bytes of code
    placement: Mapping[str, str]  # tensor -> "ddr" or "tcm"
    point: Point  # the template's choices
    origin: str  # module and source line

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Tuned(Quantized):
    """A model at one point a kernel; ``choices`` go by the kernels' keys."""

    def __init__(
        self,
        ready: Ready,
        choices: Mapping[str, Choice],
        program: ModelProgram,
        default: ModelProgram,
        missing: tuple[Missing, ...] = (),
        drift: tuple[KernelDrift, ...] = (),
    ) -> None:
        super().__init__(ready.graph, ready.signature, ready.recipe)
        self.ready, self.choices = ready, dict(choices)
        self.program = program  # what runs when, and what it costs
        self.default = default  # the same where every kernel is at its default
        self.missing = missing  # kernels that a replayed log does not know
        self.drift = drift  # of a replay in the mode verify
        self.target = ready.machine.name

    def without_code(self) -> Quantized:
        """The same integers by the exact evaluation."""
        return Quantized(self.graph, self.signature, self.recipe)

    @cached_property
    def kernels(self) -> list[KernelRow]:
        """A row a kernel, in the order in which they run."""
        return [self._row(number, task) for number, task in enumerate(self.ready.kernels)]

    @property
    def cycles(self) -> int:
        """Cycles of the whole program."""
        return self.program.cycles

    @property
    def steady_cycles(self) -> int | None:
        """Cycles of a run whose constants are in TCM since the one before; None where it does not
        hold all of them."""
        return self.program.steady

    @property
    def default_cycles(self) -> int:
        """Cycles where every kernel runs its default schedule."""
        return self.default.cycles

    @cached_property
    def bound(self) -> int:
        """Cycles that no code for the model can beat, however kernels overlap and in any plan."""
        return model_bound(self.ready)

    @cached_property
    def memory(self) -> MemoryUse:
        """The bytes that the model takes of each memory."""
        weights = sum(task.kernel.weight_bytes for task in self.ready.kernels)
        code = sum(choice.cost.code_bytes for choice in self.choices.values())
        tcm = max((row.tcm for row in self.kernels), default=0)
        return MemoryUse(self.ready.plan.ddr, tcm, weights, code)

    def listing(self, name: str) -> str:
        """The packed code of a kernel, as the assembler takes it."""
        task = self.kernel(name)
        compiled = task.compiled(self.choices[task.key].point)
        expected = self.choices[task.key].cost.cycles
        if compiled.cost.cycles != expected:
            raise KernelError(
                f"{name}: compiling again must give the same {expected} cycles, "
                f"but gave {compiled.cost.cycles}; the model is from another version"
            )
        return compiled.listing.text

    def kernel(self, name: str) -> KernelTask:
        """The kernel of this name."""
        found = next((task for task in self.ready.kernels if task.name == name), None)
        if found is None:
            known = ", ".join(task.name for task in self.ready.kernels)
            raise InputError(f"kernel: must be one of {known}, but got {shown(name)}")
        return found

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the model to one file; ``dovetail.load`` reads it."""
        save(self, path)

    @cached_property
    def runtime(self) -> Runtime:
        """The native code and its memory; compiled at the first use."""
        from .runtime import Runtime

        return Runtime(self.ready, self.choices, self.program)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The graph's outputs by the code: u8."""
        return self.runtime.run(arrays)

    def _row(self, number: int, task: KernelTask) -> KernelRow:
        choice, kernel = self.choices[task.key], task.kernel
        share, default = self.program.shares[number], self.default.shares[number]
        cost: Cost = choice.cost
        tensors = [*kernel.inputs, kernel.output]
        return KernelRow(
            task.name, task.kind, task.key, kernel.macs, share.cycles, int(task.bound),
            default.cycles, cost.cycles, share.packets, dict(share.stalls),
            cost.dma_bytes + self.program.arriving(number), share.stalls.get("dma", 0),
            cost.direct_bytes, self.program.tcm[number], cost.spills, cost.slot_use,
            cost.multiplier_use, cost.dots_per_packet, cost.code_bytes,
            {name: self.ready.plan.spots[name].scope for name in tensors},
            choice.point, kernel.origin,
        )  # fmt: skip
