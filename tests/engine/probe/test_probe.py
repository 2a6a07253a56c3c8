"""Probing networks that are made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import rmtaudit
from rmtaudit.engine.edits import Edit, Prune, Quantise, Truncate
from rmtaudit.engine.networks import Network, NetworkSettings, open_network
from rmtaudit.engine.probe.inputs import inputs_for
from rmtaudit.engine.probe.measure import bench_of, probe_weight, probe_weights
from rmtaudit.engine.probe.readout import Pooling, readout_of
from rmtaudit.engine.probe.requests import ProbeRequest, answer_request
from rmtaudit.engine.probe.settings import Loss, ProbeSettings
from rmtaudit.engine.probe.weights import weights_of
from rmtaudit.errors import InputError, RmtauditError, StoppedWorkError, UsageError
from rmtaudit.report.probe import probe_schema

NETS = """
import torch
from torch import nn

def linear():
    torch.manual_seed(0)
    return nn.Linear(20, 12, bias=False)

def stack():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

def cnn():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.table.weight
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, ids):
        return self.head(self.table(ids) * self.scale)

def vector():
    return nn.BatchNorm1d(3)

def broken():
    net = stack()
    with torch.no_grad():
        net[0].weight[0, 0] = float("inf")
    return net

def huge():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(1e18)
        net[1].weight.fill_(1e18)
    return net
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    return tmp_path / "nets.py"


def opened(nets: Path, name: str, dtype: str = "float64") -> Network:
    return open_network(f"{nets}:{name}", NetworkSettings(dtype=dtype, allow_code=True))


def answered(nets: Path, name: str, dtype: str = "float64", **settings: Any) -> dict[str, Any]:
    request = ProbeRequest(
        model=f"{nets}:{name}",
        network=NetworkSettings(dtype=dtype, allow_code=True),
        probe=ProbeSettings(**settings),
        threads=1,
    )
    document = answer_request(request).to_dict()
    jsonschema.validate(document, probe_schema())
    return document


def test_the_sensitivity_of_a_linear_layer_is_known(nets: Path) -> None:
    """Noise of relative size e changes W x by e^2 |W|^2 |x|^2 / columns on average, whatever the loss."""
    network = opened(nets, "linear")
    settings = ProbeSettings(input_shape=(20,), samples=40, draws=60)
    samples, _ = inputs_for(network, settings, None)
    batch = samples.batch(network, range(40))
    readout = readout_of(network, batch, Loss.AUTO, None)
    assert readout.loss is Loss.ERROR
    bench = bench_of(network, samples, readout, 1 << 30)
    (weight,) = weights_of(network.module)
    probed = probe_weight(bench, weight, settings, None)
    inputs = next(iter(batch.inputs.values()))
    W = weight.parameter.detach()
    expected = W.square().sum() / 20 * inputs.square().sum() / (inputs @ W.T).square().sum()
    assert probed.sensitivity is not None
    assert probed.sensitivity.error is not None
    assert probed.sensitivity.error < 0.1 * float(expected)
    assert abs(probed.sensitivity.value - float(expected)) < 3 * probed.sensitivity.error


@pytest.mark.parametrize("edit", [Prune(0.0), Truncate(energy=1.0)])
@pytest.mark.parametrize("loss", list(Loss))
def test_an_edit_that_changes_nothing_does_no_harm(nets: Path, edit: Edit, loss: Loss) -> None:
    document = answered(nets, "cnn", edit=edit, loss=loss, input_shape=(2, 6, 6), samples=4, draws=1)
    for layer in document["layers"]:
        assert layer["harm"]["value"] == pytest.approx(0, abs=1e-26)
        assert layer["sensitivity"]["value"] > 0


def test_the_harm_is_that_of_the_edited_network(nets: Path) -> None:
    document = answered(nets, "stack", edit=Quantise("int3-g128"), loss=Loss.KL, input_shape=(6,), draws=1)
    network = opened(nets, "stack")
    samples, _ = inputs_for(network, ProbeSettings(input_shape=(6,)), None)
    batch = samples.batch(network, range(len(samples)))
    before = network.output(batch).detach().log_softmax(1)
    rows = {layer["name"]: layer for layer in document["layers"]}
    assert set(rows) == {"0.weight", "2.weight"}
    for weight in weights_of(network.module):
        kept = weight.parameter.detach().clone()
        weight.parameter.data.copy_(weight.edited(Quantise("int3-g128")))
        after = network.output(batch).detach().log_softmax(1)
        weight.parameter.data.copy_(kept)
        expected = float((before.exp() * (before - after)).sum(1).mean())
        assert rows[weight.name]["harm"]["value"] == pytest.approx(expected, rel=1e-9)
    order = [layer["harm"]["value"] for layer in document["layers"]]
    assert order == sorted(order, reverse=True)


