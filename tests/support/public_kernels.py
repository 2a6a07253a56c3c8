"""The public kernels that take tensors, and which of them a call runs with tensors of the pretend GPU."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, wraps
from types import FunctionType
from typing import Any

import torch
from pretend_gpu import PretendTensor

import rmtaudit.kernels
from rmtaudit.kernels.operators import Gram, Linear, Symmetric

_CARRIERS = (torch.Tensor, Symmetric, Gram, Linear)
"""What lives on the device of its caller. A spectrum, a Jacobi matrix, a transform or a law of free
probability is a small thing on the CPU, as its class says."""


@cache
def public_kernels() -> Mapping[str, Callable[..., Any]]:
    """Return the public functions of ``rmtaudit.kernels`` with a parameter that may be on a GPU, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for info in pkgutil.walk_packages(rmtaudit.kernels.__path__, "rmtaudit.kernels."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            function = inspect.unwrap(value) if callable(value) else value
            if name.startswith("_") or not isinstance(function, FunctionType):
                continue
            if function.__module__ == module.__name__ and _takes_tensors(function, module):
                found[f"{info.name.removeprefix('rmtaudit.kernels.')}.{name}"] = function
    return found


@contextmanager
def recorded(ran: set[str]) -> Iterator[None]:
    """Add to ``ran`` the public kernels that are called with a tensor of the pretend GPU in this thread."""
    for space, name, recorder, _ in _places():
        space[name] = recorder
    before = _RAN.copy()
    _RAN.clear()
    try:
        yield
    finally:
        ran |= _RAN
        _RAN.clear()
        _RAN.update(before)
        for space, name, _, function in _places():
            space[name] = function


_RAN: set[str] = set()


@cache
def _places() -> list[tuple[dict[str, Any], str, Callable[..., Any], Callable[..., Any]]]:
    """Return every name under which a module of rmtaudit knows a public kernel, its recorder and itself.

    A profiler would see the calls too, and doubles the time of everything that is called.
    """
    recorders = {}
    for name in public_kernels():
        module, _, function = name.rpartition(".")
        known = getattr(sys.modules[f"rmtaudit.kernels.{module}"], function)
        recorders[id(known)] = (_recorder(name, known), known)
    return [
        (vars(module), name, *recorders[id(value)])
        for key, module in list(sys.modules.items())
        if key.startswith(("rmtaudit", "kernel_rows"))
        for name, value in list(vars(module).items())
        if id(value) in recorders
    ]


def _recorder(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if name not in _RAN and any(_on_device(each) for each in (*args, *kwargs.values())):
            _RAN.add(name)
        return function(*args, **kwargs)

    return call


def _takes_tensors(function: FunctionType, module: Any) -> bool:
    names = {**vars(module), **_imports_for_types(module.__name__)}
    hints = typing.get_type_hints(function, names)
    return any(_carries(hint) for name, hint in hints.items() if name != "return")


@cache
def _imports_for_types(name: str) -> dict[str, Any]:
    """Return what a module imports for type checkers alone."""
    module = importlib.import_module(name)
    names: dict[str, Any] = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), name, "exec"), names)
    return names


def _carries(hint: Any) -> bool:
    if hint in _CARRIERS:
        return True
    parts = [part for each in typing.get_args(hint) for part in (each if isinstance(each, list) else [each])]
    return any(_carries(part) for part in parts)


def _on_device(value: Any) -> bool:
    if isinstance(value, PretendTensor):
        return True
    if isinstance(value, list | tuple):
        return any(_on_device(each) for each in value)
    if isinstance(value, Symmetric | Gram | Linear):
        return torch.device(value.device).type == "cuda"
    if dataclasses.is_dataclass(value):
        return any(_on_device(getattr(value, each.name)) for each in dataclasses.fields(value))
    if inspect.isfunction(value):  # products, curves, blocks of rows: what they close over
        return any(_on_device(cell.cell_contents) for cell in value.__closure__ or ())
    return False
