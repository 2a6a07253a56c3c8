"""Rankings of models with random numbers."""

from __future__ import annotations

import random
from pathlib import Path

from rmtaudit.engine.rank.answer import rank_models
from rmtaudit.engine.rank.models import Model, Models
from rmtaudit.report.ranking import Ranking
from rmtaudit.report.zoo import Quality

FAMILIES = ("resnet", "vgg", "")


def ranking(count: int, *, hostile: str = "", judged: bool = True) -> Ranking:
    """Return a ranking of models; ``hostile`` is added wherever a text can stand."""
    draw = random.Random(0)
    metrics = tuple(f"{name}{hostile}" for name in ("alpha", "stable_rank"))
    models = []
    for at in range(count):
        size = int(10 ** draw.uniform(4, 9))
        quality = Quality(value=60 + draw.uniform(0, 5) + len(str(size)), higher_is_better=True)
        models.append(
            Model(
                name=f"model-{at}{hostile}",
                family=FAMILIES[at % 3] + hostile,
                parameters=size,
                metrics={name: draw.uniform(1, 8) for name in metrics[: 1 + (at % 9 != 8)]},
                quality={f"accuracy{hostile}": quality} if judged and at % 4 else {},
            )
        )
    return rank_models(Models(tuple(models), metrics, 2), Path(f"zoo{hostile}"))