def test_the_network_is_left_as_it_was(nets: Path) -> None:
    network = opened(nets, "cnn")
    before = {name: each.clone() for name, each in network.module.state_dict().items()}
    settings = ProbeSettings(edit=Prune(0.5), input_shape=(2, 6, 6), samples=2, draws=1)
    samples, _ = inputs_for(network, settings, None)
    readout = readout_of(network, samples.batch(network, [0]), settings.loss, None)
    probe_weights(bench_of(network, samples, readout, 1 << 30), weights_of(network.module), settings)
    assert all(torch.equal(each, before[name]) for name, each in network.module.state_dict().items())


def test_batches_do_not_matter(nets: Path) -> None:
    network = opened(nets, "cnn")
    settings = ProbeSettings(input_shape=(2, 6, 6), samples=7, draws=1)
    samples, _ = inputs_for(network, settings, None)
    readout = readout_of(network, samples.batch(network, [0]), settings.loss, None)
    benches = [bench_of(network, samples, readout, memory) for memory in (3 * 8 * 20, 1 << 30)]
    assert len(benches[0].batches) > len(benches[1].batches) == 1
    weights = weights_of(network.module)
    small, large = (probe_weights(bench, weights, settings)[0] for bench in benches)
    for one, other in zip(small, large, strict=True):
        assert one.sensitivity is not None
        assert other.sensitivity is not None
        assert one.sensitivity.value == pytest.approx(other.sensitivity.value, rel=1e-9)


def test_the_same_seed_gives_the_same_document(nets: Path) -> None:
    first, again = (answered(nets, "stack", input_shape=(6,), edit=Prune(0.5)) for _ in range(2))
    other = answered(nets, "stack", input_shape=(6,), edit=Prune(0.5), seed=1)
    for each in (first, again, other):
        del each["run"]
    assert first == again
    assert first["inputs"]["digest"] != other["inputs"]["digest"]


def test_a_shared_weight_is_one_layer(nets: Path) -> None:
    document = answered(nets, "Tied", edit=Prune(0.3), loss=Loss.KL, samples=3, tokens=5, draws=1)
    (layer,) = document["layers"]
    assert layer["name"] == "table.weight"
    assert document["inputs"]["description"] == "3 x 5 tokens: random tokens"
    assert "nats a position" in document["measure"]["description"]


def test_the_advice_names_few_layers_or_none(nets: Path) -> None:
    document = answered(nets, "cnn", edit=Quantise("int2-g64"), loss=Loss.KL, input_shape=(2, 6, 6))
    advice, layers = document["advice"], document["layers"]
    assert advice["total"] == pytest.approx(sum(layer["harm"]["value"] for layer in layers))
    assert advice["keep"] == [layers[0]["name"]]  # of two layers the worse carries half of the harm
    assert advice["others"] == pytest.approx(layers[1]["harm"]["value"], rel=1e-9)
    assert advice["share"] == layers[0]["parameters"] / sum(layer["parameters"] for layer in layers)


def test_what_is_not_finite_is_said(nets: Path) -> None:
    with pytest.raises(InputError) as caught:
        answered(nets, "broken", input_shape=(6,))
    assert caught.value.code == "RA-PB-005"
    document = answered(nets, "huge", dtype="float32", input_shape=(4,), noise=1e4, draws=1, edit=Prune(0.0))
    assert [layer["finite"] for layer in document["layers"]] == [False, False]
    assert all(layer["sensitivity"] is None for layer in document["layers"])


def test_refusals(nets: Path) -> None:
    def code(name: str, **settings: Any) -> str:
        with pytest.raises(RmtauditError) as caught:
            answered(nets, name, **settings)
        return caught.value.code

    assert code("stack") == "RA-PB-002"
    assert code("linear", input_shape=(20,), memory=100) == "RA-PB-004"
    assert code("vector", input_shape=(3,)) == "RA-NA-012"
    for settings in ({"samples": 0}, {"noise": 0.0}, {"input_shape": (0,)}, {"input_shape": ()}):
        assert code("stack", **settings) == "RA-PB-001"
    assert code("stack", input_shape=(6,), data=Path("x.npy")) == "RA-PB-001"
    assert code("stack", edit=Quantise("int5")) == "RA-US-814"
    with pytest.raises(StoppedWorkError):
        answer_request(
            ProbeRequest(
                model=f"{nets}:stack",
                network=NetworkSettings(allow_code=True),
                probe=ProbeSettings(input_shape=(6,)),
                threads=1,
            ),
            stop=lambda: True,
        )


