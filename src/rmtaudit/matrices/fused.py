"""Weights that fuse several projections, taken apart where the architecture says how.

Query, key and value may follow one another, or be interleaved by head or by group of heads; gate and up
projection follow one another, or alternate. Names alone do not tell which, ``config.json`` does. The layouts
are those of the classes in ``transformers`` (models/gpt2, gpt_neox, bloom, falcon, phi3, glm, gpt_oss,
llama4, mixtral, qwen2_moe, qwen3_moe), of ChatGLM (modeling_chatglm.py) and of InternLM2
(modeling_internlm2.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rmtaudit.matrices import views
from rmtaudit.matrices.layers import Layer, LayerKind, part, whole
from rmtaudit.matrices.tensors import TensorSpec

_FUSED = re.compile(
    r"(^|\.)(?P<leaf>c_attn|query_key_value|qkv_proj|W_pack|wqkv|Wqkv|gate_up_proj|dense_h_to_4h)(\.weight)?$"
)
_CONV1D = re.compile(r"(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$")
_STACK = re.compile(r"(^|\.)experts\.(?P<leaf>gate_up_proj|down_proj)(\.weight)?$")
_INPUTS_FIRST = frozenset({"gpt_oss", "llama4", "llama4_text"})
"""Models whose stacked experts are stored (expert, in, out)."""

_OUTPUTS_FIRST = frozenset({"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v3", "deepseek_v2"})
"""Models whose stacked experts are stored (expert, out, in), as ``transformers`` 5 keeps them."""

_CONV1D_MODELS = frozenset({"gpt2", "openai-gpt", "decision_transformer", "imagegpt"})
_BY_HEAD = frozenset({"gpt_neox", "bloom"})
_IN_TURN = frozenset({"phi3", "phi4mm", "chatglm", "dbrx", "mpt", "baichuan", "gpt_bigcode", "qwen"})
_GATE_UP = frozenset({"phi3", "phi4mm", "glm", "glm4"})
_NOT_STATED = "as stored, fused ({parts}): config.json does not state how they are arranged"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows ``[:, start:stop]`` of a matrix whose rows are seen as ``(groups, units, rows a unit)``."""

    label: str
    groups: int
    units: int
    start: int
    stop: int

    def count(self, rows: int) -> int:
        """Return the number of rows it has, of so many."""
        return rows * (self.stop - self.start) // self.units


@dataclass(frozen=True, slots=True)
class Architecture:
    """What is known of a model: its type, its ``config.json``, and whether it is stored as GPT-2 is."""

    model: str
    facts: Mapping[str, Any]
    gpt2: bool


def architecture(by_name: Mapping[str, TensorSpec], config: Mapping[str, Any]) -> Architecture:
    """Return what is known of a model.

    Parameters
    ----------
    by_name
        All tensors of the checkpoint.
    config
        ``config.json``: not trusted.
    """
    nested = config.get("text_config")
    facts = nested if isinstance(nested, Mapping) and "model_type" in nested else config
    model = str(facts.get("model_type", ""))
    return Architecture(model, facts, model in _CONV1D_MODELS if model else _is_gpt2(by_name))


def fused_layers(spec: TensorSpec, known: Architecture) -> Iterator[Layer]:
    """Yield the layers of a weight that fuses several, or that is stored inputs first; none for any other.

    Where the architecture or its sizes are not known the weight stays whole, and the view says so.

    Parameters
    ----------
    spec
        A tensor with two or three sides.
    known
        The model that it is of.
    """
    model = known.model
    if len(spec.shape) == 3:
        yield from _stacked(spec, model)
        return
    if len(spec.shape) != 2:
        return
    match = _FUSED.search(spec.name)
    if known.gpt2 and _CONV1D.search(spec.name):
        pieces = _in_turn(spec.shape[1], [("q", 1), ("k", 1), ("v", 1)], 3) if match else ()
        yield from _layers(spec, pieces, transposed=True, kind=LayerKind.ATTENTION)
        return
    if match is None or (match["leaf"] == "dense_h_to_4h" and model != "chatglm"):
        return
    gates = match["leaf"] in ("gate_up_proj", "dense_h_to_4h")
    if gates:
        halves = model in _GATE_UP or model == "chatglm"
        pieces = _in_turn(spec.shape[0], [("gate", 1), ("up", 1)], 2) if halves else ()
    else:
        pieces = _attention(spec.shape[0], model, known.facts)
    if pieces:
        kind = LayerKind.DENSE if gates else LayerKind.ATTENTION
        yield from _layers(spec, pieces, transposed=False, kind=kind)
        return
    view = _NOT_STATED.format(parts="gate, up" if gates else "q, k, v")
    yield whole(spec, LayerKind.DENSE, view, (spec.shape[0], spec.shape[1]), views.as_stored)


def stores_inputs_first(spec: TensorSpec, known: Architecture) -> bool:
    """Whether the architecture keeps a weight inputs x outputs: ``Conv1D`` of GPT-2, experts of gpt-oss.

    Parameters
    ----------
    spec
        A tensor with two or three sides.
    known
        The model that it is of.
    """
    if len(spec.shape) == 3:
        return known.model in _INPUTS_FIRST and bool(_STACK.search(spec.name))
    return known.gpt2 and bool(_CONV1D.search(spec.name))


