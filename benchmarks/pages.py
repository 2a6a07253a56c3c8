"""False alarms and power of the finding RA-FO-030, overwritten pages (docs/calibration.md).

``python benchmarks/pages.py FOLDER...`` looks at every tensor of every checkpoint in the folders, and at
copies of its larger tensors with a chunk of 64 KiB zeroed, or overwritten by another chunk of it, at
positions that are multiples of 64 KiB in the file.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.forensics.pages import PAGE, damaged_regions
from rmtaudit.matrices.plan import plan_layers

CHUNK = 16 * PAGE


def tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the stored tensors of the layers of a checkpoint."""
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors, config=checkpoint.config)
        for name in dict.fromkeys(name for layer in plan.layers for name in layer.tensors):
            yield name, checkpoint.read(name)


def injured(values: torch.Tensor, kind: str, generator: torch.Generator) -> torch.Tensor:
    """Return a copy with a chunk overwritten that lies whole in the tensor."""
    copy = values.clone()
    data = copy.reshape(-1).view(torch.uint8)
    first = int(torch.randint(0, CHUNK // 8, (), generator=generator)) * 8  # of the tensor within the file
    chunks = (len(data) - first) // CHUNK
    target, source = torch.randperm(chunks, generator=generator)[:2].tolist()
    region = slice(first + target * CHUNK, first + (target + 1) * CHUNK)
    if kind == "zeroed":
        data[region] = 0
    else:
        data[region] = data[first + source * CHUNK : first + (source + 1) * CHUNK].clone()
    return copy


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    counts: Counter[str] = Counter()
    seconds = 0.0
    generator = torch.Generator().manual_seed(0)
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        try:
            for name, values in tensors(path):
                counts["pages"] += values.numel() * values.element_size() // PAGE
                counts["bytes"] += values.numel() * values.element_size()
                counts["tensors"] += 1
                start = time.process_time()
                regions = damaged_regions(values)
                seconds += time.process_time() - start
                for region in regions:
                    counts["false alarms"] += 1
                    print(f"{path}: {name} {tuple(values.shape)} {values.dtype}: {region}")
                if values.numel() * values.element_size() >= 4 * CHUNK and values.is_floating_point():
                    for kind in ("zeroed", "copied"):
                        counts[f"{kind} injected"] += 1
                        counts[f"{kind} found"] += bool(damaged_regions(injured(values, kind, generator)))
        except RmtauditError:
            counts["files not read"] += 1
        else:
            counts["files read"] += 1
    for name, count in counts.items():
        print(f"{name}: {count}")
    print(f"CPU seconds: {seconds:.2f}")


if __name__ == "__main__":
    main()
