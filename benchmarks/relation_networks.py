"""Small networks trained here from many seeds at once: the independent, derived and permuted pairs of
relation.py.

Perceptrons and convolutional networks on scikit-learn's digits, and LSTMs and transformers that classify
synthetic sequences. All networks of a family are trained together (``torch.func.vmap``), each with its own
initialisation and its own minibatches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

State = dict[str, torch.Tensor]


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 48), nn.Linear(48, 40), nn.Linear(40, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self.head(self.second(self.first(x).relu()).relu()))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 32, 3, stride=2, padding=1)
        self.conv3, self.head = nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.Linear(32 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x.reshape(-1, 1, 8, 8)).relu()
        x = self.conv3(self.conv2(x).relu()).relu()
        return cast("torch.Tensor", self.head(x.flatten(1)))


class Lstm(nn.Module):
    """Two layers, weights named and stacked as in ``torch.nn.LSTM``, which vmap does not take."""

    def __init__(self, width: int = 24, inputs: int = 6) -> None:
        super().__init__()
        self.width = width
        for layer, size in enumerate((inputs, width)):
            for name, columns in (("ih", size), ("hh", width)):
                weights = torch.empty(4 * width, columns).uniform_(-(width**-0.5), width**-0.5)
                self.register_parameter(f"weight_{name}_l{layer}", nn.Parameter(weights))
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in range(2):
            enter, stay = (getattr(self, f"weight_{name}_l{layer}") for name in ("ih", "hh"))
            h = c = x.new_zeros(x.shape[0], self.width)
            states = []
            for step in range(x.shape[1]):
                i, f, g, o = (x[:, step] @ enter.T + h @ stay.T).chunk(4, dim=1)
                c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                states.append(h)
            x = torch.stack(states, dim=1)
        return cast("torch.Tensor", self.head(x[:, -1]))


class Block(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.up_proj, self.down_proj = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ln_1(x)
        q, k, v = (
            project(y).unflatten(-1, (4, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        x = x + self.o_proj((weights @ v).transpose(1, 2).flatten(2))
        return cast("torch.Tensor", x + self.down_proj(self.up_proj(self.ln_2(x)).relu()))


class Transformer(nn.Module):
    def __init__(self, width: int = 32, inner: int = 48) -> None:
        super().__init__()
        self.token_embedding = nn.Parameter(0.5 * torch.randn(12, width))
        self.layers = nn.ModuleList(Block(width, inner) for _ in range(2))
        self.lm_head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x @ self.token_embedding
        for block in self.layers:
            x = block(x)
        return cast("torch.Tensor", self.lm_head(x.mean(dim=1)))


@dataclass(frozen=True)
class Family:
    name: str
    make: Callable[[], nn.Module]
    networks: int
    steps: int
    rate: float


FAMILIES = (
    Family("perceptron", Perceptron, 90, 400, 0.15),
    Family("convolutional", Convolutional, 60, 120, 0.1),
    Family("lstm", Lstm, 60, 150, 1.0),
    Family("transformer", Transformer, 60, 150, 0.1),
)


def data(family: Family, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and labels."""
    if family.make in (Perceptron, Convolutional):
        from sklearn.datasets import load_digits

        digits = load_digits()
        return torch.tensor(digits.data / 8 - 1, dtype=torch.float32), torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(seed)
    if family.make is Lstm:  # which of four pulses came last
        x = 0.3 * torch.randn((1500, 10, 6), generator=generator)
        y = torch.randint(4, (1500,), generator=generator)
        at = torch.randint(3, 8, (1500,), generator=generator)
        x[torch.arange(1500), at, y] += 2
        return x, y
    x = torch.randint(12, (1500, 8), generator=generator)
    return nn.functional.one_hot(x, 12).float(), (x < 3).sum(dim=1).clamp(max=3)


def initial(family: Family, count: int, seed: int) -> State:
    """Return networks as initialised, stacked along the first side."""
    models = []
    for index in range(count):
        torch.manual_seed(10_000 * seed + index)
        models.append(family.make())
    parameters, _ = stack_module_state(models)  # type: ignore[arg-type]
    return {name: value.detach().clone() for name, value in parameters.items()}


def trained(family: Family, state: State, seed: int, *, shuffled: bool = False, steps: int = 0) -> State:
    """Train stacked networks by SGD, each on its own minibatches; on labels drawn at random if shuffled."""
    x, y = data(family)
    generator = torch.Generator().manual_seed(seed)
    if shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    model = family.make()
    count = len(next(iter(state.values())))

    def loss(parameters: State, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, parameters, (inputs,)), labels)

    gradient = vmap(grad(loss))
    for _ in range(steps or family.steps):
        rows = torch.randint(len(x), (count, 32), generator=generator)
        slope = gradient(state, x[rows], y[rows])
        state = {name: value - family.rate * slope[name] for name, value in state.items()}
    return state


def accuracy(family: Family, state: State) -> torch.Tensor:
    """Return the share of right answers of every network."""
    x, y = data(family)
    model = family.make()
    scores = vmap(lambda parameters: functional_call(model, parameters, (x[:400],)))(state)
    return (scores.argmax(dim=2) == y[:400]).double().mean(dim=1)