def _is_gpt2(by_name: Mapping[str, TensorSpec]) -> bool:
    """Whether all fused projections are stored as GPT-2 stores them, n x 3n: its ``Conv1D`` is (in, out)."""
    fused = [spec.shape for name, spec in by_name.items() if name.endswith("c_attn.weight")]
    return bool(fused) and all(len(shape) == 2 and shape[1] == 3 * shape[0] for shape in fused)


def _attention(rows: int, model: str, facts: Mapping[str, Any]) -> tuple[_Rows, ...]:
    """Return where query, key and value lie among the rows; nothing where that is not known."""
    heads = _size(facts, "num_attention_heads", "n_head", "n_heads")
    if heads is None:
        return ()
    if model in _BY_HEAD:
        return _interleaved(rows, heads, 1)
    if model == "falcon":
        if facts.get("new_decoder_architecture") is True:
            groups = _size(facts, "num_kv_heads", "n_head_kv")
            return _interleaved(rows, groups, heads // groups) if groups and heads % groups == 0 else ()
        if facts.get("multi_query") is True:
            return _in_turn(rows, [("q", heads), ("k", 1), ("v", 1)], heads + 2)
        return _interleaved(rows, heads, 1) if facts.get("multi_query") is False else ()
    groups = _size(facts, "num_key_value_heads", "multi_query_group_num") or heads
    if model == "internlm2":
        return _interleaved(rows, groups, heads // groups) if heads % groups == 0 else ()
    if model not in _IN_TURN:
        return ()
    if model == "chatglm" and facts.get("multi_query_attention") is not True:
        return ()  # the first ChatGLM interleaves by head, the later ones state whether they have groups
    if model == "gpt_bigcode":
        if facts.get("multi_query") is not True:
            return ()
        groups = 1
    if model == "dbrx":
        inner = facts.get("attn_config")
        groups = (_size(inner, "kv_n_heads") if isinstance(inner, Mapping) else None) or 0
    if not groups:
        return ()
    return _in_turn(rows, [("q", heads), ("k", groups), ("v", groups)], heads + 2 * groups)


def _size(facts: Mapping[str, Any], *names: str) -> int | None:
    found = next((facts[name] for name in names if facts.get(name) is not None), None)
    return found if type(found) is int and 0 < found <= 1 << 20 else None


def _in_turn(rows: int, sizes: list[tuple[str, int]], units: int) -> tuple[_Rows, ...]:
    """Return parts that follow one another, in units of equal size."""
    if rows % units:
        return ()
    pieces, start = [], 0
    for label, size in sizes:
        pieces.append(_Rows(label=label, groups=1, units=units, start=start, stop=start + size))
        start += size
    return tuple(pieces)


def _interleaved(rows: int, groups: int, queries: int) -> tuple[_Rows, ...]:
    """Return parts that alternate: so many queries, a key and a value for each group of heads."""
    units = queries + 2
    if rows % (groups * units):
        return ()
    ends = (("q", 0, queries), ("k", queries, queries + 1), ("v", queries + 1, units))
    return tuple(
        _Rows(label=label, groups=groups, units=units, start=start, stop=stop) for label, start, stop in ends
    )


def _layers(
    spec: TensorSpec, pieces: tuple[_Rows, ...], *, transposed: bool, kind: LayerKind
) -> Iterator[Layer]:
    rows, cols = spec.shape[::-1] if transposed else spec.shape
    stored = ", stored in x out" if transposed else ""
    if not pieces:
        layer = whole(spec, LayerKind.DENSE, f"out x in{stored}", (rows, cols), views.as_stored)
        yield replace(layer, build=views.rows_of_groups(1, 1, (0, 1), transposed=transposed))
        return
    for piece in pieces:
        height = piece.count(rows)
        how = f"interleaved in {piece.groups} groups" if piece.groups > 1 else "in turn"
        layer = part(spec, kind, piece.label, f"{piece.label} of {rows} rows, {how}{stored}", (height, cols))
        build = views.rows_of_groups(
            piece.groups, piece.units, (piece.start, piece.stop), transposed=transposed
        )
        yield replace(layer, build=build)


def _stacked(spec: TensorSpec, model: str) -> Iterator[Layer]:
    """Yield the matrices of a stack of experts whose order of sides the model states."""
    match = _STACK.search(spec.name)
    if match is None or model not in _INPUTS_FIRST | _OUTPUTS_FIRST:
        return
    transposed = model in _INPUTS_FIRST
    count = spec.shape[0]
    one = replace(spec, shape=spec.shape[1:])
    rows = one.shape[1] if transposed else one.shape[0]
    pieces: tuple[_Rows, ...] = ()
    if match["leaf"] == "gate_up_proj" and rows % 2 == 0:
        if model == "gpt_oss":
            pieces = tuple(
                _Rows(label=label, groups=rows // 2, units=2, start=start, stop=start + 1)
                for label, start in (("gate", 0), ("up", 1))
            )
        else:
            pieces = _in_turn(rows, [("gate", 1), ("up", 1)], 2)
    for index in range(count):
        for layer in _layers(one, pieces, transposed=transposed, kind=LayerKind.EXPERTS):
            label = layer.name.partition("#")[2] if pieces else ""
            yield replace(
                layer,
                name=f"{spec.name}#{index}{'.' if label else ''}{label}",
                kind=LayerKind.EXPERTS,
                view=f"matrix {index} of {count}, {layer.view}",
                band=(index, index + 1),
                parameters=layer.shape[0] * layer.shape[1],
            )
