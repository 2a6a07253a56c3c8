"""The relation test on networks that are trained here: false alarms, power, words, permuted copies.

    python benchmarks/relation.py [--only FAMILY] [--networks N] [--seeds N …] [--level-only]

Pairs that share a network are independent of each other as far as a variance can tell: under independent
uniform relabellings of A, B and C, the relabellings of A against B and of A against C are independent, and so
are any two of the three. P-values are therefore pairwise independent, and the number of false alarms among
all pairs of a family has the variance of a binomial one. The second standard error does not rely on that: it
adds the covariances of all pairs that share a network, as estimated from the outcomes (dyadic clusters,
Aronow, Samii and Assenova 2015). Each of ``--seeds`` trains networks of its own; all are pooled.

docs/lineage.md has what this prints.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Outcome:
    """The test of one independent pair; networks of all families and seeds have numbers of their own."""

    networks: tuple[int, int]
    p_value: float
    relation: Relation


def false_alarms(zoo: Zoo, first: int) -> Iterator[Outcome]:
    """Test all pairs; the networks are numbered from ``first``."""
    for one, other in itertools.combinations(range(len(next(iter(zoo.state.values())))), 2):
        result = zoo.related(zoo.network(one), zoo.network(other), matching=False)
        assert result.p_value is not None
        yield Outcome((first + one, first + other), result.p_value, result.relation)


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
    parser.add_argument("--only", nargs="+", choices=[family.name for family in FAMILIES])
    parser.add_argument("--networks", type=int, help="of each family; default: as many as the family says")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--level-only", action="store_true", help="no derived and no permuted networks")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    everything: list[Outcome] = []
    number = 0
    for family in FAMILIES:
        if asked.only and family.name not in asked.only:
            continue
        networks, outcomes = asked.networks or family.networks, []
        for seed in asked.seeds:
            started = time.process_time()
            start = initial(family, networks, seed)
            zoo = Zoo(trained(family, start, seed))
            right = accuracy(family, zoo.state).mean()
            print(f"\n{family.name}: {networks} networks of seed {seed}, accuracy {right:.3f}", end="")
            print(f", trained in {time.process_time() - started:.0f} CPU s", flush=True)
            outcomes += false_alarms(zoo, number)
            number += networks
            if not asked.level_only and seed == asked.seeds[0]:
                print_relatives(family, zoo, start)
        print_levels(outcomes)
        everything += outcomes
    print("\nall families: ", end="")
    print_levels(everything)
    words = Counter(outcome.relation for outcome in everything)
    print(", ".join(f"{count} {word}" for word, count in words.items()))


def print_relatives(family: Family, zoo: Zoo, start: State) -> None:
    """Print the relations of networks that were derived from those of the zoo."""
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
    results_of = [zoo.related(zoo.network(i), permuted(family, zoo.network(i), i)) for i in range(DERIVED)]
    others = [
        zoo.related(zoo.network(i), zoo.network(j)) for i, j in itertools.combinations(range(DERIVED), 2)
    ]
    print(f"  permuted copies, moved by .5: {share(results_of)}; ", end="")
    print_matched(results_of)
    print(f"  independent pairs, matched: {share(others)}; ", end="")
    print_matched(others)


def print_levels(outcomes: list[Outcome]) -> None:
    """Print the rates of false alarms, and how far they are off in binomial and in dyadic standard errors."""
    parts = []
    for level in LEVELS:
        alarms = [outcome.p_value <= level for outcome in outcomes]
        rate = sum(alarms) / len(alarms)
        binomial = math.sqrt(level * (1 - level) / len(alarms))
        dyadic = dyadic_error(outcomes, [alarm - level for alarm in alarms])
        off = rate - level
        parts.append(f"{level:g}: {rate:.4f} ({off / binomial:+.1f} binomial, {off / dyadic:+.1f} dyadic se)")
    print(f"  {len(outcomes)} independent pairs, false alarms at {', '.join(parts)}", flush=True)


def dyadic_error(outcomes: list[Outcome], deviations: list[float]) -> float:
    """Return the standard error of a mean, with the covariances of pairs that share a network.

    The sum over networks of the squared sum over their pairs counts each pair's own square twice. It is not
    below the binomial error: estimated covariances that are negative by chance do not shorten it.
    """
    sums: Counter[int] = Counter()
    for outcome, deviation in zip(outcomes, deviations, strict=True):
        for network in outcome.networks:
            sums[network] += deviation  # type: ignore[assignment]
    own = sum(deviation**2 for deviation in deviations)
    shared = sum(total**2 for total in sums.values()) - own
    return math.sqrt(max(shared, own)) / len(deviations)


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
