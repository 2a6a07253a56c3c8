"""What every variable of a Keras layer is: the operator that takes it, and the order of its sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmtaudit.checkpoints.keras.variables import Variable
from rmtaudit.matrices.tensors import Role, Use

_GATES = {"LSTM": ("i", "f", "c", "o"), "GRU": ("z", "r", "h"), "SimpleRNN": ("h",)}
"""Gates in the order in which Keras stores them along the outputs."""

_NO_WEIGHTS = {
    "bias": "bias", "gamma": "scale of a normalisation", "beta": "shift of a normalisation",
    "moving_mean": "statistic", "moving_variance": "statistic", "mean": "statistic", "variance": "statistic",
    "alpha": "slopes of an activation", "count": "counter", "iterations": "counter",
}  # fmt: skip
_QUERIES = frozenset({"query", "key", "value", "query_dense", "key_dense", "value_dense"})
_OUTPUTS = frozenset({"attention_output", "output_dense", "attention_output_dense"})
_KERNEL = ("", "", "", "W", "HW", "DHW")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """How a variable is presented: its role, the shape of its values, whether cuDNN arranged them."""

    role: Role | None
    shape: tuple[int, ...]
    cudnn: tuple[int, bool] | None = None  # number of gates, whether the inputs' side is scrambled


def present(variable: Variable, siblings: Mapping[str, Variable]) -> Presented:
    """Return how a variable is presented.

    Parameters
    ----------
    variable
        The variable.
    siblings
        The variables of its group, by the last part of their names.
    """
    shape, kind, role = variable.data.shape, variable.layer.kind, variable.role
    if role in _NO_WEIGHTS:
        return Presented(role=Role(use=Use.NONE, reason=_NO_WEIGHTS[role]), shape=shape)
    if "seed_generator" in variable.data.path or "metrics" in variable.data.path[:1]:
        reason = (
            "state of a random generator" if "seed_generator" in variable.data.path else "state of a metric"
        )
        return Presented(role=Role(use=Use.NONE, reason=reason, counted=False), shape=shape)
    if role in {"kernel", "recurrent_kernel"} and len(shape) == 2 and "recurrent_kernel" in siblings:
        return _recurrent(variable, siblings)
    if role == "kernel" and kind == "EinsumDense" and "equation" in variable.layer.config:
        return _einsum(variable)
    if role == "kernel" and len(shape) == 3 and set(variable.parts[-2:-1]) & (_QUERIES | _OUTPUTS):
        return _heads(variable)
    return Presented(role=_plain(variable, siblings), shape=shape)


def _plain(variable: Variable, siblings: Mapping[str, Variable]) -> Role | None:
    """Return the role of a variable that is presented as it is stored."""
    rank, kind, role = len(variable.data.shape), variable.layer.kind, variable.role
    kernel = _KERNEL[rank] if 3 <= rank <= 5 else ""
    if role == "embeddings" and rank == 2:
        return Role(use=Use.EMBEDDING, axes="OI")
    if rank == 2 and role in {"kernel", "pointwise_kernel"}:
        return Role(use=Use.DENSE, axes="IO")
    if not kernel or kind in {"EinsumDense", "LocallyConnected1D", "LocallyConnected2D"}:
        return None
    if role == "depthwise_kernel" or (role == "kernel" and kind.startswith("DepthwiseConv")):
        return Role(use=Use.CONVOLUTION, axes=f"{kernel}IM")
    if role in {"kernel", "recurrent_kernel"} and _is_transposed(variable, siblings):
        return Role(use=Use.CONVOLUTION, axes=f"{kernel}OI")
    if role in {"kernel", "pointwise_kernel", "recurrent_kernel"} and (kind or rank > 3):
        return Role(use=Use.CONVOLUTION, axes=f"{kernel}IO")
    return None


def _is_transposed(variable: Variable, siblings: Mapping[str, Variable]) -> bool:
    """Whether the kernel is that of a transposed convolution: its class says so, or its bias."""
    if variable.layer.kind:
        return variable.layer.kind.endswith("Transpose")
    bias, shape = siblings.get("bias"), variable.data.shape
    return bias is not None and bias.data.shape == (shape[-2],) and shape[-2] != shape[-1]


def _recurrent(variable: Variable, siblings: Mapping[str, Variable]) -> Presented:
    """Return a kernel of a recurrent cell: inputs x gates, or the arrangement that cuDNN wants."""
    shape, kind = variable.data.shape, variable.layer.kind
    recurrent = siblings["recurrent_kernel"].data.shape
    units = recurrent[0] if len(recurrent) == 2 else 0
    count, rest = divmod(shape[1], units) if units else (0, 1)
    cell = next((name for name, gates in _GATES.items() if len(gates) == count and not rest), "")
    if not cell or recurrent[1] != shape[1]:
        return Presented(role=Role(use=Use.RECURRENT, axes="IO"), shape=shape)
    parts = tuple((gate, i * units, (i + 1) * units) for i, gate in enumerate(_GATES[cell]))
    role = Role(use=Use.RECURRENT, axes="IO", parts=parts if count > 1 else ())
    bias = siblings.get("bias")
    doubled = bias is not None and bias.data.shape == (2 * count * units,) and count > 1
    cudnn = kind.startswith("CuDNN") or (kind in {"", "LSTM", "GRU"} and doubled)
    return Presented(role=role, shape=shape, cudnn=(count, variable.role == "kernel") if cudnn else None)


def _heads(variable: Variable) -> Presented:
    """Return a projection of an attention that keeps its heads apart as the matrix inputs x outputs."""
    first, second, third = variable.data.shape
    outputs = variable.parts[-2] in _OUTPUTS
    shape = (first * second, third) if outputs else (first, second * third)
    return Presented(role=Role(use=Use.DENSE, axes="IO"), shape=shape)


def _einsum(variable: Variable) -> Presented:
    """Return the kernel of an ``EinsumDense`` as a matrix, where its equation allows it."""
    shape = variable.data.shape
    sides = einsum_sides(variable.layer.config.get("equation"), len(shape))
    if sides is None:
        return Presented(role=None, shape=shape)
    axes, split = sides
    merged = (_product(shape[:split]), _product(shape[split:]))
    return Presented(role=Role(use=Use.DENSE, axes=axes), shape=merged)


def kernel_split(variable: Variable) -> int | None:
    """Return how many sides of a kernel that is inputs x outputs are inputs; ``None`` for any other order."""
    rank, kind = len(variable.data.shape), variable.layer.kind
    if kind in {"Dense", ""}:
        return 1 if rank == 2 else None
    if kind == "EinsumDense":
        equation = variable.layer.config.get("equation")
        if equation is None and rank == 2:
            return 1
        sides = einsum_sides(equation, _kernel_rank(equation))
        return sides[1] if sides is not None and sides[0] == "IO" else None
    part = variable.parts[-2] if len(variable.parts) > 1 else ""
    return 1 if part in _QUERIES else 2 if part in _OUTPUTS else None


def _kernel_rank(equation: object) -> int:
    """Return the number of sides of the kernel of an equation."""
    kernel = equation.partition(",")[2].partition("->")[0] if isinstance(equation, str) else ""
    return len(kernel)


def einsum_sides(equation: object, rank: int) -> tuple[str, int] | None:
    """Return the order of an ``EinsumDense`` kernel, ``"IO"`` or ``"OI"``, and how many sides come first.

    ``None`` for an equation whose kernel is no matrix: with sides that are not summed over in one block, or
    that occur in input, kernel and output. In the other ones, outputs keep their order.
    """
    if not isinstance(equation, str) or equation.count(",") != 1 or equation.count("->") != 1:
        return None
    inputs, rest = equation.replace("...", "").split(",")
    kernel, output = rest.split("->")
    if len(kernel) != rank or len(set(kernel)) != rank:
        return None
    summed = [letter in inputs and letter not in output for letter in kernel]
    kept = [letter in output and letter not in inputs for letter in kernel]
    if not all(a != b for a, b in zip(summed, kept, strict=True)) or not any(kept) or not any(summed):
        return None
    split = summed.count(summed[0])
    if any(summed[:split]) != all(summed[:split]) or any(summed[split:]) != all(summed[split:]):
        return None
    letters = [letter for letter, keeps in zip(kernel, kept, strict=True) if keeps]
    if [letter for letter in output if letter in letters] != letters:
        return None
    return ("IO" if summed[0] else "OI"), split


def _product(sizes: Sequence[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
