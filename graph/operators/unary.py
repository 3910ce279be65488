"""Functions of one value: in integers each is a table, and a chain of them is one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..aten import known, operand
from ..errors import Unsupported
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


def elu(torch: Any, x: Tensor, *, alpha: float, scale: float, input_scale: float) -> Any:
    """x * scale where x > 0, else (exp(x * input_scale) - 1) * alpha * scale."""
    return torch.where(x > 0, x * scale, torch.expm1(x * input_scale) * (alpha * scale))


def leaky_relu(torch: Any, x: Tensor, *, negative_slope: float) -> Any:
    """x where x > 0, else x * negative_slope."""
    return torch.where(x > 0, x, x * negative_slope)


def softplus(torch: Any, x: Tensor, *, beta: float, threshold: float) -> Any:
    """log(1 + exp(x * beta)) / beta, and x where x * beta > threshold."""
    return torch.nn.functional.softplus(x, beta, threshold)


def mish(torch: Any, x: Tensor) -> Any:
    """x * tanh(softplus(x))."""
    return torch.nn.functional.mish(x)


def log_sigmoid(torch: Any, x: Tensor) -> Any:
    """log(sigmoid(x))."""
    return torch.nn.functional.logsigmoid(x)


def pow(torch: Any, x: Tensor, *, exponent: float) -> Any:
    """x ** exponent; what is not finite or real saturates."""
    return torch.pow(x, exponent)


def exponential(torch: Any, x: Tensor, *, base: float) -> Any:
    """base ** x."""
    return torch.pow(base, x)


def remainder(torch: Any, x: Tensor, *, divisor: float) -> Any:
    """x - divisor * floor(x / divisor)."""
    return torch.remainder(x, divisor)


def fmod(torch: Any, x: Tensor, *, divisor: float) -> Any:
    """x - divisor * trunc(x / divisor)."""
    return torch.fmod(x, divisor)


# ATen calls of other names or attributes ---------------------------------------------------------


def aten_pow(b: GraphBuilder, self: Value, exponent: float) -> Value:
    """A square is a product; the 0th power is 1 everywhere."""
    if exponent == 2:
        return b.emit("mul", self, self)
    return self if exponent == 1 else b.emit("pow", self, exponent=float(exponent))


def aten_exponential(b: GraphBuilder, self: float, exponent: Value) -> Value:
    return b.emit("exponential", exponent, base=float(self))


def aten_log_sigmoid(b: GraphBuilder, self: Value) -> Value:
    """The second result is a buffer of the gradient."""
    return b.emit("log_sigmoid", self), None


def aten_divided(name: str) -> Callable[..., Value]:
    def read(b: GraphBuilder, self: Value, other: Value | float) -> Value:
        divisor = known(operand(b, other), "a divisor")
        if divisor.numel() != 1:
            raise Unsupported("by a divisor of several numbers")
        return b.emit(name, self, divisor=float(divisor))

    return read


def aten_rrelu(b: GraphBuilder, self: Value, lower: float, upper: float, **_: Any) -> Value:
    """A random slope is the middle of its range in evaluation; the second result is noise."""
    return b.emit("leaky_relu", self, negative_slope=(float(lower) + float(upper)) / 2), None


def _row(meaning: Any, whole: bool = False, *others: Aten) -> Spec:
    """A function whose ATen call has its name and its attributes."""
    name = meaning.__name__

    def read(b: GraphBuilder, self: Value, **attrs: object) -> Value:
        return b.emit(name, self, **attrs)

    return Spec(name, (Aten((name,), read, whole), *others), meaning, pointwise=True)


def _plain(name: str) -> Spec:
    """A function that torch has under this name, of one tensor and nothing else."""

    def read(b: GraphBuilder, self: Value) -> Value:
        return b.emit(name, self)

    def meaning(torch: Any, x: Tensor) -> Any:
        return getattr(torch, name)(x)

    return Spec(name, (Aten((name,), read),), meaning, pointwise=True)


# What torch decomposes no further; the domain of each is that of the reals: at its ends the values
# saturate, and what is not real is 0.
PLAIN = """abs exp exp2 expm1 sqrt rsqrt log log2 log10 log1p reciprocal square sign floor ceil
    trunc sin cos tan sinh cosh asin acos atan asinh acosh atanh erf erfc""".split()

SPECS = (
    _row(neg),
    _row(sigmoid),
    _row(hardsigmoid, whole=True),
    _row(hardswish, whole=True),
    _row(silu, whole=True),
    _row(gelu, whole=True),
    _row(tanh),
    _row(elu, whole=True),
    _row(leaky_relu, True, Aten(("rrelu_with_noise_functional",), aten_rrelu, public="rrelu")),
    _row(softplus, whole=True),
    _row(mish, whole=True),
    Spec(
        "log_sigmoid",
        (Aten(("log_sigmoid_forward",), aten_log_sigmoid, whole=True, public="log_sigmoid"),),
        log_sigmoid,
        pointwise=True,
    ),
    Spec("pow", (Aten(("pow.Tensor_Scalar",), aten_pow),), pow, pointwise=True),
    Spec(
        "exponential",
        (Aten(("pow.Scalar",), aten_exponential, public="pow"),),
        exponential,
        pointwise=True,
    ),
    Spec(
        "remainder",
        (Aten(("remainder.Scalar", "remainder.Tensor"), aten_divided("remainder")),),
        remainder,
        pointwise=True,
    ),
    Spec(
        "fmod", (Aten(("fmod.Scalar", "fmod.Tensor"), aten_divided("fmod")),), fmod, pointwise=True
    ),
    *map(_plain, PLAIN),
)
