"""A network made by a function of the user's, which the user has allowed to run."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.networks.network import POSITIONAL, Network, Origin, TokenFacts
from rmtaudit.engine.networks.opening import check_device
from rmtaudit.engine.networks.prepare import digest_of, prepared
from rmtaudit.engine.networks.settings import NetworkSettings
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name


def open_factory(module: str, name: str, settings: NetworkSettings) -> Network:
    """Return the network that a function returns, with the weights of a state dict.

    Parameters
    ----------
    module
        Of Python, looked for in the current folder too, or the path of a ``.py`` file.
    name
        Of a function or class without required arguments, or of a module instance.
    settings
        ``allow_code`` has been checked by the caller.

    Raises
    ------
    UsageError
        RA-NW-015: it cannot be imported or called. RA-NW-016: what it returns is no module.
    InputError
        RA-NW-017: the state dict does not fit.
    """
    where = display_name(f"{module}:{name}")
    network = _call(_lookup(_imported(module, where), name, where), where)
    if settings.state is not None:
        _fill(network, settings.state, where)
    return _opened(network, where, Origin.FACTORY, settings)


def open_module(module: torch.nn.Module, settings: NetworkSettings) -> Network:
    """Return a copy of a module, ready to run; the module itself is left as it is.

    Raises
    ------
    UsageError
        RA-NW-011: weights of a file are for a factory.
    UnreachableError
        RA-NW-003: the device is not there.
    """
    if settings.state is not None:
        raise UsageError(
            "RA-NW-011", "A state dict requires module:factory, because a module has its own weights."
        )
    check_device(settings.device)
    return _opened(copy.deepcopy(module), display_name(type(module).__name__), Origin.MODULE, settings)


def _opened(network: torch.nn.Module, where: str, origin: Origin, settings: NetworkSettings) -> Network:
    network, warnings = prepared(network, settings)
    main, keywords = _signature(network)
    embeds = any(isinstance(each, torch.nn.Embedding) for each in network.modules())
    return Network(
        module=network,
        name=where,
        origin=origin,
        dtype=getattr(torch, settings.dtype),
        device=torch.device(settings.device),
        main_input=main,
        keywords=keywords,
        tokens=TokenFacts(vocabulary=None, longest=None, pad=0, encode=None) if embeds else None,
        warnings=warnings,
        digest=digest_of(network),
    )


def _imported(module: str, where: str) -> ModuleType:
    try:
        if module.endswith(".py"):
            return _loaded(Path(module))
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        return importlib.import_module(module)
    except Exception as error:  # whatever the user's code raises
        raise _broken("cannot be imported", error, where) from error


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"there is no file {display_name(str(path))}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def _lookup(module: ModuleType, name: str, where: str) -> Any:
    value: Any = module
    try:
        for part in name.split("."):
            value = getattr(value, part)
    except AttributeError as error:
        raise _broken("cannot be imported", error, where) from error
    return value


def _call(factory: Any, where: str) -> torch.nn.Module:
    if not isinstance(factory, torch.nn.Module):
        try:
            factory = factory()
        except Exception as error:  # whatever the user's code raises
            raise _broken("fails when it is called without arguments", error, where) from error
    if not isinstance(factory, torch.nn.Module):
        raise UsageError(
            "RA-NW-016", f"The factory returns {type(factory).__name__}, not a torch.nn.Module.", where=where
        )
    return factory


def _fill(network: torch.nn.Module, path: Path, where: str) -> None:
    """Load a state dict, read by the reader that runs no code; every parameter must be in it."""
    with open_checkpoint(path) as checkpoint:
        state = {spec.name: checkpoint.read(spec.name) for spec in checkpoint.tensors}
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    wrong = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    for names, problem in ((missing, "lacks"), (unexpected, "has besides"), (wrong, "has of another shape")):
        if names:
            rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                "RA-NW-017",
                f"The state dict {problem} '{display_name(names[0])}'{rest}: it does not belong "
                "to this network.",
                hint="Give the state dict that was saved from this network.",
                where=where,
            )
    network.load_state_dict(state)


def _signature(network: torch.nn.Module) -> tuple[str, frozenset[str] | None]:
    """Return the keyword of the main input, and the keywords that ``forward`` takes."""
    parameters = inspect.signature(network.forward).parameters.values()
    kinds = inspect.Parameter
    first = next(iter(parameters), None)
    main = first.name if first is not None and first.kind is kinds.POSITIONAL_OR_KEYWORD else POSITIONAL
    if any(each.kind is kinds.VAR_KEYWORD for each in parameters):
        return main, None
    named = [
        each.name for each in parameters if each.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    ]
    return main, frozenset(named)


def _broken(what: str, error: Exception, where: str) -> UsageError:
    return UsageError(
        "RA-NW-015",
        f"The factory {what}: {type(error).__name__}: {display_name(str(error), longest=300)}.",
        hint="Try it in Python first.",
        where=where,
    )
