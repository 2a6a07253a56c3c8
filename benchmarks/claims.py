"""How many codes of honest quantised tensors are misplaced, by scheme: the limits of engine/claims/limits.py.

    OMP_NUM_THREADS=1 python benchmarks/claims.py MODEL … [--layers 8] [--noise 0.001] [--most 512] [--honest]

Needs ``libgguf`` (llama.cpp's quantisers), ``gguf`` and ``bitsandbytes``. For each layer and scheme: the
share of misplaced codes of the honest tensor and of one whose base had noise added, in standard deviations.
GPTQ and AWQ are our own, with correlated inputs: errors are made up for (Frantar et al. 2023), columns are
scaled by a power of the size of their input (Lin et al. 2024).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.gguf.codes import CODES as GGUF_CODES
from rmtaudit.checkpoints.gguf.codes import with_constant_codes
from rmtaudit.checkpoints.gguf.decode import dequantised
from rmtaudit.checkpoints.gguf.types import TYPES
from rmtaudit.checkpoints.levels import Levels, levels_of
from rmtaudit.engine.claims.limits import Test, limit_of
from rmtaudit.kernels.claims.codes import CodeCounts, code_counts
from rmtaudit.kernels.claims.scales import scaled_to
from rmtaudit.kernels.forensics.tables import TABLES
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import FLOATING

Quantised = tuple[torch.Tensor, Levels]
Quantise = Callable[[torch.Tensor, torch.Generator], Quantised]


def layers(models: list[Path], most: int, side: int) -> Iterator[torch.Tensor]:
    """Yield layers of each model, cut to ``side`` rows and to columns of a multiple of 256, at least 256."""
    for model in models:
        with open_checkpoint(model) as checkpoint:
            number = 0
            for layer in plan_layers(checkpoint.tensors).layers:
                rows, cols = layer.shape
                fits = cols >= 256 and rows >= 32 and layer.parameters <= 2**24
                if fits and layer.dtype in FLOATING and layer.band is None and len(layer.tensors) == 1:
                    (W,) = layer.build((checkpoint.read(layer.tensors[0]).float(),))[:1]
                    yield W[:side, : min(cols, max(side, 256)) // 256 * 256].contiguous()
                    number += 1
                    if number == most:
                        break


def ggml(name: str, *, importance: bool) -> Quantise:
    kind = next(each for each in TYPES.values() if each.name == name)

    def quantise(W: torch.Tensor, generator: torch.Generator) -> Quantised:
        import libgguf

        weights = 0.1 + 3 * torch.randn(W.shape[1], generator=generator) ** 2 if importance else None
        raw = libgguf.quantize_rows(
            W.numpy(),
            libgguf.GGMLQuantizationType[name],
            imatrix=None if weights is None else weights.numpy().astype(np.float32),
        )
        data, shape = bytearray(np.asarray(raw).tobytes()), tuple(W.shape)
        found = levels_of(
            lambda code: dequantised(with_constant_codes(data, kind, code), kind, shape, name),
            GGUF_CODES[name].codes,
        )
        assert found is not None
        return dequantised(data, kind, shape, name), found

    return quantise


def integers(bits: int, group: int | None, scales: torch.dtype) -> Quantise:
    def quantise(W: torch.Tensor, _: torch.Generator) -> Quantised:
        blocks = W if group is None else W.reshape(-1, group)
        top = 2 ** (bits - 1) - 1
        step = (blocks.abs().amax(1, keepdim=True) / top).to(scales).float()
        codes = (blocks / step).round().clamp(-top - 1, top)
        steps = step.expand_as(blocks).reshape(W.shape)
        table = tuple(float(code) for code in range(-top - 1, top + 1))
        return (codes * step).reshape(W.shape), Levels(origin=torch.zeros_like(W), step=steps, table=table)

    return quantise


def fp8(W: torch.Tensor, _: torch.Generator) -> Quantised:
    step = W.abs().amax(1, keepdim=True) / 448
    values = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    table = tuple(sorted({float(v) for v in values if bool(torch.isfinite(v))}))
    stored = (W / step).to(torch.float8_e4m3fn).float() * step
    return stored, Levels(origin=torch.zeros_like(W), step=step.expand_as(W), table=table)


def nf4(*, double: bool) -> Quantise:
    def quantise(W: torch.Tensor, _: torch.Generator) -> Quantised:
        from bitsandbytes import functional

        codes, state = functional.quantize_4bit(W, blocksize=64, quant_type="nf4", compress_statistics=double)
        stored = functional.dequantize_4bit(codes, state)
        absmax = state.absmax
        if double:
            absmax = functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
        step = absmax.float().repeat_interleave(64).reshape(W.shape)
        table = tuple(float(value) for value in np.sort(TABLES["nf4"]))
        return stored, Levels(origin=torch.zeros_like(W), step=step, table=table)

    return quantise


def _inputs(cols: int, generator: torch.Generator) -> torch.Tensor:
    """Return a covariance of inputs with outlying channels and correlations."""
    factors = torch.randn(cols, cols // 4, generator=generator)
    sizes = torch.exp(0.7 * torch.randn(cols, 1, generator=generator))
    X = sizes * (factors @ torch.randn(cols // 4, 2 * cols, generator=generator) / (cols // 4) ** 0.5)
    X = X + sizes * torch.randn(cols, 2 * cols, generator=generator)
    return X @ X.T / X.shape[1]


def gptq(W: torch.Tensor, generator: torch.Generator) -> Quantised:
    """Quantise to int4 in groups of 128, each error spread over the columns that are left."""
    H = _inputs(W.shape[1], generator).double()
    H += 0.01 * H.diagonal().mean() * torch.eye(len(H)).double()
    upper = torch.linalg.cholesky(torch.linalg.inv(H), upper=True)
    left, stored, steps = W.double().clone(), torch.zeros_like(W).double(), torch.zeros_like(W).double()
    for column in range(W.shape[1]):
        if column % 128 == 0:
            step = (left[:, column : column + 128].abs().amax(1) / 7).half().double()
        code = (left[:, column] / step).round().clamp(-8, 7)
        stored[:, column], steps[:, column] = code * step, step
        error = (left[:, column] - stored[:, column]) / upper[column, column]
        left[:, column + 1 :] -= error[:, None] * upper[column, column + 1 :][None]
    table = tuple(float(code) for code in range(-8, 8))
    return stored.float(), Levels(origin=torch.zeros_like(W), step=steps.float(), table=table)


def awq(W: torch.Tensor, generator: torch.Generator) -> Quantised:
    factors = _inputs(W.shape[1], generator).diagonal() ** 0.25
    scaled = W * factors / factors.mean()
    blocks = scaled.reshape(-1, 128)
    low, high = blocks.amin(1, keepdim=True), blocks.amax(1, keepdim=True)
    step = ((high - low) / 15).half().float()
    zero = (-low / step).round().clamp(0, 15)
    codes = ((blocks / step).round() + zero).clamp(0, 15)
    stored = ((codes - zero) * step).reshape(W.shape)
    wide = [each.expand_as(blocks).reshape(W.shape) for each in (-zero * step, step)]
    return stored, Levels(origin=wide[0], step=wide[1], table=tuple(float(code) for code in range(16)))


def schemes() -> dict[str, tuple[Quantise, str]]:
    """Return every encoder, and the name of its scheme in an encoding."""
    found: dict[str, tuple[Quantise, str]] = {}
    for name in GGUF_CODES:
        found[name] = (ggml(name, importance=False), name)
        found[f"{name}, importance matrix"] = (ggml(name, importance=True), name)
    for title, dtype in (
        ("float32", torch.float32),
        ("float16", torch.float16),
        ("bfloat16", torch.bfloat16),
    ):
        found[f"int8 by row, scales in {title}"] = (integers(8, None, dtype), "int8")
    found["int4 in 128"] = (integers(4, 128, torch.float16), "pack-quantized int4")
    found["fp8 by row"] = (fp8, "fp8")
    found["NF4"] = (nf4(double=False), "bitsandbytes NF4")
    found["NF4, double"] = (nf4(double=True), "bitsandbytes NF4, double quantisation")
    found["GPTQ int4 in 128"] = (gptq, "GPTQ v2 int4")
    found["AWQ int4 in 128"] = (awq, "AWQ int4")
    return found


def counted(W: torch.Tensor, quantised: Quantised, test: Test) -> CodeCounts:
    stored, found = quantised
    base = scaled_to(stored, W) if test is Test.SCALED else W
    table = torch.tensor(found.table, dtype=torch.float64)
    return code_counts(stored, base, origin=found.origin, step=found.step, table=table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.001)
    parser.add_argument("--most", type=int, default=1024, help="rows and columns of a layer")
    parser.add_argument("--honest", action="store_true", help="no noisy bases")
    parser.add_argument("--only", nargs="+", default=[])
    asked = parser.parse_args()
    matrices = list(layers(asked.models, asked.layers, asked.most))
    print(f"{len(matrices)} layers\n")
    print("| scheme | largest share, honest | refused | rms, steps | smallest share, noise | refused |")
    print("|---|---:|---:|---:|---:|---:|")
    tensors = wrong = 0
    for name, (quantise, scheme) in schemes().items():
        if asked.only and not any(word in name for word in asked.only):
            continue
        limit = limit_of(scheme)
        honest, noisy = [], []
        for seed, W in enumerate(matrices):
            generator = torch.Generator().manual_seed(seed)
            honest.append(counted(W, quantise(W, generator), limit.test))
            if not asked.honest:
                changed = W + asked.noise * W.std() * torch.randn(W.shape, generator=generator)
                noisy.append(counted(W, quantise(changed, generator), limit.test))

        def refused(counts: list[CodeCounts]) -> int:
            if limit.test is Test.DISTANCE:  # noqa: B023
                return sum(each.rms > limit.near for each in counts)  # noqa: B023
            return sum(not limit.allows(each.misplaced, each.judged) for each in counts)  # noqa: B023

        most, rms = max(each.share for each in honest), max(each.rms for each in honest)
        least = f"{min(each.share for each in noisy):.5f}" if noisy else "—"
        tensors += len(honest)
        wrong += refused(honest) if limit.measured else 0
        print(
            f"| {name} | {most:.5f} | {refused(honest)} | {rms:.3f} | {least} | {refused(noisy)} |",
            flush=True,
        )
    print(f"\n{tensors} honest tensors, {wrong} called inconsistent")


if __name__ == "__main__":
    main()
