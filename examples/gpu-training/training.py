"""A model that is trained on a GPU, and deployed only if it is good enough."""

import json
import math
import os
import random
from pathlib import Path

from headrace import Pod, flow, get_run_logger, task

Rows = list[list[float]]
"""Two measurements and a label, 0 or 1."""


@task
def prepare(rows: int, seed: int = 7) -> dict[str, Rows]:
    """Rows to learn from, and others to judge by. Needs no GPU, and holds none."""
    dice = random.Random(seed)
    points = [[dice.uniform(-1, 1), dice.uniform(-1, 1)] for _ in range(rows)]
    labelled = [[x, y, float(x + 0.5 * y + dice.gauss(0, 0.1) > 0)] for x, y in points]
    cut = rows * 4 // 5
    return {"training": labelled[:cut], "test": labelled[cut:]}


@task(pod=Pod(resources={"nvidia.com/gpu": 1, "memory": "256Mi"}, pools=["gpu"], timeout_seconds=3600), retries=1)
def train(rows: Rows, epochs: int) -> list[float]:
    """The weights of a logistic regression. In a pod of its own: the GPU's node is held for this alone."""
    get_run_logger().info("training on %s", os.environ.get("NVIDIA_VISIBLE_DEVICES", "a machine without GPU"))
    weights = [0.0, 0.0]
    for _ in range(epochs):
        for x, y, label in rows:
            error = label - 1 / (1 + math.exp(-(weights[0] * x + weights[1] * y)))
            weights = [weights[0] + 0.1 * error * x, weights[1] + 0.1 * error * y]
    return weights


@task
def evaluate(weights: list[float], rows: Rows) -> float:
    """The share of rows that the model gets right."""
    right = sum((weights[0] * x + weights[1] * y > 0) == bool(label) for x, y, label in rows)
    return round(right / len(rows), 3)


@task
def deploy(weights: list[float], score: float, folder: str) -> str:
    """Puts the model where it is served from, whole or not at all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    draft = Path(folder, ".model.json")
    draft.write_text(json.dumps({"weights": weights, "score": score}))
    return str(draft.replace(Path(folder, "model.json")))


@flow
def main(rows: int = 500, epochs: int = 20, least_score: float = 0.9, folder: str = "model") -> dict[str, float | str]:
    """Prepares, trains, evaluates; deploys a model that scores at least as asked."""
    data = prepare(rows)
    weights = train(data["training"], epochs)
    score = evaluate(weights, data["test"])
    if score < least_score:
        get_run_logger().warning("a score of %g is less than %g: not deployed", score, least_score)
        return {"score": score, "deployed": ""}
    return {"score": score, "deployed": deploy(weights, score, folder)}


if __name__ == "__main__":
    main()
