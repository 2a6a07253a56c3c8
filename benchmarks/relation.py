"""The relation test on networks that are trained here: false alarms, power, words, permuted copies.

    python benchmarks/relation.py

Pairs that share a network are independent of each other as far as a variance can tell: under independent
uniform relabellings of A, B and C, the relabellings of A against B and of A against C are independent, and so
are any two of the three. P-values are therefore pairwise independent, and the number of false alarms among
all pairs of a family has the variance of a binomial one.

docs/lineage.md has what this prints.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator

import torch
from relation_networks import FAMILIES, Family, State, accuracy, initial, trained

from rmtaudit.engine.pairs import opened
from rmtaudit.engine.pairs.refs import TensorRef, refs_of
from rmtaudit.engine.pairs.relation import ModelRelation, Relation, RelationTest

LEVELS = (0.05, 0.01, 0.001)
CHANGES = (0.3, 1.0, 3.0)
DERIVED = 12
"""Networks of each family that are derived, of each change."""


class Zoo:
    """Stacked networks of one family, and the test of two of them."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.refs = refs_of(opened(self.network(0)))[0]

    def network(self, index: int) -> State:
        return {name: value[index] for name, value in self.state.items()}

    def related(self, one: State, other: State, *, matching: bool = True) -> ModelRelation:
        test = RelationTest(refs=self.refs, matching=matching, ordered=True)
        for ref in self.refs:
            if ref.layer is not None:
                test.add(ref.name, _matrix(ref, one), _matrix(ref, other))
        return test.result()


def _matrix(ref: TensorRef, state: State) -> torch.Tensor:
    assert ref.layer is not None
    stored = state[ref.spec.name]
    if ref.layer.band is not None:
        stored = stored[ref.layer.band[0] : ref.layer.band[1]]
    return ref.layer.build((stored,))[0]


def false_alarms(zoo: Zoo, family: Family) -> Iterator[tuple[float, Relation]]:
    for one, other in itertools.combinations(range(family.networks), 2):
        result = zoo.related(zoo.network(one), zoo.network(other), matching=False)
        assert result.p_value is not None
        yield result.p_value, result.relation


def moved(state: State, change: float, seed: int) -> State:
    """Return a network with every tensor changed at random by this share of its norm."""
    generator = torch.Generator().manual_seed(seed)
    moved = {}
    for name, value in state.items():
        noise = torch.randn(value.shape, generator=generator)
        moved[name] = value + change * noise * value.norm() / noise.norm()
    return moved


def permuted(family: Family, state: State, seed: int) -> State:
    """Return the same function with its hidden units in another order, and every tensor moved by .5."""
    generator = torch.Generator().manual_seed(seed)

    def order(count: int) -> torch.Tensor:
        return torch.randperm(count, generator=generator)

    state = dict(state)
    if family.name == "perceptron":
        p, q = order(48), order(40)
        state["first.weight"], state["first.bias"] = state["first.weight"][p], state["first.bias"][p]
        state["second.weight"] = state["second.weight"][q][:, p]
        state["head.weight"] = state["head.weight"][:, q]
    elif family.name == "convolutional":
        p, q, r = order(24), order(32), order(32)
        state["conv1.weight"] = state["conv1.weight"][p]
        state["conv2.weight"] = state["conv2.weight"][q][:, p]
        state["conv3.weight"] = state["conv3.weight"][r][:, q]
        head = state["head.weight"]
        state["head.weight"] = head.reshape(10, 32, -1)[:, r].reshape(head.shape)
    elif family.name == "lstm":
        for layer, (p, q) in enumerate(itertools.pairwise([torch.arange(6), order(24), order(24)])):
            rows = torch.cat([q + 24 * gate for gate in range(4)])
            state[f"weight_ih_l{layer}"] = state[f"weight_ih_l{layer}"][rows][:, p]
            state[f"weight_hh_l{layer}"] = state[f"weight_hh_l{layer}"][rows][:, q]
        state["head.weight"] = state["head.weight"][:, q]
    else:
        p = order(32)
        for name, value in state.items():
            if name.endswith(
                ("q_proj.weight", "k_proj.weight", "v_proj.weight", "lm_head.weight")
            ) or name in ("token_embedding",):
                state[name] = value[:, p]
            elif name.endswith("o_proj.weight"):
                state[name] = value[p]
        for layer in range(2):
            q = order(48)
            up, down = (f"layers.{layer}.{name}_proj.weight" for name in ("up", "down"))
            state[up], state[down] = state[up][q][:, p], state[down][p][:, q]
    return moved(state, 0.5, seed)


