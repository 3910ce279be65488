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

from ..graph.evaluate import evaluate
from ..graph.graph import Array
from ..options.checks import shown
from ..quant.affine import dequantize_outputs, quantize_inputs
from ..schedule.knobs import Point
from ..target.cost import Cost
from ..tuner.missing import Missing
from .bounds import model_bound
from .choose import Choice
from .compiler import KernelError
from .errors import InputError
from .inputs import called
from .points import Drift
from .prepare import Ready
from .task import KernelTask

if TYPE_CHECKING:
    from .runtime import Runtime


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes that a model takes of each memory."""

    ddr: int  # bytes of activations in DDR, at most at one time
    tcm: int  # bytes of TCM, at most at one time
    weights: int  # bytes of all constants
    code: int  # bytes of the code of all distinct kernels


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel, in the order in which they run; cycles are those of its slowest threads."""

    name: str  # of the kernel's output
    kind: str  # of the kernel: "conv2d", "matmul", ...
    key: str  # equal for equal kernels
    macs: int  # multiplications that are summed, as the operator's shapes count them
    cycles: int  # at the point
    bound: int  # cycles that no schedule can beat
    default_cycles: int  # cycles at the default point
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


class Tuned:
    """A model at one point a kernel; ``choices`` and ``defaults`` go by the kernels' keys."""

    def __init__(
        self,
        ready: Ready,
        choices: Mapping[str, Choice],
        defaults: Mapping[str, int],
        missing: tuple[Missing, ...] = (),
        drift: tuple[Drift, ...] = (),
    ) -> None:
        self.ready, self.choices, self.defaults = ready, dict(choices), dict(defaults)
        self.missing = missing  # kernels that a replayed log does not know
        self.drift = drift  # of a replay in the mode verify
        self.target = ready.machine.name
        self.recipe = ready.recipe

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """The outputs in reals, in the form in which the model gives them.

        Arguments are those of the model, by place or by name: ``tuned(x, mask=m)``. A call with
        one tuple, list or dict may hold all of them in it, as a calibration batch does.
        """
        return self._form(self.real(self._run(args, kwargs)))

    def integers(self, *args: object, **kwargs: object) -> Any:
        """The outputs as the code leaves them: u8."""
        return self._form(self._run(args, kwargs))

    def reference(self, *args: object, **kwargs: object) -> Any:
        """The outputs by the exact evaluation of the integer graph, dequantized the same way."""
        return self._form(self.real(evaluate(self.ready.graph, self.quantized(*args, **kwargs))))

    @cached_property
    def kernels(self) -> list[Row]:
        """A row a kernel, in the order in which they run."""
        return [self._row(task) for task in self.ready.kernels]

    @property
    def cycles(self) -> int:
        return sum(row.cycles for row in self.kernels)

    @property
    def default_cycles(self) -> int:
        """Cycles where every kernel runs its default schedule."""
        return sum(row.default_cycles for row in self.kernels)

    @property
    def bound(self) -> int:
        """Cycles that no code for these kernels, one by one, in this memory plan can beat."""
        return sum(row.bound for row in self.kernels)

    @cached_property
    def model_bound(self) -> int:
        """Cycles that no code for the model can beat, however kernels overlap and in any plan."""
        return model_bound(self.ready)

    @cached_property
    def memory(self) -> Memory:
        """The bytes that the model takes of each memory."""
        weights = sum(task.kernel.weight_bytes for task in self.ready.kernels)
        code = sum(choice.cost.code_bytes for choice in self.choices.values())
        tcm = max((row.tcm for row in self.kernels), default=0)
        return Memory(self.ready.plan.ddr, tcm, weights, code)

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
        from .store import save

        save(self, path)

    @cached_property
    def runtime(self) -> Runtime:
        """The native code and its memory; compiled at the first use."""
        from .runtime import Runtime

        return Runtime(self.ready, {key: choice.point for key, choice in self.choices.items()})

    def _run(self, args: Sequence[object], kwargs: Mapping[str, object]) -> list[Array]:
        return self.runtime.run(self.quantized(*args, **kwargs))

    def quantized(self, *args: object, **kwargs: object) -> list[Array]:
        """A call's inputs as the integer graph takes them."""
        return self.quantized_arrays(called(self.ready.signature, args, kwargs))

    def quantized_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """An array an input, as the integer graph takes them."""
        graph = self.ready.graph
        wanted = [graph.types[name].shape for name in graph.inputs]
        if [array.shape for array in arrays] != wanted:
            raise InputError(
                f"run: the inputs must have the shapes {', '.join(map(str, wanted))}, "
                f"but got {', '.join(str(array.shape) for array in arrays) or 'none'}"
            )
        return quantize_inputs(graph, arrays)

    def real(self, outputs: Sequence[Array]) -> list[Array]:
        """The graph's u8 outputs in reals."""
        return dequantize_outputs(self.ready.graph, outputs)

    def _form(self, arrays: Sequence[Array]) -> Any:
        """Outputs as the model gives them."""
        import torch

        tensors = [torch.from_numpy(array.copy()) for array in arrays]
        return self.ready.signature.result(tensors)

    def _row(self, task: KernelTask) -> Row:
        choice, kernel = self.choices[task.key], task.kernel
        cost: Cost = choice.cost
        tensors = [*kernel.inputs, kernel.output]
        return Row(
            task.name, task.kind, task.key, kernel.macs, cost.cycles, int(task.bound),
            self.defaults[task.key], cost.packets, dict(cost.stalls), cost.dma_bytes,
            cost.dma_wait, cost.direct_bytes, cost.tcm + task.held, cost.spills, cost.slot_use,
            cost.multiplier_use, cost.dots_per_packet, cost.code_bytes,
            {name: self.ready.plan.spots[name].scope for name in tensors},
            choice.point, kernel.origin,
        )  # fmt: skip
