"""Functions of one value: in integers each is a table, and a chain of them is one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def neg(torch: Any, x: Tensor) -> Any:
    """-x."""
    return -x


def sigmoid(torch: Any, x: Tensor) -> Any:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


def hardsigmoid(torch: Any, x: Tensor) -> Any:
    """clamp(x + 3, 0, 6) / 6."""
    return torch.nn.functional.hardsigmoid(x)


def hardswish(torch: Any, x: Tensor) -> Any:
    """x * clamp(x + 3, 0, 6) / 6."""
    return torch.nn.functional.hardswish(x)


def silu(torch: Any, x: Tensor) -> Any:
    """x * sigmoid(x)."""
    return torch.nn.functional.silu(x)


def gelu(torch: Any, x: Tensor, *, approximate: str) -> Any:
    """x * Phi(x), exact (``none``) or by the formula with ``tanh``."""
    return torch.nn.functional.gelu(x, approximate=approximate)


def tanh(torch: Any, x: Tensor) -> Any:
    """The hyperbolic tangent."""
    return torch.tanh(x)


def _row(meaning: Any, whole: bool = False) -> Spec:
    """A function whose ATen call has its name and its attributes."""
    name = meaning.__name__

    def read(b: GraphBuilder, self: Value, **attrs: object) -> Value:
        return b.emit(name, self, **attrs)

    return Spec(name, (Aten((name,), read, whole),), meaning, pointwise=True)


SPECS = (
    _row(neg),
    _row(sigmoid),
    _row(hardsigmoid, whole=True),
    _row(hardswish, whole=True),
    _row(silu, whole=True),
    _row(gelu, whole=True),
    _row(tanh),
)
