"""Activations of networks: rows, covariances, and what is made of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from rmtaudit.engine.activations.activation_functions import ActivationWatch
from rmtaudit.engine.activations.layers import Site, chosen_names, sites_of
from rmtaudit.engine.activations.moments import Moments, holds_rows
from rmtaudit.engine.activations.numbers import NumberStatus
from rmtaudit.engine.activations.rows import gather
from rmtaudit.engine.activations.run import LayerActivations, measure
from rmtaudit.engine.activations.settings import GROUPS, ActivationsSettings
from rmtaudit.engine.networks.network import Network, Origin
from rmtaudit.engine.networks.readers import Tokens
from rmtaudit.engine.networks.samples import Samples
from rmtaudit.errors import StoppedWorkError, UsageError


def network_of(module: nn.Module, keywords: frozenset[str] | None = None) -> Network:
    return Network(
        module=module.double().eval(),
        name="net",
        origin=Origin.FACTORY,
        dtype=torch.float64,
        device=torch.device("cpu"),
        main_input="x" if keywords is None else "input_ids",
        keywords=keywords,
        tokens=None,
    )


def samples_of(values: torch.Tensor, key: str = "") -> Samples:
    return Samples(
        name="x.npy",
        count=len(values),
        arrays={key: values},
        tokens=None,
        labels=None,
        truncated=0,
        digest="",
    )


def normal(rows: int, variances: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, len(variances), dtype=torch.float64, generator=generator)
    turn = torch.linalg.qr(
        torch.randn(len(variances), len(variances), dtype=torch.float64, generator=generator)
    ).Q
    return 3 + (noise * variances.sqrt()) @ turn


def rows_of(network: Network, samples: Samples, *, batch: int = 7) -> tuple[list[Site], list[Any]]:
    sites = sites_of(network, samples, chosen_names(network, (), ()))
    moments = gather(
        network,
        samples,
        sites,
        batch=batch,
        seed=0,
        kept=10**6,
        stop=lambda: False,
        progress=lambda _done: None,
    )
    return sites, moments


def by_name(rows: list[LayerActivations]) -> dict[str, LayerActivations]:
    return {row.layer.name: row for row in rows}


VARIANCES = torch.cat([torch.full((12,), 1.0), torch.full((12,), 5.0), torch.tensor([40.0])]).double()


def test_known_covariances_are_inside_the_intervals() -> None:
    shares = VARIANCES / VARIANCES.sum()
    truth = {
        "effective_rank": math.exp(-float((shares * shares.log()).sum())),
        "log_determinant": float(VARIANCES.log().sum()),
        "participation_ratio": float(VARIANCES.sum() ** 2 / VARIANCES.square().sum()),
    }
    inside = dict.fromkeys(truth, 0)
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in truth}
    for seed in range(20):
        network = network_of(nn.Sequential(nn.Linear(25, 3)))
        row = measure(network, samples_of(normal(120, VARIANCES, seed)), ActivationsSettings(batch=64))[0]
        for name, value in truth.items():
            number = row.numbers[name]
            assert number.interval is not None
            assert number.value is not None
            assert number.naive is not None
            inside[name] += number.interval[0] <= value <= number.interval[1]
            errors[name].append((number.value - value, number.naive - value))
    # of 20 intervals of 95 %, fewer than 16 are inside with a probability of 0.3 %
    assert all(count >= 16 for count in inside.values()), inside
    for name, pairs in errors.items():
        corrected, naive = torch.tensor(pairs).mean(0).abs().tolist()
        assert corrected < naive / 2, name


def test_products_and_rows_have_the_same_spectra() -> None:
    values = normal(90, torch.linspace(1, 4, 6, dtype=torch.float64), 1)
    groups = torch.arange(90) % GROUPS
    assert not holds_rows(90, 6, GROUPS)
    streamed = Moments(90, 6, GROUPS, kept=5)
    whole = Moments(40, 6, GROUPS, kept=5)
    for start in range(0, 90, 20):
        streamed.add(values[start : start + 20], groups[start : start + 20])
    whole.add(values[:40], groups[:40])
    direct = torch.linalg.eigvalsh(torch.cov(values.T))
    first, *parts = streamed.covariances()
    assert torch.allclose(first.eigenvalues, direct, rtol=1e-12)
    assert first.degrees == 89
    assert torch.allclose(parts[3].eigenvalues, torch.linalg.eigvalsh(torch.cov(values[groups != 3].T)))
    held, *held_parts = whole.covariances()
    assert torch.allclose(held.eigenvalues, torch.linalg.eigvalsh(torch.cov(values[:40].T)))
    own = values[:40][groups[:40] != 2]
    assert torch.allclose(held_parts[2].eigenvalues, torch.linalg.eigvalsh(torch.cov(own.T)))
    frame = torch.eye(6, dtype=torch.float64)[:, :2]
    assert torch.allclose(streamed.along(frame), torch.cov(values.T).diagonal()[:2])
    assert torch.allclose(whole.along(frame), torch.cov(values[:40].T).diagonal()[:2])
    assert streamed.first.shape == (5, 6)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 5, 3, padding=1, stride=2)
        self.second = nn.Conv1d(5, 4, 2, padding=1, padding_mode="circular")
        self.outputs: dict[str, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.first(x)
        two = self.second(torch.relu(one).flatten(2))
        self.outputs = {"first": one.flatten(2), "second": two}
        return two.flatten(1)


def test_rows_of_convolutions_give_their_outputs() -> None:
    torch.manual_seed(0)
    module = Convolutions()
    network = network_of(module)
    values = torch.randn(9, 2, 6, 8, dtype=torch.float64)
    sites, moments = rows_of(network, samples_of(values), batch=9)
    assert [site.layers[0].name for site in sites] == ["first", "second"]
    assert sites[0].layers[0].activation == "relu"
    for site, each in zip(sites, moments, strict=True):
        layer = site.layers[0]
        bias: Any = layer.module.bias
        made = each.first @ layer.weight.T + bias
        outputs = module.outputs[layer.name].transpose(1, 2)
        assert outputs.shape[1] == layer.positions
        near = (outputs.detach() - made.detach()[:, None]).abs().amax(2).amin(1)
        assert float(near.max()) < 1e-12


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 12)
        self.q, self.k, self.v = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12)
        self.up, self.down = nn.Linear(12, 32), nn.Linear(32, 12)
        self.unused = nn.Linear(12, 12)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.embed(input_ids)
        scores = self.q(x) @ self.k(x).mT + (attention_mask[:, None].double() - 1) * 1e9
        x = x + scores.softmax(-1) @ self.v(x)
        x = self.down(nn.functional.gelu(self.up(x), approximate="tanh"))
        return x.mean(1)


def tokens(count: int) -> Samples:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(2, 9, (count,), generator=generator).tolist()
    ids = tuple(tuple(torch.randint(1, 11, (n,), generator=generator).tolist()) for n in lengths)
    return Samples(
        name="x.jsonl",
        count=count,
        arrays={},
        tokens=Tokens(key="input_ids", ids=ids, types=None),
        labels=None,
        truncated=0,
        digest="",
    )


def test_a_transformer_shares_inputs_and_leaves_padding_out() -> None:
    torch.manual_seed(0)
    module = Attention()
    network = network_of(module, frozenset({"input_ids", "attention_mask"}))
    samples = tokens(60)
    sites, moments = rows_of(network, samples)
    names = [[layer.name for layer in site.layers] for site in sites]
    assert names == [["q", "k", "v"], ["up"], ["down"], ["unused"]]
    assert sites[1].layers[0].activation == "gelu_tanh"
    # padding is token 0, which no sample has
    pad = module.embed.weight[0].detach()
    assert float((moments[0].first - pad).abs().amax(1).min()) > 1e-6
    _, other = rows_of(network, samples, batch=60)
    assert torch.allclose(moments[2].first, other[2].first, atol=1e-12)
    rows = by_name(measure(network, samples, ActivationsSettings()))
    assert rows["unused"].unmeasured == "not run"
    assert rows["k"].shared == "q"
    assert rows["k"].numbers is rows["q"].numbers
    conjugate = rows["up"].facts["conjugate"]
    assert conjugate["activation"] == "gelu_tanh"
    assert conjugate["linear_fraction"] < 1


def test_every_position_is_drawn_evenly() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)[:, :, 0]

    values = torch.arange(4, dtype=torch.float64).repeat(2000, 1)[:, :, None]
    _, moments = rows_of(network_of(Positions()), samples_of(values), batch=500)
    counts = moments[0].first[:, 0].long().bincount(minlength=4)
    assert int(counts.sum()) == 2000
    assert float((counts / 500 - 1).abs().max()) < 0.15  # 4 standard deviations of a count


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (nn.ReLU(inplace=True), "relu"),
        (torch.relu, "relu"),
        (torch.tanh, "tanh"),
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), "gelu_tanh"),
        (nn.SiLU(), "silu"),
        (nn.LeakyReLU(0.2), None),
        (nn.Softplus(beta=2), None),
        (lambda x: x + 1, None),
    ],
)
def test_the_activation_function_that_follows(function: Any, name: str | None) -> None:
    layer = nn.Linear(2, 2)
    watch = ActivationWatch()
    with torch.no_grad(), watch:
        output = layer(torch.ones(1, 2))
        watch.note_output("layer", output)
        function(output)
    assert watch.functions.get("layer") == name


def test_random_weights_have_the_overlap_of_random_directions() -> None:
    torch.manual_seed(3)
    scores, shares = [], []
    for seed in range(3):
        layers = {str(i): nn.Linear(25, 20, bias=False) for i in range(20)}
        network = network_of(nn.ModuleDict(layers))

        def forward(x: torch.Tensor, module: Any = network.module) -> torch.Tensor:
            return torch.stack([each(x) for each in module.values()]).sum(0)

        network.module.forward = forward
        for each in layers.values():
            nn.init.normal_(each.weight)
        for row in measure(network, samples_of(normal(60, VARIANCES, seed)), ActivationsSettings(seed=seed)):
            for end in ("top", "lowest"):
                scores.append(row.facts["overlap"][end]["z"])
                shares.append(row.facts["overlap"][end]["share_below"])
    assert len(scores) == 120
    values = torch.tensor(scores)
    assert abs(float(values.mean())) < 4 / math.sqrt(120)
    assert 0.75 < float(values.std()) < 1.3
    assert float(torch.tensor(shares).mean()) == pytest.approx(0.5, abs=4 * 0.29 / math.sqrt(120))


def test_weights_along_the_covariance_are_seen() -> None:
    layer = nn.Linear(25, 20, bias=False)
    network = network_of(nn.Sequential(layer))
    values = normal(80, VARIANCES, 5)
    vectors = torch.linalg.eigh(torch.cov(values.T)).eigenvectors
    layer.weight.data = (torch.linspace(1, 9, 25, dtype=torch.float64) * vectors).T[5:].contiguous()
    row = measure(network, samples_of(values), ActivationsSettings())[0]
    assert row.facts["overlap"]["top"]["z"] > 5
    assert row.facts["overlap"]["top"]["share_below"] == 1
    assert row.facts["overlap"]["lowest"]["overlap"] < 0.5


def test_random_weights_make_the_features_that_are_predicted() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 400)
    nn.init.normal_(layer.weight)
    network = network_of(nn.Sequential(layer, nn.ReLU(), nn.Linear(400, 2)))
    values = normal(150, torch.ones(40, dtype=torch.float64), 8) - 3
    row = by_name(measure(network, samples_of(values), ActivationsSettings()))["0"]
    ranks = row.facts["conjugate"]["effective_rank"]
    assert row.facts["conjugate"]["hermite"][:2] == pytest.approx(
        [row.facts["conjugate"]["scale"] * each for each in (0.398942, 0.5)], rel=1e-5
    )
    assert row.facts["conjugate"]["linear_fraction"] == pytest.approx(0.734, abs=1e-3)
    assert ranks["random_mean"] == pytest.approx(ranks["predicted"], rel=0.03)
    assert ranks["measured"] == pytest.approx(ranks["random_mean"], abs=4 * ranks["random_sd"] + 0.5)
    assert ranks["predicted_two_terms"] == pytest.approx(ranks["predicted"], rel=0.1)


def test_a_rank_that_is_not_full_is_found_and_the_rest_measured() -> None:
    module = nn.Sequential(nn.LayerNorm(10), nn.Linear(10, 5))
    row = measure(
        network_of(module), samples_of(normal(70, torch.ones(10).double(), 2)), ActivationsSettings()
    )[0]
    # the output of a layer norm has a mean of 0
    assert row.facts["rank"] == 9
    assert row.numbers["log_determinant"].status is NumberStatus.OK
    assert row.numbers["log_determinant"].interval is not None


def test_too_few_samples_are_said_by_number() -> None:
    network = network_of(nn.Sequential(nn.Linear(200, 3)))
    row = measure(network, samples_of(normal(30, torch.ones(200).double(), 0)), ActivationsSettings())[0]
    for name, needed in (("log_determinant", 200), ("effective_rank", 51)):
        number = row.numbers[name]
        assert number.status is NumberStatus.FEW_SAMPLES
        assert number.value is None
        assert int(number.reason.split()[1]) >= needed
    assert row.numbers["participation_ratio"].status is NumberStatus.OK
    few = measure(network, samples_of(torch.randn(19, 200).double()), ActivationsSettings())
    assert [each.unmeasured for each in few] == ["too few samples"]
    enough = int(row.numbers["log_determinant"].reason.split()[1])
    again = measure(network, samples_of(normal(enough, torch.ones(200).double(), 0)), ActivationsSettings())[
        0
    ]
    assert again.numbers["log_determinant"].status is NumberStatus.OK


def test_memory_divides_the_work_and_changes_nothing() -> None:
    torch.manual_seed(0)
    network = network_of(nn.Sequential(nn.Linear(25, 30), nn.Tanh(), nn.Linear(30, 20), nn.Tanh()))
    samples = samples_of(normal(60, VARIANCES, 4))
    steps: list[tuple[int, int]] = []
    whole = measure(network, samples, ActivationsSettings(memory=1 << 30))
    divided = measure(
        network,
        samples,
        ActivationsSettings(memory=60_000),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1] == (120, 120)
    for one, other in zip(whole, divided, strict=True):
        assert one.numbers == other.numbers
        assert one.facts == other.facts
    none = measure(network, samples, ActivationsSettings(memory=1000))
    assert {each.unmeasured for each in none} == {"memory"}


def test_constant_and_infinite_inputs() -> None:
    network = network_of(nn.Sequential(nn.Linear(3, 3)))
    flat = measure(network, samples_of(torch.ones(30, 3).double()), ActivationsSettings())
    assert flat[0].unmeasured == "constant input"
    broken = torch.randn(30, 3).double()
    broken[4, 1] = math.inf
    assert measure(network, samples_of(broken), ActivationsSettings())[0].unmeasured == "not finite"


def test_rows_with_scales_of_their_own_are_noticed() -> None:
    network = network_of(nn.Sequential(nn.Linear(25, 3)))
    rows = normal(120, VARIANCES, 3) - 3
    even = measure(network, samples_of(rows), ActivationsSettings())[0]
    assert even.facts["lengths"]["uneven"] is False
    scales = torch.randn(120, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).exp()
    uneven = measure(network, samples_of(rows * scales), ActivationsSettings())[0]
    assert uneven.facts["lengths"]["uneven"] is True
    assert even.facts["lengths"]["scales"] == 0
    assert uneven.facts["lengths"]["scales"] > 0.5
    assert uneven.facts["law"]["status"] == "skipped"
    truth = float(VARIANCES.sum() ** 2 / VARIANCES.square().sum())
    interval = uneven.numbers["participation_ratio"].interval
    assert interval is not None
    assert interval[0] <= truth <= interval[1]


def test_patterns_and_stopping() -> None:
    network = network_of(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    samples = samples_of(torch.randn(30, 3).double())
    assert [row.layer.name for row in measure(network, samples, ActivationsSettings(exclude=("0",)))] == ["1"]
    with pytest.raises(UsageError, match="No layer matches"):
        measure(network, samples, ActivationsSettings(include=("x*",)))
    with pytest.raises(StoppedWorkError):
        measure(network, samples, ActivationsSettings(), stop=lambda: True)
