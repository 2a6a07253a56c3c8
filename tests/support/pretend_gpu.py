"""A pretend GPU: tensors that say they are on ``cuda:0`` and hold real values in the memory of the CPU.

``FakeTensorMode`` alone ends at the first value that the code reads. Here values are there, so the code runs
to its end, while ``FakeTensorMode`` judges every kind of call of every operator (its devices, dtypes and
numbers of dimensions). The other rules of a GPU hold as well: numpy takes no tensor of the device, and a
generator draws on its own device only. Every wait for the device and every transfer is counted. What it
cannot show: speed, the rounding of CUDA, and operators that CUDA lacks, but for those in ``CPU_ONLY``.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
DEVICE = torch.device("cuda:0")
CPU_ONLY = frozenset({"aten::histogram", "aten::histogramdd", "aten::_histogramdd_from_bin_cts"})
"""Operators that torch has for the CPU alone."""

_MOVES = frozenset({aten._to_copy.default, aten.copy_.default, aten._copy_from.default})
_INDEXING = frozenset({aten.index.Tensor, aten.index_put_.default, aten.index_put.default})
_READS = frozenset({aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default})
_SIZES = frozenset(
    {
        aten.nonzero.default,
        aten.masked_select.default,
        aten._unique2.default,
        aten.unique_dim.default,
        aten.unique_consecutive.default,
        aten.repeat_interleave.Tensor,
        aten.bincount.default,
    }
)
"""Operators whose result has a size that the host must learn: it waits for the device."""


class DeviceError(RuntimeError):
    """What CUDA would refuse."""


class PretendTensor(torch.Tensor):
    """A tensor that says it is on the GPU; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> PretendTensor:
        shell = torch.empty_strided(inner.size(), inner.stride(), dtype=inner.dtype, device="meta")
        made: PretendTensor = torch.Tensor._make_subclass(
            cls, shell, False, dispatch_device=True, device_for_backend_keys=DEVICE
        )
        made.held = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.prim.device.default:
            return DEVICE
        raise DeviceError(f"{func}: a tensor of the pretend GPU is used outside of pretend_gpu()")

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise DeviceError("numpy takes no tensor of the GPU: copy it to the CPU first")
        return self.cpu().numpy()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise DeviceError("numpy takes no tensor of the GPU: copy it to the CPU first")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else repr(self)

    def __repr__(self, *_: Any, **__: Any) -> str:  # type: ignore[override]
        return f"PretendTensor({tuple(self.shape)}, {self.dtype})"


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What went between the host and the pretend GPU, by the line of rmtaudit that asked for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.to_host: Counter[str] = Counter()
        self.to_device: Counter[str] = Counter()
        self.to_host_bytes = 0
        self.to_device_bytes = 0
        self.operators = 0

    @property
    def waits(self) -> int:
        """How often the host waited for the device."""
        return sum(self.to_host.values())

    def dispatch(
        self,
        func: Any,
        types: Any,  # noqa: ARG002
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Carry out one operator of torch on what its tensors hold."""
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return DEVICE if isinstance(args[0], PretendTensor) else args[0].device
        asked = kwargs.get("device")
        tensors = list(_tensors(args, kwargs))
        ours = [each for each in tensors if isinstance(each, PretendTensor)]
        target = torch.device(asked).type if asked is not None else None
        if target == "meta":  # "cuda" without an index, which torch asks the guard for: see allow_indexing
            target = "cuda"
        if not ours and target != "cuda":
            return func(*args, **kwargs)
        self.operators += 1
        if target == "cuda":
            kwargs = {**kwargs, "device": torch.device("cpu")}
        on_device = target == "cuda" or (bool(ours) and target is None)
        self._check(func, tensors, ours, args, kwargs, on_device=on_device)
        if func in _MOVES:
            return self._move(func, args, kwargs, on_device=on_device)
        if func in _READS:
            self._waited(func, 1)
        elif func in _SIZES or _is_mask(func, args):
            self._waited(func, 8)
        returned = func(*_inner(args), **_inner(kwargs))
        if func._schema.is_mutable and isinstance(args[0], PretendTensor):
            _reshape(func, args, kwargs)
        return _wrapped(returned, ours) if on_device or ours else returned

    def _check(
        self,
        func: Any,
        tensors: list[torch.Tensor],
        ours: list[PretendTensor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        on_device: bool,
    ) -> None:
        if ours and func._schema.name in CPU_ONLY:
            raise DeviceError(f"{func} is not there on CUDA")
        generator = kwargs.get("generator")
        if on_device and generator is not None and generator.device.type != "cuda":
            raise DeviceError(f"{func}: a generator of the CPU cannot draw on the GPU")
        if "lstsq" in func._schema.name and kwargs.get("driver") not in (None, "gels"):
            raise DeviceError(f"{func}: CUDA has the driver gels alone")
        if func in _MOVES or not ours:
            return
        _judge(func, tensors, args, kwargs)
        foreign = [each for each in tensors if not isinstance(each, PretendTensor) and each.dim() > 0]
        if foreign and func in _INDEXING and isinstance(tensors[0], PretendTensor):
            foreign = [each for each in foreign if each.dtype.is_floating_point]  # indices may be on the CPU
            self.to_device[_line(func)] += 1
        written = func._schema.is_mutable and not isinstance(tensors[0], PretendTensor)
        if foreign or (written and not kwargs.get("out")):
            shapes = [tuple(each.shape) for each in foreign]
            raise DeviceError(f"{func}: tensors of cuda:0 and of the CPU, of shapes {shapes}")

    def _move(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, on_device: bool) -> Any:
        source = args[0] if func is aten._to_copy.default else args[1]
        size = source.numel() * source.element_size()
        into = args[0] if func is aten.copy_.default else None
        there = on_device if into is None else isinstance(into, PretendTensor)
        if isinstance(source, PretendTensor) and not there:
            self._waited(func, size)
        elif there and not isinstance(source, PretendTensor) and source.dim() > 0:
            self.to_device[_line(func)] += 1
            self.to_device_bytes += size
        returned = func(*_inner(args), **_inner(kwargs))
        if into is not None:
            return into
        return PretendTensor(returned) if there else returned

    def _waited(self, func: Any, size: int) -> None:
        self.to_host[_line(func)] += 1
        self.to_host_bytes += size


# Set afterwards: what a class body defines, torch wraps so that its compiler leaves it alone, at six seconds.
Traffic.__torch_dispatch__ = Traffic.dispatch  # type: ignore[method-assign, assignment]


@contextmanager
def pretend_gpu() -> Iterator[Traffic]:
    """Have ``cuda`` mean the pretend GPU in this thread, and yield the count of what goes to it and back."""
    allow_indexing()
    before = torch._C._only_lift_cpu_tensors()
    traffic = Traffic()
    patches = mock.patch.multiple("torch.cuda", is_available=lambda: True, _lazy_init=lambda: None)
    with patches, traffic:
        torch._C._set_only_lift_cpu_tensors(
            True
        )  # torch.tensor(..., device="cuda") copies, as for FakeTensorMode
        try:
            yield traffic
        finally:
            torch._C._set_only_lift_cpu_tensors(before)


def allow_indexing() -> None:
    """Give a CPU build of torch a guard for CUDA: that of ``meta``, which does nothing.

    Without one, such a build refuses to index or read a tensor that says it is on a GPU, also under
    ``FakeTensorMode``. Builds for CUDA without a GPU get a guard from torch itself.
    """
    torch._C._ensureCUDADeviceGuardSet()
    library = ctypes.CDLL(str(next((Path(torch.__file__).parent / "lib").glob("libc10.*"))))
    guards = (ctypes.c_void_p * 20).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    if not guards[_CUDA]:
        guards[_CUDA] = guards[_META]


_CUDA, _META = 1, 14
"""Places of the devices in c10's ``DeviceType``."""


def _judge(func: Any, tensors: list[torch.Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Ask ``FakeTensorMode`` whether an operator may be called so, once for every kind of call."""
    kind = (func, *[(isinstance(each, PretendTensor), each.dtype, each.dim()) for each in tensors])
    if kind in _JUDGED:
        return
    with FakeTensorMode(), suppress(*_NEEDS_VALUES):
        func(*_fake(args), **_fake(kwargs))
    _JUDGED.add(kind)


_JUDGED: set[Any] = set()
_NEEDS_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
"""What ``FakeTensorMode`` raises where an operator needs values or has no rule, after it saw the devices."""


def _fake(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        device = DEVICE if isinstance(tree, PretendTensor) else "cpu"
        return torch.empty_strided(tree.shape, tree.stride(), dtype=tree.dtype, device=device)
    if isinstance(tree, list | tuple):
        return type(tree)(_fake(each) for each in tree)
    return {key: _fake(each) for key, each in tree.items()} if isinstance(tree, dict) else tree


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among the arguments of an operator, which are at most in lists."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (each for each in value if isinstance(each, torch.Tensor))


def _inner(tree: Any) -> Any:
    if isinstance(tree, PretendTensor):
        return tree.held
    if isinstance(tree, list | tuple):
        return type(tree)(_inner(each) for each in tree)
    return {key: _inner(each) for key, each in tree.items()} if isinstance(tree, dict) else tree


def _wrapped(returned: Any, ours: list[PretendTensor]) -> Any:
    """Wrap what an operator returned; what it changed in place stays the tensor that it was."""
    known = {id(each.held): each for each in ours}

    def wrap(tensor: torch.Tensor) -> PretendTensor:
        kept = known.get(id(tensor))
        return PretendTensor(tensor) if kept is None else kept

    if isinstance(returned, torch.Tensor):
        return wrap(returned)
    return tree_map_only(torch.Tensor, wrap, returned)


def _reshape(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Give a tensor that an operator has reshaped in place, as squeeze_ does, its new shape."""
    tensor = args[0]
    if tensor.shape != tensor.held.shape or tensor.stride() != tensor.held.stride():
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
        if tensor.shape != tensor.held.shape:
            raise DeviceError(f"{func}: a tensor of the pretend GPU cannot be resized")


def _is_mask(func: Any, args: tuple[Any, ...]) -> bool:
    return func is aten.index.Tensor and any(
        isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in args[1]
    )


def _line(func: Any) -> str:
    """Return the innermost line of rmtaudit that is being run, with the operator that it asks for."""
    operator: str = func._schema.name.removeprefix("aten::")
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        _, package, inside = frame.f_code.co_filename.rpartition("/src/rmtaudit/")
        if package:
            return f"{inside}:{frame.f_lineno} {operator}"
    return operator
