"""Pellucid's metrics beside those of ferret and Interpreto, for the same scores of the same texts.

    pip install ferret-xai interpreto;  python benchmarks/metric_peers.py

ferret: comprehensiveness and sufficiency with 1, 2, … n tokens removed from the text. Interpreto: deletion and
insertion by the mask token. Both take the tokens in the order of their scores. Interpreto's area is by trapezoids over
n + 1 points, ours the mean of n of them: theirs is ours + (v[0] − v[n])/(2n) for deletion, − (r[0] − r[n])/(2n) for
insertion, which is added here. What the two packages import besides, and these metrics do not use, may be missing.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import torch

import pellucid
from pellucid.evaluation.removal import plays
from pellucid.metrics.faithfulness import area, insertion_area
from pellucid.metrics.removal_curves import order_of, removal_curves
from pellucid.metrics.word_scores import group_scores

for name in ("pytreebank", "thermostat", "nnsight", "seaborn", "cv2", "joblib", "bitsandbytes"):
    if find_spec(name) is None:
        sys.modules.update({name + inner: MagicMock() for inner in ("", ".modeling", ".modeling.language")})
sys.modules.update({f"interpreto.concepts{inner}": MagicMock() for inner in ("", ".base", ".splitters")})

TEXTS = (
    "it is great fun",
    "the plot is thin but the cast is wonderful",
    "a waste of time and money",
    "dull and far too long",
)


def curves(model: pellucid.Model, e: pellucid.Explanation, operator: str) -> tuple[np.ndarray, np.ndarray]:
    """Most relevant first, and least relevant first, token by token."""
    with model.borrowed():
        (play,) = plays(model, model.encode([e.text]), operator, e.target.index, "token")
        game = play.games["probability"]
        order = order_of(group_scores(game, 0, e.scores))
        found = removal_curves(game, {"most": {0: order}, "least": {0: order[::-1]}})
    return found["most"][0], found["least"][0]


def of_ferret(model: pellucid.Model, e: pellucid.Explanation) -> tuple[float, float]:
    from ferret.evaluators.faithfulness_measures import AOPC_Comprehensiveness_Evaluation, AOPC_Sufficiency_Evaluation

    words = [t for t in e.tokens if not t.special]
    positive = e.scores - e.scores.min() + 1  # in the same order: its branch for other scores fails on NumPy 2
    explanation = SimpleNamespace(text=e.text, scores=positive, tokens=[t.text for t in e.tokens])
    how = {
        "remove_first_last": True,
        "only_pos": True,
        "removal_args": {"remove_tokens": True, "based_on": "k", "thresholds": list(range(1, len(words) + 1))},
    }
    each = (AOPC_Comprehensiveness_Evaluation, AOPC_Sufficiency_Evaluation)
    found = [m(model.model, model.tokenizer).compute_evaluation(explanation, e.target.index, **how) for m in each]
    return float(found[0].score), float(found[1].score)


def of_interpreto(model: pellucid.Model, e: pellucid.Explanation) -> tuple[float, float]:
    from interpreto.attributions.base import AttributionOutput, ModelTask
    from interpreto.attributions.metrics import Deletion, Insertion
    from interpreto.commons.granularity import Granularity

    inside = [i for i, t in enumerate(e.tokens) if not t.special]
    batch = model.tokenizer(e.text, return_tensors="pt", return_special_tokens_mask=True, return_offsets_mapping=True)
    said = AttributionOutput(
        attributions=torch.tensor(e.scores[inside], dtype=torch.float32)[None],
        elements=[e.tokens[i].text for i in inside],
        model_inputs_to_explain=batch,
        targets=torch.tensor([e.target.index]),
        granularity=Granularity.TOKEN,
        model_task=ModelTask.CLASSIFICATION,
    )
    return tuple(
        one(model.model, model.tokenizer, n_perturbations=len(inside) + 1)([said])[0] for one in (Deletion, Insertion)
    )


def main() -> None:
    model = pellucid.load()
    for text in TEXTS:
        e = pellucid.explain(model, text)
        v, r = curves(model, e, "delete")
        n = len(v) - 1
        comprehensiveness, sufficiency = v[0] - v[1:].mean(), r[0] - r[:n].mean()
        theirs = of_ferret(model, e)
        print(f"{text!r}: comprehensiveness {comprehensiveness:.6f}, ferret {theirs[0]:.6f}; ", end="")
        print(f"sufficiency {sufficiency:.6f}, ferret {theirs[1]:.6f}")
        v, r = curves(model, e, "mask")
        deletion, insertion = area(v) + (v[0] - v[n]) / (2 * n), insertion_area(r) - (r[0] - r[n]) / (2 * n)
        theirs = of_interpreto(model, e)
        print(f"  deletion {deletion:.6f}, Interpreto {theirs[0]:.6f}; insertion {insertion:.6f}, ", end="")
        print(f"Interpreto {theirs[1]:.6f}")


if __name__ == "__main__":
    main()
