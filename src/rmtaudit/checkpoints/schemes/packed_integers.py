"""Integer codes packed into 32-bit words: compressed-tensors, GPTQ, AWQ and MLX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.schemes.codes import bytes_of, e2m1, e8m0, from_words, nibbles
from rmtaudit.checkpoints.schemes.modules import Facts, Module
from rmtaudit.checkpoints.schemes.scheme import Decoded, Refused, encoding, sides

if TYPE_CHECKING:
    import torch

_WIDTHS = range(2, 9)
"""Bits a code that are packed into words."""

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where the n-th column of eight lies in a word of AWQ (``gemm``): nibbles 0 2 4 6 1 3 5 7, inverted."""


def pack_quantized(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of compressed-tensors' ``pack-quantized``: ``(q - 2^(b-1) - z) s`` in groups.

    Releases before 0.20 start a new word where a code of 3, 5, 6 or 7 bits would not fit; the number of words
    a row tells which it is.
    """
    codes, scale = module.codes, module.parts.get("weight_scale")
    if module.label != "weight_packed" or codes.dtype != "int32" or scale is None or len(codes.shape) != 2:
        return None
    stated = module.parts.get("weight_shape")
    if stated is None or stated.parameters != 2:
        return Refused("pack-quantized without the shape of the weight")
    known = {"weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx", "input_scale"}
    if set(module.parts) - known or len(scale.shape) != 2:
        return None
    rows, cols = (int(side) for side in facts.read(stated.name).reshape(-1))
    width = _packing(codes.shape[1], cols, _stated_bits(facts.quantisation))
    if width is None or codes.shape[0] != rows or scale.shape[0] != rows or cols < 1:
        return Refused("pack-quantized with a width of the codes that is not stated")
    bits, dense = width
    groups = scale.shape[1]
    size = _size_of_groups(_stated_group(facts.quantisation), cols, groups)
    if size is None:
        return Refused("pack-quantized with a size of groups that is not stated")
    zero = module.parts.get("weight_zero_point")
    packed_zero = zero is not None and zero.dtype == "int32"
    if zero is not None:
        words = -(-rows * bits // 32) if dense else -(-rows // (32 // bits))
        if zero.shape != ((words, groups) if packed_zero else scale.shape):
            return None
    order = "weight_g_idx" if sides(module.parts.get("weight_g_idx")) == (cols,) else ""
    takes = (
        "weight_packed",
        "weight_scale",
        *(["weight_zero_point"] if zero else []),
        *([order] if order else []),
    )

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        offset = 1 << (bits - 1)
        group = tensors[order].long() if order else torch.arange(cols) // size
        values = from_words(tensors["weight_packed"], bits, cols, dense=dense).float() - offset
        if zero is not None:
            points = tensors["weight_zero_point"]
            if packed_zero:
                points = from_words(points.T.contiguous(), bits, rows, dense=dense).T.float() - offset
            values -= points.float()[:, group]
        return values * tensors["weight_scale"].float()[:, group]

    return Decoded(
        shape=(rows, cols),
        decode=decode,
        takes=takes,
        encoding=encoding(module, f"pack-quantized int{bits}", f"int{bits}", (1, size), rows * cols),
    )


def gptq(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of GPTQ: codes packed down the columns, ``(q - z) s`` in groups of inputs.

    Version 1 stores ``z - 1``. Where nothing states the version, zero points that are all ``2^(b-1)`` or all
    one less (symmetric quantisation) tell it.
    """
    codes, zeros, scales = module.codes, module.parts.get("qzeros"), module.parts.get("scales")
    if module.label != "qweight" or codes.dtype != "int32" or zeros is None or scales is None:
        return None
    if len(codes.shape) != 2 or len(zeros.shape) != 2 or len(scales.shape) != 2 or zeros.dtype != "int32":
        return None
    if set(module.parts) - {"qzeros", "scales", "g_idx"} or codes.shape[1] != scales.shape[1]:
        return None
    outputs, groups = scales.shape[1], scales.shape[0]
    bits = _exact(32 * zeros.shape[1], outputs)
    inputs = _exact(32 * codes.shape[0], bits)
    if bits not in {2, 3, 4, 8} or not inputs or zeros.shape[0] != groups:
        return None
    order = "g_idx" in module.parts
    if order and module.parts["g_idx"].shape != (inputs,):
        return None
    size = _size_of_groups(facts.quantisation.get("group_size"), inputs, groups)
    if not order and size is None:
        return Refused("GPTQ with a size of groups that is not stated")
    version = _gptq_version(module, facts, bits, outputs)
    if isinstance(version, Refused):
        return version

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        values = from_words(tensors["qweight"].T.contiguous(), bits, inputs).float()
        points = from_words(tensors["qzeros"], bits, outputs).float() + (1 if version == 1 else 0)
        group = tensors["g_idx"].long() if order else torch.arange(inputs) // (size or 1)
        return (values - points.T[:, group]) * tensors["scales"].float().T[:, group]

    warning = ""
    if version == 1:
        stored = from_words(facts.read(zeros.name), bits, outputs)
        if bool((stored == (1 << bits) - 1).any()):
            warning = (
                f"GPTQ (version 1) stores zero points of {(1 << bits) - 1}, which programs read as "
                f"{1 << bits} or as 0; they were read as {1 << bits}"
            )
    return Decoded(
        shape=(outputs, inputs),
        decode=decode,
        takes=("qweight", "qzeros", "scales", *(["g_idx"] if order else [])),
        encoding=encoding(
            module, f"GPTQ v{version} int{bits}", f"int{bits}", (1, size) if size else None, outputs * inputs
        ),
        warning=warning,
    )


def awq(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of AWQ (``gemm``): eight outputs a word, 0 2 4 6 1 3 5 7, ``(q - z) s``."""
    codes, zeros, scales = module.codes, module.parts.get("qzeros"), module.parts.get("scales")
    if module.label != "qweight" or codes.dtype != "int32" or zeros is None or scales is None:
        return None
    if len(codes.shape) != 2 or len(scales.shape) != 2 or set(module.parts) - {"qzeros", "scales"}:
        return None
    inputs, outputs, groups = codes.shape[0], 8 * codes.shape[1], scales.shape[0]
    if scales.shape != (groups, outputs) or zeros.shape != (groups, codes.shape[1]) or inputs % groups:
        return None
    version = facts.quantisation.get("version", "gemm")
    if version not in {"gemm", "GEMM"}:
        return Refused(f"AWQ ({version})")

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        values, points = (_awq_columns(tensors[label], outputs) for label in ("qweight", "qzeros"))
        size = inputs // groups
        difference = values - points.repeat_interleave(size, 0)
        return (difference * tensors["scales"].float().repeat_interleave(size, 0)).T.contiguous()

    return Decoded(
        shape=(outputs, inputs),
        decode=decode,
        takes=("qweight", "qzeros", "scales"),
        encoding=encoding(module, "AWQ int4", "int4", (1, inputs // groups), outputs * inputs),
    )


def mlx(module: Module, facts: Facts) -> Decoded | Refused | None:
    """Return the weight of MLX: words of a row as one stream of bits; ``q s + b``, or MXFP4, MXFP8, NVFP4."""
    codes, scales, biases = module.codes, module.parts.get("scales"), module.parts.get("biases")
    if module.label != "weight" or codes.dtype != "uint32" or scales is None or len(codes.shape) < 2:
        return None
    if set(module.parts) - {"scales", "biases"} or scales.shape[:-1] != codes.shape[:-1]:
        return None
    *lead, words = codes.shape
    groups = scales.shape[-1]
    if biases is None:
        return _mlx_floats(module, words, groups)
    if biases.shape != scales.shape:
        return None
    stated = facts.mlx.get(module.name.removesuffix(".weight"))
    settings = stated if isinstance(stated, Mapping) else facts.mlx
    bits, size = settings.get("bits"), settings.get("group_size")
    if (
        type(bits) is not int
        or type(size) is not int
        or bits not in _WIDTHS
        or words * 32 != groups * size * bits
    ):
        return Refused("MLX without its number of bits")
    cols = groups * size

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        values = (
            from_words(tensors["weight"].flatten(0, -2), bits, cols).float().reshape(*lead_of(tensors), cols)
        )
        wide = (tensors[label].float().repeat_interleave(size, -1) for label in ("scales", "biases"))
        scale, bias = wide
        return values * scale + bias

    return Decoded(
        shape=(*lead, cols),
        decode=decode,
        takes=("weight", "scales", "biases"),
        encoding=encoding(
            module, f"MLX {bits}-bit", f"int{bits}", (1, size), codes.parameters // words * cols
        ),
        banded=True,
    )


def lead_of(tensors: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
    """Return the sides before the last of the codes, which may be a band of all."""
    return tuple(tensors["weight"].shape[:-1])


def _mlx_floats(module: Module, words: int, groups: int) -> Decoded | None:
    """Return the weight of MLX's float modes, which the number of words a scale tells apart."""
    if module.parts["scales"].dtype != "uint8" or words % groups:
        return None
    modes = {4: ("MXFP4 (MLX)", 4, 32), 8: ("MXFP8 (MLX)", 8, 32), 2: ("NVFP4 (MLX)", 4, 16)}
    if words // groups not in modes:
        return None
    scheme, bits, size = modes[words // groups]
    cols = groups * size

    def decode(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        stored, scales = bytes_of(tensors["weight"]), tensors["scales"]
        values = e2m1(nibbles(stored)) if bits == 4 else stored.view(torch.float8_e4m3fn).float()
        wide = e8m0(scales) if size == 32 else scales.view(torch.float8_e4m3fn).float()
        return values * wide.repeat_interleave(size, -1)

    dtype = "float4_e2m1fn" if bits == 4 else "float8_e4m3fn"
    weights = module.codes.parameters // words * cols
    return Decoded(
        shape=(*module.codes.shape[:-1], cols),
        decode=decode,
        takes=("weight", "scales"),
        encoding=encoding(module, scheme, dtype, (1, size), weights),
        banded=True,
    )


def _awq_columns(words: torch.Tensor, outputs: int) -> torch.Tensor:
    codes = from_words(words, 4, outputs).reshape(words.shape[0], -1, 8)
    return codes[..., list(_AWQ_ORDER)].reshape(words.shape[0], outputs).float()


def _gptq_version(module: Module, facts: Facts, bits: int, outputs: int) -> int | Refused:
    """Return the version that the configuration states, or that symmetric zero points tell."""
    config = facts.quantisation
    keys = ("checkpoint_format", "format", "packing_format")
    named = next((str(config[key]) for key in keys if key in config), "")
    stated = {"gptq": 1, "gptq_v2": 2, "auto_round:auto_gptq": 1}.get(named)
    if named == "" and config.get("quant_method") == "gptq":
        stated = 1  # the only one that there was before the key
    zeros = from_words(facts.read(module.parts["qzeros"].name), bits, outputs)
    middle = 1 << (bits - 1)
    symmetric = {1: bool((zeros == middle - 1).all()), 2: bool((zeros == middle).all())}
    told = next((version for version, holds in symmetric.items() if holds), None)
    if stated is not None and told not in {None, stated}:
        return Refused(f"GPTQ whose zero points contradict version {stated}, which the configuration states")
    version = told if stated is None else stated
    return version or Refused("GPTQ of a version that is not stated: its zero points are ambiguous")


def _packing(words: int, cols: int, stated: int | None) -> tuple[int, bool] | None:
    """Return the bits a code and whether codes are packed densely; ``None`` where it is not certain."""
    dense = {bits for bits in _WIDTHS if words == -(-cols * bits // 32)}
    loose = {bits for bits in _WIDTHS if words == -(-cols // (32 // bits))}
    fitting = [(bits, bits in dense) for bits in _WIDTHS if bits in dense | loose]
    if stated is not None:
        fitting = [each for each in fitting if each[0] == stated]
    return fitting[0] if len(fitting) == 1 else None


def _settings(config: Mapping[str, Any], key: str) -> set[int]:
    """Return the values of a setting of the weights in all groups of the configuration."""
    groups = config.get("config_groups")
    found = set()
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        value = weights.get(key) if isinstance(weights, Mapping) else None
        if type(value) is int and value > 0:
            found.add(value)
    return found


def _stated_bits(config: Mapping[str, Any]) -> int | None:
    bits = _settings(config, "num_bits")
    return bits.pop() if len(bits) == 1 else None


def _stated_group(config: Mapping[str, Any]) -> int | None:
    sizes = _settings(config, "group_size")
    return sizes.pop() if len(sizes) == 1 else None


def _size_of_groups(stated: Any, cols: int, groups: int) -> int | None:
    """Return the columns that share a scale: as stated, if that fits, or all groups alike; else ``None``."""
    if type(stated) is int and stated > 0 and -(-cols // stated) == groups:
        return stated
    return _exact(cols, groups) or None


def _exact(total: int, parts: int) -> int:
    """Return ``total / parts`` where it is whole, else 0."""
    return total // parts if parts and total % parts == 0 else 0
