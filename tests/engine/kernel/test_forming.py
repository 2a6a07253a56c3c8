"""Kernels from blocks of features, against Jacobians of torch.func."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmtaudit.engine.kernel.features import Forming
from rmtaudit.engine.kernel.hidden import hidden_for
from rmtaudit.engine.kernel.routes import Route
from rmtaudit.engine.kernel.settings import KernelKind, KernelSettings
from rmtaudit.engine.kernel.trial import forming_for
from rmtaudit.engine.networks.network import Batch, Network, Origin, TokenFacts
from rmtaudit.engine.networks.readers import Tokens
from rmtaudit.engine.networks.samples import Samples
from rmtaudit.errors import RmtauditError, UsageError

TOKENS = TokenFacts(vocabulary=11, longest=None, pad=0, encode=None)


def network_of(module: nn.Module, *, tokens: TokenFacts | None = None, dtype: str = "float64") -> Network:
    return Network(
        module=module.to(getattr(torch, dtype)).eval(),
        name="net",
        origin=Origin.FACTORY,
        dtype=getattr(torch, dtype),
        device=torch.device("cpu"),
        main_input="",
        keywords=None,
        tokens=tokens,
    )


def samples_of(values: torch.Tensor) -> Samples:
    return Samples(
        name="data", count=len(values), arrays={"": values}, tokens=None, labels=None, truncated=0, digest=""
    )


def direct(module: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return the kernel from whole Jacobians, a sample at a time."""
    parameters = {name: each.detach() for name, each in module.named_parameters()}

    def outputs(own: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        returned: torch.Tensor = torch.func.functional_call(module, own, (sample[None],))
        return returned.reshape(-1)

    rows = []
    for sample in values:
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            jacobians = torch.func.jacrev(outputs)(parameters, sample)
        rows.append(torch.cat([each.flatten(1) for each in jacobians.values()], 1))
    whole = torch.cat(rows)
    return whole @ whole.T


def in_blocks(forming: Forming, count: int, size: int) -> torch.Tensor:
    blocks = [forming.features(range(start, min(count, start + size))) for start in range(0, count, size)]
    return torch.cat([torch.cat([row.products(col) for col in blocks], 1) for row in blocks])


def formed(
    module: nn.Module, values: torch.Tensor, *, tokens: TokenFacts | None = None, size: int = 3, **more: Any
) -> tuple[torch.Tensor, Forming]:
    network = network_of(module, tokens=tokens)
    forming = forming_for(network, samples_of(values), KernelSettings(**more))
    return in_blocks(forming, len(values), size), forming


def assert_equal(kernel: torch.Tensor, true: torch.Tensor) -> None:
    torch.testing.assert_close(kernel, true, rtol=0, atol=1e-10 * float(true.abs().max()))


def convolutional(width: int = 6) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, stride=2, dilation=1, padding="valid", bias=False),
        nn.GroupNorm(2, width),
        nn.GELU(),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


class Bare(nn.Module):
    """A parameter outside every layer, and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5))
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x) * self.scale))


class Reused(nn.Module):
    """A layer that runs twice, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))))


class Language(nn.Module):
    """A two-layer transformer, its tokens padded with a row that has no gradient."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(11, 8, padding_idx=0), nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(x) + self.places(torch.arange(x.shape[1])[None])
        return self.head(self.body(hidden).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])


class Functional(nn.Module):
    """A layer that is called, and whose weight is also used without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x)) @ self.layer.weight


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def words(*shape: int) -> torch.Tensor:
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(2))


CASES: dict[str, tuple[Callable[[], nn.Module], torch.Tensor, set[Route]]] = {
    "convolutions and norms": (convolutional, numbers(7, 1, 8, 8), {Route.FACTORS}),
    "grouped": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)),
        numbers(5, 4, 4, 4),
        {Route.FACTORS, Route.MODULE},
    ),
    "one dimension, circular": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3, padding=2, dilation=2, padding_mode="circular"), nn.Tanh(), nn.Flatten()
        ),
        numbers(5, 2, 6),
        {Route.FACTORS},
    ),
    "uneven padding": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, (2, 4), padding="same"), nn.Flatten(), nn.Linear(48, 2)),
        numbers(5, 1, 4, 4),
        {Route.FACTORS},
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(1, 2, 2), nn.InstanceNorm2d(2, affine=True), nn.Flatten()),
        numbers(4, 1, 3, 3),
        {Route.MODULE},
    ),
    "bare": (Bare, numbers(7, 6), {Route.FACTORS, Route.MODULE, Route.SAMPLES}),
    "reused and tied": (Reused, numbers(7, 6), {Route.FACTORS}),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh()),
        numbers(5, 5),
        {Route.FACTORS, Route.MODULE},
    ),
    "recurrent": (Recurrent, numbers(4, 5, 3), {Route.FACTORS, Route.MODULE, Route.SAMPLES}),
    "used without being called": (Functional, numbers(5, 4), {Route.FACTORS, Route.SAMPLES}),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", CASES)