def share(results: list[ModelRelation]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(str(r.relation) for r in results).items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one family")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    everything: list[float] = []
    words: Counter[Relation] = Counter()
    for family in FAMILIES:
        if only not in (None, family.name):
            continue
        started = time.process_time()
        start = initial(family, family.networks, 1)
        zoo = Zoo(trained(family, start, 1))
        right = accuracy(family, zoo.state)
        print(f"\n{family.name}: {family.networks} networks, accuracy {right.mean():.3f}", end="")
        print(f", trained in {time.process_time() - started:.0f} CPU s")
        started = time.process_time()
        results = list(false_alarms(zoo, family))
        p_values = [p for p, _ in results]
        everything += p_values
        words.update(word for _, word in results)
        print(f"  independent pairs: {len(results)} in {time.process_time() - started:.0f} CPU s; ", end="")
        print_levels(p_values)
        for change in CHANGES:
            pairs = [(zoo.network(i), moved(zoo.network(i), change, i)) for i in range(DERIVED)]
            print(f"  random change {change:g}: {share([zoo.related(*pair) for pair in pairs])}")
        few = {name: value[:DERIVED] for name, value in zoo.state.items()}
        tuned = Zoo(trained(family, few, 2, shuffled=True))
        changes = [
            float(sum((tuned.network(i)[n] - v).norm() ** 2 for n, v in zoo.network(i).items()) ** 0.5)
            / float(sum(v.norm() ** 2 for v in zoo.network(i).values()) ** 0.5)
            for i in range(DERIVED)
        ]
        results_of = [zoo.related(zoo.network(i), tuned.network(i)) for i in range(DERIVED)]
        print(f"  tuned on shuffled labels (change {sum(changes) / DERIVED:.2f}): {share(results_of)}")
        again = Zoo(trained(family, {name: value[:DERIVED] for name, value in start.items()}, 3))
        results_of = [zoo.related(zoo.network(i), again.network(i)) for i in range(DERIVED)]
        print(f"  same initialisation, other minibatches: {share(results_of)}", end="; ")
        print_cosines(results_of)
        apart = Zoo(trained(family, {n: v[:DERIVED] for n, v in start.items()}, 4, shuffled=True))
        results_of = [zoo.related(zoo.network(i), apart.network(i)) for i in range(DERIVED)]
        print(f"  same initialisation, shuffled labels: {share(results_of)}", end="; ")
        print_cosines(results_of)
        results_of = [
            zoo.related(zoo.network(i), permuted(family, zoo.network(i), i)) for i in range(DERIVED)
        ]
        others = [
            zoo.related(zoo.network(i), zoo.network(j)) for i, j in itertools.combinations(range(DERIVED), 2)
        ]
        print(f"  permuted copies, moved by .5: {share(results_of)}; ", end="")
        print_matched(results_of)
        print(f"  independent pairs, matched: {share(others)}; ", end="")
        print_matched(others)
    print(f"\nall {len(everything)} independent pairs: ", end="")
    print_levels(everything)
    print(", ".join(f"{count} {word}" for word, count in words.items()))


def print_levels(p_values: list[float]) -> None:
    parts = []
    for level in LEVELS:
        rate = sum(p <= level for p in p_values) / len(p_values)
        error = math.sqrt(level * (1 - level) / len(p_values))
        parts.append(f"{level:g}: {rate:.4f} ({(rate - level) / error:+.1f} se)")
    print("false alarms at " + ", ".join(parts))


def print_cosines(results: list[ModelRelation]) -> None:
    cosines = sorted(result.cosine or 0 for result in results)
    print(f"cosine {cosines[0]:.2f} to {cosines[-1]:.2f}")


def print_matched(results: list[ModelRelation]) -> None:
    cosines = sorted(result.matched.cosine for result in results if result.matched is not None)
    if cosines:
        print(f"matched cosine {cosines[0]:.2f} to {cosines[-1]:.2f}")
    else:
        print("none was matched")


if __name__ == "__main__":
    main()