def test_the_user_may_give_inputs(nets: Path, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 6)))
    document = answered(nets, "stack", data=tmp_path / "x.npy", samples=4, draws=1)
    assert document["inputs"]["samples"] == 4
    assert not document["inputs"]["generated"]


def test_models_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = transformers.LlamaConfig(vocab_size=40, bos_token_id=1, eos_token_id=2, **sizes)
    bert = transformers.BertConfig(vocab_size=40, max_position_embeddings=12, **sizes)
    models = {
        "llama": transformers.LlamaForCausalLM(llama),
        "bert": transformers.BertModel(bert),
        "masked": transformers.BertForMaskedLM(bert),
    }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    documents = {}
    for name in models:
        request = ProbeRequest(
            model=str(tmp_path / name),
            network=NetworkSettings(dtype="float32"),
            probe=ProbeSettings(samples=3, draws=1, edit=Quantise("int4")),
            threads=1,
        )
        documents[name] = answer_request(request).to_dict()
    assert documents["llama"]["inputs"]["description"] == "3 x 64 tokens: text that the network writes"
    assert documents["llama"]["measure"]["loss"] == documents["masked"]["measure"]["loss"] == "kl"
    assert documents["bert"]["inputs"]["description"] == "3 x 12 tokens: random tokens"
    assert documents["bert"]["measure"]["loss"] == "cosine"
    kinds = {layer["kind"] for layer in documents["llama"]["layers"]}
    assert "model.layers.*.self_attn.q_proj" in kinds
    (tmp_path / "bert" / "1_Pooling").mkdir()
    (tmp_path / "bert" / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    network = open_network(tmp_path / "bert", NetworkSettings(dtype="float32"))
    samples, _ = inputs_for(network, ProbeSettings(samples=2), tmp_path / "bert")
    readout = readout_of(network, samples.batch(network, [0, 1]), Loss.AUTO, tmp_path / "bert")
    assert readout.pooling is Pooling.MEAN
    rows, owners = readout.rows(network, samples.batch(network, [0, 1]))
    assert rows.shape == (2, 16)
    assert owners.tolist() == [0, 1]


def test_a_causal_model_writes_from_its_own_distribution(tmp_path: Path) -> None:
    """A network that returns the same logits everywhere writes tokens with their frequencies."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=4, bos_token_id=1, eos_token_id=None, hidden_size=8, intermediate_size=8,
        num_hidden_layers=1, num_attention_heads=1,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.norm.weight.zero_()
    model.save_pretrained(tmp_path)
    network = open_network(tmp_path, NetworkSettings(dtype="float32"))
    samples, _ = inputs_for(network, ProbeSettings(samples=100, tokens=41), tmp_path)
    ids = samples.arrays["input_ids"]
    assert ids[:, 0].tolist() == [1] * 100
    shares = torch.bincount(ids[:, 1:].flatten(), minlength=4) / 4000
    assert float((shares - 0.25).abs().max()) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_a_network_in_memory_is_probed_like_one_of_a_factory_and_left_alone(nets: Path) -> None:
    module = opened(nets, "cnn").module.float().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    settings: dict[str, Any] = {"input_shape": (2, 6, 6), "samples": 4, "draws": 2, "loss": "error"}
    result = rmtaudit.probe(module, precision="float64", truncate=2, threads=1, **settings)
    assert result.subject.origin == "torch.nn.Module"
    document = answered(nets, "cnn", edit=Truncate(rank=2), **settings)
    assert document["layers"] == result.to_dict()["layers"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert module.training
    assert next(module.parameters()).dtype == torch.float32
    factory = f"{nets}:cnn"
    again = rmtaudit.probe(
        factory,
        allow_code=True,
        precision="float64",
        settings=ProbeSettings(edit=Truncate(rank=2), **settings),
    )
    assert again.layers == result.layers


@pytest.mark.parametrize(
    ("keywords", "code"),
    [
        ({"quantise": "int4", "prune": 0.5}, "RA-US-815"),
        ({"loss": "huber"}, "RA-PB-001"),
        ({"include": "0.weight"}, "RA-PB-001"),
        ({"exclude": ["*"]}, "RA-PB-006"),
        ({"state": Path("net.pt")}, "RA-NW-011"),
        ({"sample": 3}, "RA-US-701"),
        ({"prune": 0.5, "settings": ProbeSettings(edit=Prune(0.1))}, "RA-US-702"),
    ],
)
def test_calls_that_make_no_sense(keywords: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as raised:
        rmtaudit.probe(torch.nn.Linear(4, 3), **keywords)
    assert raised.value.code == code
