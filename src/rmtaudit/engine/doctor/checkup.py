"""What this installation has, what is wrong with it, and the command that helps."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import platformdirs
import threadpoolctl
import torch

from rmtaudit.analyzers.registry import GROUP as ANALYZERS
from rmtaudit.analyzers.registry import installed
from rmtaudit.checkpoints.hub import cached_models, hub_cache
from rmtaudit.checkpoints.registry import GROUP as READERS
from rmtaudit.checkpoints.registry import own_readers, plugin_readers
from rmtaudit.engine.doctor.arithmetic import accuracies
from rmtaudit.engine.doctor.packages import Package, installed_version, required_packages
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.resources.memory_size import format_bytes
from rmtaudit.engine.resources.threads import cpus
from rmtaudit.engine.settings.config_files import find_project_file, read_config
from rmtaudit.engine.sources.recognise import PLUGINS
from rmtaudit.entry_points import is_allowed, registered
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.spectra.openblas import load
from rmtaudit.version import installed_version as own_version

State = Literal["ok", "missing", "problem"]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    area
        The heading that it stands under.
    name
        What was looked at.
    state
        ``ok``; ``missing``, where something optional is not there; ``problem``, where an answer of rmtaudit
        could be wrong or a command fail.
    detail
        What is there, or what is wrong.
    fix
        The command or the step that helps; empty where nothing has to be done.
    """

    area: str
    name: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Checkup:
    """Every check, in the order in which it is shown."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """The checks that found a problem."""
        return tuple(check for check in self.checks if check.state == "problem")

    def document(self) -> dict[str, Any]:
        """Return the checks as plain values, for JSON."""
        return {
            "schema": {"name": "rmtaudit.doctor", "version": "1.0"},
            "problems": len(self.problems),
            "checks": [asdict(check) for check in self.checks],
        }


def check_installation(folder: Path) -> Checkup:
    """Look at the installation; configuration files as a command that starts in ``folder`` finds them."""
    parts = (_versions(), _arithmetic(), _resources(), _extras(), _plugins(), _files(folder))
    return Checkup(tuple(itertools.chain.from_iterable(parts)))


def _versions() -> Iterator[Check]:
    area = "Versions"
    yield Check(area=area, name="rmtaudit", state="ok", detail=own_version())
    yield Check(
        area=area,
        name="Python",
        state="ok",
        detail=f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform()}",
    )
    for package in required_packages():
        if not package.extra:
            yield _package(area, package)


def _package(area: str, package: Package) -> Check:
    if package.is_usable:
        return Check(area=area, name=package.name, state="ok", detail=package.version or "")
    reason = "not installed" if package.version is None else f"{package.version} is too old"
    return Check(
        area=area,
        name=package.name,
        state="problem",
        detail=f"{reason}; rmtaudit needs {package.specifier or 'it'}",
        fix=f"pip install '{package.name}{package.specifier}'",
    )


def _arithmetic() -> Iterator[Check]:
    area = "Linear algebra"
    openblas = load()
    for library in threadpoolctl.threadpool_info():
        if library.get("user_api") == "blas":
            facts = (library.get("version"), library.get("architecture"), library.get("threading_layer"))
            yield Check(
                area=area,
                name=f"{library['internal_api']} in {Path(library['filepath']).parent.name}",
                state="ok",
                detail=", ".join(str(fact) for fact in facts if fact),
            )
    yield Check(
        area=area,
        name="BLAS of torch",
        state="ok",
        detail=f"{'MKL' if torch._C.has_mkl else 'without MKL'}, {torch.backends.cpu.get_cpu_capability()}",
    )
    if openblas is None:
        yield Check(
            area=area,
            name="two-stage eigenvalues",
            state="missing",
            detail=("NumPy and SciPy do not include OpenBLAS; large layers take about 1.6 times as long"),
            fix="pip install --force-reinstall numpy scipy",
        )
    for accuracy in accuracies():
        yield Check(
            area=area,
            name=accuracy.route,
            state="ok" if accuracy.is_right else "problem",
            detail=f"largest relative error {accuracy.error:.1e}"
            + ("" if accuracy.is_right else f"; at most {accuracy.tolerance:.0e} is rounding"),
            fix=""
            if accuracy.is_right
            else "Unset OPENBLAS_CORETYPE, or update numpy, scipy and torch: every spectrum would be wrong.",
        )


def _resources() -> Iterator[Check]:
    area = "Resources"
    yield Check(
        area=area,
        name="CPUs",
        state="ok",
        detail=f"{cpus()} for this process, of {os.cpu_count()}; threads of torch: {torch.get_num_threads()}",
    )
    chosen = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if os.environ.get(name)]
    if chosen:
        yield Check(area=area, name="environment", state="ok", detail=", ".join(chosen))
    yield Check(area=area, name="free memory", state="ok", detail=format_bytes(free_memory()))
    yield from _gpus(area)


def _gpus(area: str) -> Iterator[Check]:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield Check(
                area=area,
                name=f"GPU {index}",
                state="ok",
                detail=f"{device.name}, {format_bytes(device.total_memory)}, CUDA {torch.version.cuda}",
            )
    elif torch.version.cuda is None and torch.version.hip is None:
        yield Check(area=area, name="GPU", state="missing", detail="this build of torch supports only CPUs")
    else:
        yield Check(area=area, name="GPU", state="missing", detail="torch detects none")


def _extras() -> Iterator[Check]:
    area = "Optional packages"
    extras: dict[str, list[Package]] = {}
    for package in required_packages():
        if package.extra:
            extras.setdefault(package.extra, []).append(package)
    for extra, packages in sorted(extras.items()):
        names = {package.name for package in packages}
        contained = [other for other, own in extras.items() if names.issuperset(each.name for each in own)]
        if len(contained) > 2:  # itself and several others: it only gathers them
            continue
        missing = [package for package in packages if not package.is_usable]
        shown = ", ".join(f"{package.name} {package.version or 'not installed'}" for package in packages)
        yield Check(
            area=area,
            name=extra,
            state="missing" if missing else "ok",
            detail=shown,
            fix=f"pip install 'rmtaudit[{extra}]'" if missing else "",
        )


def _plugins() -> Iterator[Check]:
    area = "Readers and plugins"
    readers = own_readers()
    yield Check(
        area=area,
        name="readers",
        state="ok",
        detail=f"{len(readers)}: {', '.join(sorted(reader.name for reader in readers))}",
    )
    analyzers = installed()
    own = [row.name for row in analyzers if row.distribution == "rmtaudit" and row.analyzer is not None]
    yield Check(area=area, name="analyzers", state="ok", detail=f"{len(own)}: {', '.join(own)}")
    groups = {"analyzer": ANALYZERS, "reader": READERS, "source": PLUGINS}
    left_out = [
        (kind, entry)
        for kind, group in groups.items()
        for entry in registered(group)
        if not is_allowed(entry)
    ]
    for kind, entry in left_out:
        yield Check(
            area=area,
            name=f"{kind} {entry.name}",
            state="missing",
            detail=f"{_distribution(entry)}: not named in RMTAUDIT_PLUGINS",
        )
    names = {entry.name for kind, entry in left_out if kind == "analyzer"}
    for row in analyzers:
        if row.name not in names and (row.distribution != "rmtaudit" or row.analyzer is None):
            owner = f"{row.distribution} {row.version}".strip()
            yield _plugin(area, f"analyzer {row.name}", owner, row.problem)
    problems: list[str] = []
    for reader in plugin_readers(problems):
        yield _plugin(area, f"reader {reader.name}", _owner(type(reader).__module__), "")
    for problem in problems:
        yield _plugin(area, "reader", "", problem)
    for entry in registered(PLUGINS):
        if is_allowed(entry):
            yield _plugin(area, f"source {entry.name}", _distribution(entry), _load_problem(entry))


def _plugin(area: str, name: str, owner: str, problem: str) -> Check:
    if not problem:
        return Check(area=area, name=name, state="ok", detail=owner)
    return Check(
        area=area,
        name=name,
        state="problem",
        detail=f"{owner}: {problem}" if owner else problem,
        fix=f"pip install --upgrade {owner.split()[0]}, or pip uninstall it"
        if owner
        else "Repair or uninstall it.",
    )


def _load_problem(entry: EntryPoint) -> str:
    try:
        entry.load()
    except Exception as error:  # a plugin is foreign code: whatever it raises is what is wrong with it
        return f"{type(error).__name__}: {error}"
    return ""


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def _owner(module: str) -> str:
    name = module.partition(".")[0]
    number = installed_version(name)
    return f"{name} {number}" if number else name


def _files(folder: Path) -> Iterator[Check]:
    area = "Files"
    user = Path(platformdirs.user_config_dir("rmtaudit", appauthor=False)) / "config.yaml"
    try:
        project = find_project_file(folder)
    except RmtauditError as error:
        yield Check(
            area=area, name="project configuration", state="problem", detail=error.message, fix=error.hint
        )
        project = None
    for name, path in (
        ("user configuration", user if user.is_file() else None),
        ("project configuration", project),
    ):
        if path is not None:
            yield _configuration(area, name, path)
    models = cached_models()
    yield Check(
        area=area,
        name="Hugging Face cache",
        state="ok",
        detail=f"{hub_cache()}, {len(models)} {'model' if len(models) == 1 else 'models'}",
    )


def _configuration(area: str, name: str, path: Path) -> Check:
    try:
        read_config(path)
    except RmtauditError as error:
        return Check(area=area, name=name, state="problem", detail=f"{path}: {error.message}", fix=error.hint)
    return Check(area=area, name=name, state="ok", detail=str(path))
