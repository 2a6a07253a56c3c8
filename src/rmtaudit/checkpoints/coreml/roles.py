"""What the operators of a Core ML program take as weights, and in which order of sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rmtaudit.checkpoints.coreml.program import Operation, Value
from rmtaudit.matrices.tensors import Role, Use

_KERNEL = {3: "W", 4: "HW", 5: "DHW"}
_NO_WEIGHTS = {
    "bias": "bias", "gamma": "scale of a normalisation", "beta": "shift of a normalisation",
    "mean": "statistic", "variance": "statistic", "alpha": "slopes of an activation",
    "bias_back": "bias", "initial_h": "initial state", "initial_c": "initial state",
}  # fmt: skip
_RECURRENT = frozenset({"weight_ih", "weight_hh", "weight_ih_back", "weight_hh_back", "weight"})
_GATES = {"lstm": ("i", "f", "o", "z")}
"""Gates in stored order, along the outputs (``lstm`` of the iOS 15 operator set)."""


def roles(operations: Iterable[Operation], constants: Mapping[str, tuple[int, ...]]) -> dict[str, Role]:
    """Return the roles of constants.

    Parameters
    ----------
    operations
        All operators of a function.
    constants
        Shapes of the constants, by name.
    """
    operations = list(operations)
    flags = {
        each.outputs[0]: bool(value.numbers[0])
        for each in operations
        if each.type == "const"
        and each.outputs
        and isinstance(value := each.inputs.get("val"), Value)
        and value.type == "bool"
        and value.numbers
    }
    result: dict[str, Role] = {}
    for operation in operations:
        for name, given in operation.inputs.items():
            if not isinstance(given, str):
                given = f"{operation.outputs[0]}/{name}" if operation.outputs else ""
            shape = constants.get(given)
            role = None if shape is None else _role(operation, name, shape, flags)
            if role is not None:
                result.setdefault(given, role)
    return result


def _role(operation: Operation, name: str, shape: tuple[int, ...], flags: Mapping[str, bool]) -> Role | None:
    kind, rank = operation.type, len(shape)
    if kind in {"lstm", "gru", "rnn"} and name in _RECURRENT and rank == 2:
        return _recurrent(kind, shape)
    if kind == "linear" and name == "weight" and rank == 2:
        return Role(use=Use.DENSE, axes="OI")
    if kind in {"conv", "conv_transpose"} and name == "weight" and rank in _KERNEL:
        return Role(use=Use.CONVOLUTION, axes=("OI" if kind == "conv" else "IO") + _KERNEL[rank])
    if kind == "matmul" and name in {"x", "y"} and rank in {2, 3}:
        transposed = _flag(operation, f"transpose_{name}", flags)
        stack = "" if rank == 2 else "E" if shape[0] > 1 else "1"
        return Role(use=Use.DENSE, axes=stack + ("OI" if transposed == (name == "y") else "IO"))
    if kind == "gather" and name == "x" and rank == 2:
        return Role(use=Use.EMBEDDING, axes="OI")
    if name in _NO_WEIGHTS:
        return Role(use=Use.NONE, reason=_NO_WEIGHTS[name])
    if kind in {"add", "sub", "mul", "real_div"} and sum(size > 1 for size in shape) < 2:
        return Role(use=Use.NONE, reason="bias" if kind in {"add", "sub"} else "scale")
    return None


def _recurrent(kind: str, shape: tuple[int, ...]) -> Role:
    gates = _GATES.get(kind, ())
    units, rest = divmod(shape[0], len(gates) or 1)
    if not gates or rest:
        return Role(use=Use.RECURRENT, axes="OI")
    parts = tuple((gate, i * units, (i + 1) * units) for i, gate in enumerate(gates))
    return Role(use=Use.RECURRENT, axes="OI", parts=parts)


def _flag(operation: Operation, name: str, flags: Mapping[str, bool]) -> bool:
    given = operation.inputs.get(name)
    if isinstance(given, Value):
        return bool(given.numbers and given.numbers[0])
    return flags.get(given or "", False)
