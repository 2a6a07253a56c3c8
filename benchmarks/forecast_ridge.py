"""Coverage of the intervals of ``rmtaudit forecast ridge``: the gain from more samples and from more units.

python benchmarks/forecast_ridge.py --sets 60

Data sets of one law; the truth is the mean of the gains over all of them. An interval is meant to hold the
mean in 90 of 100 data sets.
"""

from __future__ import annotations

import argparse

import numpy as np

import rmtaudit


def data(seed: int, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 10))
    y = np.abs(x[:, 0]) + x[:, 1] + noise * random.normal(size=count)
    return x, y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=60)
    options = parser.parse_args()
    print("noise ridge question  coverage  verdicts")
    for noise, ridge in ((0.0, None), (1.0, None), (1.0, 0.1)):
        answers = [
            rmtaudit.forecast_ridge(
                *data(seed, 240, noise), width=100, ridge=ridge, points=2, draws=0, seed=seed
            )["answers"]
            for seed in range(options.sets)
        ]
        for question in ("data", "width"):
            gains = np.array([answer[question]["gain"]["value"] for answer in answers])
            ends = np.array([answer[question]["gain"]["ci"] for answer in answers])
            held = (ends[:, 0] <= gains.mean()) & (gains.mean() <= ends[:, 1])
            words, counts = np.unique([answer[question]["verdict"] for answer in answers], return_counts=True)
            verdicts = ", ".join(f"{word} {count}" for word, count in zip(words, counts, strict=True))
            print(f"{noise:5} {ridge or 'best':>5} {question:>8}  {held.mean():8.0%}  {verdicts}")


if __name__ == "__main__":
    main()