def test_blocks_equal_whole_jacobians(name: str) -> None:
    torch.manual_seed(0)
    make, values, routes = CASES[name]
    module = make()
    if name == "convolutions and norms":
        module(values.float())  # the lazy layer, and running statistics
    kernel, forming = formed(module, values)
    assert_equal(kernel, direct(module, values))
    assert {each.route for each in forming.routes.parameters} <= routes
    torch.testing.assert_close(kernel, kernel.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_a_transformer_with_padding_rows(tied: bool) -> None:
    torch.manual_seed(0)
    module = Language(tied=tied)
    values = words(6, 7)
    assert bool((values == 0).any())
    kernel, forming = formed(module, values, tokens=TOKENS, size=4)
    assert_equal(kernel, direct(module, values))
    routes = {each.name: each.route for each in forming.routes.parameters}
    assert routes["embed.weight"] is routes["places.weight"] is Route.FACTORS
    assert Route.SAMPLES not in routes.values()


class Attention(nn.Module):
    """Attention of plain layers: no output depends on the bias of the keys."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2), 2)
        return (scores @ self.value(x)).mean(1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_parameter_without_influence_is_not_taken_for_a_wrong_route(dtype: str) -> None:
    torch.manual_seed(0)
    values = numbers(5, 4, 6)
    network = network_of(Attention(), dtype=dtype)
    forming = forming_for(network, samples_of(values.to(network.dtype)), KernelSettings())
    assert {each.route for each in forming.routes.parameters} == {Route.FACTORS}


def test_many_outputs_and_positions_keep_their_factors() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 24, 3), nn.Tanh(), nn.Conv2d(24, 24, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 12)
    )
    values = numbers(5, 2, 6, 6)
    kernel, forming = formed(module, values)
    assert_equal(kernel, direct(module, values))
    assert forming.factored is not None
    assert "2.weight" in forming.factored
    assert "0.weight" not in forming.factored


def test_the_pseudo_kernel_and_that_of_a_class_are_parts_of_the_whole() -> None:
    torch.manual_seed(0)
    module, values = Bare().double(), numbers(5, 6)
    whole = direct(module, values).view(5, 3, 5, 3)
    summed, forming = formed(module, values, outputs="sum")
    assert_equal(summed, whole.sum((1, 3)) / 3)
    assert "divided by the root" in forming.words
    one, _ = formed(module, values, outputs="2")
    assert_equal(one, whole[:, 2, :, 2])
    two, _ = formed(module, values, outputs="2,0")
    assert_equal(two, whole[:, [2, 0]][:, :, :, [2, 0]].reshape(10, 10))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_other_precisions(dtype: str, tolerance: float) -> None:
    torch.manual_seed(0)
    module, values = convolutional(), numbers(6, 1, 8, 8)
    module(values.float())
    true = direct(module.double().eval(), values)
    network = network_of(module, dtype=dtype)
    forming = forming_for(network, samples_of(values.to(network.dtype)), KernelSettings())
    kernel = in_blocks(forming, 6, 4)
    assert kernel.dtype is torch.float32
    assert float((kernel - true).abs().max() / true.abs().max()) < tolerance
    assert Route.SAMPLES not in {each.route for each in forming.routes.parameters}


def test_a_model_of_transformers_with_padded_batches(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from rmtaudit.engine.networks import open_network, open_samples

    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=11, n_positions=9)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    network = open_network(tmp_path)
    (tmp_path / "d.jsonl").write_text(
        "\n".join(f'{{"input_ids": {row}}}' for row in ([1, 2, 3, 4, 5], [6, 7], [8], [9, 10, 1, 2]))
    )
    samples = open_samples(tmp_path / "d.jsonl", network)
    forming = forming_for(network, samples, KernelSettings(outputs="1,3"))
    kernel = in_blocks(forming, 4, 3)
    rows = []
    parameters = list(network.module.parameters())
    for index in range(4):
        batch: Batch = samples.batch(network, [index])
        logits = network.module(**batch.inputs).logits[0, -1]
        for output in (1, 3):
            gradients = torch.autograd.grad(logits[output], parameters, retain_graph=True)
            rows.append(torch.cat([each.flatten() for each in gradients]))
    whole = torch.stack(rows)
    assert_equal(kernel, whole @ whole.T)
    assert [each.why for each in forming.routes.parameters if each.why] == []


def test_a_network_whose_outputs_depend_on_other_samples_or_on_chance() -> None:
    batch_norm = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(3, track_running_stats=False))
    noisy = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    for module in (batch_norm, noisy):
        network = network_of(module)
        module[1].train()
        with pytest.raises(UsageError) as caught:
            forming_for(network, samples_of(numbers(5, 3, 4)), KernelSettings())
        assert caught.value.code == "RA-KN-005"


def test_frozen_parameters_are_left_out() -> None:
    torch.manual_seed(0)
    module, values = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), numbers(5, 3)
    module[0].requires_grad_(requires_grad=False)
    kernel, forming = formed(module, values)
    given = torch.tanh(module[0](values))
    true = torch.einsum("ab,kl->akbl", given @ given.T + 1, torch.eye(2, dtype=torch.float64))
    assert_equal(kernel, true.reshape(10, 10).detach())
    assert [each.name for each in forming.routes.parameters] == ["2.weight", "2.bias"]
    module.requires_grad_(requires_grad=False)
    with pytest.raises(RmtauditError, match="No parameter"):
        formed(module, values)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"outputs": "some"}, "RA-KN-001"),
        ({"outputs": "1,1"}, "RA-KN-001"),
        ({"block": 0}, "RA-KN-001"),
        ({"features": "fc"}, "RA-KN-001"),
        ({"kind": KernelKind.CK, "outputs": "sum"}, "RA-KN-001"),
        ({"outputs": "3"}, "RA-KN-002"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        formed(Bare(), numbers(4, 6), **settings)
    assert caught.value.code == code


def test_a_vocabulary_of_outputs_is_asked_about() -> None:
    with pytest.raises(UsageError, match="outputs for each sample") as caught:
        formed(nn.Linear(2, 5000), numbers(3, 2))
    assert caught.value.code == "RA-KN-002"


def test_the_conjugate_kernel_is_of_what_the_last_linear_layer_is_given() -> None:
    torch.manual_seed(0)
    module, values = Bare(), numbers(6, 6)
    network, settings = network_of(module), KernelSettings(kind=KernelKind.CK)
    hidden = hidden_for(network, samples_of(values), settings)
    first, second = hidden.features(range(4)), hidden.features(range(4, 6))
    features = torch.tanh(module.first(values) * module.scale).detach()
    assert_equal(first.products(second), (features @ features.T)[:4, 4:])
    assert hidden.module == "second"
    named = hidden_for(network, samples_of(values), KernelSettings(kind=KernelKind.CK, features="first"))
    assert_equal(named.features(range(6)).products(named.features(range(6))), values @ values.T)
    with pytest.raises(UsageError) as caught:
        hidden_for(network, samples_of(values), KernelSettings(kind=KernelKind.CK, features="absent"))
    assert caught.value.code == "RA-KN-006"


def test_hidden_features_of_sequences_are_those_of_the_last_real_position() -> None:
    torch.manual_seed(0)
    embed = nn.Embedding(11, 4)
    module = nn.Sequential(embed, nn.Linear(4, 11))
    rows = Tokens(key="", ids=((1, 2, 3), (4,)))
    samples = Samples(name="data", count=2, arrays={}, tokens=rows, labels=None, truncated=0, digest="")

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = module

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            del attention_mask
            return self.body(x)

    hidden = hidden_for(network_of(Masked(), tokens=TOKENS), samples, KernelSettings(kind=KernelKind.CK))
    table = embed.weight.detach()
    torch.testing.assert_close(hidden.features([0, 1]).rows[:, 0], table[[3, 4]])
